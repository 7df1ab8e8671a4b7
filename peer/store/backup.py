"""Backups of a data directory: keys, settings and `log.db` as they were at one moment, each file hashed, a manifest written last.

A folder without its manifest is no backup: what was broken off never verifies. Bytes of recordings and what is computed are left out. What is
restored has other files than the original, so the peer that starts on it opens new logs.
"""

import contextlib
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from peer.core.hashing import new_blake3
from peer.durable import sync_folder
from peer.errors import BackupTargetError, DiskFullError, FileUnreadableError, MeshError, StoreCorruptError, StoreError
from peer.failpoints import failpoint
from peer.store.database import Connection, as_store_error, connect_for_reading
from peer.store.directory import FOLDER_MODE, PRIVATE_MODE, DataDirectory, is_disk_full, write_durably
from peer.store.keys import KeyFiles
from peer.store.manifest import MANIFEST_FILE, BackupFile, Manifest

FOLDERS_LEFT_OUT = {"blobs", "recordings", "backups"}
FILES_LEFT_OUT = {"lock", "admin.address", "tokens.json", MANIFEST_FILE}
"""Tokens among them: one that was revoked since must not come back with the backup."""

DATABASES = ("log.db", "views.db", "hub.db")
"""Names that begin like this are databases with what SQLite and repairs keep beside them: none is copied as a file."""

PARTIAL_SUFFIX = ".partial"
BUFFER_SIZE = 1024 * 1024
PAGES_AT_ONCE = 1024


class BackupMade(NamedTuple):
    """What was made."""

    directory: Path
    manifest: Manifest

    def to_json(self) -> dict[str, object]:
        """As it is shown."""
        files = self.manifest.files
        return {
            "directory": str(self.directory),
            "peer_id": self.manifest.peer.hex(),
            "created_ms": self.manifest.created_ms,
            "files": len(files),
            "size_bytes": sum(each.size for each in files),
        }


class _StoppedError(Exception):
    """Nobody waits for the backup any more."""


