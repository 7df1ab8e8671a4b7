"""Bringing bytes here: asks all who have wishes what is to come, and has it fetched from linked peers, the most urgent first.

What fails is tried again for ever, later and later, and at once when a link comes up. Nothing is remembered: what is missing is computed.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import BlobSource, BlobStore, Replica, WantedBlob
from peer.core.wishes import Wish, Wishing, strongest
from peer.errors import DiskFullError, MeshError, StoreError

LOOK_BATCH = 256
"""Recordings that are looked at together."""

TASKS_MAX = 16
"""Blobs that are asked for at once; how many arrive at once is for the fetcher."""

RETRY_FIRST_S = 0.25
RETRY_MAX_S = 30.0
Touched = AbstractSet[tuple[GroupId, EventId]]


class Fetches(Protocol):
    """What fetches one blob."""

    async def fetch(self, wanted: WantedBlob, sources: Sequence[BlobSource]) -> None:
        """Bring it here from one of `sources`. Raises `TransportError` or `DiskFullError`."""
        ...


Report = Callable[[str, Mapping[str, object]], None]
"""Takes what happened, as a constant, and fields: for the log."""


class Fetching:
    """Keeps this site's copies complete."""

    def __init__(  # noqa: PLR0913  (its collaborators)
        self,
        fetches: Fetches,
        blobs: BlobStore,
        replica: Replica,
        wishings: Sequence[Wishing],
        sources: Callable[[GroupId, PeerId], Sequence[BlobSource]],
        *,
        arrived: Callable[[GroupId, EventId], None],
        report: Report,
    ) -> None:
        """`sources` gives whom to ask, best first, for what that site has recorded in that group.

        `arrived` hears of each recording of which a file came.
        """
        self._fetches = fetches
        self._blobs = blobs
        self._replica = replica
        self._wishings = wishings
        self._sources = sources
        self._arrived = arrived
        self._report = report
        self._wake = asyncio.Event()
        self._look_at: set[tuple[GroupId, EventId]] = set()
        self._look_at_all = True
        self._missing: dict[BlobId, Wish] = {}
        self._of: set[EventId] = set()
        """The recordings of what is missing, and perhaps of some that is no more."""
        self._running: set[BlobId] = set()
        self._failures: dict[BlobId, int] = {}
        self._paused: set[BlobId] = set()
        self.problem: MeshError | None = None
        """Why nothing arrives, if the reason is here."""

    def touched(self, recordings: Touched) -> None:
        """These recordings changed; all of them if the set is empty."""
        self._look_at |= recordings
        self._look_at_all = self._look_at_all or not recordings
        self._wake.set()

    def asked(self, group: GroupId, recording: EventId) -> None:
        """A person waits for this recording: look at it, and ask everybody at once."""
        self._look_at.add((group, recording))
        self._retry_all()

    def links_changed(self) -> None:
        """Somebody may have what nobody had: ask at once."""
        self._retry_all()

    def waiting(self) -> list[WantedBlob]:
        """What is missing and not on its way."""
        return [wish.file for wish in self._in_order() if wish.file.blob not in self._running]

    def is_coming(self, blob: BlobId) -> bool:
        """True while it is on its way."""
        return blob in self._running

    async def run(self) -> None:
        """Look and fetch until cancelled. Raises `StoreError` when the disk fails, but not when it is full."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._look()
                for wanted in self._due():
                    sources = self._sources(wanted.group, wanted.site)
                    if not sources:
                        continue
                    self._running.add(wanted.blob)
                    tasks.create_task(self._fetch(wanted, sources))

    def _in_order(self) -> list[Wish]:
        """What is missing, the most urgent first; of equal ones what was found first."""
        return sorted(self._missing.values(), key=lambda wish: -wish.priority)

    def _due(self) -> list[WantedBlob]:
        room = TASKS_MAX - len(self._running)
        if room <= 0:
            return []
        ready = (wish.file for wish in self._in_order() if wish.file.blob not in self._running and wish.file.blob not in self._paused)
        return [wanted for wanted, _ in zip(ready, range(room), strict=False)]

    async def _look(self) -> None:
        look_at, look_at_all = self._look_at, self._look_at_all
        self._look_at, self._look_at_all = set(), False
        if look_at_all:
            self._missing = {blob: wish for blob, wish in self._missing.items() if blob in self._running}
            self._of = {wish.file.recording for wish in self._missing.values()}
            for group in list(self._replica.groups):
                await self._wish(group, None)
        else:
            by_group: defaultdict[GroupId, list[EventId]] = defaultdict(list)
            for group, recording in look_at:
                by_group[group].append(recording)
            for group, recordings in by_group.items():
                for start in range(0, len(recordings), LOOK_BATCH):
                    batch = recordings[start : start + LOOK_BATCH]
                    if self._of.intersection(batch) - await self._wish(group, batch):
                        self.touched(frozenset())  # One was deleted, or is wanted no more: what is missing is found anew.

    async def _wish(self, group: GroupId, recordings: Collection[EventId] | None) -> set[EventId]:
        """Ask who has wishes for what is not here; the recordings that somebody wishes for."""
        wishes = [wish for wishing in self._wishings for wish in await wishing.wishes(group, recordings)]
        for blob, wish in strongest(wishes, self._blobs.has).items():
            standing = self._missing.get(blob)
            if standing is None or standing.file.recording == wish.file.recording or wish.priority > standing.priority:
                self._missing[blob] = wish
            self._of.add(wish.file.recording)
        return {wish.file.recording for wish in wishes}

    async def _fetch(self, wanted: WantedBlob, sources: Sequence[BlobSource]) -> None:
        blob = wanted.blob
        try:
            await self._fetches.fetch(wanted, sources)
        except DiskFullError as error:
            self.problem = error
            self._later(blob)
        except StoreError:
            raise
        except MeshError as error:
            self._report("a blob did not arrive", {"blob": blob.hex(), "code": error.code, "error": error.text})
            self._later(blob)
        else:
            self.problem = None
            self._missing.pop(blob, None)
            self._failures.pop(blob, None)
            self._arrived(wanted.group, wanted.recording)
        finally:
            self._running.discard(blob)
            self._wake.set()

    def _later(self, blob: BlobId) -> None:
        failures = self._failures.get(blob, 0)
        self._failures[blob] = failures + 1
        self._paused.add(blob)
        asyncio.get_running_loop().call_later(min(RETRY_MAX_S, RETRY_FIRST_S * 2**failures), self._again, blob)

    def _again(self, blob: BlobId) -> None:
        self._paused.discard(blob)
        self._wake.set()

    def _retry_all(self) -> None:
        self._paused.clear()
        self._failures.clear()
        self._wake.set()
