"""The reason for which bytes come here that needs no rules: a person asked."""

from collections.abc import Collection, Sequence
from typing import Protocol

from peer.core.identity import EventId, GroupId
from peer.core.views import Views
from peer.core.wishes import PRIORITIES, Why, Wish


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

    def __init__(self, views: Views, kept: KeptWishes, asked: set[tuple[GroupId, EventId]]) -> None:
        """`asked` is what `kept` holds."""
        self._views = views
        self._kept = kept
        self._asked = asked

    async def wishes(self, group: GroupId, recordings: Collection[EventId] | None) -> Sequence[Wish]:
        """The files of what was asked for."""
        asked = [recording for of, recording in self._asked if of == group and (recordings is None or recording in recordings)]
        files = await self._views.wanted_blobs(group, asked) if asked else []
        return [Wish(file, Why.ASKED, PRIORITIES[Why.ASKED], "asked for") for file in files]

    def is_asked(self, group: GroupId, recording: EventId) -> bool:
        """Whether somebody waits for it."""
        return (group, recording) in self._asked

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
