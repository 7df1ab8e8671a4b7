"""The copies of this site as others count on them: proofs for who drops its own, and the promises that go with these.

What binds is decided by `core.dropping`; here it is remembered, durably before anything leaves, and ended when it may be.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from peer.core import dropping
from peer.core.byte_store import ByteStore
from peer.core.control import Role
from peer.core.custody import CustodyMemory, Remembered, Said, Subject
from peer.core.dropping import NOTHING, Keeping, Promise
from peer.core.hashing import HASH_SIZE, hash_bytes
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import Replica, WantedBlob
from peer.core.possession import Question, prove
from peer.core.views import Views
from peer.errors import CopyPromisedError, MeshError, NotFoundError
from peer.sync.blob_messages import PossessionWant, RoundsEnded, RoundsWant
from peer.sync.limits import ROUNDS_MAX

ASK_AFTER_S = 15.0
"""How often it is asked whether rounds go on for which something was promised."""
LOOKED_UP_MAX = 8
"""Rounds of others whose recordings are remembered, to answer many questions about one with one look."""


MayDrop = Callable[[GroupId, EventId], Awaitable[MeshError | None]]


class Asking(Protocol):
    """The links to members, as far as copies need them."""

    def members(self, group: GroupId) -> Sequence[PeerId]:
        """Linked peers with which a group is spoken about."""
        ...

    async def ask(self, peer: PeerId, want: PossessionWant) -> Sequence[bytes]:
        """Proofs. Raises `TransportError` with the code of what stands against them."""
        ...

    def tell(self, peer: PeerId, message: RoundsWant | RoundsEnded) -> None:
        """Ask or tell which rounds have ended, if it is linked."""
        ...


class MayGive(Protocol):
    """Which bytes that are here may be spoken of in a group."""

    async def may_give(self, group: GroupId, blob: BlobId) -> bool:
        """Whether they came here in it."""
        ...


class Around(NamedTuple):
    """Who else has to do with it."""

    may_drop: MayDrop
    """Why nothing of a recording may go, None if nothing stops it."""
    name_of: Callable[[GroupId, PeerId], str]
    """What a peer is called in a group."""


class ClaimedFiles(Protocol):
    """Which recordings have a file."""

    async def files_with(self, group: GroupId, blob: BlobId, most: int = ..., /) -> Sequence[WantedBlob]:
        """The files of recordings of a group, deleted or not, that have these bytes, or this piece list; up to `most` of each kind."""
        ...


class CustodyParts(NamedTuple):
    """What is asked."""

    me: PeerId
    replica: Replica
    views: Views
    files: ClaimedFiles
    said: Said
    blobs: ByteStore
    provenance: MayGive
    asking: Asking
    memory: CustodyMemory


class Custody:
    """Who counts on the copies here, and which of them are being dropped."""

    def __init__(self, parts: CustodyParts, remembered: Remembered) -> None:
        """A release that was under way when the process ended counts as one until `Dropping` has found out how far it came."""
        self._parts = parts
        self._keepings: dict[Subject, Keeping] = {}
        for subject, peer, round_id in remembered.promises:
            self._set(subject, dropping.promise(self.of(subject), peer, round_id))
        for subject in remembered.releases:
            self._set(subject, dropping.resumed(self.of(subject)))
        self._looked_up: OrderedDict[tuple[PeerId, bytes, Subject], Mapping[BlobId, WantedBlob]] = OrderedDict()
        self._unwritten: dict[tuple[Subject, PeerId], bytes] = {}
        """Promises, by their rounds, that bind already and may not outlast a restart yet: nothing is proven by them."""
        self._heard: list[tuple[PeerId, GroupId, tuple[bytes, ...]]] = []
        self._wake = asyncio.Event()

    def of(self, subject: Subject) -> Keeping:
        """What this site is bound by, about one recording."""
        return self._keepings.get(subject, NOTHING)

    @property
    def promises(self) -> Sequence[tuple[Subject, Promise]]:
        """All that bind."""
        return [(subject, each) for subject, keeping in self._keepings.items() for each in keeping.promises]

    def is_releasing(self, subject: Subject) -> bool:
        """True while a copy is being dropped."""
        return self.of(subject).round is not None

    # Who drops its own

    async def begin(self, subject: Subject, round_id: bytes, needed: int) -> None:
        """Open a round, durably. Raises `CopyPromisedError` or `CopyReleasingError`."""
        try:
            keeping = dropping.begin(self.of(subject), round_id, needed)
        except CopyPromisedError:
            await self.settle([subject])
            keeping = dropping.begin(self.of(subject), round_id, needed)
        self._set(subject, keeping)
        try:
            await self._parts.memory.begin_release(subject)
        except BaseException:
            self._set(subject, dropping.end(self.of(subject)))
            raise

    def proved(self, subject: Subject, round_id: bytes, peer: PeerId) -> None:
        """`peer` has proved that it holds it."""
        self._set(subject, dropping.proved(self.of(subject), round_id, peer))

    def may_release(self, subject: Subject) -> bool:
        """Whether enough members have proved it."""
        return dropping.may_release(self.of(subject), lambda peer: self._is_member(subject.group, peer))

    def release(self, subject: Subject) -> None:
        """It is about to be said that the copy here is none any more."""
        self._set(subject, dropping.release(self.of(subject), lambda peer: self._is_member(subject.group, peer)))

    async def end(self, subject: Subject, asked: Iterable[PeerId] = ()) -> None:
        """The round is over: the bytes are gone, or stay. Whoever was `asked` is told."""
        its = self.of(subject).round
        self._set(subject, dropping.end(self.of(subject)))
        await self._parts.memory.end_release(subject)
        if its is not None:
            for peer in asked:
                self._parts.asking.tell(peer, RoundsEnded(subject.group, (its.round_id,)))

    # Who is counted on

    async def prove(self, peer: PeerId, want: PossessionWant) -> Sequence[bytes]:
        """As `Custody.prove` of links."""
        subject = Subject(want.group, want.recording)
        files = await self._files(peer, want)
        if not all(blob in files for blob, _ in want.pieces):
            raise NotFoundError("a file that is none of this recording")
        await self._promise(subject, peer, want.round_id)
        question = Question(want.group, want.recording, want.round_id, peer, self._parts.me)
        return [prove(question, blob, piece, await read_piece(self._parts.blobs, files[blob], piece)) for blob, piece in want.pieces]

    def hear_rounds(self, peer: PeerId, message: RoundsWant | RoundsEnded) -> None:
        """As `Custody.hear_rounds` of links."""
        if isinstance(message, RoundsWant):
            open_rounds = {keeping.round.round_id for keeping in self._keepings.values() if keeping.round is not None}
            over = tuple(each for each in message.rounds if each not in open_rounds)
            if over:
                self._parts.asking.tell(peer, RoundsEnded(message.group, over))
            return
        self._heard.append((peer, message.group, message.rounds))
        self._wake.set()

    def links_changed(self) -> None:
        """Whoever was away may be asked now."""
        self._wake.set()

    async def run(self) -> None:
        """End promises as their time comes, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(ASK_AFTER_S):
                    await self._wake.wait()
            self._wake.clear()
            heard, self._heard = self._heard, []
            for peer, group, rounds in heard:
                named = set(rounds)
                await self._forget(
                    (subject, each)
                    for subject, each in self.promises
                    if subject.group == group and (each.peer, each.round_id in named) == (peer, True)
                )
            await self.settle({subject for subject, _ in self.promises})
            self._ask_after()

    async def settle(self, subjects: Collection[Subject]) -> None:
        """End what was promised to sites that are members no more, or whose release is seen."""
        over = []
        for subject in subjects:
            promises = self.of(subject).promises
            if promises:
                gone = await self._released(subject)
                over += [(subject, each) for each in promises if each.peer in gone or not self._is_member(subject.group, each.peer)]
        await self._forget(over)

    async def _released(self, subject: Subject) -> set[PeerId]:
        """Who said of files of it that it holds them no more."""
        blobs = {file.blob for file in await self._parts.views.wanted_blobs(subject.group, [subject.recording])}
        found = await self._parts.views.released(subject.group, blobs)
        return {peer for peers in found.values() for peer in peers}

    def _ask_after(self) -> None:
        by_peer: dict[tuple[PeerId, GroupId], list[bytes]] = {}
        for subject, each in self.promises:
            by_peer.setdefault((each.peer, subject.group), []).append(each.round_id)
        for (peer, group), rounds in by_peer.items():
            for start in range(0, len(rounds), ROUNDS_MAX):
                self._parts.asking.tell(peer, RoundsWant(group, tuple(rounds[start : start + ROUNDS_MAX])))

    async def _promise(self, subject: Subject, peer: PeerId, round_id: bytes) -> None:
        before = self.of(subject)
        keeping = dropping.promise(before, peer, round_id)
        if keeping != before:
            self._set(subject, keeping)
            self._unwritten[subject, peer] = round_id
        if self._unwritten.get((subject, peer)) == round_id:  # Perhaps from an earlier question, whose promise could not be written.
            await self._parts.memory.promise(subject, peer, round_id)
            if self._unwritten.get((subject, peer)) == round_id:
                del self._unwritten[subject, peer]

    async def _forget(self, promises: Iterable[tuple[Subject, Promise]]) -> None:
        over = [(subject, each) for subject, each in promises if each in self.of(subject).promises]
        for subject, each in over:
            self._unwritten.pop((subject, each.peer), None)
            self._set(subject, dropping.ended(self.of(subject), each.peer, each.round_id))
        if over:
            await self._parts.memory.forget_promises({(subject, each.peer) for subject, each in over})

    async def _files(self, peer: PeerId, want: PossessionWant) -> Mapping[BlobId, WantedBlob]:
        """The files of a recording. Raises `NotFoundError` unless all of them are here, and may be spoken of in the group."""
        key = (peer, want.round_id, Subject(want.group, want.recording))
        if key not in self._looked_up:
            files = {file.blob: file for file in await self._parts.views.wanted_blobs(want.group, [want.recording])}
            for blob in files:
                if not await self._parts.provenance.may_give(want.group, blob):
                    raise NotFoundError("files that did not come here in this group")
            if not files or not all(self._holds(file) for file in files.values()):  # Last: nothing may come between this and the promise.
                raise NotFoundError("not all files of the recording are here")
            self._looked_up[key] = files
            while len(self._looked_up) > LOOKED_UP_MAX:
                self._looked_up.popitem(last=False)
        return self._looked_up[key]

    def _holds(self, file: WantedBlob) -> bool:
        return self._parts.blobs.has(file.blob) and self._parts.blobs.has(file.pieces)

    def _is_member(self, group: GroupId, peer: PeerId) -> bool:
        view = self._parts.replica.groups.get(group)
        return view is not None and view.roster.role(peer) is not Role.NONE

    def _set(self, subject: Subject, keeping: Keeping) -> None:
        if keeping == NOTHING:
            self._keepings.pop(subject, None)
        else:
            self._keepings[subject] = keeping


def piece_count(file: WantedBlob) -> int:
    """How many pieces a file has, at least one to be asked for."""
    return max(1, -(-file.size // file.piece_size))


async def read_piece(blobs: ByteStore, file: WantedBlob, piece: int) -> bytes:
    """A piece of a file that is here, held against its piece list. Raises `NotFoundError` if it is not here, or not sound."""
    if piece >= piece_count(file):
        raise NotFoundError("a piece that the file does not have")
    start = piece * file.piece_size
    size = min(file.piece_size, file.size - start)
    data = await blobs.read(file.blob, start, size) if size else b""
    expected = await blobs.read(file.pieces, piece * HASH_SIZE, HASH_SIZE) if size else hash_bytes(b"")
    if data is None or expected is None or len(data) != size or hash_bytes(data) != expected:
        raise NotFoundError("a piece that is not here, or not what it was")
    return data
