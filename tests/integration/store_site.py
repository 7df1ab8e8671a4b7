"""A data directory with an open event store in it, as tests of the store need it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from peer.core.event import Event
from peer.core.identity import EventId
from peer.core.interfaces import EventStore
from peer.core.run import Run
from peer.store.database import open_database
from peer.store.directory import DataDirectory, write_durably
from peer.store.events import SqliteEventStore, opened_event_store
from peer.store.keys import PEER_KEY_FILE, KeyFiles
from tests.samples import GROUP, START_MS, SampleLog, key_pair


def set_up(root: Path, owner: str = "alice") -> DataDirectory:
    """A new data directory with the peer key of `owner`, who may write in the group of the samples if it is alice."""
    directory = DataDirectory(root)
    directory.create()
    write_durably(directory.keys / PEER_KEY_FILE, key_pair(owner).seed.hex().encode() + b"\n")
    return directory


@asynccontextmanager
async def running_store(root: Path, now_ms: int = START_MS) -> AsyncIterator[SqliteEventStore]:
    """The store of the data directory at `root`, which is set up if it is not there. Its clock stands still."""
    directory = DataDirectory(root) if DataDirectory(root).exists else set_up(root)
    keys = KeyFiles(directory.keys)
    async with (
        await open_database(directory.log_database, "log", backups=directory.backups) as database,
        opened_event_store(database, keys, keys.peer_key(), lambda: now_ms) as store,
    ):
        yield store


async def read_log(store: EventStore, log: SampleLog, have: Sequence[EventId] = (), size_max: int = 1 << 20) -> list[Run]:
    """All runs of `log` that `have` lacks, page by page, each page asked for as another peer would."""
    runs: list[Run] = []
    known = list(have)
    while True:
        page = await store.read_after(GROUP, log.certificate.log, known, size_max)
        runs += page.runs
        known += [run.last.id for run in page.runs]
        if page.complete:
            return runs
        assert page.runs


def fork(log: SampleLog, after: Event | None, label: str) -> SampleLog:
    """The same log written on elsewhere, from `after` on: a copy of its key that does not know what came later."""
    other = SampleLog("alice", kind=log.certificate.kind, label=label)
    other.author, other.key, other.certificate = log.author, log.key, log.certificate
    other.tip = after
    other.clock_ms = START_MS if after is None else (after.header.hlc >> 16) + 1000
    return other


def events_of(runs: Sequence[Run]) -> list[EventId]:
    """Ids of the events of runs, in order."""
    return [event.id for run in runs for event in run.events]
