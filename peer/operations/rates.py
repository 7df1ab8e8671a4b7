"""How many messages a recording has over its time, topic by topic: counted from the indexes in its files, wherever these are, message by message."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

from peer.core.finding import summarize
from peer.core.message_order import MessageOrder
from peer.core.views import RecordingView
from peer.errors import RecordingEmptyError, RequestError
from peer.operations.json_form import Json, to_json

BINS_MAX = 10_000
COUNTS_MAX = 1_000_000
"""Bins of all topics together."""
SPAN_MIN_NS = 1_000_000_000
"""What a recording lasts that has no duration: one message alone is one in this time."""

Times = Callable[[str, MessageOrder], AsyncGenerator[Mapping[str, Sequence[int]], None]]


class Rates:
    """Counts them."""

    def __init__(self, find: Callable[[str], Awaitable[RecordingView]], times: Times) -> None:
        """`find` tells which recording a reference means, `times` gives the log times of its messages, by topic, some at a time."""
        self._find = find
        self._times = times

    async def rates(self, reference: str, topics: Sequence[str], bins: int) -> Json:
        """The messages in each of `bins` equal parts of a recording's time, for these topics, or all if none is named. Each is in one of them.

        Raises `RecordingEmptyError` for one without messages, and what reading messages raises.
        """
        view = await self._find(reference)
        if not 1 <= bins <= BINS_MAX:
            raise RequestError(f"bins is 1 to {BINS_MAX}", fix="correct it")
        wanted = sorted(set(topics) or {topic[0] for topic in view.topics})
        if len(wanted) * bins > COUNTS_MAX:
            raise RequestError(
                f"{len(wanted)} topics in {bins} bins are more than {COUNTS_MAX} numbers",
                fix=f"name topics, or ask for up to {COUNTS_MAX // len(wanted)} bins",
            )
        summary = summarize(view)
        if summary.start_ns is None or summary.end_ns is None:
            raise RecordingEmptyError(f"{view.name} has no messages", fix="there is nothing to count in it")
        span_ns = summary.end_ns - summary.start_ns + 1 if summary.end_ns > summary.start_ns else SPAN_MIN_NS
        counts = {topic: [0] * bins for topic in wanted}
        async with contextlib.aclosing(self._times(view.recording.hex(), MessageOrder(tuple(topics)))) as batches:
            async for batch in batches:
                await asyncio.to_thread(_count, batch, counts, summary.start_ns, span_ns)
        document = to_json(
            {
                "id": view.recording,
                "name": view.name,
                "start_ns": summary.start_ns,
                "stop_ns": summary.start_ns + span_ns,
                "bins": bins,
                "topics": [{"topic": topic, "message_count": sum(each), "counts": each} for topic, each in sorted(counts.items())],
            }
        )
        assert isinstance(document, dict)
        return document


def _count(times: Mapping[str, Sequence[int]], counts: dict[str, list[int]], start_ns: int, span_ns: int) -> None:
    """For a thread. What lies outside of the time that the events tell of is counted at its edge."""
    for topic, all_times in times.items():
        series = counts.get(topic)
        if series is None:
            continue  # No event tells of it: a list of topics would not name it either.
        bins = len(series)
        for time_ns in all_times:
            series[min(max((time_ns - start_ns) * bins // span_ns, 0), bins - 1)] += 1
