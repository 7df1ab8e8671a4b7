"""Planted bugs in comparing views and in computing them anew. Each must be caught by a test."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from materializer.side_by_side import SideBySide
from peer.store.views_files import ViewsFiles
from peer.sync import comparing
from peer.sync.comparing import Comparing
from peer.sync.digest_side import DigestSide
from tests.integration import test_views_side_by_side as beside
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.sync_site import Clock, SampleGroup, Site, puppet
from tests.unit.sync import test_comparing as found
from tests.unit.sync import test_session_digests as links


def compare_whoever_tells(patch: pytest.MonkeyPatch) -> None:
    """Digests are compared whatever they are of."""
    change(patch, Comparing._compare, ("(ours.version, ours.basis) != (theirs.version, theirs.basis)", "False"))


def compare_other_versions(patch: pytest.MonkeyPatch) -> None:
    """Digests are compared whatever rules they are by."""
    change(patch, Comparing._compare, ("(ours.version, ours.basis) != (theirs.version, theirs.basis)", "ours.basis != theirs.basis"))


def stay_alarmed(patch: pytest.MonkeyPatch) -> None:
    """What differed once differs for ever."""
    patch.setattr(Comparing, "_agreed", lambda *_arguments: None)


def look_at_the_first_place_alone(patch: pytest.MonkeyPatch) -> None:
    """A search looks no further than the first byte that differs."""
    change(patch, comparing._narrow, ("nexts[: PLACES_MAX - len(search.places)]", "nexts[:1]"))


def pass_over_what_only_they_have(patch: pytest.MonkeyPatch) -> None:
    """A row that is missing here is not found."""
    change(patch, comparing._differing, ("ours.keys() | theirs.keys()", "ours.keys()"))


def ask_without_end(patch: pytest.MonkeyPatch) -> None:
    """Whoever lies is asked for ever."""
    patch.setattr(comparing, "ASKED_MAX", 2**16)


def tell_older_peers(patch: pytest.MonkeyPatch) -> None:
    """Messages go to whoever does not know them."""
    change(patch, DigestSide.tell, ("self._is_known and ", ""))


def hear_without_end(patch: pytest.MonkeyPatch) -> None:
    """One link may ask for as much as it likes."""
    change(patch, DigestSide.heard, ("self._parts_heard += 1", "pass"))


def let_waiters_hang(patch: pytest.MonkeyPatch) -> None:
    """Whoever waits for an event while views change places is told of no failure and of no success."""
    patch.setattr(beside, "DEADLINE_S", 3.0)
    change(patch, SideBySide.reached, ("continue", "await asyncio.Event().wait()"))


def change_places_too_early(patch: pytest.MonkeyPatch) -> None:
    """What came while the new views were computed is not in them when they answer."""
    change(patch, SideBySide._compute_anew, ("await _cancelled(following)\n        await computed.catch_up()", "await _cancelled(following)"))


def empty_the_old_views(patch: pytest.MonkeyPatch) -> None:
    """Views of other rules are thrown away at the start."""
    change(patch, SideBySide.start, ("if old_may_answer and", "if False and"))


def let_emptied_views_answer(patch: pytest.MonkeyPatch) -> None:
    """Views whose tables were just made anew answer with nothing."""
    change(patch, SideBySide.start, (" and self._files.has_old_rows", ""))


def miss_that_the_file_is_gone(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether views.db is still there."""
    patch.setattr(beside, "DEADLINE_S", 3.0)
    change(patch, SideBySide._look, ("self._files.is_in_place and self._follows", "self._follows"))


def write_into_a_file_without_a_name(patch: pytest.MonkeyPatch) -> None:
    """What was computed anew goes into the file that was deleted."""
    patch.setattr(beside, "DEADLINE_S", 3.0)
    change(patch, ViewsFiles.swap, ("if self.is_in_place:", "if True:"))


def all_found(_: Path) -> None:
    for count in (2, 600):
        for how in ("changed", "missing", "more"):
            found.test_both_name_exactly_the_row_that_differs(count, how)


def nobody_alarmed(_: Path) -> None:
    found.test_who_has_another_version_or_holds_something_else_is_not_compared({"basis": found.LATER})


def versions_apart(_: Path) -> None:
    found.test_who_has_another_version_or_holds_something_else_is_not_compared({"version": 4})


def of(test: Callable[[], None]) -> Callable[[Path], None]:
    return lambda _: test()


def older(_: Path) -> None:
    links.test_an_older_peer_is_not_troubled(SampleGroup("alice", "bob", "carol", "mallory"), ((1, 2), (1,)))


def limited(_: Path) -> None:
    group = SampleGroup("alice", "bob", "carol", "mallory")
    end = puppet("mallory", Site("bob", Clock(), group))
    links.test_more_than_a_link_is_for_is_passed_over(end, group, 1, links.limits.DIGEST_PARTS_PER_MINUTE_MAX)


async def other_rules(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as own:
        await beside.test_views_of_other_rules_answer_until_new_ones_are_there(folder, own, "begin_next")


async def too_late(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as own:
        await beside.test_what_came_last_is_in_the_new_views_when_they_answer(folder, own)


async def noticed(folder: Path) -> None:
    await beside.test_a_running_peer_notices_that_its_views_are_gone_and_computes_them_anew(folder, beside.delete(beside.VIEWS))


TIMED_OUT = (AssertionError, pytest.fail.Exception, TimeoutError)

MUTANTS = [
    Mutant(compare_whoever_tells, nobody_alarmed),
    Mutant(compare_other_versions, versions_apart),
    Mutant(stay_alarmed, of(found.test_the_alarm_goes_away_when_the_digests_agree_again)),
    Mutant(look_at_the_first_place_alone, of(found.test_several_rows_of_several_tables_are_named_but_not_all_of_very_many)),
    Mutant(pass_over_what_only_they_have, all_found),
    Mutant(ask_without_end, of(found.test_who_lies_without_end_is_asked_a_bounded_number_of_times)),
    Mutant(tell_older_peers, older),
    Mutant(hear_without_end, limited),
    Mutant(let_waiters_hang, other_rules, TIMED_OUT),
    Mutant(change_places_too_early, too_late, (*TIMED_OUT, asyncio.CancelledError)),
    Mutant(empty_the_old_views, other_rules, TIMED_OUT),
    Mutant(let_emptied_views_answer, beside.test_views_with_tables_of_an_older_schema_do_not_answer),
    Mutant(miss_that_the_file_is_gone, noticed, TIMED_OUT),
    Mutant(write_into_a_file_without_a_name, noticed, TIMED_OUT),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(mutant, tmp_path, monkeypatch)
