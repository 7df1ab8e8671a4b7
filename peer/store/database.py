"""SQLite databases: opening, migrating, transactions. The only module that imports `aiosqlite`.

One connection writes, one reads, each in a thread of its own. A piece of work is one function that is given the raw connection: a whole transaction
costs one change of threads, whatever it does. A failed disk is a `StoreError`; anything else that goes wrong in a transaction rolls it back.
"""

import asyncio
import contextlib
import os
import re
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

import aiosqlite

from peer.durable import sync_folder
from peer.errors import DataDirectoryVersionError, DiskFullError, StoreCorruptError, StoreError
from peer.failpoints import failpoint

Connection = sqlite3.Connection
Row = tuple[object, ...]
T = TypeVar("T")

SCHEMAS = Path(__file__).parent / "schema"
PAGE_SIZE = 8192
CACHE_KIB = 8 * 1024
SMALL_CACHE_KIB = 512
CHECKPOINT_PAGES = 2048
WAL_BYTES_KEPT = 32 * 1024 * 1024
BUSY_TIMEOUT_S = 10.0
BACKUP_SUFFIX = ".partial"

_MIGRATION = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
FULL_BELOW_BYTES = 256 * 1024
"""Free bytes of a disk below which SQLite fails for lack of them, whatever it says."""
FIX_FULL = "free some space on this disk: the peer goes on by itself then"

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_FAILS_WHEN_FULL = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
_UNSURE = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}
"""After these nobody knows what the disk holds."""


class Migration(NamedTuple):
    """One step of a schema, as a file."""

    version: int
    sql: str


