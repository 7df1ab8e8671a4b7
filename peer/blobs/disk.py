"""What blobs need of a file system: durable folders, reserved space, and errors that say whose fault they are.

Nothing here gives a file its name before its bytes are on the disk.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from peer.durable import sync_folder
from peer.errors import DiskFullError, StoreError

BLOB_MODE = 0o444
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Floor(NamedTuple):
    """What of a disk may not be taken."""

    free: int
    """Bytes that stay free."""
    most: int | None = None
    """Bytes that may be taken, however many are free; None for all. Never told by what is free: others write to the same disk."""


@contextlib.contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn what the operating system says of this peer's own disk into `DiskFullError` and `StoreError`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError(f"no space to store {what}: {error.strerror}", fix="free some space, or move the data directory") from error
        raise StoreError(f"cannot store {what}: {error}") from error


def make_folders(folder: Path, root: Path) -> None:
    """Make `folder`, somewhere below `root`, durably. Costs nothing where it exists."""
    if folder == root or folder.is_dir():
        return
    make_folders(folder.parent, root)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def check_room(folder: Path, size: int, floor: Floor) -> None:
    """Raise `OSError` if `size` bytes more would be below `floor`."""
    state = os.statvfs(folder)
    if size + floor.free > state.f_bavail * state.f_frsize or (floor.most is not None and size > floor.most):
        raise OSError(errno.ENOSPC, f"{size} bytes do not fit: the free-space floor, or the quota of this site, is reached")


def reserve(descriptor: int, folder: Path, size: int, floor: Floor) -> None:
    """Reserve `size` bytes for an open file, down to `floor`. Raises `OSError` if there is no room."""
    check_room(folder, size, floor)
    if size:
        os.posix_fallocate(descriptor, 0, size)


def first_data(descriptor: int, start: int) -> int | None:
    """Where, from `start` on, something was written and not only reserved; None if nowhere. What a file system does not tell was written."""
    try:
        return os.lseek(descriptor, start, os.SEEK_DATA)
    except OSError as error:
        return None if error.errno == errno.ENXIO else start
