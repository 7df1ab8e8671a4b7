"""Sites in one process that hold a recording and drop it: the real code of custody and dropping, over links that lose, with crashes anywhere."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from materializer.bodies import read_body
from materializer.receipts import BlobRelease
from peer.core.control import Role
from peer.core.custody import Remembered, Subject, Unproven
from peer.core.hashing import hash_bytes
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import WantedBlob
from peer.errors import DiskFullError, LinkBrokenError, MeshError, TransportError
from peer.operations.custody import Around, Custody, CustodyParts
from peer.operations.dropping import Dropping
from peer.sync.blob_messages import PossessionWant, RoundsEnded, RoundsWant

GROUP, RECORDING = GroupId(b"g" * 32), EventId(b"r" * 32)
SUBJECT = Subject(GROUP, RECORDING)
PIECE = 4
FILES = (b"the bytes of one file", b"another")
"""Of six pieces, and of two."""


class CrashError(BaseException):
    """The process is gone."""


def _list(data: bytes) -> bytes:
    return b"".join(hash_bytes(data[start : start + PIECE]) for start in range(0, len(data), PIECE))


WANTED = [
    WantedBlob(GROUP, RECORDING, BlobId(hash_bytes(data)), len(data), PIECE, BlobId(hash_bytes(_list(data))), bytes(32), PeerId(bytes(32)))
    for data in FILES
]
BYTES = {BlobId(hash_bytes(each)): each for data in FILES for each in (data, _list(data))}
PIECE_LISTS = {file.pieces for file in WANTED}


class Lab:
    """All of them, the log that they share, and what goes wrong."""

    def __init__(self, seed: int, count: int, min_copies: int, *, faulty: bool = True) -> None:
        self.chance = random.Random(seed)
        self.min_copies = min_copies
        self.faulty = faulty
        self.crash_in = 0
        """The process dies that is the one to remember so many more things."""
        self.says_late = False
        """Whether nobody says again what it holds, for now."""
        self.faults: Counter[str] = Counter()
        self.wrong: list[str] = []
        """What must never be: tasks that find it have nobody to tell."""
        self.log: list[tuple[PeerId, bool, EventId, frozenset[BlobId], frozenset[EventId]]] = []
        """Receipts and releases."""
        self.sites = [Site(self, PeerId(bytes([number + 1]) * 32)) for number in range(count)]
        self.members = {site.me for site in self.sites}
        for site in self.sites:
            self.receipt(site.me)

    def receipt(self, me: PeerId) -> None:
        """Somebody says that it holds all of it."""
        self.log.append((me, False, EventId(self.chance.randbytes(32)), frozenset(file.blob for file in WANTED), frozenset()))

    def standing(self, peer: PeerId) -> Mapping[BlobId, list[EventId]]:
        replaced = {ref for who, release, _, _, refs in self.log if who == peer and release for ref in refs}
        found: dict[BlobId, list[EventId]] = {}
        for who, release, event, blobs, _ in self.log:
            if who == peer and not release and event not in replaced:
                for blob in blobs:
                    found.setdefault(blob, []).append(event)
        return found

    def copies(self) -> int:
        """Live ones: whole, of members, and not released."""
        return sum(each.me in self.members and each.is_whole and len(self.standing(each.me)) == len(WANTED) for each in self.sites)

    def check(self) -> None:
        """Look whether enough live copies are left."""
        if self.copies() < self.min_copies:
            self.wrong.append(f"{self.copies()} copies are left of {self.min_copies}")

    async def pause(self) -> None:
        """Let others go on, for a while of chance."""
        for _ in range(self.chance.randint(0, 6)):
            await asyncio.sleep(0)

    def happens(self, fault: str, probability: float) -> bool:
        """Whether this goes wrong now."""
        if not self.faulty or self.chance.random() >= probability:
            return False
        self.faults[fault] += 1
        return True


class Site:
    """One of them: what outlasts its process."""

    def __init__(self, lab: Lab, me: PeerId) -> None:
        self.lab = lab
        self.me = me
        self.bytes = dict(BYTES)
        self.promises: dict[tuple[Subject, PeerId], bytes] = {}
        self.releases: set[Subject] = set()
        self.held: set[Subject] = set()
        self.liars: dict[tuple[Subject, PeerId], Unproven] = {}
        self.lies = False
        self.full = False
        """Whether its disk is: then not even bytes can go."""
        self.process: Process | None = None

    @property
    def is_whole(self) -> bool:
        return all(file.blob in self.bytes for file in WANTED)

    @property
    def is_up(self) -> bool:
        return self.process is not None and self.process.is_up

    async def start(self) -> None:
        """Begin another process. Raises `CrashError`."""
        self.process = Process(self)
        await self.process.start()


class Process:
    """One run of a site. After a crash whatever of it is still under way finds everything closed to it."""

    def __init__(self, site: Site) -> None:
        self.site, self.lab, self.me = site, site.lab, site.me
        self.memory = Memory(self)
        self.is_up = False
        self.is_dead = False
        self.tasks: set[asyncio.Task[Any]] = set()

    def live(self) -> None:
        if self.is_dead:
            raise CrashError

    async def start(self) -> None:
        """Take up what is remembered."""
        parts: Any = CustodyParts(self.me, self, self, self, self, Blobs(self), self, self, self.memory)  # type: ignore[arg-type]
        self.custody = Custody(parts, await self.memory.all())
        self.dropping = Dropping(parts, self.custody, self, lambda: 0, Around(_nothing_stops, lambda _, peer: peer.hex()[:4]))  # type: ignore[arg-type]
        await self.dropping.load(promises_lost=False)
        self.dropping.ended = lambda *_: self.say()
        await self.dropping.resume()
        self.say()
        self.is_up = True
        self.spawn(self.custody.run)

    def say(self) -> None:
        """What `Receipting` does, some seconds later."""
        if not self.lab.says_late and not self.is_dead and self.site.is_whole and not self.lab.standing(self.me):
            self.lab.receipt(self.me)

    def spawn(self, work: Callable[[], Awaitable[object]]) -> None:
        task = asyncio.get_running_loop().create_task(self._until_crash(work))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _until_crash(self, work: Callable[[], Awaitable[object]]) -> object:
        try:
            return await work()
        except CrashError:
            self.crash()
            return None

    def crash(self) -> None:
        """Everything in memory is gone."""
        self.is_up, self.is_dead = False, True
        for task in {*self.tasks, *self.dropping._running}:
            task.cancel()
            task.add_done_callback(_forget)

    # As views, files and provenance

    @property
    def groups(self) -> Mapping[GroupId, Any]:
        members = self.lab.members
        roster = SimpleNamespace(members=members, role=lambda peer: Role.WRITER if peer in members else Role.NONE)
        return {GROUP: SimpleNamespace(roster=roster)}

    async def recording(self, *_: object) -> Any:
        return SimpleNamespace(finalized=True, name="run")

    async def wanted_blobs(self, *_: object) -> list[WantedBlob]:
        return WANTED

    async def files_with(self, _: GroupId, blob: BlobId, _most: int = 0) -> list[WantedBlob]:
        return [file for file in WANTED if blob in {file.blob, file.pieces}]

    async def settings(self, _: GroupId) -> Any:
        return [SimpleNamespace(name="min_copies", value=self.lab.min_copies)]

    async def holders(self, _: GroupId, blobs: Collection[BlobId]) -> Mapping[BlobId, set[PeerId]]:
        return {blob: {each.me for each in self.lab.sites if blob in self.lab.standing(each.me)} for blob in blobs}

    async def released(self, _: GroupId, blobs: Collection[BlobId]) -> Mapping[BlobId, set[PeerId]]:
        gone = {
            each.me
            for each in self.lab.sites
            if not self.lab.standing(each.me) and any(who == each.me and release for who, release, *_ in self.lab.log)
        }
        return {blob: gone for blob in blobs if gone}

    async def receipts_of(self, _: GroupId, peer: PeerId, blobs: Collection[BlobId]) -> Mapping[BlobId, Sequence[EventId]]:
        return {blob: events for blob, events in self.lab.standing(peer).items() if blob in blobs}

    async def reached(self, _: int) -> None:
        await self.lab.pause()

    async def may_give(self, *_: object) -> bool:
        return True

    # As the event store

    async def write(self, _group: GroupId, _kind: object, drafts: Sequence[Any], _then: object = ()) -> None:
        await self.lab.pause()
        self.live()
        if self.lab.happens("crash before the release", 0.05):
            raise CrashError
        for draft in drafts:
            body = read_body(draft.type, draft.body)
            assert isinstance(body, BlobRelease)
            self.lab.log.append((self.me, True, EventId(self.lab.chance.randbytes(32)), frozenset(body.blobs), frozenset(draft.refs)))
        self.lab.check()

    # As links

    def members(self, _: GroupId) -> list[PeerId]:
        return [each.me for each in self.lab.sites if each.is_up and each is not self.site]

    async def ask(self, peer: PeerId, want: PossessionWant) -> Sequence[bytes]:
        await self.lab.pause()
        other = next(each for each in self.lab.sites if each.me == peer)
        if not other.is_up or self.lab.happens("a question is lost", 0.05):
            raise LinkBrokenError("lost")
        if other.lies:
            self.lab.faults["a lie"] += 1
            return [bytes(32) for _ in want.pieces]
        assert other.process is not None
        answering = asyncio.ensure_future(other.process.custody.prove(self.me, want))
        answering.add_done_callback(_forget)
        try:
            proofs = await answering
        except CrashError:
            other.process.crash()
            raise LinkBrokenError("it died") from None
        except MeshError as error:
            refused = TransportError(error.text)
            refused.code = error.code
            raise refused from error
        await self.lab.pause()
        self.live()
        if other.process.is_dead or self.lab.happens("an answer is lost", 0.05):
            raise LinkBrokenError("lost")
        return proofs

    def tell(self, peer: PeerId, message: RoundsWant | RoundsEnded) -> None:
        other = next(each for each in self.lab.sites if each.me == peer)
        if not self.is_dead and other.process is not None and not self.lab.happens("a word on rounds is lost", 0.2):
            other.process.spawn(partial(self._deliver, other.process, message))

    async def _deliver(self, other: "Process", message: RoundsWant | RoundsEnded) -> None:
        await self.lab.pause()
        if other.is_up:
            other.custody.hear_rounds(self.me, message)


def _forget(task: "asyncio.Future[Any]") -> None:
    """How it ended is known."""
    if not task.cancelled():
        task.exception()


async def _nothing_stops(*_: object) -> None:
    """Neither holds nor retention."""


class Blobs:
    """The bytes of a site."""

    def __init__(self, process: Process) -> None:
        self._process, self._site = process, process.site

    def has(self, blob: BlobId) -> bool:
        return blob in self._site.bytes

    async def read(self, blob: BlobId, start: int, size: int) -> bytes | None:
        await self._site.lab.pause()
        self._process.live()
        data = self._site.bytes.get(blob)
        return None if data is None else data[start : start + size]

    async def remove(self, blob: BlobId) -> None:
        await self._site.lab.pause()
        self._process.live()
        if self._site.full:
            raise DiskFullError("the disk is full")
        if self._site.lab.happens("crash between files", 0.05):
            raise CrashError
        if blob not in PIECE_LISTS and self._site.lab.standing(self._site.me):
            self._site.lab.wrong.append("bytes go that are not released")
        self._site.bytes.pop(blob, None)
        self._site.lab.check()


class Memory:
    """What a site remembers over restarts."""

    def __init__(self, process: Process) -> None:
        self._process, self._site = process, process.site

    async def _step(self, change: Callable[[], object]) -> None:
        await self._site.lab.pause()
        self._process.live()
        if self._site.lab.happens("crash before something is remembered", 0.02):
            raise CrashError
        change()
        self._site.lab.crash_in -= 1
        if self._site.lab.crash_in == 0:
            self._process.is_dead = True
            raise CrashError
        if self._site.lab.happens("crash after something is remembered", 0.02):
            raise CrashError

    async def all(self) -> Remembered:
        return Remembered(
            [(subject, peer, round_id) for (subject, peer), round_id in self._site.promises.items()],
            list(self._site.releases),
            list(self._site.held),
            list(self._site.liars.values()),
        )

    async def promise(self, subject: Subject, peer: PeerId, round_id: bytes) -> None:
        await self._step(lambda: self._site.promises.__setitem__((subject, peer), round_id))

    async def forget_promises(self, promises: Collection[tuple[Subject, PeerId]]) -> None:
        await self._step(lambda: [self._site.promises.pop(each, None) for each in promises])

    async def begin_release(self, subject: Subject) -> None:
        await self._step(lambda: self._site.releases.add(subject))

    async def end_release(self, subject: Subject) -> None:
        await self._step(lambda: self._site.releases.discard(subject))

    async def hold_back(self, subject: Subject, _at_ms: int) -> None:
        await self._step(lambda: self._site.held.add(subject))

    async def lift(self, subject: Subject) -> None:
        await self._step(lambda: self._site.held.discard(subject))

    async def note_unproven(self, unproven: Unproven) -> None:
        await self._step(lambda: self._site.liars.__setitem__((unproven.subject, unproven.peer), unproven))

    async def note_proven(self, subject: Subject, peer: PeerId) -> None:
        await self._step(lambda: self._site.liars.pop((subject, peer), None))
