"""Planted bugs in the store on a disk: gaps, early news, copies, bad runs. Each must be caught by a test of the store."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from peer.core.certificate import Certificate
from peer.core.interfaces import StoredEvent
from peer.core.run import Run
from peer.errors import EventRejectedError, LogGapError
from peer.store import events as store_events
from peer.store.database import Connection
from peer.store.events import SqliteEventStore
from peer.store.groups import Branch, LogRecord
from peer.store.keys import Fence
from peer.store.writing import Append, Batch, Request
from tests.integration import test_durable_first as durable_first
from tests.integration import test_event_store as event_store
from tests.integration import test_event_store_contract as contract
from tests.integration import test_own_logs as own_logs
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.samples import genesis


def store_a_run_whose_begin_is_missing(patch: pytest.MonkeyPatch) -> None:
    """A run is signed, so it is stored, whether the event before it is held or not."""
    place = Batch._place

    def trusting(self: Batch, connection: Connection, record: LogRecord | None, certificate: Certificate, run: Run) -> tuple[Branch | None, int]:
        try:
            return place(self, connection, record, certificate, run)
        except LogGapError:
            return (record.branches[-1] if record else None), 0

    patch.setattr(Batch, "_place", trusting)


def announce_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """Listeners hear of a batch inside its transaction."""

    async def hasty(self: SqliteEventStore, waiting: list[store_events._Waiting]) -> None:
        batch = Batch(self._groups, self._own, self._now_ms())
        loop = asyncio.get_running_loop()

        async def publish() -> None:
            batch.publish(tuple(self._listeners))

        def work(connection: Connection) -> None:
            batch.execute([each.request for each in waiting], connection)
            asyncio.run_coroutine_threadsafe(publish(), loop).result()

        await self._database.transaction(work)
        for each, outcome in zip(waiting, batch.outcomes, strict=True):
            store_events._settle(each.done, outcome)

    patch.setattr(SqliteEventStore, "_commit", hasty)


def acknowledge_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """An append returns once it waits."""
    change(patch, SqliteEventStore._request, ("return await done", "return () if isinstance(request, Append) else await done"))


def write_on_with_a_copied_key(patch: pytest.MonkeyPatch) -> None:
    """The fence does not look at the files of keys."""
    patch.setattr("peer.store.keys._fence", lambda _path: Fence(1, 1))


def write_on_in_a_restored_database(patch: pytest.MonkeyPatch) -> None:
    """The fence does not look at the file of the database."""
    change(patch, store_events._load, ("Fence(status.st_ino, status.st_ctime_ns)", "Fence(1, 1)"))


def write_on_in_a_copy(patch: pytest.MonkeyPatch) -> None:
    """The fence looks at nothing: what was restored or copied uses the same positions of its log again."""
    write_on_with_a_copied_key(patch)
    write_on_in_a_restored_database(patch)


def refuse_a_whole_batch_for_one_bad_run(patch: pytest.MonkeyPatch) -> None:
    """Those who wait together fail together."""
    execute = Batch.execute

    def all_or_nothing(self: Batch, requests: Sequence[Request], connection: Connection) -> None:
        execute(self, requests, connection)
        bad = next((outcome for outcome in self.outcomes if isinstance(outcome, EventRejectedError)), None)
        if bad is not None:
            connection.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")
            self.outcomes = [bad for _ in requests]
            self.commits.clear()
            self._records.clear()
            self._position = self._own.position

    patch.setattr(Batch, "execute", all_or_nothing)


def store_a_bad_run_of_a_batch(patch: pytest.MonkeyPatch) -> None:
    """A run is refused, and stored with the others of its transaction all the same."""
    one = Batch._one

    def careless(self: Batch, connection: Connection, request: Request) -> Sequence[StoredEvent]:
        try:
            return one(self, connection, request)
        except EventRejectedError:
            if isinstance(request, Append):
                self._store(connection, self._group(request.certificate.group), None, request.certificate, None, request.run)
            raise

    patch.setattr(Batch, "_one", careless)


async def gaps(folder: Path) -> None:
    """Nothing is stored without the event before it."""
    async with contract.STORES["sqlite"](folder / "site") as store:
        await store.create_group(genesis())
        await contract.test_a_run_whose_begin_is_missing_is_a_gap_and_leaves_nothing_behind(store)


async def copies(folder: Path) -> None:
    """Whatever was copied, the log of the original is not written on."""
    for what in ("whole directory", "database", "log key"):
        (folder / what).mkdir()
        await own_logs.test_a_copy_is_not_written_on_a_new_log_is_opened(folder / what, what)


MUTANTS = (
    Mutant(store_a_run_whose_begin_is_missing, gaps),
    Mutant(announce_before_the_commit, durable_first.test_what_is_announced_or_acknowledged_is_committed),
    Mutant(acknowledge_before_the_commit, durable_first.test_what_is_announced_or_acknowledged_is_committed),
    Mutant(write_on_with_a_copied_key, copies),
    Mutant(write_on_in_a_restored_database, copies),
    Mutant(write_on_in_a_copy, copies),
    Mutant(refuse_a_whole_batch_for_one_bad_run, event_store.test_one_bad_run_does_not_fail_the_others_of_its_transaction),
    Mutant(store_a_bad_run_of_a_batch, event_store.test_one_bad_run_does_not_fail_the_others_of_its_transaction),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_the_store_is_checked_for(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes without the bug and fails with it."""
    await assert_caught(mutant, tmp_path, monkeypatch)
