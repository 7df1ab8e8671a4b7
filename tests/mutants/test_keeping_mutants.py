"""Planted bugs in what keeps bytes, in what lets them go, and in what a full disk does. Each must be caught by a test of real files and events."""

from pathlib import Path
from typing import Any

import pytest

from materializer import descriptions, queries, summaries
from peer.blobs.pins import Pins
from peer.core import retention as rules
from peer.core.retention import may_collect
from peer.operations.collecting import Collecting
from peer.operations.retaining import Retaining
from peer.operations.retention import Retention, SteadyClock
from peer.store import full_disk
from peer.store.events import SqliteEventStore
from tests.integration import test_collecting as collected
from tests.integration import test_failing_store as failing
from tests.integration import test_retention as retained
from tests.mutants.planting import Check, Mutant, assert_caught, change, name_of
from tests.unit.core import test_retention as unit


def say_that_it_is_written_on_a_full_disk(patch: pytest.MonkeyPatch) -> None:
    """Appends return as if their commit had been one."""
    change(patch, SqliteEventStore._commit, ("_settle(each.done, _as_failure(error))", "_settle(each.done, ())"))


def refuse_for_ever_after_a_full_disk(patch: pytest.MonkeyPatch) -> None:
    """Room makes no difference."""
    patch.setattr("peer.store.events.can_be_written", _never)


async def _never(*_arguments: object) -> bool:
    return False


def write_on_whatever_the_log_has_become(patch: pytest.MonkeyPatch) -> None:
    """It is not looked at where the log ends."""
    change(patch, full_disk.can_be_written, ("last != own.position", "False"))


def forget_the_hold_of_what_was_deleted(patch: pytest.MonkeyPatch) -> None:
    """A deletion hides a recording although somebody holds it."""
    condition = descriptions.IS_DELETED.split(" AND NOT EXISTS", maxsplit=1)[0] + ")"
    for module in (descriptions, queries, summaries):
        patch.setattr(module, "IS_DELETED", condition)


def collect_what_is_held(patch: pytest.MonkeyPatch) -> None:
    """Bytes of a deleted recording go whoever holds it."""
    change(patch, may_collect, (" or view.hold is not None", ""))


def collect_what_is_to_be_kept(patch: pytest.MonkeyPatch) -> None:
    """Retention is not asked for."""
    change(patch, may_collect, ("if standing is not None and not standing.has_run_out(now_ns):", "if False:"))


def collect_at_once(patch: pytest.MonkeyPatch) -> None:
    """There is no time of grace."""
    patch.setattr(rules, "GRACE_NS", 0)


def collect_what_another_recording_has(patch: pytest.MonkeyPatch) -> None:
    """One deleted recording is enough."""
    change(patch, Collecting._all_may_go, ("return all(", "return any("))


def believe_that_all_claims_were_told(patch: pytest.MonkeyPatch) -> None:
    """Where more recordings have a file than are looked at, the others are not thought of."""
    change(patch, Collecting._claims, ("len(claims) >= CLAIMS_MAX", "False"))


def collect_what_is_being_added(patch: pytest.MonkeyPatch) -> None:
    """Who adds the same bytes again finds them gone."""
    patch.setattr(Pins, "add", lambda *_arguments: None)


def collect_from_tables_that_are_behind(patch: pytest.MonkeyPatch) -> None:
    """A hold that is not projected yet is none."""
    patch.setattr(Retention, "caught_up", _at_once)


async def _at_once(_self: Retention) -> None:
    return


def believe_a_clock_that_was_put_forward(patch: pytest.MonkeyPatch) -> None:
    """Time is what the clock says."""
    change(patch, SteadyClock.__call__, ("return min(self._now_ns(), self._elapsed_ns() + self._ahead_ns)", "return self._now_ns()"))


def let_the_group_decide_over_the_recording(patch: pytest.MonkeyPatch) -> None:
    """What somebody said of this recording is not looked at."""
    change(patch, rules.kept, ("if own is not None:", "if own is not None and of_group is None:"))


def take_a_clock_that_was_never_set_for_an_age(patch: pytest.MonkeyPatch) -> None:
    """A recording of 1970 has run out since."""
    patch.setattr(rules, "OLDEST_NS", -1)


def shorten_what_is_extended(patch: pytest.MonkeyPatch) -> None:
    """An extension may end earlier."""
    change(patch, Retaining.retain, ("until_ns <= standing.until_ns", "False"))


def rows(of_group: str | None, *, may: bool, **changes: Any) -> Check:
    """One row of the table of what may be collected."""
    return lambda _folder: unit.test_bytes_of_a_deleted_recording_go_if_nothing_keeps_them(changes, of_group, may=may)


async def clock_behind(folder: Path) -> None:
    """Nothing is collected while events wait to be projected."""
    with pytest.MonkeyPatch.context() as patch:
        await collected.test_nothing_goes_while_the_tables_are_behind_the_log(folder, patch)


async def extended(folder: Path) -> None:
    """Through a whole peer."""
    async with retained.with_one(folder) as peer:
        await retained.test_only_a_retention_that_ran_out_allows_a_deletion(peer)


HELD_BACK = failing.test_when_the_disk_is_full_nothing_is_announced_and_everything_is_refused_until_there_is_room
MUTANTS = (
    Mutant(say_that_it_is_written_on_a_full_disk, HELD_BACK),
    Mutant(refuse_for_ever_after_a_full_disk, HELD_BACK, (TimeoutError,)),
    Mutant(write_on_whatever_the_log_has_become, failing.test_a_log_that_ends_elsewhere_when_there_is_room_again_is_not_written_on, (TimeoutError,)),
    Mutant(forget_the_hold_of_what_was_deleted, retained.test_a_hold_wins_over_a_deletion_that_knew_nothing_of_it_whoever_came_first),
    Mutant(collect_what_is_held, rows(None, may=False, hold=unit.HOLD)),
    Mutant(collect_what_is_to_be_kept, rows("permanent", may=False)),
    Mutant(collect_at_once, collected.test_bytes_go_when_the_grace_is_over_and_come_to_no_harm_before),
    Mutant(collect_what_another_recording_has, collected.test_bytes_that_a_recording_shares_stay_until_it_is_deleted_as_well),
    Mutant(believe_that_all_claims_were_told, collected.test_of_more_claims_than_are_told_of_one_may_be_alive),
    Mutant(collect_what_is_being_added, collected.test_what_is_added_again_at_this_moment_stays),
    Mutant(collect_from_tables_that_are_behind, clock_behind),
    Mutant(believe_a_clock_that_was_put_forward, lambda _: unit.test_a_clock_that_is_put_forward_lets_nothing_run_out()),
    Mutant(let_the_group_decide_over_the_recording, rows("transient", may=False, retention=unit.said("permanent"))),
    Mutant(take_a_clock_that_was_never_set_for_an_age, rows("raw", may=False, created_ns=0)),
    Mutant(shorten_what_is_extended, extended),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_what_is_kept_is_checked_for(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes without the bug and fails with it."""
    await assert_caught(mutant, tmp_path, monkeypatch)
