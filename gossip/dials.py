"""How many addresses are dialled that others told of: a few in a minute, and of each informant its share. Pure.

Who tells of addresses makes this machine connect to them; so that nobody can make it, or all members together, a nuisance to third ones, what waits
to be dialled for the first time is let go a little at a time.
"""

from collections import Counter

from peer.core.identity import PeerId

DIALS_PER_MINUTE_MAX = 120
"""Addresses that are dialled for the first time in a minute."""
DIALS_PER_INFORMANT_MAX = 40
"""Of them, by the word of one informant."""
MINUTE_MS = 60_000


class DialBudget:
    """What is left for this minute."""

    def __init__(self) -> None:
        self._minute_ms: int | None = None
        self._spent: Counter[PeerId] = Counter()

    def take(self, informant: PeerId, addresses: int, now_ms: int) -> bool:
        """Whether so many addresses that `informant` told of may be dialled now; if so, they are counted."""
        if self._minute_ms is None or now_ms - self._minute_ms >= MINUTE_MS:
            self._minute_ms = now_ms
            self._spent.clear()
        if self._spent.total() + addresses > DIALS_PER_MINUTE_MAX or self._spent[informant] + addresses > DIALS_PER_INFORMANT_MAX:
            return False
        self._spent[informant] += addresses
        return True
