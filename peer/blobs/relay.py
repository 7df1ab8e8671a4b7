"""Bytes for members that cannot reach one another: pieces are got from others when somebody asks, verified, kept for a while and given on.

Those others are told to answer from what they have, so a request travels no further than one hop and goes round in no circle. Each piece is got once,
however many wait for it, and who goes away ends nothing. What is wrong is neither kept nor given, and who sent it is not asked for that blob again.
"""

import asyncio
import contextlib
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from peer.blobs.cache import PieceCache
from peer.blobs.plan import Layout, check_layout
from peer.core.hashing import HASH_SIZE, hash_bytes
from peer.core.identity import BlobId, GroupId, PeerId
from peer.core.interfaces import BlobSource, BlobStore, WantedBlob
from peer.core.relaying import GroupFiles, WantedPart
from peer.errors import BlobMismatchError, RemoteProtocolError, StoreError, TransportError
from peer.threads import in_thread

CONCURRENCY = 4
"""Pieces that are got at once."""

WAITING_MAX = 64
"""Pieces that are got or wait for it; who asks for another one then is told that it is not here."""

SOURCES_MAX = 32
"""Ways to members that are tried for one piece."""

AHEAD = 2
"""Pieces that are got before they are asked for, after one that was asked for."""

ANSWER_TIMEOUT_S = 20.0
"""How long somebody waits for a piece. It is got all the same: who asks again finds it here."""

SOURCE_TIMEOUT_S = 10.0
SLOWEST_RATE = 16 * 1024
"""Bytes a second: a slower source is given up."""

LIST_SIZE_MAX = 2 * 1024 * 1024
"""Bytes of a piece list that is worked with: that of a blob of 256 GiB. Larger ones do not pass through."""

HELD_BYTES_MAX = 16 * 1024 * 1024
"""Pieces and piece lists in memory: those that are being given on, part by part."""

LIARS_MAX = 1024
"""Members that sent something wrong, each with what it was wrong by."""

Sources = Callable[[GroupId, PeerId], Sequence[BlobSource]]
"""Linked members of a group that may be asked for what they have, given who made the recording."""


class Pace(NamedTuple):
    """How pieces are got."""

    answer_s: float | None = None
    """How long somebody waits for a piece, if not as long as others."""
    silence_s: float | None = None
    """A source that says nothing for so long is given up, however much time it would have."""
    ahead: int = AHEAD


PASSING = Pace()
"""For members that ask."""


class _Piece(NamedTuple):
    """Something to be had: a piece of a file, or its piece list."""

    file: WantedBlob
    hash: bytes
    blob: BlobId
    start: int
    stop: int

    @property
    def key(self) -> bytes:
        """Under which the right bytes are kept, whatever was claimed of the file."""
        return self.file.group + self.hash

    @property
    def question(self) -> tuple[bytes, BlobId, int, int]:
        """What is asked for, and what the answer must be: a lie about a file makes another question of it."""
        return self.key, self.blob, self.start, self.stop

    @property
    def claim(self) -> tuple[BlobId, int, BlobId]:
        """What a member that lies is a liar by: an honest one is, by a lie about the file."""
        return self.file.blob, self.file.size, self.file.pieces


