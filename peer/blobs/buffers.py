"""Memory for pieces on their way. It is used again and again: memory that is new each time costs as much as a hash of it."""

from peer.blobs.direct import aligned_buffer
from peer.blobs.plan import PIECE_SIZE_MIN, Layout
from peer.blobs.providers import PieceRequest
from peer.errors import BlobMismatchError

KEPT_BYTES_MAX = 8 * 1024 * 1024
"""Memory that is kept while nothing arrives."""


class PieceBuffers:
    """Buffers for whole pieces, aligned for the disk. For one thread."""

    def __init__(self) -> None:
        self._free: list[memoryview] = []

    def take(self, size: int) -> memoryview:
        """One of this size."""
        for index, buffer in enumerate(self._free):
            if len(buffer) >= size:
                return self._free.pop(index)[:size]
        return aligned_buffer(max(size, PIECE_SIZE_MIN))[:size]

    def give_back(self, buffer: memoryview) -> None:
        """Nobody reads it any more."""
        whole = memoryview(buffer.obj)
        if sum(map(len, self._free)) + len(whole) <= KEPT_BYTES_MAX:
            self._free.append(whole)


class IncomingPieces:
    """The pieces of one request as their bytes come in."""

    def __init__(self, layout: Layout, request: PieceRequest, buffers: PieceBuffers) -> None:
        self.piece = request.first
        """The one that is coming in, or would be next."""
        self._layout = layout
        self._stop = request.stop
        self._buffers = buffers
        self._buffer: memoryview | None = None
        self._filled = 0

    @property
    def is_full(self) -> bool:
        """True once all bytes of `piece` are here."""
        return self._buffer is not None and self._filled == len(self._buffer)

    @property
    def is_complete(self) -> bool:
        """True once all that was asked for came."""
        return self.piece == self._stop

    def place(self) -> memoryview:
        """Where the next bytes of `piece` are to lie. Raises `BlobMismatchError` if more come than were asked for."""
        if self.is_complete:
            raise BlobMismatchError("more bytes came than were asked for")
        if self._buffer is None:
            self._buffer, self._filled = self._buffers.take(self._layout.stop(self.piece) - self._layout.start(self.piece)), 0
        return self._buffer[self._filled :]

    def came(self, count: int) -> None:
        """So many of them lie there."""
        self._filled += count

    def take(self) -> memoryview:
        """The bytes of `piece`, for whoever gives the buffer back; the next piece is coming in now."""
        buffer, self._buffer = self._buffer, None
        assert buffer is not None
        self.piece += 1
        return buffer

    def drop(self) -> None:
        """Nothing more comes."""
        if self._buffer is not None:
            self._buffers.give_back(self._buffer)
            self._buffer = None
