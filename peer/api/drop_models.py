"""What travels over the admin API where copies are dropped."""

from pydantic import Field

from peer.api.editing_models import RecordingShown
from peer.api.models import Answer, Count, Hex, Request


class Drop(Request):
    """Whether to drop it, or only to say what would go."""

    dry_run: bool = Field(default=False, description="Only say how many bytes would go, and which linked sites say that they hold it")


class Prover(Answer):
    """A site that proved that it holds a recording; where it was only tried one that says so."""

    peer_id: Hex
    name: str


class RecordingDropped(RecordingShown):
    """A recording whose bytes here went, or would go."""

    dropped_bytes: Count
    shared_bytes: Count = Field(description="What stays, because other recordings here have the same files")
    proven: list[Prover]
