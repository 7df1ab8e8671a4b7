"""A blob while its bytes arrive: a file of the final size whose pieces are filled in and verified one by one.

What lies in the file counts only after its hash was taken, also after a restart: which pieces were verified is written down nowhere, it is found out
again. The whole file is hashed besides, as its pieces come in order or else at the end, and only that decides whether it gets its name.
"""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from peer.blobs.digest import BUFFER_SIZE, StoppedError, fill
from peer.blobs.direct import DirectFile, aligned_buffer
from peer.blobs.disk import BLOB_MODE, disk_errors, holds_data, reserve
from peer.blobs.plan import Layout
from peer.core.hashing import Hasher, new_blake3, new_sha256

BATCH_SIZE = 1024 * 1024
"""Bytes that are hashed and written in one go, while the next come in."""

PARTS_MAX = 512
"""Parts in one batch: a source that sends its bytes one by one cannot fill the memory with them."""

_BLOCK_SIZE = 512


class PartialFile:
    """An open partial file. For threads, one at a time."""

    def __init__(self, path: Path, layout: Layout, piece_hashes: Sequence[bytes], floor: int) -> None:
        """Open or make the file and reserve its space, leaving `floor` bytes of the disk free. Raises `DiskFullError`."""
        self.path = path
        self._layout = layout
        self._piece_hashes = piece_hashes
        self._blake: Hasher = new_blake3()
        self._sha: Hasher = new_sha256()
        self._hashed = 0
        self._piece: Hasher = new_blake3()
        self._position = 0
        self._buffer = aligned_buffer(min(BATCH_SIZE, layout.size))
        self._before: tuple[Hasher, Hasher] | None = None
        with disk_errors(path.name):
            if path.exists():
                path.chmod(0o600)  # It may have been about to get its name.
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                state = os.fstat(self._descriptor)
                if state.st_size > layout.size:
                    os.ftruncate(self._descriptor, layout.size)
                if state.st_blocks * _BLOCK_SIZE < layout.size:
                    reserve(self._descriptor, path.parent, layout.size, floor)
            except BaseException:
                os.close(self._descriptor)
                raise
        self._file = DirectFile(path, self._descriptor)
        self._beside = ThreadPoolExecutor(1, "write")

    def close(self) -> None:
        """Close the file; it stays where it is."""
        self._beside.shutdown()
        self._file.close()
        os.close(self._descriptor)

    def recheck(self, stop: threading.Event) -> list[int]:
        """The pieces that are here already, hashed again."""
        found = []
        buffer = memoryview(bytearray(min(BUFFER_SIZE, max(1, self._layout.size))))
        for piece in range(self._layout.piece_count):
            start, end = self._layout.start(piece), self._layout.stop(piece)
            if holds_data(self._descriptor, start, end) and self._is_whole(piece, start, end, buffer, stop):
                found.append(piece)
        return found

    def begin(self, piece: int) -> None:
        """What is written next is `piece`."""
        self._position = self._layout.start(piece)
        self._piece = new_blake3()
        self._before = (self._blake.copy(), self._sha.copy()) if self._hashed == self._position else None

    def write(self, parts: Sequence[memoryview]) -> None:
        """The next bytes of the piece that was begun, at most `BATCH_SIZE`. They are hashed while they are written."""
        size = 0
        for part in parts:
            self._buffer[size : size + len(part)] = part
            size += len(part)
        view = self._buffer[:size]
        writing = self._beside.submit(self._file.write, view, self._position)
        self._piece.update(view)
        if self._before is not None:
            self._blake.update(view)
            self._sha.update(view)
        self._position += size
        with disk_errors(self.path.name):
            writing.result()

    def end(self, piece: int) -> bool:
        """True if the piece that was written is the right one."""
        right = self._piece.digest() == self._piece_hashes[piece]
        if self._before is not None:
            if right:
                self._hashed = self._position
            else:
                self._blake, self._sha = self._before
        return right

    def finish(self, stop: threading.Event) -> tuple[bytes, bytes]:
        """BLAKE3 and SHA-256 of the whole file, which is on the disk afterwards and may not be written any more."""
        buffer = memoryview(bytearray(min(BUFFER_SIZE, max(1, self._layout.size - self._hashed))))
        self._hash_on(self._layout.size, buffer, stop, (self._blake, self._sha))
        with disk_errors(self.path.name):
            os.fchmod(self._descriptor, BLOB_MODE)
            os.fsync(self._descriptor)
        return self._blake.digest(), self._sha.digest()

    def _is_whole(self, piece: int, start: int, end: int, buffer: memoryview, stop: threading.Event) -> bool:
        hasher = new_blake3()
        if self._hashed != start:
            self._read(start, end, buffer, stop, (hasher,))
            return hasher.digest() == self._piece_hashes[piece]
        before = (self._blake.copy(), self._sha.copy())
        self._read(start, end, buffer, stop, (hasher, self._blake, self._sha))
        if hasher.digest() != self._piece_hashes[piece]:
            self._blake, self._sha = before
            return False
        self._hashed = end
        return True

    def _hash_on(self, end: int, buffer: memoryview, stop: threading.Event, hashers: Sequence[Hasher]) -> None:
        self._read(self._hashed, end, buffer, stop, hashers)
        self._hashed = end

    def _read(self, start: int, end: int, buffer: memoryview, stop: threading.Event, hashers: Sequence[Hasher]) -> None:
        position = start

        def read(view: memoryview) -> int:
            return os.preadv(self._descriptor, [view], position)

        while position < end:
            if stop.is_set():
                raise StoppedError
            with disk_errors(self.path.name):
                filled = fill(read, buffer[: end - position])
            if not filled:
                break
            for hasher in hashers:
                hasher.update(buffer[:filled])
            position += filled
