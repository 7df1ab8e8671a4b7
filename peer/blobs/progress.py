"""How far a blob is on its way, for people, and for whoever decides what others wait for."""

import time
from dataclasses import dataclass, field

from peer.core.interfaces import WantedBlob

RATE_WINDOW_S = 2.0

PATIENCE_S = 10.0
SLOWEST_RATE = 16_000
"""Bytes a second: of what gets less for so long others need not wait for the end."""


@dataclass
class Transfer:
    """How far one blob is, for people to see."""

    wanted: WantedBlob
    state: str = "waiting"
    """`waiting`, `checking` what is here, `receiving` or `verifying` the whole."""
    bytes_done: int = 0
    rate: float = 0.0
    """Bytes a second, lately."""
    sources: list[str] = field(default_factory=list)
    """Peer ids in hex: who is asked."""
    liars: list[str] = field(default_factory=list)
    """Who sent something wrong, and is not asked for this blob any more."""
    _counted_from: float = 0.0
    _counted: int = 0
    _received: int = 0
    _looked_s: float | None = None
    """Since when it is looked how much is received; None while nothing is asked for."""
    _received_then: int = 0
    _is_slow: bool = False

    def count(self, size: int) -> None:
        """`size` bytes more are verified."""
        now = time.monotonic()
        self.bytes_done += size
        self._counted += size
        if not self._counted_from:
            self._counted_from = now
        elif now - self._counted_from > RATE_WINDOW_S / 4:
            rate = self._counted / (now - self._counted_from)
            self.rate = rate if not self.rate else self.rate + (rate - self.rate) / 4
            self._counted_from, self._counted = now, 0

    def came(self, size: int) -> None:
        """`size` bytes more arrived, right or wrong."""
        self._received += size

    def look(self, now_s: float) -> bool:
        """Whether next to nothing came for a while. To be called now and then."""
        if self.state != "receiving":
            self._looked_s, self._is_slow = None, False
        elif self._looked_s is None:
            self._looked_s, self._received_then = now_s, self._received
        elif now_s - self._looked_s >= PATIENCE_S:
            self._is_slow = self._received - self._received_then < SLOWEST_RATE * (now_s - self._looked_s)
            self._looked_s, self._received_then = now_s, self._received
        return self._is_slow

    def to_json(self) -> dict[str, object]:
        """As `status` shows it."""
        return {
            "id": self.wanted.blob.hex(),
            "group": self.wanted.group.hex(),
            "recording": self.wanted.recording.hex(),
            "bytes_done": self.bytes_done,
            "bytes_total": self.wanted.size,
            "rate": round(self.rate),
            "from": list(self.sources),
            "liars": list(self.liars),
            "state": self.state,
        }
