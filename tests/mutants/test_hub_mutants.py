"""Planted bugs in a hub: who gets in, who sees what, who is told. Each must be caught by a test of these."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from peer.hub import budgets, keys, registry, sockets
from peer.hub.hub import Hub
from peer.hub.records import Key
from peer.hub.routes import HubRoutes
from tests.hub_lab import HubLab, hub_lab
from tests.integration import test_hub as hubs
from tests.integration import test_hub_limits as hub_limits
from tests.mutants.planting import Check, Mutant, assert_caught, change, name_of
from tests.unit.hub import test_budgets as budget
from tests.unit.hub import test_registry as rules

Patch = pytest.MonkeyPatch


def never_announce_who_is_offline(patch: Patch) -> None:
    """It is marked, and nobody is told."""
    change(patch, registry.go_stale, ("        announced += _turned(state, swarm, swarms[swarm.id])\n", ""))


def never_look_who_is_silent(patch: Patch) -> None:
    """The rule is there, and nothing reaches it. What is never said is waited for in vain: not for long, here."""
    patch.setattr("tests.hub_lab.DEADLINE_S", 3.0)
    change(patch, Hub.run, ("go_stale(state, now, self._stale_after_ms)", "go_stale(state, now, 10**12)"))


def do_not_count_the_use_of_a_key(patch: Patch) -> None:
    """One key for everybody."""
    change(patch, registry._used, ("uses_left=key.uses_left - 1", "uses_left=key.uses_left"))


def let_changes_run_into_one_another(patch: Patch) -> None:
    """What is known is read before the one before is written."""

    async def change_at_once(hub: Hub, work: Callable[..., registry.Change]) -> registry.Change:
        made = work(hub._state, hub._now())
        await hub._keeper.save(made.state)
        hub._state = made.state
        return made

    patch.setattr(Hub, "change", change_at_once)


def take_a_key_for_valid_for_ever(patch: Patch) -> None:
    """Nothing expires."""
    patch.setattr(Key, "is_valid", lambda key, _: key.uses_left > 0)


def let_anybody_join_a_private_hive(patch: Patch) -> None:
    """As other hubs do."""
    change(patch, registry.join_hive, ("not hive.is_public and agent not in hive.members", "False"))


def show_everybody_everything(patch: Patch) -> None:
    """As other hubs do, too."""
    change(patch, registry.may_see, ("swarm.owner == agent or any(", "True or any("))


def tell_everybody_everything(patch: Patch) -> None:
    """A channel is enough."""
    change(patch, sockets.Sockets.announce, (" and socket.agent.id in each.audience", ""))


def let_anybody_wait_for_any_news(patch: Patch) -> None:
    """Who asks for a channel has it."""
    change(
        patch,
        sockets._is_open,
        ("return channel == DISCOVERY", "return True"),
        ("rest in state.hives and agent in state.hives[rest].members", "True"),
    )


def look_at_no_owner(patch: Patch) -> None:
    """Any agent changes any swarm."""
    change(patch, registry.own_swarm, (" or found.owner != agent", ""))


def measure_silence_by_the_wall(patch: Patch) -> None:
    """A clock that is put right takes everybody offline."""
    change(patch, registry.go_stale, ("now.steady_ms - when", "now.ms - state.swarms[swarm].last_seen_ms"))


def forget_the_swarms_of_who_is_forgotten(patch: Patch) -> None:
    """Its key is gone, what it said stays."""
    change(patch, registry.forget, ("if each.owner == agent]", "if each.owner == OPERATOR]"))


def keep_secrets_as_they_are(patch: Patch) -> None:
    """A copy of the database is a bunch of keys."""
    patch.setattr(keys, "sha256", lambda data: data[-32:])


def refuse_without_counting(patch: Patch) -> None:
    """Guessing is free."""
    change(patch, HubRoutes._counted, ("return _spent(allowance) if allowance.is_spent else error", "return error"))


def never_give_a_budget_back(patch: Patch) -> None:
    """A minute lasts for ever."""
    change(patch, budgets.Budgets.take, ("now_ms - began >= WINDOW_MS", "False"))


def with_hub(test: Callable[..., Awaitable[None]], *arguments: object) -> Check:
    """A test that needs a hub."""

    async def check(folder: Path) -> None:
        async with hub_lab(folder) as lab:
            await test(lab, *arguments)

    return check


def plainly(test: Callable[..., None], *arguments: object) -> Check:
    """A test that needs nothing."""
    return lambda _: test(*arguments)


async def no_secret(lab: HubLab) -> None:
    """The test of what is kept."""
    await hubs.test_no_secret_is_kept(lab)


MUTANTS = [
    Mutant(never_announce_who_is_offline, plainly(rules.test_who_falls_silent_is_offline_and_those_of_its_hives_are_told)),
    Mutant(never_look_who_is_silent, hubs.test_who_falls_silent_is_offline_and_announced, (TimeoutError,)),
    Mutant(do_not_count_the_use_of_a_key, plainly(rules.test_a_key_lets_as_many_in_as_it_has_uses)),
    Mutant(let_changes_run_into_one_another, with_hub(hubs.test_two_at_once_with_a_key_for_one_are_one)),
    Mutant(take_a_key_for_valid_for_ever, plainly(rules.test_an_expired_key_lets_nobody_in)),
    Mutant(let_anybody_join_a_private_hive, plainly(rules.test_a_private_hive_is_joined_with_a_key_for_it_alone)),
    Mutant(show_everybody_everything, with_hub(hubs.test_members_of_a_hive_see_one_another_and_nobody_else_sees_anything)),
    Mutant(tell_everybody_everything, with_hub(hubs.test_news_are_told_to_who_may_know)),
    Mutant(let_anybody_wait_for_any_news, with_hub(hubs.test_the_odd_frames_of_hubs)),
    Mutant(look_at_no_owner, plainly(rules.test_nobody_changes_what_is_anothers_or_not_there, registry.heartbeat, "swarm-two")),
    Mutant(measure_silence_by_the_wall, plainly(rules.test_a_clock_that_jumps_makes_nobody_silent)),
    Mutant(forget_the_swarms_of_who_is_forgotten, plainly(rules.test_who_is_forgotten_leaves_nothing_behind)),
    Mutant(keep_secrets_as_they_are, with_hub(no_secret)),
    Mutant(refuse_without_counting, with_hub(hub_limits.test_guessing_is_slow_and_holds_up_nobody_with_a_key)),
    Mutant(never_give_a_budget_back, plainly(budget.test_a_budget_is_spent_and_whole_again_after_its_minute)),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(mutant, tmp_path, monkeypatch)
