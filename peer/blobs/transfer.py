"""Bringing blobs here from other peers. Sources are not trusted: each piece is verified before it counts, the whole before it has its name.

A transfer that is cut off, by a crash or otherwise, goes on where it was. One that nobody can complete fails with what the last source did wrong;
when to try again is for the caller to decide.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from peer.blobs.partial import BATCH_SIZE, PARTS_MAX, PartialFile
from peer.blobs.plan import Batch, Cutter, FetchPlan, Layout, PieceRequest, check_layout, split_piece_list
from peer.blobs.store import FileBlobStore
from peer.blobs.threads import in_thread
from peer.core.hashing import hash_bytes
from peer.core.identity import BlobId
from peer.core.interfaces import BlobSource, WantedBlob
from peer.errors import BlobImpossibleError, BlobMismatchError, DiskFullError, MeshError, RemoteProtocolError, TransportError
from peer.failpoints import failpoint

T = TypeVar("T")

CONCURRENCY = 4
"""Blobs that arrive at once."""

BATCHES_WAITING_MAX = 3
"""Batches that may wait while others are hashed and written."""

RATE_WINDOW_S = 2.0


@dataclass
class Transfer:
    """How far one blob is, for people to see."""

    wanted: WantedBlob
    state: str = "waiting"
    """`waiting`, `checking` what is here, `receiving` or `verifying` the whole."""
    bytes_done: int = 0
    rate: float = 0.0
    """Bytes a second, lately."""
    sources: list[str] = field(default_factory=list)
    """Peer ids in hex: who is asked."""
    _counted_from: float = 0.0
    _counted: int = 0

    def count(self, size: int) -> None:
        """`size` bytes more are verified."""
        now = time.monotonic()
        self.bytes_done += size
        self._counted += size
        if not self._counted_from:
            self._counted_from = now
        elif now - self._counted_from > RATE_WINDOW_S / 4:
            rate = self._counted / (now - self._counted_from)
            self.rate = rate if not self.rate else self.rate + (rate - self.rate) / 4
            self._counted_from, self._counted = now, 0

    def to_json(self) -> dict[str, object]:
        """As `status` shows it."""
        return {
            "id": self.wanted.blob.hex(),
            "group": self.wanted.group.hex(),
            "recording": self.wanted.recording.hex(),
            "bytes_done": self.bytes_done,
            "bytes_total": self.wanted.size,
            "rate": round(self.rate),
            "from": list(self.sources),
            "state": self.state,
        }


@dataclass
class _Turn:
    """Who fetches a blob, and how many more want it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Fetcher:
    """Fetches blobs into a store, a few at a time."""

    def __init__(self, store: FileBlobStore, *, concurrency: int = CONCURRENCY) -> None:
        self._store = store
        self._slots = asyncio.Semaphore(concurrency)
        self._threads = ThreadPoolExecutor(concurrency, "fetch")
        self._transfers: dict[BlobId, Transfer] = {}
        self._turns: dict[BlobId, _Turn] = {}

    def close(self) -> None:
        """Let the threads end. Nothing may be fetched afterwards."""
        self._threads.shutdown()

    @property
    def transfers(self) -> list[Transfer]:
        """What is under way or waits for its turn."""
        return list(self._transfers.values())

    async def fetch(self, wanted: WantedBlob, sources: Sequence[BlobSource]) -> None:
        """Bring a blob and its piece list here, from the first of `sources` that can, and return when both are durable.

        May be called for many blobs at once and twice for the same one. Cancelling it leaves a partial file that the next call continues.
        Raises `TransportError`, `BlobMismatchError` among them, if no source gave the right bytes, and `DiskFullError`.
        """
        layout = check_layout(wanted.size, wanted.piece_size)
        async with self._alone(wanted.blob):
            if self._store.has(wanted.blob):
                return
            transfer = self._transfers[wanted.blob] = Transfer(wanted)
            try:
                async with self._slots:
                    await _Fetch(self._store, self._threads, transfer, layout, sources).run()
            finally:
                del self._transfers[wanted.blob]

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


