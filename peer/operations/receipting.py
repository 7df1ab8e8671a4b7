"""Saying what this site holds: receipts for bytes that are here, releases for those that are not any more. Written when things are quiet.

Nothing is remembered: what is said is compared with what is here, so a crash, a lost file or a repaired one is said as soon as it is looked at.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import NamedTuple, Protocol

from materializer.receipts import BLOBS_MAX, blob_receipt
from peer.core.byte_store import ByteStore
from peer.core.certificate import LogKind
from peer.core.control import Role
from peer.core.custody import Said, Subject
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import EventStore, Replica, WantedBlob
from peer.core.run import Draft
from peer.core.views import Views
from peer.errors import DiskFullError, MeshError, StoreError
from peer.operations.releasing import release_drafts

RETRY_S = 30.0
"""After the log could not be written."""
LOOK_S = 30.0
"""How often it is looked whether files were lost, or found damaged: nobody says so."""
QUIET_MAX = 12
"""How often in a row what changes may put off what is to be said."""
TOUCHED_MAX = 4096
"""Recordings that are remembered to be looked at; more of them are all."""
BATCH = 256
"""Recordings that are looked at together."""
EVENTS_MAX = 64
"""Events that are written together."""


class CountedStore(ByteStore, Protocol):
    """A place for blobs that tells when some came or went."""

    @property
    def removed(self) -> int:
        """Another number after each blob that lost its name, was found damaged, or sound again."""
        ...


class ReceiptParts(NamedTuple):
    """What is asked."""

    me: PeerId
    store: EventStore
    replica: Replica
    views: Views
    said: Said
    blobs: CountedStore
    is_releasing: Callable[[Subject], bool]
    """Whether a copy is being dropped: of that nothing is said here."""
    may_give: Callable[[GroupId, BlobId], Awaitable[bool]]
    """Whether bytes that are here came here in this group: of others nothing is said in it."""
    writing: asyncio.Lock
    position: Callable[[], int]
    report: Callable[[str, Mapping[str, object]], None]


class Receipting:
    """Keeps what this site says true."""

    def __init__(self, parts: ReceiptParts, quiet_s: float) -> None:
        """Says what there is to say once nothing has changed for `quiet_s`."""
        self._parts = parts
        self._quiet_s = quiet_s
        self._wake = asyncio.Event()
        self._touched: set[Subject] = set()
        self._everything = True
        self._removed = -1
        self._wake.set()

    def touched(self, recordings: AbstractSet[tuple[GroupId, EventId]]) -> None:
        """These recordings changed, or bytes of theirs came or went; all of them if the set is empty."""
        self._everything = self._everything or not recordings or len(self._touched) + len(recordings) > TOUCHED_MAX
        self._touched = set() if self._everything else self._touched | {Subject(*each) for each in recordings}
        self._wake.set()

    async def run(self) -> None:
        """Say what changes, until cancelled. Raises `StoreError` when the disk fails, but not when it is full."""
        while True:
            await self._quiet()
            try:
                await self.now()
            except DiskFullError as error:
                await self._later(error)
            except StoreError:
                raise
            except MeshError as error:
                await self._later(error)

    async def now(self) -> None:
        """Say all that is not said yet, before this returns."""
        touched, everything = self._touched, self._everything or self._parts.blobs.removed != self._removed
        self._touched, self._everything, self._removed = set(), False, self._parts.blobs.removed
        try:
            for group in list(self._parts.replica.groups):
                recordings = None if everything else [each.recording for each in touched if each.group == group]
                if recordings is None or recordings:
                    await self._say(group, recordings)
        except BaseException:
            self._everything = True
            raise

    async def _quiet(self) -> None:
        while not self._wake.is_set() and self._parts.blobs.removed == self._removed:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
        for _ in range(QUIET_MAX):
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._quiet_s):
                    await self._wake.wait()
                    continue
            return
        self._wake.clear()

    async def _later(self, error: MeshError) -> None:
        self._parts.report("what is held here could not be said", {"code": error.code, "error": error.text})
        await asyncio.sleep(RETRY_S)
        self._wake.set()

    async def _say(self, group: GroupId, recordings: Sequence[EventId] | None) -> None:
        view = self._parts.replica.groups.get(group)
        if view is None or view.roster.role(self._parts.me) is Role.NONE:
            return
        if recordings is None:
            await self._compare(group, await self._parts.views.wanted_blobs(group), everything=True)
            return
        for start in range(0, len(recordings), BATCH):
            await self._compare(group, await self._parts.views.wanted_blobs(group, recordings[start : start + BATCH]), everything=False)

    async def _compare(self, group: GroupId, files: Iterable[WantedBlob], *, everything: bool) -> None:
        """Say what of these files is here and was not said, and what was said and is not here; with `everything` of all that was ever said."""
        parts = self._parts
        async with parts.writing:
            await parts.views.reached(parts.position())
            leaving = {file.blob for file in files if parts.is_releasing(Subject(group, file.recording))}
            known = {file.blob: file for file in files if file.blob not in leaving}
            said = await parts.said.receipts_of(group, parts.me, None if everything else known.keys())
            here = await asyncio.to_thread(self._here, known.values())
            gone = {blob: receipts for blob, receipts in said.items() if blob not in here and blob not in leaving and not parts.blobs.has(blob)}
            new = [blob for blob in sorted(here - said.keys()) if await parts.may_give(group, blob)]
            await self._write(group, [*_receipts(new), *release_drafts(gone)])

    def _here(self, files: Collection[WantedBlob]) -> set[BlobId]:
        """For a thread."""
        return {file.blob for file in files if self._parts.blobs.has(file.blob) and self._parts.blobs.has(file.pieces)}

    async def _write(self, group: GroupId, drafts: Sequence[Draft]) -> None:
        for start in range(0, len(drafts), EVENTS_MAX):
            await self._parts.store.write(group, LogKind.DATA, drafts[start : start + EVENTS_MAX])


def _receipts(blobs: Sequence[BlobId]) -> list[Draft]:
    return [blob_receipt(blobs[start : start + BLOBS_MAX]) for start in range(0, len(blobs), BLOBS_MAX)]
