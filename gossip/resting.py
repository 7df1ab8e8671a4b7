"""Peers that were there once and cannot be reached now: tried again now and then, as long as what they said of themselves is valid. Pure.

A network that is down for a minute looks like peers that are gone. If whoever told of them is gone by then as well, nobody would ever tell again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from peer.core.identity import PeerId

FIRST_WAIT_MS = 60_000
"""How long a peer rests at first; twice as long each time after that."""
LONGEST_WAIT_MS = 60 * 60_000
RESTING_MAX = 256
"""Peers that rest; the oldest are forgotten first."""

T = TypeVar("T")


@dataclass(slots=True)
class _Rest(Generic[T]):
    known: Sequence[T]
    good_until_ms: int
    wait_ms: int
    next_ms: int


class Resting(Generic[T]):
    """Them, with what was known of each."""

    def __init__(self) -> None:
        self._rests: dict[PeerId, _Rest[T]] = {}

    def add(self, peer: PeerId, known: Sequence[T], good_until_ms: int, now_ms: int) -> None:
        """`peer` cannot be reached; what was said of it is valid for a while yet."""
        before = self._rests.pop(peer, None)
        wait_ms = FIRST_WAIT_MS if before is None else before.wait_ms
        self._rests[peer] = _Rest(known, good_until_ms, wait_ms, now_ms + wait_ms)
        while len(self._rests) > RESTING_MAX:
            del self._rests[next(iter(self._rests))]

    def due(self, now_ms: int, *, is_alone: bool = False) -> list[tuple[PeerId, Sequence[T], int]]:
        """Who is to be tried once more now: with what was known, and until when that is valid. Who `is_alone` never waits for long."""
        self._rests = {peer: rest for peer, rest in self._rests.items() if now_ms < rest.good_until_ms}
        found = [(peer, rest) for peer, rest in self._rests.items() if now_ms >= rest.next_ms - (rest.wait_ms - FIRST_WAIT_MS) * is_alone]
        for _, rest in found:
            rest.wait_ms = min(2 * rest.wait_ms, LONGEST_WAIT_MS)
            rest.next_ms = now_ms + rest.wait_ms
        return [(peer, rest.known, rest.good_until_ms) for peer, rest in found]

    def forget(self, peer: PeerId) -> None:
        """It is there again."""
        self._rests.pop(peer, None)
