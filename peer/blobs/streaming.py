"""Bytes that come bit by bit from somewhere that is no file, hashed while they are written aside. For threads, one at a time."""

import os
from pathlib import Path

from peer.blobs.digest import Digests, StreamDigest
from peer.blobs.disk import BLOB_MODE, Floor, disk_errors, reserve
from peer.errors import RequestError


class StreamTaker:
    """A new file of a size that is known beforehand."""

    def __init__(self, aside: Path, size: int, floor: Floor) -> None:
        """Make the file and reserve its space, down to `floor`. Raises `DiskFullError`."""
        self._aside = aside
        self._size = size
        self._done = 0
        self._digest = StreamDigest(size)
        with disk_errors(aside.name):
            self._descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                reserve(self._descriptor, aside.parent, size, floor)
            except BaseException:
                self.close()
                raise

    def take(self, part: bytes) -> None:
        """The next bytes. Raises `RequestError` if there are more than were announced."""
        if self._done + len(part) > self._size:
            raise RequestError(f"more than the {self._size} bytes came that were announced")
        view = memoryview(part)
        self._digest.update(view)
        self._done += len(part)
        with disk_errors(self._aside.name):
            while view:
                view = view[os.write(self._descriptor, view) :]

    def finish(self) -> Digests:
        """What came, which is on the disk now. Raises `RequestError` if there is less than was announced."""
        if self._done != self._size:
            raise RequestError(f"{self._done} bytes came where {self._size} were announced")
        with disk_errors(self._aside.name):
            os.fchmod(self._descriptor, BLOB_MODE)
            os.fsync(self._descriptor)
        return self._digest.finish()

    def close(self) -> None:
        """Close the file; what did not get another name is gone."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._aside.unlink(missing_ok=True)
