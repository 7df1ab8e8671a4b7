"""The reason for which bytes come here that needs no rules: a person asked."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from typing import Protocol

from peer.core.identity import BlobId, EventId, GroupId
from peer.core.views import Views
from peer.core.wishes import PRIORITIES, Why, Wish
from peer.errors import DiskFullError

PAGE = 256
"""Recordings that are looked at together."""


class KeptWishes(Protocol):
    """Where it is remembered what was asked for."""

    async def asked(self) -> set[tuple[GroupId, EventId]]:
        """Recordings whose bytes somebody asked for."""
        ...

    async def ask(self, group: GroupId, recording: EventId) -> None:
        """Remember, durably, that somebody asked."""
        ...

    async def forget_asked(self, group: GroupId, recordings: Collection[EventId]) -> None:
        """They are here, or not to come any more."""
        ...


class Asked:
    """Recordings that a person asked for, until they are here: over restarts, too."""

    def __init__(self, views: Views, is_here: Callable[[BlobId], bool], kept: KeptWishes, asked: set[tuple[GroupId, EventId]]) -> None:
        """`is_here` knows which bytes are; `asked` is what `kept` holds."""
        self._views = views
        self._is_here = is_here
        self._kept = kept
        self._asked = asked

    async def wishes(self, group: GroupId, recordings: Collection[EventId] | None) -> Sequence[Wish]:
        """The files of what was asked for. What is complete and here was had, and is asked for no more."""
        asked = [recording for of, recording in self._asked if of == group and (recordings is None or recording in recordings)]
        files = await self._views.wanted_blobs(group, asked) if asked else []
        missing = {file.recording for file in files if not self._is_here(file.blob)}
        had = [recording for recording in {file.recording for file in files} - missing if await self._is_complete(group, recording)]
        with contextlib.suppress(DiskFullError):  # Then at a later look.
            await self.forget(group, had)
        return [Wish(file, Why.ASKED, PRIORITIES[Why.ASKED], "asked for") for file in files]

    async def pages(self, group: GroupId) -> AsyncGenerator[Sequence[Wish], None]:
        """As `Wishing.pages`."""
        asked = [recording for of, recording in self._asked if of == group]
        for start in range(0, len(asked), PAGE):
            yield await self.wishes(group, asked[start : start + PAGE])

    async def ask(self, group: GroupId, recording: EventId) -> None:
        """Wish for all its files, from now on and durably."""
        await self._kept.ask(group, recording)
        self._asked.add((group, recording))

    async def forget(self, group: GroupId, recordings: Collection[EventId]) -> None:
        """They are here, or not to come any more."""
        found = [recording for recording in recordings if (group, recording) in self._asked]
        if found:
            await self._kept.forget_asked(group, found)
            self._asked.difference_update((group, recording) for recording in found)

    async def _is_complete(self, group: GroupId, recording: EventId) -> bool:
        view = await self._views.recording(group, recording)
        return view is not None and view.manifest_id is not None