def create_backup(directory: DataDirectory, target: Path, stop: threading.Event | None = None) -> BackupMade:
    """Copy what cannot be had again of `directory` into `target`, an empty or new folder; a peer may write meanwhile. Durable when this returns.

    Raises `BackupTargetError` where the folder cannot be taken, `DiskFullError`, or `StoreCorruptError` where `log.db` is not fit to be copied; then,
    and once `stop` is set, nothing is left behind.
    """
    peer = KeyFiles(directory.keys).peer_key().peer_id
    folder = _check_target(directory, target)
    made = _make_folder(folder)
    try:
        with _disk_errors(folder):
            files = [_copy_file(directory.root / name, folder, name) for name in _names(directory.root)]
            files.append(_copy_log(directory.log_database, folder, stop or threading.Event()))
            failpoint("backup.before_manifest")
            manifest = Manifest(peer, time.time_ns() // 1_000_000, tuple(sorted(files)))
            write_durably(folder / MANIFEST_FILE, manifest.to_bytes())
            sync_folder(folder.parent)
    except BaseException:
        _clear(folder, made=made)
        raise
    return BackupMade(folder, manifest)


def hash_file(path: Path) -> tuple[int, bytes]:
    """Size and BLAKE3 of a file."""
    hasher, size = new_blake3(), 0
    with path.open("rb") as file:
        while data := file.read(BUFFER_SIZE):
            hasher.update(data)
            size += len(data)
    return size, hasher.digest()


def _check_target(directory: DataDirectory, target: Path) -> Path:
    try:
        folder, root = target.resolve(), directory.root.resolve()
        if (folder == root or root in folder.parents) and directory.backups.resolve() not in folder.parents:
            raise BackupTargetError(f"{target} lies in the data directory itself", fix="choose a folder on another disk")
        if folder.exists() and not folder.is_dir():
            raise BackupTargetError(f"{target} is no folder", fix="choose a new or an empty folder")
        if folder.is_dir() and any(folder.iterdir()):
            raise BackupTargetError(f"{target} is not empty", fix="choose a new or an empty folder: no backup is ever written over another")
    except (OSError, RuntimeError, ValueError) as error:  # What resolving a path may raise: no permission, a loop, a zero byte.
        raise FileUnreadableError(f"{target} cannot be looked at: {error}", fix="check the path and its permissions") from error
    return folder


def _make_folder(folder: Path) -> list[Path]:
    """Make `folder`, for its owner alone; the folders that were not there before, the outermost first."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()][::-1]
    try:
        for each in missing:
            each.mkdir(mode=FOLDER_MODE)
        folder.chmod(FOLDER_MODE)
    except OSError as error:
        kind = DiskFullError if is_disk_full(error) else FileUnreadableError
        raise kind(f"{folder} cannot be made: {error.strerror}", fix="check the space and the permissions there") from error
    return missing


def _clear(folder: Path, *, made: list[Path]) -> None:
    """Take away what was begun, the manifest first."""
    with contextlib.suppress(OSError):
        (folder / MANIFEST_FILE).unlink(missing_ok=True)
        for entry in folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        for each in reversed(made):
            each.rmdir()


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Tell what the disk says as what it means."""
    try:
        yield
    except _StoppedError as error:
        raise StoreError("the backup was broken off", fix="make it again") from error
    except sqlite3.Error as error:
        raise as_store_error(error, folder / "log.db") from error
    except OSError as error:
        if is_disk_full(error):
            raise DiskFullError(f"no space left for a backup in {folder}", fix="free some space there, or choose another disk") from error
        raise StoreError(f"the backup cannot be written: {error}", fix="check both disks and their permissions") from error


def _names(root: Path) -> Iterator[str]:
    """The files to be copied, relative to `root`."""
    for where, folders, names in os.walk(root):
        here = Path(where).relative_to(root)
        if where == str(root):
            folders[:] = [each for each in folders if each not in FOLDERS_LEFT_OUT]
            names[:] = [each for each in names if each not in FILES_LEFT_OUT and not each.startswith(DATABASES)]
        folders.sort()
        for name in sorted(names):
            if not name.endswith(PARTIAL_SUFFIX) and (Path(where) / name).is_file() and not (Path(where) / name).is_symlink():
                yield (here / name).as_posix()


def _copy_file(source: Path, folder: Path, name: str) -> BackupFile:
    """Copy one file under its name, durable."""
    target = folder / name
    for parent in (folder / name).relative_to(folder).parents:
        (folder / parent).mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    hasher, size = new_blake3(), 0
    file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_MODE)
    with os.fdopen(file, "wb") as copy, source.open("rb") as original:
        while data := original.read(BUFFER_SIZE):
            hasher.update(data)
            size += len(data)
            copy.write(data)
        copy.flush()
        os.fsync(copy.fileno())
    sync_folder(target.parent)
    return BackupFile(name, size, hasher.digest())


def _copy_log(source: Path, folder: Path, stop: threading.Event) -> BackupFile:
    """Copy the database as one transaction left it, while others go on, and look whether the copy is whole."""
    target = folder / source.name
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_MODE))
    if not source.is_file() or not source.stat().st_size:
        raise StoreCorruptError(f"{source} is missing: there is nothing to make a backup of", fix="start the peer once: `recmesh serve`")
    with contextlib.closing(connect_for_reading(source)) as connection, contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # From here on this connection sees one state.
        connection.backup(copy, pages=PAGES_AT_ONCE, progress=_stopper(stop))
        connection.execute("COMMIT")
        copy.execute("PRAGMA journal_mode=DELETE")
        failpoint("backup.after_log")
        _check_copy(copy, source)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    sync_folder(folder)
    return BackupFile(source.name, *hash_file(target))


def _stopper(stop: threading.Event) -> Callable[[int, int, int], None]:
    def progress(_status: int, _left: int, _total: int) -> None:
        if stop.is_set():
            raise _StoppedError

    return progress


def _check_copy(copy: Connection, source: Path) -> None:
    (text,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    if text != "ok":
        raise StoreCorruptError(f"{source} is damaged: {text}", fix="run: recmesh verify; start the peer: it recovers what can be read")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a backup. Raises `MeshError` if there is none, or none that is whole."""
    try:
        data = (folder / MANIFEST_FILE).read_bytes()
    except FileNotFoundError as error:
        raise FileUnreadableError(f"{folder} has no {MANIFEST_FILE}: it is no backup, or one that was broken off", fix="make a new one") from error
    except OSError as error:
        raise FileUnreadableError(f"{folder / MANIFEST_FILE} cannot be read: {error.strerror}", fix="check its permissions") from error
    try:
        return Manifest.from_bytes(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MeshError(f"{folder / MANIFEST_FILE} is damaged") from error
