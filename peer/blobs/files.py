"""Single files of the blob store: what they are called, how they come about."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from peer.blobs.disk import BLOB_MODE, Floor, reserve
from peer.core.byte_store import Usage
from peer.core.hashing import HASH_SIZE
from peer.core.identity import BlobId
from peer.durable import clone, sync_folder

COPY_SIZE = 1024 * 1024
_HEX_DIGITS = frozenset("0123456789abcdef")


def copy_if_new(source: Path, target: Path, floor: Floor) -> None:
    """Let `target` have the bytes of `source`, which takes no space where the file system can share them. Nothing if it is there, or that fails."""
    with contextlib.suppress(OSError), source.open("rb") as original, target.open("xb") as copied:
        try:
            if not clone(original.fileno(), copied.fileno()):
                reserve(copied.fileno(), target.parent, os.fstat(original.fileno()).st_size, floor)
                shutil.copyfileobj(original, copied, COPY_SIZE)
        except OSError:
            target.unlink()


def blob_of(name: str) -> BlobId | None:
    """The blob whose file has this name, None if no blob's has."""
    return BlobId(bytes.fromhex(name)) if len(name) == 2 * HASH_SIZE and _HEX_DIGITS.issuperset(name) else None


def files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder, in order; `folder` itself if it is none."""
    if not folder.is_dir():
        yield folder
        return
    for path in sorted(folder.iterdir()):
        yield from files_below(path) if path.is_dir() else (path,)


def write_file(path: Path, data: bytes) -> None:
    """A new file, durable but for its name, that nobody may write to."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fchmod(file.fileno(), BLOB_MODE)
        os.fsync(file.fileno())


def keep_aside(original: Path, folder: Path) -> None:
    """Give a file, whose place is about to be taken, another name in `folder`, durably. Nothing where it is gone."""
    kept = folder / f"{original.name}-{secrets.token_hex(4)}"
    with contextlib.suppress(FileNotFoundError):
        try:
            kept.hardlink_to(original)
        except PermissionError:  # A file system without hard links.
            original.replace(kept)
        sync_folder(folder)


def usage_of(folders: Iterable[Path]) -> Usage:
    """What the files below `folders` have in sum; those that go meanwhile do not count."""
    sizes = []
    for folder in folders:
        for path in files_below(folder):
            with contextlib.suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
    return Usage(len(sizes), sum(sizes))
