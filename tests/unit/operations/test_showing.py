"""What is to be shown is shown in the end, whatever is in the way."""

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import cast

import pytest

from peer.core.identity import EventId, GroupId
from peer.core.interfaces import Replica
from peer.errors import DiskFullError
from peer.operations.showing import Showing
from tests.patience import PATIENCE_S
from tests.samples import GROUP

RECORDING = EventId(b"r" * 32)
REPLICA = cast("Replica", SimpleNamespace(groups={GROUP: None}))


class FullTree:
    """A tree that cannot be written at first."""

    def __init__(self) -> None:
        """As long as nobody says that there is room."""
        self.is_full = True
        self.shown: list[object] = []

    async def refresh(self, group: GroupId, recordings: Iterable[EventId]) -> None:
        """As `Tree.refresh`."""
        await self._show((group, *recordings))

    async def refresh_all(self, group: GroupId) -> None:
        """As `Tree.refresh_all`."""
        await self._show(group)

    async def _show(self, what: object) -> None:
        if self.is_full:
            raise DiskFullError("no room")
        self.shown.append(what)


async def run(showing: Showing) -> None:
    """Until all is done that there is to do, or it ends."""
    running = asyncio.create_task(showing.run())
    await asyncio.wait([running], timeout=0.1)
    running.cancel()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(running, return_exceptions=not running.done())


@pytest.mark.parametrize("everything", [True, False])
async def test_what_a_full_disk_kept_from_being_shown_is_shown_when_there_is_room(*, everything: bool) -> None:
    tree = FullTree()
    showing = Showing(tree, REPLICA, lambda _event, _fields: None)
    if not everything:
        tree.is_full = False
        await run(showing)  # All of it, as after a start.
        tree.shown, tree.is_full = [], True
    showing.touched({(GROUP, RECORDING)})
    with pytest.raises(DiskFullError):
        await run(showing)

    tree.is_full = False
    await run(showing)
    assert tree.shown == [GROUP if everything else (GROUP, RECORDING)]
