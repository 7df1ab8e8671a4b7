"""How fast one peer may send: a bucket of events and one of bytes for each peer, over all its links and across reconnects. Time is an argument.

Who sends faster is read more slowly: nothing is lost, its own queue grows instead of ours. Both buckets hold one second's worth.
"""

from collections.abc import Callable

from peer.core.identity import PeerId

PEERS_MAX = 1024
"""Peers whose buckets are remembered; full ones are forgotten first, since a new one is full too."""

MS_PER_S = 1000


class Bucket:
    """Fills at a steady rate; what is taken beyond its level is owed."""

    __slots__ = ("_level", "_rate", "_updated_ms")

    def __init__(self, rate: int, now_ms: int) -> None:
        """`rate` a second, and at most that much at once."""
        self._rate = rate
        self._level = rate * MS_PER_S
        self._updated_ms = now_ms

    def take(self, amount: int, now_ms: int) -> int:
        """How many ms to wait until `amount` is paid for."""
        self._fill(now_ms)
        self._level -= amount * MS_PER_S
        return -(self._level // self._rate) if self._level < 0 else 0

    def is_full(self, now_ms: int) -> bool:
        """Whether nothing is owed or missing."""
        self._fill(now_ms)
        return self._level >= self._rate * MS_PER_S

    def _fill(self, now_ms: int) -> None:
        passed_ms = max(0, now_ms - self._updated_ms)
        self._updated_ms = max(now_ms, self._updated_ms)
        self._level = min(self._rate * MS_PER_S, self._level + passed_ms * self._rate)


class Pace:
    """The buckets of all peers."""

    def __init__(self, events_per_second: int, bytes_per_second: int, now_ms: Callable[[], int]) -> None:
        self._events_per_second = events_per_second
        self._bytes_per_second = bytes_per_second
        self._now_ms = now_ms
        self._buckets: dict[PeerId, tuple[Bucket, Bucket]] = {}

    def take(self, peer: PeerId, *, events: int, size: int) -> int:
        """`peer` has sent this: how many ms to wait before more of it is read."""
        now_ms = self._now_ms()
        if peer not in self._buckets:
            self._make_room(now_ms)
            self._buckets[peer] = (Bucket(self._events_per_second, now_ms), Bucket(self._bytes_per_second, now_ms))
        of_events, of_bytes = self._buckets[peer]
        return max(of_events.take(events, now_ms), of_bytes.take(size, now_ms))

    def _make_room(self, now_ms: int) -> None:
        if len(self._buckets) < PEERS_MAX:
            return
        for peer, buckets in list(self._buckets.items()):
            if all(bucket.is_full(now_ms) for bucket in buckets):
                del self._buckets[peer]
        while len(self._buckets) >= PEERS_MAX:
            del self._buckets[next(iter(self._buckets))]
