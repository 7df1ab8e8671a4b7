"""Planted bugs in what operators are told and in whom they let in. Each must be caught by the test of that promise."""

from pathlib import Path

import pytest

from peer.core import roster
from peer.operations import cutting, deciding, membership
from peer.operations.acquaintance import Acquaintance
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.property import test_deciding as decisions
from tests.unit.core import test_leaving as leaving
from tests.unit.operations import test_acquaintance as offers
from tests.unit.operations import test_cutting as cuts


def allow_everything(patch: pytest.MonkeyPatch) -> None:
    """A decision without effect is written all the same."""
    change(patch, deciding.check_decision, ("if after.now.role is role and", "if True or"))


def look_at_the_role_alone(patch: pytest.MonkeyPatch) -> None:
    """That others decided the same by themselves passes for an effect."""
    change(patch, deciding.check_decision, (" and all(event_id in after.now.live for event_id in foreseen.written)", ""))


def forget_what_is_replaced(patch: pytest.MonkeyPatch) -> None:
    """Decisions name nothing that they replace."""
    change(patch, membership.drafts_of, ("replaces=part", "replaces=()"))


def forget_the_cut_beforehand(patch: pytest.MonkeyPatch) -> None:
    """Who else gets another role is told without the cut."""
    change(patch, deciding.foresee, ("for seq, draft in enumerate(drafts):", "for seq, draft in enumerate(_without_cut(drafts)):"))
    patch.setattr(deciding, "_without_cut", decisions.without_cut, raising=False)


def take_whatever_is_offered(patch: pytest.MonkeyPatch) -> None:
    """Trust on first use: a named peer gives us any group."""
    change(patch, Acquaintance._take, ("or folded(genesis.name) not in {folded(name) for name in entry.expects}", ""))


def replace_the_group_of_the_name(patch: pytest.MonkeyPatch) -> None:
    """Two groups of one name are held."""
    change(patch, Acquaintance._take, ("if other is not None:", "if False:"))


def forget_conflicts(patch: pytest.MonkeyPatch) -> None:
    """That an offer could not be taken is shown nowhere."""
    change(patch, Acquaintance._conflict, ("self._conflicts[remote, group] = error", "pass"))


def remember_a_request_for_ever(patch: pytest.MonkeyPatch) -> None:
    """Who once asked to leave is removed again as soon as it is back."""
    change(patch, roster._Evaluation._asks_to_leave, ("any(ref in now.live for ref in entry.event.header.refs) and", ""))


def let_former_members_leave(patch: pytest.MonkeyPatch) -> None:
    """A request counts though its author is no member any more."""
    change(patch, roster._Evaluation._asks_to_leave, ("now.role is not Role.NONE and", ""), (" and self._role(entry) is not Role.NONE", ""))


def keep_what_came_after(patch: pytest.MonkeyPatch) -> None:
    """The time of a theft is not looked at."""
    change(patch, cutting._tips_before, ("if hlc_ms(event.header.hlc) < since_ms:", "if True:"))


def cut_one_branch_only(patch: pytest.MonkeyPatch) -> None:
    """Of a forked log the newest line stays alone."""
    change(patch, cutting._tips_before, ("tips.pop(EventId(event.header.previous), None)", "tips.clear()"))


def stop_at_the_first_page(patch: pytest.MonkeyPatch) -> None:
    """Of a long log the begin is looked at alone."""
    change(patch, cutting._events, ("complete = page.complete or not page.runs", "complete = True"))


def check_decisions(_: Path) -> None:
    """What is foretold comes true."""
    decisions.test_what_is_foretold_comes_true()


def check_leaving(_: Path) -> None:
    """Requests to leave."""
    leaving.test_a_member_asks_until_it_is_removed_and_its_request_is_not_remembered_against_it()
    leaving.test_nobody_asks_for_somebody_else_and_no_stranger_for_itself()
    leaving.test_who_was_removed_does_not_ask_any_more()
    leaving.test_a_request_that_names_nothing_is_none()


MUTANTS = [
    *(Mutant(plant, check_decisions) for plant in (allow_everything, look_at_the_role_alone, forget_what_is_replaced, forget_the_cut_beforehand)),
    Mutant(take_whatever_is_offered, offers.check_offers),
    Mutant(replace_the_group_of_the_name, offers.check_offers),
    Mutant(forget_conflicts, offers.check_offers),
    Mutant(remember_a_request_for_ever, check_leaving),
    Mutant(let_former_members_leave, check_leaving),
    *(Mutant(plant, cuts.check_cuts) for plant in (keep_what_came_after, cut_one_branch_only, stop_at_the_first_page)),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(mutant, tmp_path, monkeypatch)
