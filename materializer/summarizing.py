"""Makes summaries ahead of who looks for recordings: after a start, a rebuild or a long backfill the first list would wait for all of them."""

import asyncio
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from materializer.summaries import MADE_AT_ONCE, Summaries
from materializer.telling import ChangeListener
from peer.core.identity import EventId, GroupId

QUIET_S = 1.0
"""So long must nothing have changed: while events pour in, what is made is gone again at once."""
PAUSE_S = 0.01
"""Between transactions, for whoever has something better to do with the disk."""


class Summarizing:
    """Follows what changes. Whoever cannot wait makes what is missing at once: nothing depends on this."""

    def __init__(self, summaries: Summaries, groups: Callable[[], Sequence[GroupId]], *, may_make: Callable[[], bool]) -> None:
        """`groups` are those of this peer; `may_make` is False while the views are those of other rules."""
        self._summaries = summaries
        self._groups = groups
        self._may_make = may_make
        self._changed = asyncio.Event()
        self._changed.set()

    def touched(self, _recordings: AbstractSet[tuple[GroupId, EventId]]) -> None:
        """Something changed."""
        self._changed.set()

    async def run(self, subscribe: Callable[[ChangeListener], Callable[[], None]]) -> None:
        """Follow until cancelled."""
        end = subscribe(self.touched)
        try:
            while True:
                await self._changed.wait()
                await self._wait_for_quiet()
                while await self._make_some():  # noqa: ASYNC110  (each turn does some of the work)
                    await asyncio.sleep(PAUSE_S)
        finally:
            end()

    async def _make_some(self) -> bool:
        """True if there may be more to make."""
        if not self._may_make() or self._changed.is_set():
            return False
        return await self._summaries.make_some(self._groups()) == MADE_AT_ONCE

    async def _wait_for_quiet(self) -> None:
        while True:
            self._changed.clear()
            try:
                async with asyncio.timeout(QUIET_S):
                    await self._changed.wait()
            except TimeoutError:
                return
