"""Who hears of the recordings that pages touched, and when: at once of a few events, in one go of many.

What listeners do with it, such as looking for the bytes of each recording, would hold up a peer that is still catching up with others.
"""

import asyncio
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from peer.core.identity import EventId, GroupId

TOLD_AT_ONCE_MAX = 256
"""Events of which nobody waits for more."""
QUIET_S = 0.5
"""So long nothing comes after many events before they are told of."""
TELL_AFTER_S = 15.0
"""They are told of then, whatever comes."""
UNTOLD_MAX = 32_768
"""Recordings: of so many, too."""

Touched = AbstractSet[tuple[GroupId, EventId]]
ChangeListener = Callable[[Touched], None]
"""Is given the recordings that pages have touched, after they are committed. An empty set means: everything, look again."""


class Telling:
    """Tells listeners what changed."""

    def __init__(self) -> None:
        """Nobody listens yet."""
        self._listeners: list[ChangeListener] = []
        self._untold: set[tuple[GroupId, EventId]] = set()
        self._events = 0
        self._since_s = 0.0
        self._alarm: asyncio.TimerHandle | None = None

    def subscribe(self, listener: ChangeListener) -> Callable[[], None]:
        """Call `listener` from now on; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def touched(self, recordings: Touched, events: int = 0) -> None:
        """So many events, which are committed, were about these recordings."""
        self._silence()
        now_s = time.monotonic()
        if not self._untold:
            self._since_s = now_s
        self._untold |= recordings
        self._events += events
        if len(self._untold) >= UNTOLD_MAX or now_s >= self._since_s + TELL_AFTER_S:
            self.tell()

    def caught_up(self) -> None:
        """No more events are there: tell of those that were, or wait whether more come where they were many."""
        self._silence()
        if self._events <= TOLD_AT_ONCE_MAX:
            self.tell()
        else:
            self._alarm = asyncio.get_running_loop().call_later(QUIET_S, self.tell)

    def tell(self) -> None:
        """Tell now."""
        self._silence()
        untold, self._untold, self._events = self._untold, set(), 0
        if untold:
            self._call(untold)

    def tell_everything(self) -> None:
        """Let everybody look at everything again, now."""
        self._call(frozenset())

    def _call(self, recordings: Touched) -> None:
        for listener in list(self._listeners):
            listener(recordings)

    def _silence(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
