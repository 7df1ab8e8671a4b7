"""Bringing blobs here from other peers. Sources are not trusted: each piece is verified before it is written, the whole before it has its name.

Several peers are asked at once, as the plan says. A transfer that is cut off, by a crash or otherwise, goes on where it was. One that nobody can
complete fails with what the last source did wrong; when to try again is for the caller to decide.
"""

import asyncio
import contextlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from peer.blobs.buffers import IncomingPieces, PieceBuffers
from peer.blobs.kept import KeptPieces, take_kept
from peer.blobs.offers import Offers
from peer.blobs.partial import PartialFile, check_partial_room
from peer.blobs.piece_list import PieceListAsking, nobody_has
from peer.blobs.plan import FetchPlan, Layout, check_layout, split_piece_list
from peer.blobs.progress import Transfer
from peer.blobs.providers import PieceRequest, Way
from peer.blobs.store import FileBlobStore
from peer.core.filling import FillingSource, copied
from peer.core.hashing import hash_bytes
from peer.core.identity import BlobId, PeerId
from peer.core.interfaces import BlobSource, WantedBlob
from peer.errors import BlobImpossibleError, BlobMismatchError, DiskFullError, MeshError, RemoteProtocolError, TransportError
from peer.failpoints import failpoint
from peer.threads import end_all, in_thread

T = TypeVar("T")

CONCURRENCY = 4
"""Blobs that arrive at once."""

REQUESTS_MAX = 6
"""Peers that are asked at once, for all blobs together; each blob may ask one."""

WAITING_BYTES_MAX = 4 * 1024 * 1024
"""Pieces of one request, beside the one that is coming in, that may wait to be hashed and written; there may always be one."""

SOURCES_MAX = 4096
"""Ways to ask for one blob, those of peers that come and go again and again among them."""

LOOK_AGAIN_S = 0.1
"""How often it is looked whether somebody is slow, while somebody else has nothing to do."""

LIARS_MAX = 64
"""Peers that sent something wrong, and are shown."""

Liar = Callable[[WantedBlob, PeerId], None]
"""Hears who sent bytes of a blob that are not its bytes."""


