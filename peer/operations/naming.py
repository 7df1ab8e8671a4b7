"""Names of recordings: one that this site has used in a group is never used there again, whatever became of the recording.

Compared case-folded. Deleted recordings count: people have written their names down, and a deletion can be taken back. Two sites may choose one name
at once, since nobody is asked before something is written: both keep their recording.
"""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Protocol

from peer.core.identity import EventId, GroupId, PeerId
from peer.core.names import NAME_CHARACTERS_MAX
from peer.errors import NameTakenError


class NamedRecordings(Protocol):
    """What the views know of names."""

    async def reached(self, position: int) -> None:
        """Return once the event at `position` can be read here."""
        ...

    async def recording_named(self, group: GroupId, site: PeerId, name: str) -> EventId | None:
        """The recording of that site with that name, case-folded, deleted or not; None if there is none."""
        ...


class Naming:
    """Looks after the names of the recordings of one site."""

    def __init__(self, peer: PeerId, views: NamedRecordings, position: Callable[[], int]) -> None:
        """`position` is that of the newest event of the log."""
        self.peer = peer
        self.turn = asyncio.Lock()
        """To be held from the check to the write: until the next check sees it."""
        self._views = views
        self._position = position

    async def check_free(self, group: GroupId, name: str) -> None:
        """Raise `NameTakenError` if this site has used `name` in `group`."""
        taken = await self.recording(group, name)
        if taken is not None:
            raise NameTakenError(
                f"this site has a recording {name!r} in the group already, {taken.hex()[:12]}",
                fix="choose another name with --name; nothing was changed",
            )

    async def recording(self, group: GroupId, name: str) -> EventId | None:
        """The recording of this site that is called so, deleted or not."""
        await self._views.reached(self._position())
        return await self._views.recording_named(group, self.peer, name)

    async def free_name(self, group: GroupId, name: str) -> str:
        """`name`, or with a number behind it the first that this site has not used: for recordings that nobody is there to name."""
        if await self.recording(group, name) is None:
            return name
        for number in count(2):
            ending = f"-{number}"
            other = name[: NAME_CHARACTERS_MAX - len(ending)] + ending
            if await self.recording(group, other) is None:
                return other
        raise AssertionError("numbers do not end")
