"""Doubting a backup: every file against the manifest, then the log in it from its first event. Changes nothing."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from peer.core.identity import PeerId
from peer.errors import MeshError
from peer.store.backup import hash_file, read_manifest
from peer.store.database import is_older, open_database
from peer.store.directory import DataDirectory
from peer.store.keys import KeyFiles
from peer.store.manifest import MANIFEST_FILE, Manifest
from peer.store.verification import Problem, Verification, verify_log

NO_KEYS = Path("no-log-keys-are-looked-at")


async def verify_backup(folder: Path) -> Verification:
    """Verify the backup in `folder`: what `verify_log` tells, and before it what is wrong with its files.

    Which groups the log keys belong to is not asked: one may have been made while the backup was.
    """
    result = Verification()
    result.checked["files"] = 0
    try:
        manifest = await asyncio.to_thread(read_manifest, folder)
    except MeshError as error:
        code = "backup_damaged" if (folder / MANIFEST_FILE).exists() else "backup_incomplete"
        result.problems.append(Problem(code, error.text, str(folder)))
        return result
    await asyncio.to_thread(lambda: result.problems.extend(_check_files(folder, manifest, result)))
    directory = DataDirectory(folder)
    try:
        directory.open()
        _check_peer(KeyFiles(directory.keys), manifest.peer, result)
        log = await _verify_log(directory.log_database)
    except MeshError as error:
        result.found(error, str(folder))
        return result
    result.problems += log.problems
    result.checked.update(log.checked)
    return result


async def _verify_log(path: Path) -> Verification:
    """Verify the log at `path`; one of an older version as a copy, which is migrated first."""
    if not await asyncio.to_thread(is_older, path, "log"):
        return await verify_log(path, KeyFiles(NO_KEYS))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        await asyncio.to_thread(shutil.copyfile, path, copy)
        async with await open_database(copy, "log"):
            pass
        return await verify_log(copy, KeyFiles(NO_KEYS))


def _check_files(folder: Path, manifest: Manifest, result: Verification) -> Iterator[Problem]:
    listed = {each.name for each in manifest.files}
    for each in manifest.files:
        path = folder / each.name
        result.checked["files"] += 1
        try:
            same = path.is_file() and not path.is_symlink() and hash_file(path) == (each.size, each.blake3)
        except OSError as error:
            yield Problem("file_unreadable", f"this file cannot be read: {error.strerror}", str(path))
            continue
        if not path.exists():
            yield Problem("backup_file_missing", "this file is missing", str(path))
        elif not same:
            yield Problem("backup_file_changed", "this file is not what it was when the backup was made", str(path))
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_dir() and name not in listed and name != MANIFEST_FILE:
            yield Problem("backup_file_unlisted", "this file was not in the backup when it was made", str(path))


def _check_peer(keys: KeyFiles, peer: PeerId, result: Verification) -> None:
    if keys.peer_key().peer_id != peer:
        result.problems.append(Problem("backup_file_changed", "peer.key is that of another peer", peer.hex()))