@dataclass
class _Turn:
    """Who fetches a blob, and how many more want it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Fetcher:
    """Fetches blobs into a store, a few at a time."""

    def __init__(self, store: FileBlobStore, *, concurrency: int = CONCURRENCY, report: Liar = lambda _wanted, _peer: None) -> None:
        """`report` hears of each peer that sent something wrong, once a blob."""
        self.is_limited: Callable[[], bool] = lambda: False
        """Whether this site itself lets bytes come no faster: then nobody is slow."""
        self._store = store
        self._slots = asyncio.Semaphore(concurrency)
        self._means = _Means(store, ThreadPoolExecutor(concurrency, "fetch"), PieceBuffers(), self._is_liar)
        self._report = report
        self._liars: OrderedDict[PeerId, BlobId] = OrderedDict()
        self._transfers: dict[BlobId, Transfer] = {}
        self._offers: dict[BlobId, Offers] = {}
        self._turns: dict[BlobId, _Turn] = {}

    def close(self) -> None:
        """Let the threads end. Nothing may be fetched afterwards."""
        self._means.threads.shutdown()

    def take_from(self, kept: KeptPieces) -> None:
        """Look there for pieces before anybody is asked."""
        self._means.kept = kept

    def problems(self) -> list[MeshError]:
        """Who sent wrong bytes since this started."""
        return [
            BlobMismatchError(
                f"peer {peer.hex()} sent wrong bytes, the last time of blob {blob.hex()}: they were not kept",
                fix="have `recmesh verify --deep` run there: its disk is damaged, or it is lying",
            )
            for peer, blob in self._liars.items()
        ]

    @property
    def transfers(self) -> list[Transfer]:
        """What is under way or waits for its turn."""
        return list(self._transfers.values())

    def slow(self) -> Mapping[BlobId, AbstractSet[str]]:
        """What gets next to nothing, and who gives so little. To be called now and then."""
        now_s = time.monotonic()
        found = {blob: frozenset(transfer.sources) for blob, transfer in self._transfers.items() if transfer.look(now_s)}
        return {} if self.is_limited() else found

    async def fetch(self, wanted: WantedBlob, sources: Sequence[BlobSource]) -> None:
        """Bring a blob and its piece list here, from those of `sources` that can, best first, and return when both are durable.

        May be called for many blobs at once and twice for the same one. Cancelling it leaves a partial file that the next call continues.
        Raises `TransportError`, `BlobMismatchError` among them, if no source gave the right bytes, and `DiskFullError`.
        """
        layout = check_layout(wanted.size, wanted.piece_size)
        async with self._alone(wanted.blob):
            if self._store.has(wanted.blob):
                return
            transfer = self._transfers[wanted.blob] = Transfer(wanted)
            offers = self._offers[wanted.blob] = Offers()
            try:
                async with self._slots:
                    await _Fetch(self._means, transfer, layout, (sources, offers)).run()
            finally:
                del self._transfers[wanted.blob], self._offers[wanted.blob]

    def offer(self, blob: BlobId, sources: Sequence[BlobSource]) -> None:
        """These can be asked now for a blob that is on its way: who is new among them is, from now on."""
        offers = self._offers.get(blob)
        if offers is not None:
            offers.offer(sources)

    def _is_liar(self, wanted: WantedBlob, peer: PeerId) -> None:
        self._liars[peer] = wanted.blob
        self._liars.move_to_end(peer)
        if len(self._liars) > LIARS_MAX:
            self._liars.popitem(last=False)
        self._report(wanted, peer)

    @contextlib.asynccontextmanager
    async def _alone(self, blob: BlobId) -> AsyncIterator[None]:
        """One at a time for each blob."""
        turn = self._turns.setdefault(blob, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[blob]


@dataclass
class _Means:
    """What all transfers share."""

    store: FileBlobStore
    threads: ThreadPoolExecutor
    buffers: PieceBuffers
    report: Liar
    kept: KeptPieces | None = None
    requests: int = 0
    """Those that are under way."""


class _Fetch:
    """One blob on its way."""

    def __init__(self, means: _Means, transfer: Transfer, layout: Layout, sources: tuple[Sequence[BlobSource], Offers]) -> None:
        self._means = means
        self._store = means.store
        self._transfer = transfer
        self._wanted = transfer.wanted
        self._layout = layout
        self._sources, self._offers = list(sources[0]), sources[1]
        self._asked: dict[asyncio.Task[None], PieceRequest] = {}
        self._wrong: MeshError = nobody_has(self._wanted)

    async def run(self) -> None:
        hashes = await self._piece_list()
        self._transfer.state = "checking"
        path = await self._thread(lambda _: self._store.begin(self._wanted.blob))
        opened: list[PartialFile] = []  # To be closed also where the thread that opens it is not waited for any more.
        try:
            try:
                await self._thread(lambda _: opened.append(PartialFile(path, self._layout, hashes, self._store.free_floor)))
                await self._fill(opened[0], hashes)
                await self._finish(opened[0])
            finally:
                await self._thread(lambda _: _close(opened))
        except DiskFullError:
            await self._thread(lambda _: self._store.discard(self._wanted.blob))
            raise

    async def _piece_list(self) -> list[bytes]:
        """The hashes of all pieces, from the store or else from the first source that has the right ones. Nobody is asked if there is no room."""
        pieces = self._wanted.pieces
        data = await self._store.read(pieces, 0, self._layout.list_size + 1)
        if data is not None:
            if len(data) == self._layout.list_size:
                return split_piece_list(data)
            raise BlobMismatchError(f"the piece list of blob {self._wanted.blob.hex()} has not the size that its event promises")
        if self._layout.piece_count <= 1:
            data = self._wanted.blob if self._layout.piece_count else b""
            if hash_bytes(data) == pieces:
                await self._thread(lambda _: self._store.put(data))
                return split_piece_list(data)
            raise BlobImpossibleError(f"the piece list of blob {self._wanted.blob.hex()} is not that of its only piece")
        await self._thread(lambda _: check_partial_room(self._store.partial(self._wanted.blob), self._layout.size, self._store.free_floor))
        return await self._ask_piece_list()

    async def _ask_piece_list(self) -> list[bytes]:
        self._transfer.state, self._transfer.sources = "receiving", [source.peer_id.hex() for source in self._sources]
        asking = PieceListAsking(self._wanted, self._layout.list_size)
        try:
            data = await asking.ask(self._sources, self._offers)
        finally:
            for peer in asking.liars:
                self._is_liar(peer)
        self._sources = [source for source in asking.sources if source.peer_id not in asking.liars]
        await self._thread(lambda _: self._store.put(data))
        return split_piece_list(data)

    async def _fill(self, file: PartialFile, hashes: Sequence[bytes]) -> None:
        plan = FetchPlan(self._layout, await self._thread(file.recheck), _ways(self._sources))
        if self._means.kept is not None:
            await take_kept(self._means.kept, self._wanted.group, hashes, (file, plan), self._means.buffers)
        self._transfer.bytes_done = plan.bytes_held
        try:
            while not plan.complete:
                self._join(plan)
                self._ask(file, plan)
                if not self._asked:
                    raise self._wrong
                look_again_s = LOOK_AGAIN_S if plan.has_idle else None
                await asyncio.wait({*self._asked, self._offers.told}, timeout=look_again_s, return_when=asyncio.FIRST_COMPLETED)
                for task in [each for each in self._asked if each.done()]:
                    self._ended(plan, task, self._asked.pop(task))
                too_slow = plan.too_slow(_now_ms(), is_full=self._means.requests >= REQUESTS_MAX)
                for task, request in self._asked.items():
                    if request in too_slow or not plan.is_needed(request):
                        task.cancel()
        finally:
            await end_all(self._asked)

    def _join(self, plan: FetchPlan) -> None:
        """Let those be asked who turned up meanwhile, or came back. Who is elsewhere now is waited for no more where it was."""
        offered = self._offers.take()[: max(0, SOURCES_MAX - len(self._sources))]
        present = {source.peer_id for source in offered}
        left = {number for number, source in enumerate(self._sources) if source.peer_id in present and source not in offered and plan.can_ask(number)}
        moved = {self._sources[number].peer_id for number in left}
        for number, source in enumerate(self._sources):
            if source.peer_id in moved:
                plan.failed(number)  # All ways to it join anew: another one may be the best now.
        for task, request in self._asked.items():
            if request.source in left:
                task.cancel()
        joining = set(plan.join(_ways(offered)))
        self._sources += [source for source, way in zip(offered, _ways(offered), strict=True) if way in joining]

    def _ask(self, file: PartialFile, plan: FetchPlan) -> None:
        """Ask whoever can be asked now."""
        while not self._asked or self._means.requests < REQUESTS_MAX:
            request = plan.next_request(_now_ms())
            if request is None:
                break
            self._means.requests += 1
            task = asyncio.create_task(self._receive(file, plan, request, self._sources[request.source]))
            task.add_done_callback(self._over)
            self._asked[task] = request
        self._transfer.state = "receiving"
        self._transfer.sources = list(dict.fromkeys(self._sources[request.source].peer_id.hex() for request in self._asked.values()))

    def _over(self, _task: "asyncio.Task[None]") -> None:
        self._means.requests -= 1

    def _ended(self, plan: FetchPlan, task: "asyncio.Task[None]", request: PieceRequest) -> None:
        plan.ended(request)
        if task.cancelled():
            return  # Others brought what it was asked for.
        try:
            task.result()
        except BlobMismatchError as error:
            self._wrong = error
            plan.lied(request.source)
            self._is_liar(self._sources[request.source].peer_id)
        except (TransportError, RemoteProtocolError) as error:
            self._wrong = error
            plan.failed(request.source)

    def _is_liar(self, peer: PeerId) -> None:
        if peer.hex() not in self._transfer.liars:
            self._transfer.liars.append(peer.hex())
            self._means.report(self._wanted, peer)

    async def _receive(self, file: PartialFile, plan: FetchPlan, request: PieceRequest, source: BlobSource) -> None:
        """Take the pieces of one request: while one is hashed and written the next ones come in. Ends early at what is not missing any more."""
        waiting: deque[asyncio.Task[None]] = deque()
        waiting_max = max(1, WAITING_BYTES_MAX // self._layout.piece_size)
        pieces = IncomingPieces(self._layout, request, self._means.buffers)
        start, stop = self._layout.start(request.first), self._layout.stop(request.stop - 1)
        try:
            async with contextlib.aclosing(self._reading(source, pieces, start, stop)) as stream:
                async for part in stream:
                    plan.came(request, len(part), _now_ms())
                    self._transfer.came(len(part))
                    pieces.came(len(part))
                    if pieces.is_full:
                        waiting.append(asyncio.create_task(self._take(file, plan, (pieces.piece, pieces.take()), source)))
                    while waiting and (waiting[0].done() or len(waiting) > waiting_max):
                        await waiting.popleft()
                    if not (pieces.is_complete or plan.is_missing(pieces.piece)):
                        break
            while waiting:
                await waiting.popleft()
        finally:
            pieces.drop()
            if waiting:
                await asyncio.wait(waiting)
                for task in waiting:
                    task.exception()  # Looked at, whatever else goes wrong here.
        if not pieces.is_complete and plan.is_missing(pieces.piece):
            raise TransportError(f"peer {source.peer_id.hex()} stopped in the middle of blob {self._wanted.blob.hex()}")

    def _reading(self, source: BlobSource, pieces: IncomingPieces, start: int, stop: int) -> AsyncGenerator[memoryview, None]:
        wanted = self._wanted
        if isinstance(source, FillingSource):
            return source.read_into(wanted.group, wanted.blob, pieces.place, start, stop)
        return copied(source.read(wanted.group, wanted.blob, start, stop), pieces.place)

    async def _take(self, file: PartialFile, plan: FetchPlan, came: tuple[int, memoryview], source: BlobSource) -> None:
        piece, data = came
        try:
            taken = await in_thread(file.threads, lambda _: file.take(piece, data))
            if taken is None:
                raise BlobMismatchError(f"peer {source.peer_id.hex()} sent a wrong piece {piece} of blob {self._wanted.blob.hex()}")
            await asyncio.wrap_future(taken)
        finally:
            self._means.buffers.give_back(data)
        if plan.is_missing(piece):
            plan.verified(piece)
            self._transfer.count(len(data))
        failpoint("fetch.after_piece")

    async def _finish(self, file: PartialFile) -> None:
        self._transfer.state = "verifying"
        wanted = self._wanted
        if await self._thread(file.finish) != (wanted.blob, wanted.sha256):
            await self._thread(lambda _: self._store.discard(wanted.blob))
            raise BlobImpossibleError(f"the pieces of blob {wanted.blob.hex()} are right and the whole is not: its event contradicts itself")
        # First who gave it: what has its name already does not come once more.
        await self._thread(lambda _: self._store.note_came(wanted.group, wanted.blob, wanted.pieces))
        await self._thread(lambda _: self._store.adopt(wanted.blob, file.path, "fetch"))

    async def _thread(self, work: Callable[[threading.Event], T]) -> T:
        return await in_thread(self._means.threads, work)


def _ways(sources: Iterable[BlobSource]) -> list[Way]:
    return [Way(source.peer_id, source.asks_others) for source in sources]


def _close(files: Sequence[PartialFile]) -> None:
    for file in files:
        file.close()


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
