"""Planted bugs in which bytes come here by rules, and in who takes copies. Each must be caught by the test of that promise."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from peer.core import placing, policy
from peer.core.policy import Condition
from peer.operations import rules, rules_tried
from peer.operations.placing import Placing
from peer.operations.policies import Policies
from peer.operations.rules_applied import RulesApplied
from peer.operations.rules_tried import RulesTried
from tests.integration import test_policies as travelling
from tests.mutants.planting import Check, Mutant, assert_caught, change, name_of
from tests.unit.core import test_placing as choosing
from tests.unit.core import test_policy as reading
from tests.unit.operations import test_placing as taking
from tests.unit.operations import test_policies as wanting


def let_the_last_rule_win(patch: pytest.MonkeyPatch) -> None:
    """Rules are gone through to the end."""
    change(patch, policy.decide, ("enumerate(rules, 1)", "reversed(list(enumerate(rules, 1)))"))


def let_one_condition_do(patch: pytest.MonkeyPatch) -> None:
    """A rule fits where any of its conditions holds."""
    change(patch, policy.Rule.fits, ("return all(", "return any("))


def turn_no_word_around(patch: pytest.MonkeyPatch) -> None:
    """`!=` says the same as `=`."""
    change(patch, Condition.holds, ('== (self.operator == "=")', ""))


def look_a_millisecond_too_early(patch: pytest.MonkeyPatch) -> None:
    """At the moment that is told nothing has changed yet, and nobody looks again."""
    change(patch, Condition.changes_ms, (' + (self.operator in {"<=", ">"})', ""))


def take_rules_that_are_never_reached(patch: pytest.MonkeyPatch) -> None:
    """Who forgets the quotation marks keeps everything."""
    change(patch, policy.read_rules, ("if rules and not rules[-1].conditions:", "if False:"))


def keep_rules_in_memory(patch: pytest.MonkeyPatch) -> None:
    """They are gone after a restart."""
    change(patch, Policies.set, ("await self._kept.keep(group, [rule.text for rule in rules])", "pass"))


def keep_all_where_rules_cannot_be_read(patch: pytest.MonkeyPatch) -> None:
    """What they were to keep out comes."""
    change(patch, Policies.rules, ('return read_rules(["none"])', 'return read_rules(["all"])'))


def bring_back_what_was_dropped(patch: pytest.MonkeyPatch) -> None:
    """A rule fetches what a person has just dropped."""
    change(patch, Policies.wishes, ("each.decision.keep and not self._is_held_back(group, recording)", "each.decision.keep"))


def try_rules_without_looking_what_is_here(patch: pytest.MonkeyPatch) -> None:
    """All that is kept counts as travelling."""
    change(patch, RulesTried.dry_run, ("if file.blob not in here", "if True"))


def count_shared_bytes_twice(patch: pytest.MonkeyPatch) -> None:
    """Two recordings with one file bring it twice."""
    change(patch, rules_tried._together, ("{blob: size for each in sizes for blob, size", "{(id(each), blob): size for each in sizes for blob, size"))


def forget_what_was_said(patch: pytest.MonkeyPatch) -> None:
    """Annotations are not looked at, neither by who tries rules nor by who wants bytes."""
    change(patch, RulesApplied.apply, ('looks_at(rules, "annotation")', "False"))


def want_what_no_rule_fits(patch: pytest.MonkeyPatch) -> None:
    """More travels than was said."""
    change(patch, Policies.wishes, ("if each.decision.keep and", "if (each.decision.keep or each.decision.number is None) and"))


def count_copies_of_those_who_were_removed(patch: pytest.MonkeyPatch) -> None:
    """A receipt stands for ever."""
    change(patch, rules._members, ("if view.roster.role(peer) is not Role.NONE", ""))


def believe_who_could_not_prove_it(patch: pytest.MonkeyPatch) -> None:
    """Who lied when it was asked counts all the same."""
    change(patch, rules.read_standing, ("if not is_unproven(group, recording, peer)", ""))


def choose_the_first_sites(patch: pytest.MonkeyPatch) -> None:
    """All recordings have the same order of sites."""
    change(patch, placing.place, ("hash_bytes(recording + peer)", "peer"))


def choose_sites_without_room(patch: pytest.MonkeyPatch) -> None:
    """A full site is chosen, and nobody else is."""
    change(patch, placing.takers, ("and free >= lacking.size + MARGIN_BYTES", ""))


def take_one_more(patch: pytest.MonkeyPatch) -> None:
    """One site more than is needed takes a copy."""
    change(patch, placing.takers, ("[: needed + more]", "[: needed + more + 1]"))


def take_copies_at_once(patch: pytest.MonkeyPatch) -> None:
    """What is on its way somewhere else is taken meanwhile."""
    change(patch, Placing.look, ("for_s >= self._after_s and ", ""))


def fill_the_own_disk(patch: pytest.MonkeyPatch) -> None:
    """What was chosen takes no room from what is looked at next."""
    change(patch, Placing.look, ("free -= each.size", "pass"))


def called(test: Callable[[], Awaitable[None] | None]) -> Check:
    """A test that needs nothing."""
    return lambda _: test()


async def a_few_rule_sets_travel(folder: Path) -> None:
    """As the whole test does with a hundred; what is too much is noticed soon."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("RULE_SETS", 2), ("RECORDED", 8), ("PATIENCE_S", 5)):
            patch.setattr(travelling, name, value)
        await travelling.test_what_a_dry_run_says_is_what_travels_and_nothing_else(folder, patch)


