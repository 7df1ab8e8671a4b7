"""A `log.db` that is damaged or gone: noticed, moved aside, never deleted, and replaced by a new one with everything that can still be read.

The new database is made aside and swapped in by renaming, so a crash at any point leaves the old one or the new one. It has no open logs: what this
peer wrote last may be what was lost, so it goes on in new logs, and as a new incarnation.
"""

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

from peer.core.group import read_genesis
from peer.core.identity import KeyPair
from peer.durable import sync_folder
from peer.errors import DataDirectoryVersionError, DiskFullError, LogDamagedError, LogMissingError, MeshError, StoreCorruptError, StoreError
from peer.failpoints import failpoint
from peer.store.database import (
    Database,
    as_store_error,
    is_older,
    open_database,
    open_read_only,
    remove_database,
)
from peer.store.directory import DataDirectory, is_disk_full, write_durably
from peer.store.events import SqliteEventStore, load_event_store
from peer.store.keys import KeyFiles
from peer.store.known import KNOWN_FILE, Known, read_known
from peer.store.loading import load_groups
from peer.store.salvage import Debris
from peer.store.verification import Verification, verify_log

CHECKED_AT_START_MAX = 4 * 1024 * 1024
"""A log up to this size is verified wholly at each start, which takes a fraction of a second. Larger ones are looked through while the peer runs."""

SIDE_FILES = ("-wal", "-shm", "-journal")
IN_WORK, READY, DEBRIS, WAITING, DAMAGED = ".salvaging", ".salvaged", ".carved", ".waiting", ".damaged-"
REPORT_SUFFIX = ".json"
Report = Callable[[str, dict[str, object]], None]
"""Takes what happened, as a constant, and fields: for the log."""


class Salvaged(NamedTuple):
    """What came of a damaged log."""

    reason: str
    moved_to: str | None
    """Where the damaged file is now; None if there was none any more."""
    time_ms: int
    groups: int
    events: int
    """Taken over."""
    waiting: int
    """Readable, but something below them is not."""

    @property
    def problem(self) -> LogDamagedError:
        """To be shown for as long as the report lies there."""
        where = f" It lies in {self.moved_to} now." if self.moved_to else ""
        text = f"log.db was damaged or lost ({self.reason}): {self.events} events were taken over, other sites give the rest.{where}"
        return LogDamagedError(
            text, fix="look at this machine's disk and memory; once nothing is missing, delete log.db.damaged-* in the data directory"
        )


async def recover(directory: DataDirectory, peer: KeyPair, report: Report, damage: MeshError | None = None) -> Salvaged | None:
    """Make `log.db` fit to be opened, if it is not or if `damage` says so; what was done, None if nothing was to be done.

    The directory is locked by the caller. Raises `DataDirectoryVersionError` for a log of a newer version, `DiskFullError` where there is no room for
    a second one; then nothing was changed.
    """
    _end_swap(directory)
    damage = damage or await find_damage(directory)
    if damage is None:
        return None
    report("log.db is damaged or lost: a new one is made of what can be read, the rest comes from other peers", {"error": damage.text})
    try:
        salvaged = await _salvage(directory, peer, damage)
    except BaseException as error:
        _clear_work(directory)  # It takes room, on a disk that may be full.
        _raise_as_ours(error, directory.log_database)
        raise
    report("log.db is new", salvaged._asdict())
    return salvaged


async def find_damage(directory: DataDirectory) -> MeshError | None:
    """What is wrong with `log.db`, None if nothing is; of a large one only what every start looks at. Raises `DataDirectoryVersionError`."""
    path, keys = directory.log_database, KeyFiles(directory.keys)
    if not path.is_file() or not path.stat().st_size:
        known = read_known(directory.root / KNOWN_FILE)
        had_groups = (known is not None and known.genesis) or (path.exists() and keys.log_key_files())
        return LogMissingError("it is gone or empty") if had_groups else None
    try:
        async with await open_read_only(path, "log") as database:
            await database.read(load_groups)
        small = _size(path) <= CHECKED_AT_START_MAX
        return damage_in(await verify_log(path, keys)) if small else None
    except StoreCorruptError as error:
        return error
    except sqlite3.Error as error:
        return StoreCorruptError(f"{path}: {error}")
    except DataDirectoryVersionError:
        if is_older(path, "log"):
            return None  # It is migrated before it is looked at.
        raise


def damage_in(verification: Verification) -> MeshError | None:
    """What of the problems means that the file itself is not as it was written."""
    problems = [each for each in verification.problems if each.code != LogMissingError.code]
    if not problems:
        return None
    return StoreCorruptError(f"{len(problems)} problems; the first: {problems[0].what}, at {problems[0].where} [{problems[0].code}]")


