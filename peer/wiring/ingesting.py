"""Where recordings come in bit by bit: open ones, and watched folders, put together."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from peer.config import Config
from peer.core.identity import EventId, GroupId
from peer.errors import StoreCorruptError
from peer.logs import get_log
from peer.operations.adding import Adding
from peer.operations.opening import Log, Opening
from peer.operations.recordings import Recordings
from peer.operations.watch_taking import Collaborators
from peer.operations.watching import Watching, WatchTimes
from peer.store.database import Database, open_database
from peer.store.directory import DataDirectory
from peer.store.watches import WatchStore
from peer.wiring.core import Core

DAMAGED_SUFFIX = ".damaged"
_log = get_log("node")


async def open_watches(stack: AsyncExitStack, directory: DataDirectory) -> WatchStore:
    """What is kept of watched folders. A damaged database is moved aside: what was added is recognised by its bytes, in the events."""
    path = directory.watch_database
    try:
        database = await _opened(directory)
    except StoreCorruptError as error:
        aside = path.with_name(path.name + DAMAGED_SUFFIX)
        _log.warning("which folders are watched is damaged: name them again with `recmesh watch add`", error=error.text, moved_to=str(aside))
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        path.replace(aside)
        database = await _opened(directory)
    stack.push_async_callback(database.close)
    return WatchStore(database)


async def _opened(directory: DataDirectory) -> Database:
    database = await open_database(directory.watch_database, "watch")
    try:
        await WatchStore(database).folders()
    except BaseException:
        await database.close()
        raise
    return database


def make_ingest(
    core: Core,
    places: tuple[DataDirectory, Config, WatchStore],
    parts: tuple[Adding, Recordings],
    show: Callable[[GroupId, EventId], Awaitable[None]],
) -> tuple[Opening, Watching]:
    """Open recordings, and watched folders."""
    (directory, config, store), (adding, recordings) = places, parts
    log = Log(core.key.peer_id, core.store, core.store.replica, lambda: core.store.position)
    opening = Opening(log, core.views, recordings, adding, show)
    collaborators = Collaborators(adding, opening, adding.naming, core.views, store, show)
    times = WatchTimes(config.watch.interval, config.watch.settle, config.watch.quiet)
    watching = Watching(store, core.store.replica, collaborators, times, directory.root, lambda event, fields: _log.warning(event, **fields))
    return opening, watching