class PieceRelay:
    """A `BlobRelay` that keeps pieces in a cache."""

    def __init__(  # noqa: PLR0913  (its collaborators)
        self,
        cache: PieceCache,
        blobs: BlobStore,
        files: GroupFiles,
        sources: Sources,
        *,
        is_coming: Callable[[BlobId], bool],
        may_give: Callable[[GroupId, BlobId], Awaitable[bool]],
        report: Callable[[str, StoreError], None],
        pace: Pace = PASSING,
    ) -> None:
        """`is_coming` says whether this site is fetching a blob for itself: then nothing of it is got twice.

        `may_give` says what of `blobs` is for a group. `report` hears why nothing is kept.
        """
        self._cache = cache
        self._blobs = blobs
        self._files = files
        self._sources = sources
        self._is_coming = is_coming
        self._may_give = may_give
        self._report = report
        self._pace = pace
        self._threads = ThreadPoolExecutor(1, "cache")
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._getting: dict[tuple[bytes, BlobId, int, int], asyncio.Task[bytes | None]] = {}
        self._held = _Held()
        self._liars: OrderedDict[tuple[PeerId, tuple[BlobId, int, BlobId]], None] = OrderedDict()
        self._silent: set[PeerId] = set()
        """Members that did not answer in time: they are asked after all others, so that each holds up one piece."""
        self._failing = False

    async def close(self) -> None:
        """Get nothing more."""
        tasks = list(self._getting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown()

    async def size(self, group: GroupId, blob: BlobId) -> int | None:
        """As `BlobRelay.size`."""
        for file in await self._files.files_with(group, blob):
            layout = _layout(file)
            if layout is not None:
                return layout.list_size if blob == file.pieces else layout.size
        return None

    async def read(self, part: WantedPart) -> bytes | None:
        """As `BlobRelay.read`. Where members say different things of a blob, what fits together counts."""
        for file in await self._files.files_with(part.group, part.blob):
            data = await self.read_file(file, part)
            if data is not None:
                return data
        return None

    async def read_file(self, file: WantedBlob, part: WantedPart) -> bytes | None:
        """The same of a file of which this is said."""
        layout = _layout(file)
        return await self._read(file, layout, part) if layout is not None else None

    async def get_ahead(self, file: WantedBlob, start: int, size: int, pieces_max: int) -> None:
        """Begin to get the pieces of a part, `pieces_max` of them at most."""
        layout = _layout(file)
        hashes = await self._piece_list(file, layout, relay=True) if layout is not None else None
        if layout is not None and hashes is not None:
            first, last = start // layout.piece_size, (start + size - 1) // layout.piece_size
            for index in range(first, min(last + 1, first + pieces_max)):
                piece = _piece_of(file, layout, hashes, index)
                if piece.key not in self._held and not self._cache.has(file.group, piece.hash):
                    self._start(piece)

    async def _read(self, file: WantedBlob, layout: Layout, part: WantedPart) -> bytes | None:
        relay = part.relay and not self._is_coming(file.blob)
        hashes = await self._piece_list(file, layout, relay=relay)
        if hashes is None or part.blob == file.pieces:
            return hashes[part.start : part.start + part.size] if hashes is not None else None
        found, position, stop = [], part.start, min(part.start + part.size, layout.size)
        while position < stop:
            index = position // layout.piece_size
            data = await self._get(_piece_of(file, layout, hashes, index), relay=relay)
            if data is None:
                return None
            offset = position - layout.start(index)
            found.append(data[offset : offset + stop - position])
            position += len(found[-1])
            if relay:
                self._get_ahead(file, layout, hashes, index + 1)
        return b"".join(found)

    async def _piece_list(self, file: WantedBlob, layout: Layout, *, relay: bool) -> bytes | None:
        if layout.piece_count <= 1:
            only = file.blob if layout.piece_count else b""
            return only if hash_bytes(only) == file.pieces else None
        piece = _Piece(file, file.pieces, file.pieces, 0, layout.list_size)
        if piece.key not in self._held and self._blobs.has(file.pieces) and await self._may_give(file.group, file.pieces):
            own = await in_thread(self._threads, lambda _: _read_file(self._blobs.path(file.pieces), layout.list_size))
            if hash_bytes(own) == file.pieces:
                self._held.put(piece.key, own)
        return await self._get(piece, relay=relay)

    async def _get(self, piece: _Piece, *, relay: bool) -> bytes | None:
        data = self._held.get(piece.key)
        if data is None:
            data = await in_thread(self._threads, lambda _: self._cache.get(piece.file.group, piece.hash))
            if data is not None:
                self._held.put(piece.key, data)
        if data is None and relay:
            data = await self._wait_for(piece)
        # The right bytes may have another length than a lie about the file says.
        return data if data is not None and len(data) == piece.stop - piece.start else None

    async def _wait_for(self, piece: _Piece) -> bytes | None:
        data = self._held.get(piece.key)  # It may have come while the disk was looked at.
        if data is not None:
            return data
        task = self._start(piece)
        if task is None:
            return None
        await asyncio.wait([task], timeout=self._pace.answer_s or ANSWER_TIMEOUT_S)
        return task.result() if task.done() and not task.cancelled() else None

    def _start(self, piece: _Piece) -> "asyncio.Task[bytes | None] | None":
        """Who gets that piece; none if too much is under way."""
        task = self._getting.get(piece.question)
        if task is None and len(self._getting) < WAITING_MAX:
            task = self._getting[piece.question] = asyncio.create_task(self._bring(piece))
            task.add_done_callback(lambda _: self._getting.pop(piece.question))
        return task

    def _get_ahead(self, file: WantedBlob, layout: Layout, hashes: bytes, first: int) -> None:
        """Get the next pieces while this one is given on, where nobody else has to wait for that."""
        for index in range(first, min(first + self._pace.ahead, layout.piece_count)):
            piece = _piece_of(file, layout, hashes, index)
            if len(self._getting) < CONCURRENCY and piece.key not in self._held and not self._cache.has(file.group, piece.hash):
                self._start(piece)

    async def _bring(self, piece: _Piece) -> bytes | None:
        async with self._slots:
            sources = sorted(self._sources(piece.file.group, piece.file.site), key=lambda source: source.peer_id in self._silent)
            for source in sources[:SOURCES_MAX]:
                if (source.peer_id, piece.claim) in self._liars:
                    continue
                data = await self._ask(source, piece)
                if data is None:
                    continue
                if await in_thread(self._threads, lambda _, data=data: self._take(piece, data)):  # type: ignore[misc]
                    self._held.put(piece.key, data)
                    return data
                self._liars[source.peer_id, piece.claim] = None
                if len(self._liars) > LIARS_MAX:
                    self._liars.popitem(last=False)
        return None

    async def _ask(self, source: BlobSource, piece: _Piece) -> bytes | None:
        """What `source` says these bytes are; None if they do not come."""
        size, data = piece.stop - piece.start, bytearray()
        time = asyncio.get_running_loop().time
        end, silence_s = time() + SOURCE_TIMEOUT_S + size / SLOWEST_RATE, self._pace.silence_s or math.inf
        try:
            async with (
                asyncio.timeout_at(min(end, time() + silence_s)) as limit,
                contextlib.aclosing(source.read(piece.file.group, piece.blob, piece.start, piece.stop)) as stream,
            ):
                async for each in stream:
                    limit.reschedule(min(end, time() + silence_s))
                    data += each
                    if len(data) > size:
                        break
        except TimeoutError:
            self._silent.add(source.peer_id)
            return None
        except (TransportError, RemoteProtocolError):
            return None
        self._silent.discard(source.peer_id)
        return bytes(data)

    def _take(self, piece: _Piece, data: bytes) -> bool:
        """True if these are the right bytes. For the thread."""
        if hash_bytes(data) != piece.hash:
            return False
        try:
            self._cache.put(piece.file.group, piece.hash, data)
            self._failing = False
        except StoreError as error:
            if not self._failing:
                self._report("what passes through this site cannot be kept for a while", error)
            self._failing = True
        return True


class _Held:
    """A few pieces in memory; those that were not used for the longest time go first."""

    def __init__(self) -> None:
        self._pieces: OrderedDict[bytes, bytes] = OrderedDict()
        self._size = 0

    def __contains__(self, key: bytes) -> bool:
        return key in self._pieces

    def get(self, key: bytes) -> bytes | None:
        if key in self._pieces:
            self._pieces.move_to_end(key)
        return self._pieces.get(key)

    def put(self, key: bytes, data: bytes) -> None:
        if key in self._pieces:
            return
        self._pieces[key] = data
        self._size += len(data)
        while self._size > HELD_BYTES_MAX:
            self._size -= len(self._pieces.popitem(last=False)[1])


def _layout(file: WantedBlob) -> Layout | None:
    """How the blob is cut, if it can be and its list is not too long."""
    try:
        layout = check_layout(file.size, file.piece_size)
    except BlobMismatchError:
        return None
    return layout if layout.list_size <= LIST_SIZE_MAX else None


def _read_file(path: Path, size_max: int) -> bytes:
    """What is in a file, nothing if it is gone."""
    try:
        with path.open("rb") as file:
            return file.read(size_max + 1)
    except OSError:
        return b""


def _piece_of(file: WantedBlob, layout: Layout, hashes: bytes, index: int) -> _Piece:
    return _Piece(file, hashes[index * HASH_SIZE : (index + 1) * HASH_SIZE], file.blob, layout.start(index), layout.stop(index))
