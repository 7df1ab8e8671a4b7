"""Taking a file into the blob store: read once, hashed on the way, named last.

Whatever goes wrong, the file that was given stays as it was and nothing half-done stays in the store. A file that changes while it is read is
refused: its hash would be of bytes that never were together.
"""

import contextlib
import errno
import os
import secrets
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from peer.blobs.digest import BUFFER_SIZE, Digests, digest_stream
from peer.blobs.direct import DirectFile
from peer.blobs.disk import BLOB_MODE, Floor, disk_errors, reserve
from peer.durable import clone
from peer.errors import FileUnreadableError, RequestError

TAKES = ("copy", "link", "move")
INGEST_SUFFIX = ".ingest"


class Identity(NamedTuple):
    """What tells that a file is still the same one with the same bytes.

    The time of change catches who writes and sets the time of modification back. It also catches who only changes the mode: the two look the same.
    """

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


class Taken(NamedTuple):
    """Bytes that are on the disk, hashed, and still without their name."""

    digests: Digests
    aside: Path


def identity(descriptor: int | Path) -> Identity:
    """The identity of an open file, or of the one at a path."""
    state = os.stat(descriptor)  # noqa: PTH116  (a path or an open file)
    return Identity(state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A regular file, open for reading. Raises `FileUnreadableError` with what is wrong."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise FileUnreadableError(f"cannot read {path}: {error.strerror}", fix="check the path and who may read it") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileUnreadableError(f"cannot read {path}: it is no regular file", fix="name a file")
        yield descriptor
    finally:
        os.close(descriptor)


def take_file(path: Path, take: str, incoming: Path, floor: Floor, stop: threading.Event) -> Taken:
    """Bring the bytes of `path` into `incoming`, hashed. The caller names or deletes them."""
    if take not in TAKES:
        raise RequestError(f"a file is taken by {', '.join(TAKES)}, not by {take!r}")
    if take != "copy" and path.is_symlink():
        raise RequestError(f"{path} is a symbolic link and cannot be taken by {take}", fix="name the file itself, or take a copy")
    aside = incoming / f"{secrets.token_hex(16)}{INGEST_SUFFIX}"
    try:
        with opened(path) as source:
            digests = _copy(path, source, aside, floor, stop) if take == "copy" else _link(path, source, aside, stop)
    except _CannotLinkError as error:
        if take == "link":
            raise RequestError(f"{path} cannot be linked into the store: {error}", fix="take a copy instead") from error
        return take_file(path, "copy", incoming, floor, stop)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return Taken(digests, aside)


_UNLINKABLE = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP)


class _CannotLinkError(Exception):
    """Another file system, or one without hard links, or somebody else's file."""


def _copy(path: Path, source: int, aside: Path, floor: Floor, stop: threading.Event) -> Digests:
    before = identity(source)
    with disk_errors(path.name):
        target = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if clone(source, target):
                digests, done = digest_stream(_Reader(path, target), before.size, stop=stop)
            else:
                reserve(target, aside.parent, before.size, floor)
                with contextlib.closing(DirectFile(aside, target)) as file:
                    digests, done = digest_stream(_Reader(path, source), before.size, stop=stop, write=file.write)
            _check_unchanged(path, before, identity(source), done)
            os.fchmod(target, BLOB_MODE)
            os.fsync(target)
        finally:
            os.close(target)
    return digests


def _link(path: Path, source: int, aside: Path, stop: threading.Event) -> Digests:
    before = identity(source)
    if os.geteuid() not in (0, os.fstat(source).st_uid):
        raise _CannotLinkError("it belongs to somebody else")
    digests, done = digest_stream(_Reader(path, source), before.size, stop=stop)
    _check_unchanged(path, before, identity(source), done)
    with disk_errors(path.name):
        os.fsync(source)
        try:
            aside.hardlink_to(path)
        except OSError as error:
            if error.errno not in _UNLINKABLE:
                raise
            raise _CannotLinkError(error.strerror) from error
        # To get another name is a change of the file as well.
        _check_unchanged(path, before, identity(aside)._replace(changed_ns=before.changed_ns), done)
    return digests


class _Reader:
    """Reads a file from its beginning, whatever else its descriptor is used for."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._position = 0

    def __call__(self, buffer: memoryview) -> int:
        try:
            count = os.preadv(self._descriptor, [buffer[:BUFFER_SIZE]], self._position)
        except OSError as error:
            raise FileUnreadableError(f"cannot read {self._path}: {error.strerror}", fix="check the disk it lies on") from error
        self._position += count
        return count


def _check_unchanged(path: Path, before: Identity, after: Identity, done: int) -> None:
    if after != before or done != before.size:
        raise RequestError(f"{path} changed while it was read", fix="add it once nothing writes to it any more")
