"""A blob while its bytes arrive: a file of the final size whose pieces are filled in, in any order, once each was found to be right.

Only right pieces are written. Still what lies in the file after a restart counts only after its hash was taken again: a crash may have torn it, and
which pieces were verified is written down nowhere. The whole file is hashed besides, as its pieces come in order or else read back, and only that
decides whether it gets its name.
"""

import contextlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from peer.blobs.digest import BUFFER_SIZE, StoppedError, fill
from peer.blobs.direct import DirectFile
from peer.blobs.disk import BLOB_MODE, Floor, check_room, disk_errors, first_data, reserve
from peer.blobs.plan import Layout
from peer.core.hashing import Hasher, hash_bytes, new_blake3, new_sha256

_BLOCK_SIZE = 512


class PartialFile:
    """An open partial file. For one thread at a time; hashing the whole and writing have threads of their own, which let go of the interpreter."""

    def __init__(self, path: Path, layout: Layout, piece_hashes: Sequence[bytes], floor: Floor) -> None:
        """Open or make the file and reserve its space, down to `floor`. Raises `DiskFullError`."""
        self.path = path
        self._layout = layout
        self._piece_hashes = piece_hashes
        self._held = bytearray(layout.piece_count)
        self._blake: Hasher = new_blake3()
        self._sha: Hasher = new_sha256()
        self._hashed = 0
        """How far the whole is hashed, or is going to be by what waits for its thread."""
        self._turn = threading.Lock()
        self._is_catching_up = False
        self._caught_up: Future[None] | None = None
        self._stop = threading.Event()
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
        self.threads = ThreadPoolExecutor(1, "verify")
        """For `take`: pieces that come in order are to be taken in order, or the whole is hashed from the disk."""
        self._writing = ThreadPoolExecutor(1, "write")
        self._hashing = ThreadPoolExecutor(1, "hash")

    def close(self) -> None:
        """Close the file; it stays where it is."""
        self._stop.set()
        self.threads.shutdown()
        self._hashing.shutdown()
        self._writing.shutdown()
        self._file.close()
        os.close(self._descriptor)

    def recheck(self, stop: threading.Event) -> list[int]:
        """The pieces that are here already, hashed again."""
        buffer = memoryview(bytearray(min(BUFFER_SIZE, max(1, self._layout.size))))
        # Where something was written next. It is asked once for each gap: in memory the system looks through all that is reserved each time.
        written: int | None = -1
        for piece in range(self._layout.piece_count):
            start, end = self._layout.start(piece), self._layout.stop(piece)
            if written is not None and written < start:
                written = first_data(self._descriptor, start)
            if written is None:
                break
            if written < end and self._is_whole(piece, start, end, buffer, stop):
                self._held[piece] = 1
        return [piece for piece, held in enumerate(self._held) if held]

    def take(self, piece: int, data: memoryview) -> "Future[None] | None":
        """Write these bytes if they are those of `piece`, unless it is here; None if they are others.

        The piece is here, and `data` may be used for something else, once the future is through.
        """
        if hash_bytes(data) != self._piece_hashes[piece]:
            return None
        start, end = self._layout.start(piece), self._layout.stop(piece)
        with self._turn:
            if self._held[piece]:
                return self._writing.submit(_nothing)
            self._held[piece] = 1
            taken = writing = self._writing.submit(self._write, data, start)
            if not self._is_catching_up and self._hashed == start:
                self._hashed = end
                taken = self._hashing.submit(self._follow, data, writing)
            if not self._is_catching_up and self._next_is_here():
                self._is_catching_up = True
                self._caught_up = self._hashing.submit(self._catch_up)
        return taken

    def finish(self, stop: threading.Event) -> tuple[bytes, bytes]:
        """BLAKE3 and SHA-256 of the whole file, which is on the disk afterwards and may not be written any more."""
        if self._caught_up is not None:
            self._caught_up.result()
        self._hashing.submit(_nothing).result()
        self._hash_on(self._layout.size, stop)
        with disk_errors(self.path.name):
            os.fchmod(self._descriptor, BLOB_MODE)
            os.fsync(self._descriptor)
        return self._blake.digest(), self._sha.digest()

    def _write(self, data: memoryview, start: int) -> None:
        with disk_errors(self.path.name):
            self._file.write(data, start)

    def _follow(self, data: memoryview, writing: "Future[None]") -> None:
        self._sha.update(data)
        self._blake.update(data)
        writing.result()

    def _next_is_here(self) -> bool:
        return self._hashed < self._layout.size and bool(self._held[self._hashed // self._layout.piece_size])

    def _catch_up(self) -> None:
        """Hash, as parts of the whole, pieces that came before it was their turn."""
        while True:
            with self._turn:
                if not self._next_is_here() or self._stop.is_set():
                    self._is_catching_up = False
                    return
            self._writing.submit(_nothing).result()
            with contextlib.suppress(StoppedError):
                self._hash_on(self._layout.stop(self._hashed // self._layout.piece_size), self._stop)

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

    def _hash_on(self, end: int, stop: threading.Event) -> None:
        buffer = memoryview(bytearray(min(BUFFER_SIZE, max(1, end - self._hashed))))
        self._read(self._hashed, end, buffer, stop, (self._blake, self._sha))
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


def check_partial_room(path: Path, size: int, floor: Floor) -> None:
    """Raise `DiskFullError` if what is not reserved yet of a partial file of `size` bytes does not fit."""
    with disk_errors(path.name):
        if not path.exists() or path.stat().st_blocks * _BLOCK_SIZE < size:
            check_room(path.parent, size, floor)


def _nothing() -> None:
    """Work that is done once all that was given to a thread before it is."""
