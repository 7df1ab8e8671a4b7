"""Planted bugs in who may do what. Each must be caught by the random histories or by a test of the rule."""

from pathlib import Path

import pytest

from peer.core import roster, standing
from peer.core.ancestry import Ancestry
from peer.core.control import Point
from peer.core.event import Event
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.property import test_roster as histories
from tests.unit.core import test_standing as rules


def forget_cuts(patch: pytest.MonkeyPatch) -> None:
    """A decision speaks about everything that the peer ever wrote."""
    change(patch, roster._Evaluation._place, ("if self._ancestry.is_under_any(entry.event, cut)", "if False"))
    change(patch, standing.speaking, ("if not any(point.log == log and under(point) for point in each.cut)", ""))


def cut_by_height_alone(patch: pytest.MonkeyPatch) -> None:
    """What is low enough in the log lies under a cut: a fork below it, too."""

    def by_height(_ancestry: Ancestry, event: Event, points: tuple[Point, ...]) -> bool:
        return any(event.header.log == point.log and event.height <= point.height for point in points)

    patch.setattr(Ancestry, "is_under_any", by_height)


def decide_on_seniors(patch: pytest.MonkeyPatch) -> None:
    """Whoever is an admin decides on everybody."""
    change(patch, standing.stand, ("if rank < place.rank:", "if True:"))


def replace_what_a_senior_decided(patch: pytest.MonkeyPatch) -> None:
    """A decision replaces whatever it names."""
    patch.setattr(standing, "_replaces", lambda decision, other: decision.event_id != other.event_id)


def last_clock_wins(patch: pytest.MonkeyPatch) -> None:
    """Among live decisions the newest is taken, not that with the lowest role."""
    change(patch, standing._settle, ("(each.role, each.rank, each.event_id)", "(-each.appoints[2], each.event_id)"))


def judge_by_the_newest_role(patch: pytest.MonkeyPatch) -> None:
    """What an author was at the event does not matter: what it is now does."""
    change(patch, roster._Evaluation._place, ("if decision.cut]", "if False]"))


def take_in_the_order_of_keys(patch: pytest.MonkeyPatch) -> None:
    """Decisions are taken author by author, whoever is senior."""
    source = ("heapq.heappush(self._heap, (rank, peer, author.version))", "heapq.heappush(self._heap, ((0, 0, 0, peer), peer, author.version))")
    change(patch, roster._Evaluation._look_again, source)
    change(
        patch,
        roster._Evaluation.roster,
        ("self._take(rank, author.ready.pop(rank, []))", "[self._take(each, author.ready.pop(each)) for each in sorted(author.ready)]"),
    )


def let_two_in_by_one_invitation(patch: pytest.MonkeyPatch) -> None:
    """Every add under an invitation counts."""
    change(patch, roster._Evaluation._take_add, ("elif key not in self._used:", "else:"))


def rise_above_the_inviter(patch: pytest.MonkeyPatch) -> None:
    """Whoever is let in by an owner's peer is the owner's appointee."""
    change(patch, roster._Evaluation._take_add, ("self._decide(now,", "self._decide(by,"))


def let_anybody_void(patch: pytest.MonkeyPatch) -> None:
    """A void counts, whoever writes it."""
    change(patch, roster.Roster.is_void, ("void.role >= Role.ADMIN or void.author == author", "True"))


def let_a_log_speak_beyond_its_seal(patch: pytest.MonkeyPatch) -> None:
    """A seal counts even where its own log is sealed."""
    change(patch, roster._Evaluation._seals, ("if any(other.binds(place)", "if False and any(other.binds(place)"))


def let_the_fallen_seal(patch: pytest.MonkeyPatch) -> None:
    """A seal binds everything in its log, whatever power that was written with."""
    patch.setattr(standing.Seal, "binds", lambda _self, _place: True)


def random_histories(_folder: Path) -> None:
    """A share of the random histories."""
    for batch in range(3):
        histories.check_histories(batch, quiet=True)


def removed_for_good(_folder: Path) -> None:
    """Nothing that a removed peer does changes anything."""
    histories.test_a_removed_peer_changes_nothing_any_more(1)


def seniors_stay(_folder: Path) -> None:
    """Nobody changes the standing of a senior."""
    histories.test_nobody_changes_the_standing_of_a_senior(1)


MUTANTS = (
    Mutant(forget_cuts, random_histories),
    Mutant(cut_by_height_alone, removed_for_good),
    Mutant(decide_on_seniors, seniors_stay),
    Mutant(replace_what_a_senior_decided, random_histories),
    Mutant(last_clock_wins, random_histories),
    Mutant(judge_by_the_newest_role, random_histories),
    Mutant(take_in_the_order_of_keys, random_histories),
    Mutant(let_two_in_by_one_invitation, lambda _: rules.test_of_two_adds_under_one_invitation_that_of_the_senior_counts()),
    Mutant(rise_above_the_inviter, lambda _: rules.test_an_add_under_an_invitation_counts_as_a_decision_of_the_junior_of_both()),
    Mutant(let_anybody_void, lambda _: rules.test_an_admin_voids_any_event_and_others_their_own()),
    Mutant(let_a_log_speak_beyond_its_seal, lambda _: rules.test_a_log_says_nothing_about_itself_and_nothing_beyond_its_own_seal()),
    Mutant(let_the_fallen_seal, lambda _: rules.test_a_demoted_admin_does_not_undo_what_it_decided_as_one()),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_the_roster_is_checked_for(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes without the bug and fails with it."""
    await assert_caught(mutant, tmp_path, monkeypatch)