class Database:
    """One SQLite file in WAL mode."""

    def __init__(self, path: Path, name: str, writer: aiosqlite.Connection | None, reader: aiosqlite.Connection) -> None:
        """Use `open_database`."""
        self.path = path
        self.transactions = 0
        """Write transactions that were committed since it was opened."""
        self._closed = False
        self._writer = writer
        self._reader = reader
        self._before_commit = f"{name}.before_commit"
        self._after_commit = f"{name}.after_commit"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def transaction(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on the writing connection between BEGIN IMMEDIATE and COMMIT; what it returns counts once this returns."""
        if self._writer is None:
            raise StoreError(f"{self.path} was opened for reading only")
        return await self._run(self._writer, partial(self._counted, work))

    async def write(self, steps: Iterable[tuple[str, Iterable[Sequence[object]]]]) -> None:
        """One transaction: each statement of `steps` once for each of its rows of parameters."""
        await self.transaction(partial(_execute_steps, steps))

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on the reading connection, which sees one state of the database throughout. Keep it short: it holds back checkpoints."""
        return await self._run(self._reader, partial(_in_snapshot, work))

    async def fetch(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """All rows that one SELECT gives."""
        return await self._run(self._reader, partial(_fetch, sql, parameters))

    async def checkpoint(self) -> None:
        """Take what waits beside the file into it, as far as nobody reads, and give that space back. Raises `DiskFullError`."""
        assert self._writer is not None, "who checkpoints writes"
        await self._run(self._writer, lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())

    async def take_over(self, source: "Database") -> None:
        """Hold all that `source` holds and nothing else, in one transaction: whoever reads sees what was here or what is there.

        Nobody may write to `source` meanwhile; it may have lost its name.
        """
        assert self._writer is not None, "who takes over writes"
        connection = source._reader._conn  # noqa: SLF001  (see `_run`)
        await self._run(self._writer, connection.backup)

    async def close(self) -> None:
        """Finish what waits, then close both connections."""
        self._closed = True
        await self._reader.close()
        if self._writer is not None:
            await self._writer.close()

    async def _run(self, connection: aiosqlite.Connection, work: Callable[[Connection], T]) -> T:
        if self._closed:
            raise StoreError(f"{self.path} is closed")
        in_its_thread: Callable[..., Awaitable[T]] = connection._execute  # noqa: SLF001  (the one way to run a whole function there)
        try:
            return await in_its_thread(_without_stop, work, connection._conn)  # noqa: SLF001  (as above)
        except sqlite3.Error as error:
            raise as_store_error(error, self.path) from error

    def _counted(self, work: Callable[[Connection], T], connection: Connection) -> T:
        result = in_transaction(connection, work, partial(failpoint, self._before_commit))
        self.transactions += 1
        failpoint(self._after_commit)
        return result


async def open_database(
    path: Path, schema: str | Path, *, synchronous: str = "FULL", name: str | None = None, backups: Path | None = None
) -> Database:
    """Open or create the database at `path` and bring it to the newest version of `schema`, a folder of `NNNN_what.sql` files.

    `name` stands in the names of its failpoints, by default that of the schema's folder (`store` for `log`). Before a file that holds something is
    migrated, a copy of it goes to the folder `backups`. Raises `DataDirectoryVersionError` for a file that a newer version wrote,
    `StoreCorruptError` for one that is damaged or something else.
    """
    folder = SCHEMAS / schema
    name = name or {"log": "store"}.get(folder.name, folder.name)
    await asyncio.to_thread(_migrate_file, path, folder, backups)
    writer = await _connect(path, partial(_open_writer, path, synchronous))
    try:
        reader = await _connect(path, partial(_open_reader, path))
    except BaseException:
        await writer.close()
        raise
    return Database(path, name, writer, reader)


async def open_read_only(path: Path, schema: str | Path) -> Database:
    """Open the database at `path` without changing a byte of it. It must have the newest version of `schema`."""
    migrations = read_migrations(SCHEMAS / schema)
    if not await asyncio.to_thread(path.is_file):
        raise StoreCorruptError(f"{path} is missing", fix="run `recmesh serve`: other sites give what is known there")
    reader = await _connect(path, partial(_open_reader, path))
    database = Database(path, "", None, reader)
    try:
        await database.read(lambda connection: _check_newest(connection, path, migrations))
    except BaseException:
        await database.close()
        raise
    return database


def connect_for_reading(path: Path) -> Connection:
    """A connection of one's own to the database at `path`, of whatever schema, for work in a thread. Raises `sqlite3.Error`."""
    return _open_reader(path)


def connect_for_writing(path: Path) -> Connection:
    """A connection of one's own to the database at `path`, which another process of this peer has opened. Raises `StoreError`."""
    try:
        connection = _open(path, mode="rw")
        _set_up_writer(connection, "NORMAL")
    except sqlite3.Error as error:
        raise as_store_error(error, path) from error
    return connection


def in_transaction(connection: Connection, work: Callable[[Connection], T], before_commit: Callable[[], None]) -> T:
    """Run `work` between BEGIN IMMEDIATE and COMMIT, or as if it had never been."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        before_commit()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def connect_for_threads(path: Path, schema: str) -> Connection:
    """A connection to the database at `path`, brought to the newest version of `schema`, for threads that take turns.

    Nothing waits for the disk: what was written last may be lost with the power, as a whole. Raises `StoreCorruptError` and the like.
    """
    _migrate_file(path, SCHEMAS / schema, None)
    connection = _open_writer(path, "NORMAL")
    connection.execute(f"PRAGMA cache_size=-{SMALL_CACHE_KIB}")
    return connection


def is_older(path: Path, schema: str | Path) -> bool:
    """True if the database at `path` has to be migrated to the newest version of `schema`. False where that cannot be told."""
    try:
        with contextlib.closing(_open_reader(path)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error:
        return False
    return 0 < int(version) < read_migrations(SCHEMAS / schema)[-1].version


def free_bytes(folder: Path) -> int:
    """What the disk below `folder` has left for this user."""
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


def remove_database(path: Path) -> None:
    """Delete a database that can be rebuilt, with the files that SQLite keeps beside it."""
    for suffix in ("-wal", "-shm", ""):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def read_migrations(folder: Path) -> list[Migration]:
    """The steps of a schema, in order and without gaps."""
    found = sorted(file for file in folder.iterdir() if _MIGRATION.fullmatch(file.name))
    migrations = [Migration(int(file.name[:4]), file.read_text()) for file in found]
    assert [each.version for each in migrations] == list(range(1, len(migrations) + 1)), f"{folder}: versions 1, 2, 3 ... once each"
    assert migrations, f"{folder}: no migrations"
    return migrations


def as_store_error(error: sqlite3.Error, path: Path) -> Exception:
    """What `error` means to an operator, or `error` itself if it is our own mistake."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    if primary in _CORRUPT or code == sqlite3.SQLITE_IOERR_SHORT_READ:
        return StoreCorruptError(f"{path} is damaged: {error}", fix=_fix_for_damage(path))
    if primary == sqlite3.SQLITE_FULL:
        return DiskFullError(f"no space left to write {path}", fix=FIX_FULL)
    if primary in _FAILS_WHEN_FULL and code not in _UNSURE and free_bytes(path.parent) < FULL_BELOW_BYTES:
        return DiskFullError(f"no space left for what is kept beside {path}", fix=FIX_FULL)
    if isinstance(error, sqlite3.ProgrammingError | sqlite3.IntegrityError | sqlite3.InterfaceError) or primary == sqlite3.SQLITE_ERROR:
        return error
    return StoreError(f"{path} cannot be read or written: {error}", fix="check the disk and the permissions of the data directory")


def _fix_for_damage(path: Path) -> str:
    if path.name == "views.db":
        return f"delete {path}: it is rebuilt from log.db at the next start"
    return "run `recmesh serve`: it moves the file aside and takes over what can be read; other sites give the rest"


async def _connect(path: Path, connector: Callable[[], Connection]) -> aiosqlite.Connection:
    """Open it before its thread is there: one that could not open it would answer to an event loop that may be closed by then."""
    try:
        connection = await asyncio.to_thread(connector)
    except sqlite3.Error as error:
        raise as_store_error(error, path) from error
    return await aiosqlite.Connection(lambda: connection, 64)


def _open_writer(path: Path, synchronous: str) -> Connection:
    connection = _open(path)
    _set_up_writer(connection, synchronous)
    return connection


def _set_up_writer(connection: Connection, synchronous: str) -> None:
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit={WAL_BYTES_KEPT}")


def _open_reader(path: Path) -> Connection:
    connection = _open(path, mode="ro")
    connection.execute("PRAGMA query_only=ON")
    return connection


def _open(path: Path, mode: str = "rwc") -> Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    return connection


def _migrate_file(path: Path, folder: Path, backups: Path | None) -> None:
    migrations = read_migrations(folder)
    connection: Connection | None = None
    try:
        connection = _open(path)
        version = _check_origin(connection, path, migrations)
        if version == 0:
            connection.execute(f"PRAGMA page_size={PAGE_SIZE}")
        elif version < migrations[-1].version and backups is not None:
            _copy(connection, backups / f"{path.stem}-version-{version}{path.suffix}")
        connection.execute("PRAGMA journal_mode=WAL")
        for migration in migrations[version:]:
            connection.executescript(f"BEGIN IMMEDIATE;\n{migration.sql}\n;PRAGMA user_version={migration.version};\nCOMMIT;")
        if version == 0:
            sync_folder(path.parent)
    except sqlite3.Error as error:
        raise as_store_error(error, path) from error
    finally:
        if connection is not None:
            connection.close()


def _check_origin(connection: Connection, path: Path, migrations: Sequence[Migration]) -> int:
    """The version of the schema in the file, 0 for an empty one."""
    newest = migrations[-1].version
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if version != newest and tables and _schema(connection) == _newest_schema(migrations):
        raise StoreCorruptError(f"{path} says that it has version {version}, but has the tables of {newest}", fix=_fix_for_damage(path))
    if version > newest:
        raise DataDirectoryVersionError(
            f"{path} has version {version}; this recmesh knows up to {newest}", fix="install the newer recmesh again, or restore a backup"
        )
    if version < 0 or (tables > 0) != (version > 0):
        raise StoreCorruptError(f"{path} is a database of something else", fix=_fix_for_damage(path))
    return int(version)


def _schema(connection: Connection) -> list[Row]:
    return connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").fetchall()


def _newest_schema(migrations: Sequence[Migration]) -> list[Row]:
    """What the steps make of an empty database."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        for migration in migrations:
            connection.executescript(migration.sql)
        return _schema(connection)


def _check_newest(connection: Connection, path: Path, migrations: Sequence[Migration]) -> None:
    version, newest = _check_origin(connection, path, migrations), migrations[-1].version
    if version == 0:
        raise StoreCorruptError(f"{path} is empty", fix=_fix_for_damage(path))
    if version != newest:
        raise DataDirectoryVersionError(f"{path} has version {version}, not {newest}", fix="start the peer once: it migrates the database")


def _copy(connection: Connection, target: Path) -> None:
    """A complete copy, durable under its name, which it has only then."""
    target.parent.mkdir(mode=0o700, exist_ok=True)
    partial_copy = target.with_name(target.name + BACKUP_SUFFIX)
    partial_copy.unlink(missing_ok=True)
    copy = sqlite3.connect(partial_copy, isolation_level=None)
    try:
        connection.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
    finally:
        copy.close()
    partial_copy.chmod(0o600)
    with partial_copy.open("rb") as file:
        os.fsync(file.fileno())
    partial_copy.replace(target)
    sync_folder(target.parent)


def _without_stop(work: Callable[[Connection], T], connection: Connection) -> T:
    """A StopIteration could not cross over to the event loop: whoever awaits it would wait for ever."""
    try:
        return work(connection)
    except StopIteration as error:
        raise RuntimeError("an iterator ended too early") from error


def _in_snapshot(work: Callable[[Connection], T], connection: Connection) -> T:
    connection.execute("BEGIN")
    try:
        return work(connection)
    finally:
        connection.execute("COMMIT")


def _execute_steps(steps: Iterable[tuple[str, Iterable[Sequence[object]]]], connection: Connection) -> None:
    for sql, rows in steps:
        connection.executemany(sql, rows)


def _fetch(sql: str, parameters: Sequence[object], connection: Connection) -> list[Row]:
    return connection.execute(sql, parameters).fetchall()
