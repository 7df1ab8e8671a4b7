"""Taking copies where a group wants more than there are: what `core/placing.py` decides, for this site.

It is looked at now and then, and not at each event: what is too few for a moment is mostly on its way already.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from peer.core.control import Role
from peer.core.finding import Finder
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import BlobStore, Replica
from peer.core.placing import Lacking, takers
from peer.core.views import Views
from peer.core.wishes import PRIORITIES, Why, Wish
from peer.operations.rules import IsUnproven, read_standing, rules_of
from peer.operations.sites import Seen

LOOK_S = 5.0
LOOK_SHARE = 20
"""A look is followed by a pause so many times as long as it took."""
TURN_S = 3600.0
"""How long those who are chosen have before one more site is."""
BATCH = 256
"""Recordings that are looked at together."""

Changed = Callable[[AbstractSet[tuple[GroupId, EventId]]], None]


class PlacingParts(NamedTuple):
    """What there is to know."""

    peer: PeerId
    replica: Replica
    views: Views
    finder: Finder
    blobs: BlobStore
    seen: Seen
    """How other sites are."""
    room: Callable[[], int]
    """For how many bytes there is room here, as it is told to others."""
    is_unproven: IsUnproven


class Placing:
    """The copies that this site takes: a `Wishing`."""

    def __init__(self, parts: PlacingParts, *, after_s: float, changed: Changed) -> None:
        """So long must a recording have had too few copies before one is taken; `changed` hears of which recordings it decided otherwise."""
        self._parts = parts
        self._after_s = after_s
        self._changed = changed
        self._since_s: dict[GroupId, dict[EventId, float]] = {}
        """Since when there are too few copies of a recording that is not here."""
        self._taken: dict[GroupId, Mapping[EventId, str]] = {}
        """What this site takes, and why."""
        self._known: dict[GroupId, tuple[object, list[Lacking]]] = {}
        """What was found lacking, and what that hung on."""

    async def wishes(self, group: GroupId, recordings: Collection[EventId] | None) -> Sequence[Wish]:
        """Its files."""
        taken = self._taken.get(group, {})
        meant = [recording for recording in taken if recordings is None or recording in recordings]
        files = await self._parts.views.wanted_blobs(group, meant) if meant else []
        return [Wish(file, Why.COPIES, PRIORITIES[Why.COPIES], taken[file.recording]) for file in files if file.recording in taken]

    async def pages(self, group: GroupId) -> AsyncGenerator[Sequence[Wish], None]:
        """As `Wishing.pages`: those are few."""
        yield await self.wishes(group, None)

    async def run(self) -> None:
        """Decide now and then, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            for group in list(self._parts.replica.groups):
                await self.look(group, loop.time())
            await asyncio.sleep(max(LOOK_S, LOOK_SHARE * (loop.time() - began_s)))

    async def look(self, group: GroupId, now_s: float) -> None:
        """Decide about all recordings of a group."""
        wanted = rules_of(await self._parts.views.settings(group)).copies_wanted
        members = self._members(group)
        if wanted < 2 or self._parts.peer not in members:  # noqa: PLR2004  (who made it has one)
            self._decide(group, {})
            return
        lacking = await self._known_lacking(group, wanted, members)
        since_s = self._since_s.get(group, {})
        self._since_s[group] = since_s = {each.recording: since_s.get(each.recording, now_s) for each in lacking}
        room = {each.peer: each.disk_free for each in self._parts.seen(group) if each.peer in members}
        free, taken = self._parts.room(), {}
        for each in sorted(lacking, key=lambda each: each.recording):
            for_s = now_s - since_s[each.recording]
            chosen = takers(each, {**room, self._parts.peer: free}, max(0, int((for_s - self._after_s) // TURN_S)))
            if for_s >= self._after_s and self._parts.peer in chosen:
                taken[each.recording] = f"{len(each.holders)} of {wanted} copies: this site takes one"
                free -= each.size
        self._decide(group, taken)

    def _decide(self, group: GroupId, taken: Mapping[EventId, str]) -> None:
        before = self._taken.get(group, {})
        self._taken[group] = taken
        if not taken:
            self._taken.pop(group)
        changed = {(group, recording) for recording in taken.keys() ^ before.keys()}
        if changed:
            self._changed(changed)

    async def _known_lacking(self, group: GroupId, wanted: int, members: AbstractSet[PeerId]) -> list[Lacking]:
        """As `_lacking`, without looking again where nothing changed."""
        state, blobs = await self._parts.views.group_state(group), self._parts.blobs
        hangs_on = (state.state_digest, wanted, members, blobs.added, blobs.removed)
        known = self._known.get(group)
        if known is None or known[0] != hangs_on:
            known = self._known[group] = (hangs_on, await self._lacking(group, wanted))
        return known[1]

    async def _lacking(self, group: GroupId, wanted: int) -> list[Lacking]:
        """What is finalized, not wholly here, and at too few sites."""
        parts = self._parts
        sizes: defaultdict[EventId, dict[BlobId, int]] = defaultdict(dict)
        for file in await parts.views.wanted_blobs(group):
            sizes[file.recording][file.blob] = file.size
        missing = await asyncio.to_thread(_missing, parts.blobs, sizes)
        found = []
        for start in range(0, len(missing), BATCH):
            traits = await parts.finder.traits([group], missing[start : start + BATCH])
            closed = [each.summary for each in traits.values() if each.summary.finalized]
            files = {each.recording: (group, sizes[each.recording].keys()) for each in closed}
            standing = await read_standing(parts.views, parts.replica, files, parts.is_unproven)
            for summary in closed:
                holders = standing.holding(group, summary.recording, summary.site)
                if len(holders) < wanted:
                    found.append(Lacking(summary.recording, sum(sizes[summary.recording].values()), holders, wanted))
        return found

    def _members(self, group: GroupId) -> set[PeerId]:
        view = self._parts.replica.groups.get(group)
        return set() if view is None else {peer for peer in view.roster.members if view.roster.role(peer) is not Role.NONE}


def _missing(blobs: BlobStore, sizes: Mapping[EventId, Mapping[BlobId, int]]) -> list[EventId]:
    """The recordings that are not whole here. For a thread."""
    return [recording for recording, files in sizes.items() if not all(map(blobs.has, files))]
