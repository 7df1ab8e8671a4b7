"""`bytes.db`: what this site alone knows of bytes (wishes, rules, promises), opened, or begun anew where it cannot be read."""

from contextlib import AsyncExitStack
from typing import NamedTuple

from peer.errors import StoreCorruptError
from peer.logs import get_log
from peer.store.database import Database, open_database
from peer.store.directory import DataDirectory
from peer.store.unread import UnreadRows

DAMAGED_SUFFIX = ".damaged"
_log = get_log("node")


class BytesDatabase(NamedTuple):
    """What a peer finds when it starts."""

    database: Database
    is_new: bool
    """True if it holds nothing from before: what stood there, promises among it, counts as lost."""
    unread: UnreadRows
    """What in it cannot be read, once those that keep something there have read it."""


async def open_bytes_database(stack: AsyncExitStack, directory: DataDirectory) -> BytesDatabase:
    """Open `bytes.db`; closes it with `stack`. A damaged one is moved aside: no recording depends on it."""
    path = directory.bytes_database
    is_new = not path.exists()
    try:
        database = await _opened(directory)
    except StoreCorruptError as error:
        aside, is_new = path.with_name(path.name + DAMAGED_SUFFIX), True
        _log.warning("what was asked for, promised and set up for transfers is damaged, and begins anew", error=error.text, moved_to=str(aside))
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        path.replace(aside)
        database = await _opened(directory)
    stack.push_async_callback(database.close)
    return BytesDatabase(database, is_new, UnreadRows())


async def _opened(directory: DataDirectory) -> Database:
    """Open it and go through all of it: it is small."""
    database = await open_database(directory.bytes_database, "bytes")
    try:
        await _check(database)
    except BaseException:
        await database.close()
        raise
    return database


async def _check(database: Database) -> None:
    found = await database.fetch("PRAGMA quick_check(1)")
    if found != [("ok",)]:
        raise StoreCorruptError(f"{database.path} is damaged: {found[0][0]}", fix="restart the peer: it begins anew")
