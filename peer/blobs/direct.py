"""Writing past the page cache, where the file system can: recordings are large, and caching them on the way in costs more than the disk does.

Whole aligned blocks go straight to the disk; what does not fit, and everything where the file system refuses, goes the usual way. Either way the
caller syncs at the end.
"""

import contextlib
import mmap
import os
from pathlib import Path

ALIGNMENT = 4096


def aligned_buffer(size: int) -> memoryview:
    """Memory that may be written past the page cache."""
    return memoryview(mmap.mmap(-1, max(1, size)))[:size]


class DirectFile:
    """An open file that is written at given positions, by one thread at a time."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """`descriptor` is the same file, open for writing the usual way; it stays the caller's."""
        self._descriptor = descriptor
        self._direct: int | None = None
        if hasattr(os, "O_DIRECT"):
            with contextlib.suppress(OSError):
                self._direct = os.open(path, os.O_WRONLY | os.O_DIRECT)

    def write(self, view: memoryview, position: int) -> None:
        """Write all of `view`. Raises `OSError`."""
        written = self._write_blocks(view, position) if position % ALIGNMENT == 0 else 0
        while written < len(view):
            written += os.pwrite(self._descriptor, view[written:], position + written)

    def close(self) -> None:
        """Close what was opened here."""
        if self._direct is not None:
            os.close(self._direct)
            self._direct = None

    def _write_blocks(self, view: memoryview, position: int) -> int:
        """How many bytes went straight to the disk."""
        size = len(view) - len(view) % ALIGNMENT
        if self._direct is None or not size:
            return 0
        try:
            return os.pwrite(self._direct, view[:size], position)
        except OSError:
            # Another alignment, or none will do: the usual way says what is wrong, if anything is.
            self.close()
            return 0
