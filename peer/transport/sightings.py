"""When each peer was heard of last, and which of them are called unreachable: a word on a screen, that changes nothing about dialling them."""

import time
from collections.abc import Iterable

from peer.core.identity import PeerId
from peer.transport.connection import now_ms

PEER_TIMEOUT_S = 300.0
"""How long after it was heard of last a peer is called unreachable, unless the operator says otherwise."""


class Sightings:
    """What is remembered of peers: since this process began, and longer nowhere."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_ms = int(timeout_s * 1000)
        self._seen_ms: dict[PeerId, int] = {}
        self._since_ms: dict[PeerId, int] = {}
        """When a peer was heard of last, or began to be looked for: by the clock that only grows."""

    def look_for(self, peers: Iterable[PeerId]) -> None:
        """These are to be heard of from now on."""
        for peer in peers:
            self._since_ms.setdefault(peer, now_ms())

    def saw(self, peer: PeerId) -> None:
        """It is there."""
        self._seen_ms[peer] = time.time_ns() // 1_000_000
        self._since_ms[peer] = now_ms()

    def last_seen_ms(self, peer: PeerId) -> int | None:
        """In Unix time, None for never."""
        return self._seen_ms.get(peer)

    def unreachable_since_ms(self, peer: PeerId) -> int | None:
        """Since when nothing was heard of it, in Unix time, if that is too long ago."""
        silent_ms = now_ms() - self._since_ms.get(peer, now_ms())
        return time.time_ns() // 1_000_000 - silent_ms if silent_ms >= self._timeout_ms else None
