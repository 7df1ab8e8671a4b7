"""Planted bugs in the store on a disk: gaps, early news, copies, bad runs, wrong roles. Each must be caught by a test of the store."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

import pytest

from peer.core import judging, roster, standing
from peer.core.certificate import Certificate
from peer.core.control import Point
from peer.core.identity import PeerId
from peer.core.interfaces import StoredEvent
from peer.core.run import Run
from peer.errors import EventRejectedError, LogGapError, TooManyLogsError
from peer.store import events as store_events
from peer.store import groups as store_groups
from peer.store import judged as store_judged
from peer.store import rows as store_rows
from peer.store import sealing as store_sealing
from peer.store import writing as store_writing
from peer.store.database import Connection
from peer.store.events import SqliteEventStore
from peer.store.groups import Branch, LogRecord
from peer.store.keys import Fence
from peer.store.requests import Append, Request
from peer.store.writing import Batch
from tests.integration import test_durable_first as durable_first
from tests.integration import test_event_store as event_store
from tests.integration import test_event_store_contract as contract
from tests.integration import test_judged_events as events
from tests.integration import test_own_logs as own_logs
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.property import test_judged_store as judged_store
from tests.samples import genesis
from tests.unit.core import test_judging as lines


def store_a_run_whose_begin_is_missing(patch: pytest.MonkeyPatch) -> None:
    """A run is signed, so it is stored, whether the event before it is held or not."""
    place = store_writing.place_run

    def trusting(
        connection: Connection, record: LogRecord | None, certificate: Certificate, run: Run, position: int, awaited: int
    ) -> tuple[Branch | None, int]:
        try:
            return place(connection, record, certificate, run, position, awaited)
        except LogGapError:
            return (record.branches[-1] if record else None), 0

    patch.setattr(store_writing, "place_run", trusting)


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
            self.stored.clear()
            self._judged.clear()
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
                self._store(connection, self._group(request.certificate.group), request.certificate, None, request.run)
            raise

    patch.setattr(Batch, "_one", careless)


def cut_by_height_alone(patch: pytest.MonkeyPatch) -> None:
    """Whatever is no higher than a point lies under it, on whichever branch."""

    def cover(lines: Sequence[judging.Line], points: Iterable[Point], _places: judging.Places) -> dict[int, int]:
        height = judging.top(points)
        return {line.number: height for line in lines} if height else {}

    patch.setattr(judging, "cover", cover)


def ignore_seals(patch: pytest.MonkeyPatch) -> None:
    """Of a sealed log everything counts."""
    patch.setattr(standing.Seal, "binds", lambda _self, _place: False)


def offer_what_is_quarantined(patch: pytest.MonkeyPatch) -> None:
    """Others get all that is held."""
    patch.setattr(store_groups.LogRecord, "clipped", lambda self, _clips, _ends: self)


def offer_only_what_counts(patch: pytest.MonkeyPatch) -> None:
    """Others do not get what tells them that something does not count."""
    change(patch, judging._judge, ("max(counting_top(each), here.get(number, 0), top(missing))", "counting_top(each)"))


def let_anybody_void(patch: pytest.MonkeyPatch) -> None:
    """A void by any writer counts for any event."""
    patch.setattr(roster.Roster, "is_void", lambda self, event_id, _author: event_id in self.voids)


def void_what_decides(patch: pytest.MonkeyPatch) -> None:
    """A void of a control event counts."""
    change(patch, store_judged._Search.data_events, ("record.certificate.kind is LogKind.DATA and ", ""))


def forget_what_a_void_waits_for(patch: pytest.MonkeyPatch) -> None:
    """A void is looked at when it comes, and not when the event does."""
    change(patch, store_judged._void_places, ("if event.id in awaited", "if False"))


def forget_what_a_point_waits_for(patch: pytest.MonkeyPatch) -> None:
    """The event at a point is looked for when the point comes, and not when the event does."""
    change(patch, store_judged.judge_after, ("if at.get(point.event_id) == point.height", "if False"))


def keep_the_roles_of_a_branch_that_passes_a_cut(patch: pytest.MonkeyPatch) -> None:
    """Only a new branch makes a log be judged again, not one that grows past a point whose event is not here."""
    change(patch, store_judged.judge_after, ("not any(point.height in heights for point in verdict.missing)", "True"))


def judge_only_those_who_are_decided_on(patch: pytest.MonkeyPatch) -> None:
    """A seal changes nothing until its author is decided on."""
    new = "roster.standing(peer).decisions != before.standing(peer).decisions"
    change(patch, judging.changed_peers, ("roster.standing(peer) != before.standing(peer)", new))


def send_more_than_the_run_at_a_cut(patch: pytest.MonkeyPatch) -> None:
    """What is sent of a log ends at its tip, not at the end of the run in which what counts ends."""
    change(patch, store_rows._up_to_signature, ("ORDER BY height LIMIT 1", "ORDER BY height DESC LIMIT 1"))


def stop_before_the_run_at_a_cut(patch: pytest.MonkeyPatch) -> None:
    """What counts of a log is sent up to the last signature in it."""
    patch.setattr(store_rows, "_up_to_signature", lambda _connection, span: span)


def write_on_in_a_sealed_log(patch: pytest.MonkeyPatch) -> None:
    """A seal that came from elsewhere does not end the log here."""
    patch.setattr(Batch, "_is_over", lambda _self, _group, _certificate: False)


def write_on_in_a_log_that_we_seal(patch: pytest.MonkeyPatch) -> None:
    """A seal of our own ends the log once it is committed, and not before."""
    patch.setattr(Batch, "_close_sealed", lambda _self, _connection, _group, _events: None)
    patch.setattr(Batch, "_is_over", lambda _self, group, certificate: group.is_over(certificate))


def write_without_a_role(patch: pytest.MonkeyPatch) -> None:
    """Who was removed writes on."""
    change(patch, Batch._write, ("group.roster.role(self._own.peer.peer_id) is Role.NONE", "False"))


def open_any_number_of_logs(patch: pytest.MonkeyPatch) -> None:
    """Nothing is sealed before the 33rd log."""
    patch.setattr(store_writing, "logs_to_seal", lambda _unsealed, _open, _opening: [])


def seal_at_the_begin(patch: pytest.MonkeyPatch) -> None:
    """A log is sealed without its frontier: nothing of it counts."""
    patch.setattr(store_writing, "frontier", lambda _record: [[]])


def seal_the_newest(patch: pytest.MonkeyPatch) -> None:
    """The log that was written last is sealed first."""
    change(patch, store_sealing.logs_to_seal, ("record.number))", "record.number), reverse=True)"))


def take_any_number_of_logs(patch: pytest.MonkeyPatch) -> None:
    """Somebody may have any number of logs."""
    patch.setattr(store_writing, "UNSEALED_LOGS_MAX", 1000)


def let_seals_wait_with_the_logs(patch: pytest.MonkeyPatch) -> None:
    """Control logs are counted with the others: what would make room does not come."""
    change(patch, Batch._check_log_count, ("if certificate.kind is LogKind.CONTROL:", "if False:"))


def say_nothing_of_a_changed_branch(patch: pytest.MonkeyPatch) -> None:
    """A judgement names only those whose role is another one now, not those of whose past something else is said."""
    patch.setattr(judging.Judgement, "_agrees", lambda _self, _other, _key: True)


def keep_too_little(patch: pytest.MonkeyPatch) -> None:
    """A cut that is to keep everything names one branch of each log."""
    points = store_judged.points_to_keep

    def one_each(connection: Connection, group: store_groups.GroupRecord, peer: PeerId) -> list[Point]:
        return list({point.log: point for point in points(connection, group, peer)}.values())

    patch.setattr(store_events, "points_to_keep", one_each)


def think_about_every_append(patch: pytest.MonkeyPatch) -> None:
    """Roles are judged after each transaction."""
    patch.setattr(store_groups.Judged, "is_plain", False)


def judged(*seeds: int) -> Callable[[Path], Awaitable[None]]:
    """Follow some random histories on disk and in memory."""

    async def follow(_folder: Path) -> None:
        for seed in seeds:
            await judged_store.follow(seed, Counter())

    return follow


async def waiting_for_points(folder: Path) -> None:
    """What counts while the event at a cut is not here."""
    await events.test_while_the_event_at_a_cut_is_not_here_what_may_lead_to_it_counts(folder, restart=False)


async def sealed_together(folder: Path) -> None:
    """A log that is sealed, and written on in the same transaction."""
    await events.test_a_log_that_is_sealed_while_it_is_open_is_not_written_on(folder, together=True)


async def unthought(folder: Path) -> None:
    """Plain appends."""
    with pytest.MonkeyPatch.context() as patch:
        await events.test_appends_to_logs_that_nobody_names_are_not_thought_about(folder, patch)


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
    Mutant(cut_by_height_alone, events.test_a_fork_below_a_cut_changes_nothing),
    Mutant(ignore_seals, events.test_a_log_that_was_sealed_elsewhere_is_not_written_on),
    Mutant(offer_what_is_quarantined, events.test_a_removal_with_a_cut_leaves_what_was_before_and_nothing_that_comes_later),
    Mutant(offer_only_what_counts, lambda _: lines.test_what_tells_that_nothing_leads_to_a_cut_is_offered_up_to_its_height()),
    Mutant(let_anybody_void, events.test_events_are_voided_by_their_author_or_an_admin_before_or_after_they_come),
    Mutant(void_what_decides, events.test_events_are_voided_by_their_author_or_an_admin_before_or_after_they_come),
    Mutant(forget_what_a_void_waits_for, events.test_events_are_voided_by_their_author_or_an_admin_before_or_after_they_come),
    Mutant(forget_what_a_point_waits_for, waiting_for_points),
    Mutant(keep_the_roles_of_a_branch_that_passes_a_cut, judged(*range(20))),
    Mutant(judge_only_those_who_are_decided_on, events.test_a_log_that_was_sealed_elsewhere_is_not_written_on),
    Mutant(send_more_than_the_run_at_a_cut, judged(*range(20))),
    Mutant(stop_before_the_run_at_a_cut, events.test_a_removal_with_a_cut_leaves_what_was_before_and_nothing_that_comes_later),
    Mutant(write_on_in_a_sealed_log, events.test_a_log_that_was_sealed_elsewhere_is_not_written_on),
    Mutant(write_on_in_a_log_that_we_seal, sealed_together),
    Mutant(write_without_a_role, events.test_a_peer_that_was_removed_reads_on_and_is_told_why_it_cannot_write),
    Mutant(open_any_number_of_logs, events.test_a_peer_never_has_more_than_32_unsealed_logs_and_loses_nothing),
    Mutant(seal_at_the_begin, events.test_a_peer_never_has_more_than_32_unsealed_logs_and_loses_nothing),
    Mutant(seal_the_newest, events.test_a_peer_never_has_more_than_32_unsealed_logs_and_loses_nothing),
    Mutant(take_any_number_of_logs, events.test_above_64_unsealed_logs_of_somebody_the_rest_wait_until_others_are_sealed),
    Mutant(
        let_seals_wait_with_the_logs,
        events.test_above_64_unsealed_logs_of_somebody_the_rest_wait_until_others_are_sealed,
        shows=(TooManyLogsError,),
    ),
    Mutant(say_nothing_of_a_changed_branch, judged(*range(20))),
    Mutant(keep_too_little, events.test_a_cut_that_keeps_everything_and_what_another_one_leaves_out),
    Mutant(think_about_every_append, unthought),
    Mutant(store_a_bad_run_of_a_batch, event_store.test_one_bad_run_does_not_fail_the_others_of_its_transaction),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_the_store_is_checked_for(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes without the bug and fails with it."""
    await assert_caught(mutant, tmp_path, monkeypatch)
