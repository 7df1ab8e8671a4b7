"""Making room: where the floor or the quota of the disk is reached, the oldest recordings go that may be dropped.

Dropped as by hand: enough other sites prove that they hold them, nothing holds or keeps them, and they do not come back by themselves. What comes in
never lets go of anything younger than itself, nor of anything at all where that would not be enough for it.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple, Protocol

from peer.core.counts import Count
from peer.core.finding import Finder, PlaceInOrder, RecordingQuery
from peer.core.identity import BlobId, EventId, GroupId
from peer.core.interfaces import BlobSource, Replica, WantedBlob
from peer.core.views import Views
from peer.errors import DiskFullError, MeshError, TooFewCopiesError

LOOK_S = 30.0
"""How often it is looked whether others have filled the disk, or the quota is another one."""
PAGE = 100
DROPS_MAX = 64
"""Recordings that are tried each time."""
PLANNED_MAX = 512
"""Recordings that may go together for one file."""
BLOCK_SIZE = 4096
"""Files take whole blocks of the disk: as much more may be free once a recording went."""
REFUSED_S = 300.0
"""How long one that may not go is not tried again."""
REFUSED_MAX = 10_000

Report = Callable[[str, Mapping[str, object]], None]


class Dropped(Protocol):
    """What became of a recording."""

    @property
    def dropped_bytes(self) -> int:
        """What went, or would have where it was only tried."""
        ...

    @property
    def error(self) -> MeshError | None:
        """Why it did not go."""
        ...


class Drops(Protocol):
    """What lets copies go."""

    async def drop(self, group: GroupId, recordings: Iterable[EventId], *, dry_run: bool = False) -> Mapping[EventId, Dropped]:
        """Drop the bytes of recordings that are here, as far as that may be."""
        ...


class Space(Protocol):
    """What the operator allows."""

    def missing(self, folder: Path, size: int) -> int:
        """How many bytes must go before `size` more fit."""
        ...

    def has_place(self, folder: Path, size: int) -> bool:
        """False if they would not even fit if nothing else were there."""
        ...


class Places(Protocol):
    """Where bytes are."""

    folder: Path

    @property
    def space(self) -> Space:
        """How much of the disk they may take."""
        ...

    def has(self, blob: BlobId) -> bool:
        """Whether it is here."""
        ...


class Fetches(Protocol):
    """What fetches one blob."""

    async def fetch(self, wanted: WantedBlob, sources: Sequence[BlobSource]) -> None:
        """Bring it here. Raises `DiskFullError` before its first byte if there is no room."""
        ...

    def offer(self, blob: BlobId, sources: Sequence[BlobSource]) -> None:
        """These can be asked now for what is on its way."""
        ...

    def slow(self) -> Mapping[BlobId, AbstractSet[str]]:
        """What hardly comes, and from whom."""
        ...


class RoomParts(NamedTuple):
    """What is asked."""

    replica: Replica
    views: Views
    finder: Finder
    blobs: Places
    drops: Drops


class Room:
    """Makes room for bytes."""

    def __init__(self, parts: RoomParts, report: Report) -> None:
        """Does nothing yet."""
        self._parts = parts
        self._report = report
        self._turn = asyncio.Lock()
        self._refused: dict[EventId, float] = {}
        self._dropped = 0

    def counts(self) -> Iterator[Count]:
        """What went to make room."""
        yield Count("room_made_recordings", "Recordings that were dropped to make room.", self._dropped, only_grows=True)

    async def run(self) -> None:
        """Look now and then, until cancelled. Raises `StoreError` when the disk fails."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.make(0)

    async def make(self, size: int, for_recording: tuple[GroupId, EventId] | None = None) -> bool:
        """Let go what is needed for `size` more bytes; with `for_recording` nothing that is younger. True if they fit."""
        async with self._turn:
            with contextlib.suppress(DiskFullError):  # Not even what is to go can be looked for, or written down.
                return await self._fits(size) or (await self._has_place(size) and await self._make(size, for_recording))
            return False

    async def _make(self, size: int, for_recording: tuple[GroupId, EventId] | None) -> bool:
        tried = 0
        while going := await self._planned(size, for_recording):
            for subject in going:
                tried += 1
                went = await self._drop(*subject)
                if went and await self._fits(size):
                    return True
                if tried >= DROPS_MAX:
                    return False
                if not went:
                    break  # Perhaps the others are not enough without it.
            else:
                return False
        return False

    async def _planned(self, size: int, for_recording: tuple[GroupId, EventId] | None) -> list[tuple[GroupId, EventId]]:
        """The oldest that may go, as many as are needed: first those that nobody said to hold yet, who has to prove it all the same.

        None if all of them are not enough for what comes in. Where nothing comes in, and others have filled the disk, less helps, too.
        """
        blobs = self._parts.blobs
        unsure, sure = list[tuple[GroupId, EventId]](), list[tuple[GroupId, EventId]]()
        missing = await asyncio.to_thread(blobs.space.missing, blobs.folder, size)
        async with contextlib.aclosing(self._oldest(await self._made_ns(for_recording))) as oldest:
            async for group, recording in oldest:
                if missing <= 0 or len(unsure) + len(sure) >= PLANNED_MAX:
                    break
                if (group, recording) == for_recording:
                    continue
                outcome = (await self._parts.drops.drop(group, [recording], dry_run=True))[recording]
                if outcome.error is None or isinstance(outcome.error, TooFewCopiesError):
                    (unsure if outcome.error else sure).append((group, recording))
                    missing -= outcome.dropped_bytes + BLOCK_SIZE
                else:
                    self._refuse(recording)
        return [*unsure, *sure] if missing <= 0 or not size else []

    async def _drop(self, group: GroupId, recording: EventId) -> bool:
        """True if it went."""
        outcome = (await self._parts.drops.drop(group, [recording]))[recording]
        if outcome.error is not None:
            self._refuse(recording)
            return False
        self._dropped += 1
        self._report("a recording was dropped to make room", {"group": group.hex(), "recording": recording.hex()})
        return True

    async def _fits(self, size: int) -> bool:
        blobs = self._parts.blobs
        return await asyncio.to_thread(blobs.space.missing, blobs.folder, size) == 0

    async def _has_place(self, size: int) -> bool:
        """Whether it helps to let anything go: not for what is larger than the disk, or than the quota."""
        blobs = self._parts.blobs
        return await asyncio.to_thread(blobs.space.has_place, blobs.folder, size)

    async def _made_ns(self, for_recording: tuple[GroupId, EventId] | None) -> int | None:
        view = await self._parts.views.recording(*for_recording) if for_recording is not None else None
        return None if view is None else view.created_ns

    async def _oldest(self, before_ns: int | None) -> AsyncGenerator[tuple[GroupId, EventId], None]:
        """Recordings of which bytes are here, the oldest first, up to those made at `before_ns`."""
        parts, now = self._parts, time.monotonic()
        query = RecordingQuery(list(parts.replica.groups), order="created", reverse=True)
        after: PlaceInOrder | None = None
        while query.groups:
            page = await parts.finder.find(query, after, PAGE)
            files = await parts.finder.files(query.groups, [each.summary.recording for each in page])
            for each in page:
                found = each.summary
                if before_ns is not None and found.created_ns > before_ns:
                    return
                is_refused = now - self._refused.get(found.recording, now - REFUSED_S) < REFUSED_S
                if not is_refused and any(parts.blobs.has(file.blob) for file in files.get(found.recording, ())):
                    yield found.group, found.recording
            if len(page) < PAGE:
                return
            after = page[-1].place

    def _refuse(self, recording: EventId) -> None:
        if len(self._refused) >= REFUSED_MAX:
            self._refused.clear()
        self._refused[recording] = time.monotonic()


class Roomy:
    """Fetches, and makes room where there is none."""

    def __init__(self, fetches: Fetches, room: Room) -> None:
        """Does as `fetches` does, otherwise."""
        self._fetches = fetches
        self._room = room

    async def fetch(self, wanted: WantedBlob, sources: Sequence[BlobSource]) -> None:
        """As `Fetches.fetch`."""
        try:
            await self._fetches.fetch(wanted, sources)
        except DiskFullError:
            if not await self._room.make(wanted.size, (wanted.group, wanted.recording)):
                raise
            await self._fetches.fetch(wanted, sources)

    def offer(self, blob: BlobId, sources: Sequence[BlobSource]) -> None:
        """As `Fetches.offer`."""
        self._fetches.offer(blob, sources)

    def slow(self) -> Mapping[BlobId, AbstractSet[str]]:
        """As `Fetches.slow`."""
        return self._fetches.slow()