def reports(directory: DataDirectory) -> list[Salvaged]:
    """What came of damaged logs, as long as nobody deleted the files; the oldest first."""
    found: list[Salvaged] = []
    for path in sorted(directory.root.glob(f"{directory.log_database.name}{DAMAGED}*{REPORT_SUFFIX}")):
        try:
            each = Salvaged(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            continue
        if each.moved_to is None or path.with_name(each.moved_to).exists():
            found.append(each)
    return found


def waiting_path(directory: DataDirectory) -> Path:
    """Where readable events lie that something below is still missing of."""
    return _beside(directory, WAITING)


async def _salvage(directory: DataDirectory, peer: KeyPair, damage: MeshError) -> Salvaged:
    path, fresh = directory.log_database, _beside(directory, IN_WORK)
    time_ms = time.time_ns() // 1_000_000
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time_ms // 1000)) + f"-{time_ms % 1000:03}"
    with Debris(_begin_debris(directory)) as debris:
        await asyncio.to_thread(debris.collect, path)
        known = read_known(directory.root / KNOWN_FILE) or Known(debris.genesis(), {}, debris.peers)
        database = await open_database(fresh, "log", synchronous="OFF", name="salvage")
        keys = KeyFiles(directory.keys)
        async with database, _writing_store(database, keys, peer, time_ms) as store:
            for group, data in known.genesis.items():
                await store.create_group(read_genesis(data, group))
            for each in known.peers:
                await store.put_peer(each)
            events = await debris.append_to(store)
        waiting = debris.waiting
        await asyncio.to_thread(debris.forget_held)
    moved_to = f"{path.name}{DAMAGED}{stamp}"
    salvaged = Salvaged(damage.text, moved_to if path.exists() else None, time_ms, len(known.genesis), events, waiting)
    _swap(directory, salvaged, path.with_name(moved_to))
    return salvaged


@contextlib.asynccontextmanager
async def _writing_store(database: Database, keys: KeyFiles, peer: KeyPair, time_ms: int) -> AsyncIterator[SqliteEventStore]:
    """The event store in `database`. What goes wrong while it writes is told to whoever appends, and to nobody else."""
    store = await load_event_store(database, keys, peer, lambda: time_ms)
    writing = asyncio.create_task(store.run())
    try:
        yield store
    finally:
        store.close()
        await asyncio.gather(writing, return_exceptions=True)


def _begin_debris(directory: DataDirectory) -> Path:
    """Begin with the events that still wait since an earlier time."""
    path, waiting = _beside(directory, DEBRIS), waiting_path(directory)
    if waiting.exists():
        shutil.copyfile(waiting, path)
    path.touch(mode=0o600)
    return path


def _swap(directory: DataDirectory, salvaged: Salvaged, moved_to: Path) -> None:
    """Put the new database in the place of the old one. From `failpoint` to `failpoint` a crash is ended by `_end_swap`."""
    debris, waiting, ready = _beside(directory, DEBRIS), waiting_path(directory), _beside(directory, READY)
    if salvaged.waiting:
        _flush(debris)
        debris.replace(waiting)
    else:
        waiting.unlink(missing_ok=True)
        debris.unlink()
    write_durably(moved_to.with_name(moved_to.name + REPORT_SUFFIX), json.dumps(salvaged._asdict(), indent=1).encode() + b"\n")
    _flush(_beside(directory, IN_WORK))
    _beside(directory, IN_WORK).replace(ready)
    sync_folder(directory.root)
    failpoint("salvage.before_swap")
    _move_aside(directory.log_database, moved_to)
    failpoint("salvage.after_move")
    ready.replace(directory.log_database)
    sync_folder(directory.root)
    failpoint("salvage.after_swap")


def _end_swap(directory: DataDirectory) -> None:
    """After a crash: the old database where it still has its name, else the new one, which is whole."""
    path, ready = directory.log_database, _beside(directory, READY)
    _clear_work(directory)
    if not ready.exists():
        return
    if path.exists():
        ready.unlink()
        return
    moved = [each for each in reports(directory) if each.moved_to]
    _move_aside(path, path.with_name(moved[-1].moved_to if moved and moved[-1].moved_to else f"{path.name}{DAMAGED}0"))
    ready.replace(path)
    sync_folder(directory.root)


def _clear_work(directory: DataDirectory) -> None:
    """Remove what was begun and not ended."""
    remove_database(_beside(directory, IN_WORK))
    for suffix in ("", "-journal"):
        _beside(directory, DEBRIS + suffix).unlink(missing_ok=True)


def _raise_as_ours(error: BaseException, path: Path) -> None:
    """Raise what the disk or SQLite said as what it means; return for anything else."""
    if isinstance(error, sqlite3.Error):
        raise as_store_error(error, path) from error
    if isinstance(error, OSError):
        kind = DiskFullError if is_disk_full(error) else StoreError
        raise kind(f"a new log.db cannot be made: {error}", fix="free some space on this disk, then start the peer again") from error


def _move_aside(path: Path, target: Path) -> None:
    """Move what is there of a database: the file first, so that it never stands there without what SQLite keeps beside it."""
    for suffix in ("", *SIDE_FILES):
        source = path.with_name(path.name + suffix)
        if suffix == "-shm":
            source.unlink(missing_ok=True)  # SQLite's own notes on the other one.
        elif source.exists():
            source.replace(target.with_name(target.name + suffix))
    sync_folder(path.parent)


def _beside(directory: DataDirectory, suffix: str) -> Path:
    return directory.log_database.with_name(directory.log_database.name + suffix)


def _size(path: Path) -> int:
    return sum(each.stat().st_size for each in (path, path.with_name(path.name + "-wal")) if each.exists())


def _flush(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
