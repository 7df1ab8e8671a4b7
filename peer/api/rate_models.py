"""What message rates look like in answers."""

from pydantic import Field

from peer.api.models import Answer, Count, Hex, Ns


class TopicRates(Answer):
    """The messages of one topic, bin by bin; the counts sum up to `message_count`."""

    topic: str
    message_count: Count
    counts: list[Count] = Field(description="Bin n begins at start_ns + n * (stop_ns - start_ns) / bins")


class RecordingRates(Answer):
    """How many messages a recording has over its time."""

    id: Hex
    name: str
    start_ns: Ns
    start: str | None
    stop_ns: Ns
    stop: str | None
    bins: Count
    topics: list[TopicRates]
