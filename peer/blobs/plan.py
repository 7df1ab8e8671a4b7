"""Which piece of a blob is fetched from whom next. Pure: it counts pieces and sources, and touches neither.

A piece counts once its bytes have been verified, wherever they came from. One source serves until it fails; then the next one is asked for what is
still missing. Several sources at once fit behind the same three calls: `next_request` would hand out runs of pieces that nobody is asked for yet.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from peer.core.hashing import HASH_SIZE
from peer.errors import BlobImpossibleError, BlobMismatchError

PIECE_SIZE_MIN = 1024 * 1024
PIECE_SIZE_MAX = 4 * 1024 * 1024
PIECES_WANTED_MAX = 2048
REQUEST_PIECES_MAX = 256
"""Pieces that one request may ask for: at most 1 GiB, so that a stopped transfer is noticed and shared out."""

BLOB_SIZE_MAX = 2**44
"""16 TiB: the piece list of a larger one would not fit into memory."""


class Layout(NamedTuple):
    """How a blob is cut into pieces."""

    size: int
    piece_size: int

    @property
    def piece_count(self) -> int:
        """Number of pieces; none for the empty blob."""
        return -(-self.size // self.piece_size)

    @property
    def list_size(self) -> int:
        """Bytes of the list of piece hashes."""
        return HASH_SIZE * self.piece_count

    def start(self, piece: int) -> int:
        """Where `piece` begins."""
        return piece * self.piece_size

    def stop(self, piece: int) -> int:
        """Where `piece` ends."""
        return min(self.size, (piece + 1) * self.piece_size)


class PieceRequest(NamedTuple):
    """Pieces `first <= piece < stop`, to be asked of the source with this number."""

    source: int
    first: int
    stop: int


def piece_size_for(size: int) -> int:
    """The smallest power of two from 1 MiB on that cuts `size` bytes into at most 2048 pieces, but never above 4 MiB."""
    piece_size = PIECE_SIZE_MIN
    while piece_size < PIECE_SIZE_MAX and size > piece_size * PIECES_WANTED_MAX:
        piece_size *= 2
    return piece_size


def layout_for(size: int) -> Layout:
    """The layout that this peer gives to a blob of `size` bytes."""
    return Layout(size, piece_size_for(size))


def check_layout(size: int, piece_size: int) -> Layout:
    """The layout that an event claims. Raises `BlobImpossibleError` for one that no blob can have."""
    if not 0 <= size <= BLOB_SIZE_MAX or piece_size != piece_size_for(size):
        raise BlobImpossibleError(f"a blob of {size} bytes is never cut into pieces of {piece_size}")
    return Layout(size, piece_size)


def split_piece_list(data: bytes) -> list[bytes]:
    """The hashes in a piece list."""
    return [data[start : start + HASH_SIZE] for start in range(0, len(data), HASH_SIZE)]


class FetchPlan:
    """What is missing of one blob, and whom to ask for it."""

    def __init__(self, layout: Layout, held: Iterable[int], sources: int) -> None:
        self._layout = layout
        self._missing = set(range(layout.piece_count)).difference(held)
        self._sources = list(range(sources))

    @property
    def complete(self) -> bool:
        """True if no piece is missing."""
        return not self._missing

    @property
    def bytes_held(self) -> int:
        """Bytes of the pieces that count."""
        return self._layout.size - sum(self._layout.stop(piece) - self._layout.start(piece) for piece in self._missing)

    def missing(self) -> list[int]:
        """The pieces that are still to come, in order."""
        return sorted(self._missing)

    def next_request(self) -> PieceRequest | None:
        """The first run of missing pieces and whom to ask for it; none if nothing is missing or nobody is left to ask."""
        if not self._missing or not self._sources:
            return None
        first = min(self._missing)
        stop = first + 1
        while stop in self._missing and stop - first < REQUEST_PIECES_MAX:
            stop += 1
        return PieceRequest(self._sources[0], first, stop)

    def verified(self, piece: int) -> None:
        """The bytes of `piece` are here and are the right ones."""
        self._missing.discard(piece)

    def failed(self, source: int) -> None:
        """Do not ask `source` for this blob any more."""
        self._sources.remove(source)


class Batch(NamedTuple):
    """Consecutive bytes of one piece."""

    piece: int
    begins: bool
    ends: bool
    parts: list[memoryview]


class Cutter:
    """Cuts what arrives for a request into batches that are worth a write and never cross the end of a piece."""

    def __init__(self, layout: Layout, request: PieceRequest, size_max: int, parts_max: int) -> None:
        self._layout = layout
        self._piece = request.first
        self._stop = request.stop
        self._size_max = size_max
        self._parts_max = parts_max
        self._begins = True
        self._batch: list[memoryview] = []
        self._size = 0
        self._left = layout.stop(request.first) - layout.start(request.first)

    @property
    def complete(self) -> bool:
        """True once all that was asked for came."""
        return self._piece == self._stop

    def cut(self, data: bytes) -> Iterator[Batch]:
        """The batches that `data` completes. Raises `BlobMismatchError` if it is more than was asked for."""
        view = memoryview(data)
        while view:
            if self.complete:
                raise BlobMismatchError("more bytes came than were asked for")
            part = view[: min(self._left, self._size_max - self._size)]
            view = view[len(part) :]
            self._batch.append(part)
            self._size += len(part)
            self._left -= len(part)
            if not self._left or self._size == self._size_max or len(self._batch) == self._parts_max:
                yield self._take()

    def _take(self) -> Batch:
        batch = Batch(self._piece, self._begins, not self._left, self._batch)
        self._batch, self._size, self._begins = [], 0, batch.ends
        if batch.ends:
            self._piece += 1
            if not self.complete:
                self._left = self._layout.stop(self._piece) - self._layout.start(self._piece)
        return batch
