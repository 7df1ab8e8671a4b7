"""Keeps the readable tree what it should be: after recordings changed, and after their bytes came."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

from peer.core.identity import EventId, GroupId
from peer.core.interfaces import Replica
from peer.errors import DiskFullError

RETRY_S = 30.0
Report = Callable[[str, Mapping[str, object]], None]


class Tree(Protocol):
    """The folder of readable recordings."""

    async def refresh(self, group: GroupId, recordings: Iterable[EventId]) -> None:
        """Make the folders of these recordings what they should be."""
        ...

    async def refresh_all(self, group: GroupId) -> None:
        """Go through a whole group."""
        ...


class Showing:
    """Follows what changes."""

    def __init__(self, tree: Tree, replica: Replica, report: Report) -> None:
        """Begins with everything: what happened before the start is not known."""
        self._tree = tree
        self._replica = replica
        self._report = report
        self._wake = asyncio.Event()
        self._touched: set[tuple[GroupId, EventId]] = set()
        self._everything = True
        self._wake.set()

    def touched(self, recordings: AbstractSet[tuple[GroupId, EventId]]) -> None:
        """These recordings changed, or bytes of theirs came; all of them if the set is empty."""
        self._touched |= recordings
        self._everything = self._everything or not recordings
        self._wake.set()

    async def now(self, group: GroupId, recording: EventId) -> None:
        """Show a recording before this returns, as far as its bytes are here."""
        try:
            await self._tree.refresh(group, [recording])
        except OSError as error:
            self._failed(error)

    async def run(self) -> None:
        """Follow until cancelled. Raises `DiskFullError`; what was to be shown then is shown when this is called again."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            touched, everything = self._touched, self._everything
            self._touched, self._everything = set(), False
            try:
                await self._refresh(touched, everything=everything)
            except OSError as error:
                self._failed(error)
            except DiskFullError:
                self._everything = self._everything or everything
                self._touched |= touched
                self._wake.set()
                raise

    async def _refresh(self, touched: AbstractSet[tuple[GroupId, EventId]], *, everything: bool) -> None:
        by_group: defaultdict[GroupId, list[EventId]] = defaultdict(list)
        for group, recording in touched:
            by_group[group].append(recording)
        for group in list(self._replica.groups):
            if everything:
                await self._tree.refresh_all(group)
            elif group in by_group:
                await self._tree.refresh(group, by_group[group])

    def _failed(self, error: OSError) -> None:
        """Everything is looked at again later: the tree is computed, so nothing is lost meanwhile."""
        self._report("the readable tree could not be written", {"error": str(error)})
        asyncio.get_running_loop().call_later(RETRY_S, self.touched, frozenset())
