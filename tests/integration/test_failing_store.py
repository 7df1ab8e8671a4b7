"""The store when the disk, a key or a listener fails: nothing is announced, and nobody waits in vain."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from peer.core.certificate import LogKind
from peer.core.interfaces import Commit
from peer.core.run import Draft
from peer.errors import (
    DiskFullError,
    StoreError,
)
from peer.store.database import Connection, open_database
from peer.store.directory import DataDirectory
from peer.store.events import SqliteEventStore, load_event_store
from peer.store.keys import KeyFiles
from tests.integration.store_site import running_store, set_up
from tests.patience import PATIENCE_S
from tests.samples import GROUP, START_MS, SampleLog, genesis, note

MINUTE_MS = 60_000


def own_log(store: SqliteEventStore, kind: LogKind = LogKind.DATA) -> list[bytes]:
    """The logs of this store's peer in the group, in the order in which they appeared."""
    return [log for log, certificate in store.replica.groups[GROUP].certificates.items() if certificate.kind is kind]


async def test_when_the_disk_is_full_nothing_is_announced_and_everything_is_refused_until_there_is_room(tmp_path: Path) -> None:
    def allow_no_more(connection: Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages + 4}")

    def allow_all(connection: Connection) -> None:
        connection.execute("PRAGMA max_page_count=1000000")

    directory = set_up(tmp_path / "site")
    keys = KeyFiles(directory.keys)
    log = SampleLog("alice")
    runs = [log.write(*[Draft("note", b"x" * 1000)] * 200) for _ in range(20)]
    async with await open_database(directory.log_database, "log") as database:
        store = await load_event_store(database, keys, keys.peer_key(), lambda: START_MS)
        running = asyncio.create_task(store.run())
        await store.create_group(genesis())
        await database.transaction(allow_no_more)
        commits: list[Commit] = []
        store.subscribe(commits.append)

        results = await asyncio.gather(*(store.append(log.certificate, run) for run in runs), return_exceptions=True)

        assert all(isinstance(result, DiskFullError) for result in results)
        with pytest.raises(DiskFullError, match="no space left"):
            await store.write(GROUP, LogKind.DATA, [note()])
        assert isinstance(store.failure, DiskFullError)
        assert commits == []
        assert store.replica.groups[GROUP].tips == {}
        await database.transaction(allow_all)
        async with asyncio.timeout(PATIENCE_S):
            while store.failure is not None:  # noqa: ASYNC110  (it tells nobody)
                await asyncio.sleep(0.01)
            await asyncio.gather(*(store.append(log.certificate, run) for run in runs))
        store.close()
        await running
        assert len(commits) == len(runs)

    async with running_store(tmp_path / "site") as store:
        assert store.counts(GROUP).events == sum(len(run.events) for run in runs)
        assert (await store.verify()).ok


async def test_a_log_that_ends_elsewhere_when_there_is_room_again_is_not_written_on(tmp_path: Path) -> None:
    """SQLite said that nothing was written. If that is not so, nobody knows what else is not."""

    def allow(pages: int) -> Callable[[Connection], object]:
        return lambda connection: connection.execute(f"PRAGMA max_page_count={pages}")

    directory = set_up(tmp_path / "site")
    keys = KeyFiles(directory.keys)
    log = SampleLog("alice")
    async with await open_database(directory.log_database, "log") as database:
        store = await load_event_store(database, keys, keys.peer_key(), lambda: START_MS)
        running = asyncio.create_task(store.run())
        await store.create_group(genesis())
        await store.append(log.certificate, log.write(note()))
        await database.transaction(allow(1))
        with pytest.raises(DiskFullError):
            await store.append(log.certificate, log.write(*[Draft("note", b"x" * 1000)] * 200))
        await database.transaction(lambda connection: connection.execute("DELETE FROM events"))
        await database.transaction(allow(1_000_000))
        with pytest.raises(StoreError, match="does not end where it did"):
            await asyncio.wait_for(running, PATIENCE_S)


async def test_a_store_is_of_the_peer_whose_key_lies_beside_it(tmp_path: Path) -> None:
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        (stored,) = await store.write(GROUP, LogKind.DATA, [note()])

        assert stored.author == KeyFiles(DataDirectory(tmp_path / "site").keys).peer_key().peer_id


async def test_a_log_key_that_cannot_be_written_stops_the_store(tmp_path: Path) -> None:
    """An event that is signed with a key that the next start does not find would leave a log that nobody can go on with, or close."""
    directory = set_up(tmp_path / "site")
    keys = KeyFiles(directory.keys)
    peer = keys.peer_key()
    async with await open_database(directory.log_database, "log") as database:
        store = await load_event_store(database, keys, peer, lambda: START_MS)
        running = asyncio.create_task(store.run())
        await store.create_group(genesis())
        shutil.rmtree(directory.keys)

        with pytest.raises(StoreError, match="cannot be written"):
            await store.write(GROUP, LogKind.DATA, [note()])
        with pytest.raises(StoreError):
            await running
        assert store.counts(GROUP).events == 0


async def test_a_listener_that_fails_stops_the_store_and_leaves_nobody_waiting(tmp_path: Path) -> None:
    def fail(_commit: Commit) -> None:
        raise ValueError("a bug")

    directory = set_up(tmp_path / "site")
    keys = KeyFiles(directory.keys)
    log = SampleLog("alice")
    async with await open_database(directory.log_database, "log") as database:
        store = await load_event_store(database, keys, keys.peer_key(), lambda: START_MS)
        running = asyncio.create_task(store.run())
        await store.create_group(genesis())
        store.subscribe(fail)

        with pytest.raises(StoreError, match="a bug"):
            await store.append(log.certificate, log.write_notes(1))
        with pytest.raises(ValueError, match="a bug"):
            await running
        with pytest.raises(StoreError):
            await store.append(log.certificate, log.write_notes(1))