class _Fetch:
    """One blob on its way."""

    def __init__(self, store: FileBlobStore, threads: ThreadPoolExecutor, transfer: Transfer, layout: Layout, sources: Sequence[BlobSource]) -> None:
        self._store = store
        self._threads = threads
        self._transfer = transfer
        self._wanted = transfer.wanted
        self._layout = layout
        self._sources = sources

    async def run(self) -> None:
        hashes = await self._piece_list()
        self._transfer.state = "checking"
        path = self._store.partial(self._wanted.blob)
        try:
            file = await self._thread(lambda _: PartialFile(path, self._layout, hashes, self._store.free_floor))
            try:
                await self._fill(file)
                await self._finish(file)
            finally:
                await self._thread(lambda _: file.close())
        except DiskFullError:
            path.unlink(missing_ok=True)
            raise

    async def _piece_list(self) -> list[bytes]:
        """The hashes of all pieces, from the store or else from the first source that has the right ones."""
        pieces = self._wanted.pieces
        if self._store.has(pieces):
            data = await self._thread(lambda _: self._store.path(pieces).read_bytes())
            if len(data) == self._layout.list_size and hash_bytes(data) == pieces:
                return split_piece_list(data)
            raise BlobMismatchError(f"the piece list of blob {self._wanted.blob.hex()} has not the size that its event promises")
        if self._layout.piece_count <= 1:
            data = self._wanted.blob if self._layout.piece_count else b""
            if hash_bytes(data) == pieces:
                await self._thread(lambda _: self._store.put(data))
                return split_piece_list(data)
            raise BlobImpossibleError(f"the piece list of blob {self._wanted.blob.hex()} is not that of its only piece")
        return await self._ask_piece_list(pieces)

    async def _ask_piece_list(self, pieces: BlobId) -> list[bytes]:
        size = self._layout.list_size
        wrong: MeshError = _nobody(self._wanted)
        for source in self._sources:
            self._transfer.state, self._transfer.sources = "receiving", [source.peer_id.hex()]
            try:
                data = bytearray()
                async with contextlib.aclosing(source.read(self._wanted.group, pieces, 0, size)) as stream:
                    async for part in stream:
                        data += part
                        if len(data) > size:
                            break
                kept = bytes(data)
                if len(kept) != size or hash_bytes(kept) != pieces:
                    raise BlobMismatchError(f"peer {source.peer_id.hex()} sent a wrong piece list of blob {self._wanted.blob.hex()}")
            except (TransportError, RemoteProtocolError) as error:
                wrong = error
                continue
            await self._thread(lambda _, kept=kept: self._store.put(kept))  # type: ignore[misc]
            return split_piece_list(kept)
        raise wrong

    async def _fill(self, file: PartialFile) -> None:
        plan = FetchPlan(self._layout, await self._thread(file.recheck), len(self._sources))
        self._transfer.bytes_done = plan.bytes_held
        wrong: MeshError = _nobody(self._wanted)
        while (request := plan.next_request()) is not None:
            source = self._sources[request.source]
            self._transfer.state, self._transfer.sources = "receiving", [source.peer_id.hex()]
            try:
                await self._receive(file, plan, request, source)
            except (TransportError, RemoteProtocolError) as error:
                plan.failed(request.source)
                wrong = error
        if not plan.complete:
            raise wrong

    async def _receive(self, file: PartialFile, plan: FetchPlan, request: PieceRequest, source: BlobSource) -> None:
        """Take the pieces of one request: while some batches are hashed and written the next ones come in."""
        cutter = Cutter(self._layout, request, BATCH_SIZE, PARTS_MAX)
        start, stop = self._layout.start(request.first), self._layout.stop(request.stop - 1)
        waiting: list[Batch] = []
        writing = asyncio.create_task(self._take(file, plan, [], source))
        try:
            async with contextlib.aclosing(source.read(self._wanted.group, self._wanted.blob, start, stop)) as stream:
                async for data in stream:
                    waiting.extend(cutter.cut(data))
                    if waiting and (writing.done() or len(waiting) >= BATCHES_WAITING_MAX):
                        await writing
                        writing, waiting = asyncio.create_task(self._take(file, plan, waiting, source)), []
        finally:
            await asyncio.wait([writing])
            if not writing.cancelled():
                writing.exception()  # Looked at, whatever else goes wrong here.
        writing.result()
        await self._take(file, plan, waiting, source)
        if not cutter.complete:
            raise TransportError(f"peer {source.peer_id.hex()} stopped in the middle of blob {self._wanted.blob.hex()}")

    async def _take(self, file: PartialFile, plan: FetchPlan, batches: list[Batch], source: BlobSource) -> None:
        if not batches:
            return
        for piece, right in await self._thread(lambda _: _write(file, batches)):
            if not right:
                raise BlobMismatchError(f"peer {source.peer_id.hex()} sent a wrong piece {piece} of blob {self._wanted.blob.hex()}")
            plan.verified(piece)
            self._transfer.count(self._layout.stop(piece) - self._layout.start(piece))
            failpoint("fetch.after_piece")

    async def _finish(self, file: PartialFile) -> None:
        self._transfer.state = "verifying"
        wanted = self._wanted
        if await self._thread(file.finish) != (wanted.blob, wanted.sha256):
            file.path.unlink(missing_ok=True)
            raise BlobImpossibleError(f"the pieces of blob {wanted.blob.hex()} are right and the whole is not: its event contradicts itself")
        await self._thread(lambda _: self._store.adopt(wanted.blob, file.path, "fetch"))
        await self._thread(lambda _: self._store.note_came(wanted.group, wanted.blob, wanted.pieces))

    async def _thread(self, work: Callable[[threading.Event], T]) -> T:
        return await in_thread(self._threads, work)


def _write(file: PartialFile, batches: Sequence[Batch]) -> list[tuple[int, bool]]:
    """Write batches; the pieces that end in them, and whether each is right. Stops at the first that is not."""
    ended = []
    for batch in batches:
        if batch.begins:
            file.begin(batch.piece)
        file.write(batch.parts)
        if batch.ends:
            ended.append((batch.piece, file.end(batch.piece)))
            if not ended[-1][1]:
                break
    return ended


def _nobody(wanted: WantedBlob) -> TransportError:
    return TransportError(f"nobody who has blob {wanted.blob.hex()} can be reached", fix="wait until a site that has it is up")