FIRST = called(reading.test_the_first_rule_that_fits_decides_and_is_named)
MUTANTS = (
    Mutant(let_the_last_rule_win, FIRST),
    Mutant(let_one_condition_do, called(reading.test_all_conditions_of_a_rule_must_hold)),
    Mutant(turn_no_word_around, lambda _: reading.test_a_rule_keeps_what_its_condition_says("tag!=day")),
    Mutant(look_a_millisecond_too_early, called(reading.test_the_moment_that_is_told_is_the_one_at_which_a_recording_is_too_old)),
    Mutant(
        take_rules_that_are_never_reached,
        lambda _: reading.test_a_rule_that_says_nothing_is_refused_with_its_number_and_what_to_do(["keep", "skip tag=a"], "never reached"),
    ),
    Mutant(keep_rules_in_memory, called(wanting.test_rules_are_kept_told_of_and_taken_away)),
    Mutant(keep_all_where_rules_cannot_be_read, called(wanting.test_rules_that_cannot_be_read_any_more_bring_nothing_and_are_told)),
    Mutant(bring_back_what_was_dropped, called(wanting.test_what_was_dropped_by_hand_is_wanted_by_no_rule)),
    Mutant(try_rules_without_looking_what_is_here, called(wanting.test_a_dry_run_counts_what_is_shared_once_and_what_is_here_not_at_all)),
    Mutant(count_shared_bytes_twice, called(wanting.test_a_dry_run_counts_what_is_shared_once_and_what_is_here_not_at_all)),
    Mutant(forget_what_was_said, called(wanting.test_wishes_say_which_rule_wants_them_and_how_urgently), (AssertionError, KeyError)),
    Mutant(want_what_no_rule_fits, a_few_rule_sets_travel),
    Mutant(count_copies_of_those_who_were_removed, called(taking.test_a_copy_of_somebody_who_was_removed_counts_no_more)),
    Mutant(believe_who_could_not_prove_it, called(taking.test_a_copy_of_somebody_who_could_not_prove_it_does_not_count)),
    Mutant(choose_the_first_sites, called(choosing.test_copies_spread_over_all_sites)),
    Mutant(choose_sites_without_room, called(choosing.test_nobody_is_chosen_who_has_no_room_for_it)),
    Mutant(take_one_more, called(taking.test_a_site_takes_what_it_is_chosen_for_after_a_while_and_says_why)),
    Mutant(take_copies_at_once, called(taking.test_a_site_takes_what_it_is_chosen_for_after_a_while_and_says_why)),
    Mutant(fill_the_own_disk, called(taking.test_what_is_here_is_still_recorded_or_has_no_room_is_not_taken)),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(mutant, tmp_path, monkeypatch)
