"""What works without a network: log, projections and bytes of a data directory."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import NamedTuple

from materializer.queries import Projections
from materializer.side_by_side import SideBySide
from materializer.summaries import Summaries
from materializer.summarizing import Summarizing
from peer.blobs.store import FileBlobStore
from peer.core.identity import GroupId, KeyPair
from peer.errors import DiskFullError, MeshError
from peer.logs import get_log
from peer.sections import DiskSection
from peer.store.database import open_database
from peer.store.directory import DataDirectory
from peer.store.events import SqliteEventStore, opened_event_store
from peer.store.full_disk import LOOK_FOR_ROOM_S
from peer.store.keys import GROUP_CHARACTERS, KeyFiles
from peer.store.ledger import open_ledger
from peer.store.recovery import recover
from peer.store.views_files import ViewsFiles, open_views
from peer.wiring.lasting import lasting
from peer.wiring.projecting import projecting_apart

_log = get_log("node")


class Core(NamedTuple):
    """What works without a network: log, projections, bytes."""

    key: KeyPair
    store: SqliteEventStore
    views: Projections
    materializer: SideBySide
    blobs: FileBlobStore
    database: ViewsFiles
    """The projections on disk."""


def now_ms() -> int:
    """Unix time."""
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def opened_core(
    directory: DataDirectory, damage: MeshError | None = None, *, old_may_answer: bool = False, disk: DiskSection | None = None
) -> AsyncIterator[Core]:
    """Log, projections and bytes of a directory that the caller has locked.

    With `old_may_answer` projections of other rules do so while new ones are computed. `disk` says how much of it blobs may take.
    """
    disk = disk or DiskSection()
    keys = KeyFiles(directory.keys)
    key = keys.peer_key()
    await recover(directory, key, lambda event, fields: _log.warning(event, **fields), damage)
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(await open_database(directory.log_database, "log", backups=directory.backups))
        store = await stack.enter_async_context(opened_event_store(log, keys, key, now_ms))
        lost = keys.log_key_files().keys() - {group.hex()[:GROUP_CHARACTERS] for group in store.replica.whole.groups}
        if lost:
            _log.warning("log.db knows nothing of groups that this peer has written in: put it back, or join them again", groups=sorted(lost))
        views = await stack.enter_async_context(await open_views(directory.views_database, _views_damaged))
        materializer = SideBySide(views, store, store.replica.whole, projecting_apart(_by_itself))
        ledger = open_ledger(directory.ledger)
        stack.callback(ledger.close)
        blobs = FileBlobStore(directory.blobs, ledger, free_floor=disk.floor_bytes, quota=disk.quota_bytes)
        stack.callback(blobs.close)
        await materializer.start(old_may_answer=old_may_answer)
        async with asyncio.TaskGroup() as tasks:
            projecting = tasks.create_task(materializer.run())
            ahead = Summarizing(Summaries(views), lambda: list(store.replica.groups), may_make=lambda: materializer.follows)
            giving_back = tasks.create_task(_give_back(store, materializer, views))
            summarizing = tasks.create_task(lasting(partial(ahead.run, materializer.subscribe), _full))
            try:
                if materializer.follows:
                    with suppress(DiskFullError):  # It is told as a problem, and goes on once there is room.
                        await materializer.reached(store.position)
                projections = Projections(views, materializer)
                if blobs.has_leftovers:
                    await _sweep(blobs, projections, store.replica.groups)
                yield Core(key, store, projections, materializer, blobs, views)
            finally:
                projecting.cancel()
                summarizing.cancel()
                giving_back.cancel()


async def _give_back(store: SqliteEventStore, materializer: SideBySide, views: ViewsFiles) -> None:
    """While there is no room for the log or the projections, let these take none that they do not need."""
    while True:
        await asyncio.sleep(LOOK_FOR_ROOM_S)
        if isinstance(store.failure, DiskFullError) or materializer.problem is not None:
            with suppress(DiskFullError):
                await views.checkpoint()


async def _sweep(blobs: FileBlobStore, views: Projections, groups: Iterable[GroupId]) -> None:
    """Delete what a crash left half-written, except downloads that go on."""
    wanted = [file for group in list(groups) for file in await views.wanted_blobs(group)]
    await blobs.sweep({blob for file in wanted for blob in (file.blob, file.pieces)})


def _full(event: str, fields: Mapping[str, object]) -> None:
    _log.warning(event, **fields)


def _views_damaged(why: str) -> None:
    _log.warning("the projections cannot be read and are computed again", error=why)


def _by_itself(why: str) -> None:
    _log.warning("the projections are written by the peer's own process", why=why)


def report(event: str, error: BaseException) -> None:
    """Tell the operator of an error that nobody is asked about."""
    _log.error(event, exc_info=error)
