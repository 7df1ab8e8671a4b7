"""Comparing what events say, what lies here and what other sites have, file by file, and with `restore` bringing here what ought to be.

May be repeated at any time: it finds the same until something is mended. It deletes nothing. What is sound here and was never said so is said.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Protocol

from materializer.receipts import BLOBS_MAX, blob_receipt
from peer.core.certificate import LogKind
from peer.core.control import Role
from peer.core.custody import Subject
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import BlobStore, EventStore, Replica, WantedBlob
from peer.core.reconciling import NUMBERS, WRONG, Here, Proof, Row, is_to_come, row_of, says_so
from peer.core.views import RecordingView, Views
from peer.operations.json_form import Json

FILES_SHOWN_MAX = 1000
"""Files that an answer tells of, beside their counts. Sound ones are only counted."""

PROBES_MAX = 256
"""Pieces that are asked for in one go. Beyond that the word of others is what it is: unproven."""

PROBES_AT_ONCE = 4

RECORDINGS_AT_ONCE = 64
"""Recordings that are looked at together."""

MEANINGS: Mapping[Row, str] = {
    Row.ONLY_HERE: "sound here, and nobody else has it",
    Row.UNSAID: "sound here and elsewhere; this site says so from now on",
    Row.SOUND: "sound here and elsewhere",
    Row.WRONG_ELSEWHERE: "sound here; another site gave other bytes and was told to look",
    Row.DAMAGED: "damaged here, and given to nobody",
    Row.ELSEWHERE: "not here; another site has it",
    Row.MISSING: "neither here nor at any site that is known",
    Row.STRAY_HERE: "bytes here that no event tells of: left alone",
    Row.STRAY_ELSEWHERE: "bytes that others say to have and no other event tells of: left alone",
    Row.UNPROVEN: "others say that they have it and could not be asked: what comes of them is hashed whole",
}


class Mends(Protocol):
    """What looks closely at blobs, and does for them what can be done with what is left here."""

    async def check(self, blob: BlobId) -> bool:
        """Hash it again, whatever is known of it. True if it is sound."""
        ...

    def kept(self) -> AsyncIterator[BlobId]:
        """All that have a file here."""
        ...

    async def was_here(self, blob: BlobId) -> bool:
        """True if it was here and was not removed by whoever may."""
        ...

    async def make_piece_list(self, blob: BlobId, pieces: BlobId) -> bool:
        """Compute the piece list of a sound blob anew. False if it has another hash than `pieces`."""
        ...


class Tree(Protocol):
    """The folder of readable recordings."""

    async def wrong(self, group: GroupId, recordings: Collection[EventId]) -> Sequence[str]:
        """Folders of these recordings that are not what they should be."""
        ...

    async def refresh(self, group: GroupId, recordings: Iterable[EventId]) -> None:
        """Make them so."""
        ...


class HeldViews(Views, Protocol):
    """Views that know of bytes that nothing else tells of."""

    async def has_blob(self, group: GroupId, blob: BlobId) -> bool:
        """True if a recording of the group has a file with these bytes, or with this piece list."""
        ...

    async def stray_receipts(self, group: GroupId) -> Mapping[BlobId, AbstractSet[PeerId]]:
        """Who says to hold blobs that no recording of the group has; some of them where there are many."""
        ...


class Restores(Protocol):
    """What brings bytes here."""

    def want(self, files: Collection[WantedBlob]) -> None:
        """Wish for these."""
        ...


class Probe(Protocol):
    """What asks other sites."""

    async def probe(self, peer: PeerId, file: WantedBlob) -> Proof:
        """What `peer` gives for a piece of a file that it says to have."""
        ...


class Surroundings(NamedTuple):
    """What reconciling works with."""

    peer: PeerId
    store: EventStore
    replica: Replica
    views: HeldViews
    blobs: BlobStore
    mending: Mends
    tree: Tree
    probe: Probe
    restores: Restores
    touched: Callable[[AbstractSet[tuple[GroupId, EventId]]], None]
    """Hears of recordings of which bytes are wished for."""
    name_of: Callable[[GroupId, PeerId], str]
    may_give: Callable[[GroupId, BlobId], Awaitable[bool]]
    """Whether bytes that are here came here in this group: of others nothing is said in it."""
    is_releasing: Callable[[Subject], bool]
    """Whether a copy is being dropped: of that nothing is said here."""
    writing: asyncio.Lock


class _Found(NamedTuple):
    """What is known of one file."""

    file: WantedBlob
    row: Row
    here: Here
    is_said: bool
    is_to_be_said: bool
    proofs: Mapping[PeerId, Proof]
    list_is_sound: bool


class Reconciling:
    """Reconciles recordings, one run at a time."""

    def __init__(self, surroundings: Surroundings, find: Callable[[str], Awaitable[RecordingView]]) -> None:
        """`find` tells which recording people mean."""
        self._with = surroundings
        self._find = find
        self._turn = asyncio.Lock()

    async def one(self, reference: str, *, restore: bool) -> Json:
        """Reconcile one recording. With `restore` all of it is brought here."""
        view = await self._find(reference)
        async with self._turn:
            run = _Run(self._with, restore=restore, is_named=True)
            await run.look_at(view.group, [view.recording])
            return run.answer()

    async def all(self, *, restore: bool) -> Json:
        """Reconcile all recordings, and look for strays. With `restore` what was here is brought back."""
        async with self._turn:
            run = _Run(self._with, restore=restore, is_named=False)
            for group in list(self._with.replica.groups):
                recordings = await self._with.views.recording_ids(group)
                for start in range(0, len(recordings), RECORDINGS_AT_ONCE):
                    await run.look_at(group, recordings[start : start + RECORDINGS_AT_ONCE])
                await run.look_for_strays_elsewhere(group)
            await run.look_for_strays_here()
            return run.answer()


class _Run:
    """One run, and what it found."""

    def __init__(self, surroundings: Surroundings, *, restore: bool, is_named: bool) -> None:
        self._with = surroundings
        self._restore = restore
        self._is_named = is_named
        self._counts: Counter[Row] = Counter()
        self._shown: list[Json] = []
        self._left_out = 0
        self._lists_wrong = 0
        self._folders: list[str] = []
        self._restoring: list[WantedBlob] = []
        self._probes_left = PROBES_MAX
        self._slots = asyncio.Semaphore(PROBES_AT_ONCE)

    async def look_at(self, group: GroupId, recordings: Sequence[EventId]) -> None:
        """Find the case of each file of these recordings, and do what it asks for."""
        files = await self._with.views.wanted_blobs(group, recordings)
        claims = await self._claims(group, files)
        found = [await self._look(file, claims.get(file.blob, set())) for file in files]
        said = await self._say(group, [each for each in found if each.is_to_be_said])
        for each in found:
            await self._take_up(each, is_said_now=each.file.blob in said)
        folders = await self._with.tree.wrong(group, recordings)
        self._folders += folders
        if self._restore and folders:
            await self._with.tree.refresh(group, recordings)

    async def look_for_strays_elsewhere(self, group: GroupId) -> None:
        """Tell of what others say to have and nothing else tells of."""
        for blob, holders in (await self._with.views.stray_receipts(group)).items():
            self._count(Row.STRAY_ELSEWHERE, blob, holders=self._names(group, holders))

    async def look_for_strays_here(self) -> None:
        """Tell of what lies here and no group knows."""
        async for blob in self._with.mending.kept():
            if not any([await self._with.views.has_blob(group, blob) for group in list(self._with.replica.groups)]):
                self._count(Row.STRAY_HERE, blob, path=str(self._with.blobs.path(blob)))

    def answer(self) -> Json:
        """What was found, as the API shows it."""
        touched = {(file.group, file.recording) for file in self._restoring}
        if touched:
            self._with.restores.want(self._restoring)
            self._with.touched(frozenset(touched))
        wrong = any(self._counts[row] for row in WRONG) or bool(self._folders) or self._lists_wrong > 0
        return {
            "ok": not wrong,
            "restore": self._restore,
            "counts": {row.value: self._counts[row] for row in NUMBERS},
            "files": self._shown,
            "files_left_out": self._left_out,
            "folders": self._folders,
            "restoring": [file.blob.hex() for file in self._restoring],
            "recordings": sorted({file.recording.hex() for file in self._restoring}),
        }

    async def _claims(self, group: GroupId, files: Sequence[WantedBlob]) -> Mapping[BlobId, set[PeerId]]:
        """Who says to have these files, or made them; members only. This site is among them where it says so."""
        said = await self._with.views.holders(group, {file.blob for file in files})
        view = self._with.replica.groups.get(group)
        claims: dict[BlobId, set[PeerId]] = {}
        for file in files:
            makers = {file.site} - {self._with.peer}
            claims[file.blob] = {peer for peer in {*said.get(file.blob, ()), *makers} if view and view.roster.role(peer) is not Role.NONE}
        return claims

    async def _look(self, file: WantedBlob, claims: AbstractSet[PeerId]) -> _Found:
        here = await self._here(file.blob)
        others = sorted(claims - {self._with.peer})
        proofs = dict(zip(others, await asyncio.gather(*(self._probe(peer, file) for peer in others)), strict=True))
        is_said = self._with.peer in claims
        list_is_sound = here is not Here.SOUND or await self._with.mending.check(file.pieces)
        row = row_of(here, proofs.values(), is_said=is_said)
        is_to_be_said = says_so(row, here, is_said=is_said) and await self._with.may_give(file.group, file.blob)
        return _Found(file, row, here, is_said, is_to_be_said, proofs, list_is_sound)

    async def _here(self, blob: BlobId) -> Here:
        if await self._with.mending.check(blob):
            return Here.SOUND
        return Here.DAMAGED if self._with.blobs.is_damaged(blob) else Here.ABSENT

    async def _probe(self, peer: PeerId, file: WantedBlob) -> Proof:
        if self._probes_left <= 0:
            return Proof.UNASKED
        self._probes_left -= 1
        async with self._slots:
            return await self._with.probe.probe(peer, file)

    async def _say(self, group: GroupId, found: Sequence[_Found]) -> AbstractSet[BlobId]:
        """Tell the group what this site holds, but for what went meanwhile or is about to. What was told."""
        async with self._with.writing:
            leaving = {each.file.blob for each in found if self._with.is_releasing(Subject(group, each.file.recording))}
            blobs = [blob for blob in dict.fromkeys(each.file.blob for each in found) if blob not in leaving and self._with.blobs.has(blob)]
            for start in range(0, len(blobs), BLOBS_MAX):
                written = await self._with.store.write(group, LogKind.DATA, [blob_receipt(blobs[start : start + BLOBS_MAX])])
                await self._with.views.reached(written[-1].position)
        return set(blobs)

    async def _take_up(self, found: _Found, *, is_said_now: bool) -> None:
        file, blobs, mending = found.file, self._with.blobs, self._with.mending
        action = "said" if is_said_now else ""
        more: Json = {}
        if not found.list_is_sound:
            self._lists_wrong += 1
            more["piece_list"] = "damaged" if blobs.is_damaged(file.pieces) else "missing"
            if self._restore:
                more["piece_list"] = "made anew" if await mending.make_piece_list(file.blob, file.pieces) else more["piece_list"]
        if self._restore and is_to_come(found.row, found.here, is_meant=self._is_named or found.is_said or await mending.was_here(file.blob)):
            self._restoring.append(file)
            action = "restoring"
        if found.row is Row.SOUND and not more:
            self._counts[found.row] += 1
            return
        holders = {self._with.name_of(file.group, peer): proof.value for peer, proof in found.proofs.items()}
        self._count(found.row, file.blob, group=file.group.hex(), recording=file.recording.hex(), holders=holders, action=action, **more)

    def _names(self, group: GroupId, peers: AbstractSet[PeerId]) -> Json:
        return {self._with.name_of(group, peer): Proof.UNASKED.value for peer in sorted(peers)}

    def _count(self, row: Row, blob: BlobId, **more: object) -> None:
        self._counts[row] += 1
        if len(self._shown) >= FILES_SHOWN_MAX:
            self._left_out += 1
            return
        said: Json = {"row": row.value, "number": NUMBERS[row], "meaning": MEANINGS[row], "blob_id": blob.hex()}
        nothing: Json = {"group": None, "recording": None, "holders": {}, "action": "", "piece_list": "", "path": None}
        self._shown.append({**said, **nothing, **more})
