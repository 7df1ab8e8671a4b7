"""How many records of each informant are looked at: verifying one costs a hundred times what it costs to send it again. Pure."""

from collections import Counter

from peer.core.identity import PeerId

RECORDS_PER_MINUTE_MAX = 2000
"""Records of one informant, over links and in requests without one: thirty groups full. What comes beyond that is told again."""
MINUTE_MS = 60_000


class ReadingBudget:
    """What is left for this minute."""

    def __init__(self) -> None:
        self._minute_ms: int | None = None
        self._read: Counter[PeerId] = Counter()

    def take(self, informant: PeerId, now_ms: int) -> bool:
        """Whether one more of `informant` is looked at now; if so, it is counted."""
        if self._minute_ms is None or now_ms - self._minute_ms >= MINUTE_MS:
            self._minute_ms = now_ms
            self._read.clear()
        self._read[informant] += 1
        return self._read[informant] <= RECORDS_PER_MINUTE_MAX
