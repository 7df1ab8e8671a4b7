"""Who is asked for a blob, in which ways, for what, and how it does. Pure."""

from dataclasses import dataclass, field
from typing import NamedTuple

from peer.core.identity import PeerId


class PieceRequest(NamedTuple):
    """Pieces `first <= piece < stop`, to be asked of the source with this number."""

    source: int
    first: int
    stop: int


class Way(NamedTuple):
    """One way to ask a peer for bytes."""

    peer: PeerId
    asks_others: bool
    """True if that peer may get from others what it has not. Such ways wait until nobody is left who has the bytes itself."""


@dataclass
class Provider:
    """A peer that is asked, and how it has done so far."""

    peer: PeerId
    asks_others: bool
    ways: list[int]
    """Those that have not failed, best first."""
    own: list[range] = field(default_factory=list)
    """Pieces that it will be asked for next, unless somebody else has nothing to do."""
    running: "Running | None" = None
    rate: float = 0.0
    """Bytes a millisecond, lately; 0 while nothing is known."""

    @property
    def waiting(self) -> int:
        """How many of these there are."""
        return sum(map(len, self.own))


@dataclass
class Running:
    """A request that is being answered."""

    request: PieceRequest
    began_ms: int
    size: int = 0
    """Bytes that came."""
    last_ms: int = 0
    """When the last of them did."""

    def rate(self, now_ms: int) -> float:
        """Bytes a millisecond, so far."""
        return self.size / max(1, now_ms - self.began_ms)
