"""Whom it was of no use to dial: not taken again at once, whoever tells of it. Pure."""

from dataclasses import dataclass

from peer.core.identity import PeerId

SAME_RECORD_MS = 10 * 60_000
"""How long a record is not taken again at whose addresses nobody ever was."""
NEWER_RECORD_MS = 60_000
"""How long no newer one is taken either, and how long the same of a peer that was there once."""
FAILED_MAX = 1024
"""Peers that are remembered for it; the oldest are forgotten first."""


@dataclass(frozen=True, slots=True)
class _Failed:
    seq: int
    failed_ms: int
    was_reached: bool


class FailedOut:
    """Those who failed out of the table."""

    def __init__(self) -> None:
        self._failed: dict[PeerId, _Failed] = {}

    def add(self, peer: PeerId, seq: int, now_ms: int, *, was_reached: bool) -> bool:
        """`peer` failed out with this record; True if it is not remembered that it did so before."""
        before = self._failed.pop(peer, None)
        self._failed[peer] = _Failed(seq, now_ms, was_reached)
        while len(self._failed) > FAILED_MAX:
            del self._failed[next(iter(self._failed))]
        return before is None

    def refuses(self, peer: PeerId, seq: int, now_ms: int) -> bool:
        """Whether a record of `peer` with this seq comes too early."""
        failed = self._failed.get(peer)
        if failed is None:
            return False
        is_short = failed.was_reached or seq > failed.seq
        return now_ms - failed.failed_ms < (NEWER_RECORD_MS if is_short else SAME_RECORD_MS)

    def forget(self, peer: PeerId) -> None:
        """It is there after all."""
        self._failed.pop(peer, None)
