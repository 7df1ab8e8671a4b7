"""What travels over the admin API about bytes on their way."""

from typing import Literal

from pydantic import ConfigDict, Field

from peer.api.models import TEXT_MAX, Answer, Count, Hex, Request


class Transfer(Answer):
    """A file that is on its way here, waits for its turn, or is held back."""

    model_config = ConfigDict(extra="allow")

    id: Hex
    group: Hex
    recording: Hex
    bytes_done: Count
    bytes_total: Count
    rate: Count
    """Bytes a second, lately."""
    remaining_s: Count | None
    from_: list[str] = Field(alias="from")
    state: Literal["waiting", "checking", "receiving", "verifying", "paused", "cancelled", "given_up"]
    why: str
    """`repair`, `asked`, `copies` or `policy`."""
    reason: str
    priority: int
    code: str
    """Of the error for which it was given up, else empty."""
    text: str


class TransferChoice(Request):
    """Which transfers: one by its id, those of a recording, or all."""

    id: str | None = Field(default=None, max_length=TEXT_MAX)


class TransfersChanged(Answer):
    """What was decided."""

    paused: bool
    """True while nothing at all is fetched."""
    transfers: list[Hex]


class PeerLimit(Answer):
    """How fast bytes may travel to and from one peer."""

    peer_id: Hex
    name: str
    limit: str


class TransferLimits(Answer):
    """How fast bytes may travel: as it was set, and what holds now, in bytes a second."""

    limit: str | None
    up: int | None
    down: int | None
    peers: list[PeerLimit]


class TransferLimitChange(Request):
    """Another limit, for all peers together or for one; null takes it away."""

    limit: str | None = Field(max_length=TEXT_MAX)
    peer: str | None = Field(default=None, max_length=TEXT_MAX)
