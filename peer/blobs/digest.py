"""BLAKE3, SHA-256 and piece hashes of a file in one pass and constant memory.

A buffer is read once. SHA-256, the slowest of the three, has a thread of its own, and so has writing: all of them let go of the interpreter.
"""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from peer.blobs.direct import aligned_buffer
from peer.blobs.plan import Layout, layout_for
from peer.core.hashing import Hasher, new_blake3, new_sha256

BUFFER_SIZE = 1024 * 1024
BUFFERS = 4
"""Buffers of one pass: SHA-256 and writing may be this far behind. A buffer is never larger than a piece and never crosses the end of one."""


class StoppedError(Exception):
    """Nobody waits for the result any more."""


class Digests(NamedTuple):
    """What one pass tells."""

    blake3: bytes
    sha256: bytes
    piece_list: bytes
    layout: Layout


class _Pieces:
    """The hashes of pieces as buffers come in."""

    def __init__(self, piece_size: int) -> None:
        self._piece_size = piece_size
        self._filled = 0
        self._hasher: Hasher = new_blake3()
        self._hashes: list[bytes] = []

    def update(self, data: bytes | memoryview) -> None:
        self._hasher.update(data)
        self._filled += len(data)
        if self._filled == self._piece_size:
            self._finish()

    def to_bytes(self) -> bytes:
        if self._filled:
            self._finish()
        return b"".join(self._hashes)

    def _finish(self) -> None:
        self._hashes.append(self._hasher.digest())
        self._hasher = new_blake3()
        self._filled = 0


class StreamDigest:
    """The digests of `size` bytes as they come, in parts of any size."""

    def __init__(self, size: int) -> None:
        self._layout = layout_for(size)
        self._blake: Hasher = new_blake3()
        self._sha: Hasher = new_sha256()
        self._pieces = _Pieces(self._layout.piece_size)
        self._left = self._layout.piece_size

    def update(self, data: memoryview) -> None:
        """The next bytes."""
        self._blake.update(data)
        self._sha.update(data)
        while data:
            part = data[: self._left]
            self._pieces.update(part)
            data = data[len(part) :]
            self._left = self._left - len(part) or self._layout.piece_size

    def finish(self) -> Digests:
        """Once all came."""
        return Digests(self._blake.digest(), self._sha.digest(), self._pieces.to_bytes(), self._layout)


def digest_stream(
    read: Callable[[memoryview], int], size: int, *, stop: threading.Event, write: Callable[[memoryview, int], object] | None = None
) -> tuple[Digests, int]:
    """The digests of what `read` fills into a buffer until it fills nothing, and its true size. All of it goes to `write` too, with its position.

    `size` is what the file is expected to have; reading ends soon after that, however much there is. Raises `StoppedError` when `stop` is set.
    """
    layout = layout_for(size)
    blake, sha, pieces = new_blake3(), new_sha256(), _Pieces(layout.piece_size)
    done = 0
    buffers = [aligned_buffer(min(BUFFER_SIZE, size + 1)) for _ in range(BUFFERS if size > BUFFER_SIZE else 2)]
    with ThreadPoolExecutor(1, "sha256") as hashing, ThreadPoolExecutor(1, "write") as writing:
        busy: deque[list[Future[object]]] = deque()
        for buffer in itertools.cycle(buffers):
            if stop.is_set():
                raise StoppedError
            if len(busy) == len(buffers):
                _wait(busy.popleft())
            filled = fill(read, buffer) if done <= size else 0
            if not filled:
                break
            view = buffer[:filled]
            busy.append([hashing.submit(sha.update, view)])
            if write is not None:
                busy[-1].append(writing.submit(write, view, done))
            if size > layout.piece_size:
                blake.update(view)
            pieces.update(view)
            done += filled
        for each in busy:
            _wait(each)
    piece_list = pieces.to_bytes()
    whole = piece_list if layout.piece_count == 1 and done == size else blake.digest()
    return Digests(whole, sha.digest(), piece_list, layout), done


def fill(read: Callable[[memoryview], int], buffer: memoryview) -> int:
    """Read until `buffer` is full or there is no more: short reads would put the ends of pieces in the middle of a buffer."""
    filled = 0
    while filled < len(buffer):
        count = read(buffer[filled:])
        if not count:
            break
        filled += count
    return filled


def _wait(futures: Sequence[Future[object]]) -> None:
    for future in futures:
        future.result()
