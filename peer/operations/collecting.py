"""Letting the bytes of deleted recordings go, once their time of grace is over and nothing keeps them.

By reference: a file goes only if every recording that has it, in every group that is known here, is itself deleted for long enough, not held, and not
to be kept. Whatever is in doubt stays: while the log or its tables are behind, where more recordings claim a file than can be looked at, and what
somebody is adding again at this moment.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from peer.core.counts import Count
from peer.core.finding import Finder, PlaceInOrder, RecordingQuery
from peer.core.identity import BlobId, EventId, GroupId
from peer.core.interfaces import Replica, WantedBlob
from peer.core.retention import may_collect
from peer.core.views import Views
from peer.errors import MeshError, StoreError
from peer.failpoints import failpoint
from peer.operations.retention import Retention

FIRST_S = 60.0
"""After the start."""
LOOK_S = 3600.0
PAGE = 200
CLAIMS_MAX = 4
"""As many recordings are told of that claim a file: where there are so many there may be more."""

Report = Callable[[str, Mapping[str, object]], None]


class CollectableBlobs(Protocol):
    """Where bytes are."""

    def has(self, blob: BlobId) -> bool:
        """Whether it is here."""
        ...

    async def collect(self, blob: BlobId) -> bool:
        """Let it go, unless somebody adds it again. True if it went."""
        ...


class Claims(Protocol):
    """Who has a file."""

    async def files_with(self, group: GroupId, blob: BlobId) -> Sequence[WantedBlob]:
        """The recordings of a group, deleted or not, that have a file with these bytes or this piece list; up to `CLAIMS_MAX` of a kind."""
        ...


class CollectingParts(NamedTuple):
    """What is asked."""

    replica: Replica
    groups: Callable[[], Collection[GroupId]]
    """All whose events are here, those that this site has left among them."""
    views: Views
    finder: Finder
    claims: Claims
    blobs: CollectableBlobs
    retention: Retention


class Collecting:
    """Collects garbage."""

    def __init__(self, parts: CollectingParts, report: Report) -> None:
        """Does nothing yet."""
        self._parts = parts
        self._report = report
        self._collected = 0

    def counts(self) -> Iterator[Count]:
        """What went."""
        yield Count("collected_files", "Files of deleted recordings that went, piece lists among them.", self._collected, only_grows=True)

    async def run(self) -> None:
        """Look now and then, until cancelled. Raises `StoreError` when the disk fails."""
        await asyncio.sleep(FIRST_S)
        while True:
            try:
                await self.now()
            except StoreError:
                raise
            except MeshError as error:
                self._report("nothing is collected now", {"code": error.code, "error": error.text})
            await asyncio.sleep(LOOK_S)

    async def now(self) -> int:
        """Let go what may go. How many blobs went. Raises `ViewsBehindError`, and then nothing went."""
        await self._parts.retention.caught_up()
        count = 0
        for group in list(self._parts.replica.groups):
            for recording, blobs in await self._deleted(group):
                if await self._may_go(group, recording):
                    count += await self._collect(group, recording, blobs)
        self._collected += count
        return count

    async def _deleted(self, group: GroupId) -> list[tuple[EventId, list[BlobId]]]:
        """The deleted recordings of a group of which bytes are here."""
        finder, found = self._parts.finder, list[tuple[EventId, list[BlobId]]]()
        query = RecordingQuery([group], deleted=True)
        after: PlaceInOrder | None = None
        while True:
            page = await finder.find(query, after, PAGE)
            deleted = [each.summary.recording for each in page if each.summary.deleted]
            files = await finder.files([group], deleted)
            for recording in deleted:
                here = [file.blob for file in files.get(recording, ()) if self._parts.blobs.has(file.blob)]
                found += [(recording, here)] if here else []
            if len(page) < PAGE:
                return found
            after = page[-1].place

    async def _may_go(self, group: GroupId, recording: EventId) -> bool:
        view = await self._parts.views.recording(group, recording)
        return view is not None and may_collect(view, await self._parts.retention.of_group(group), self._parts.retention.now_ns())

    async def _collect(self, group: GroupId, recording: EventId, blobs: Sequence[BlobId]) -> int:
        count = 0
        for blob in blobs:
            await self._parts.retention.caught_up()  # Somebody may have held or restored it meanwhile, or have another recording with it.
            claims = await self._claims(blob)
            if claims is None or not self._parts.blobs.has(blob) or not await self._all_may_go(claims):
                continue
            pieces = {claim.pieces for claim in claims if claim.blob == blob}
            failpoint("collect.before_remove")
            if await self._parts.blobs.collect(blob):
                count += 1
                for each in pieces - {blob}:
                    count += await self._all_may_go(await self._claims(each)) and await self._parts.blobs.collect(each)
                self._report("bytes of a deleted recording went", {"group": group.hex(), "recording": recording.hex(), "blob": blob.hex()})
        return count

    async def _claims(self, blob: BlobId) -> list[WantedBlob] | None:
        """The recordings that have a file with these bytes, or this piece list; None if there may be more of them."""
        found = list[WantedBlob]()
        for group in list(self._parts.groups()):
            claims = await self._parts.claims.files_with(group, blob)
            if len(claims) >= CLAIMS_MAX:
                return None
            found += claims
        return found

    async def _all_may_go(self, claims: Sequence[WantedBlob] | None) -> bool:
        if not claims:
            return False
        return all([await self._may_go(each.group, each.recording) for each in claims])
