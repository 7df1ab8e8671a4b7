"""Planted bugs of gossip: addresses that go further than they may, to or from whom they must not, or that nobody was seen at."""

from pathlib import Path

import pytest

from gossip import table
from gossip.credit import Credit
from gossip.exchange import Exchange, _may_be_told
from gossip.table import GossipTable
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.property.test_gossip import check_order, check_reach
from tests.unit.gossip import test_exchange, test_table

CHAIN = {(0, 1), (1, 2), (2, 3), (3, 4)}
TOLD = [("p0", "p3", 2, 10**9), ("p1", "p3", 1, 2), ("p2", "p4", 1, 1)]


def forget_to_count_a_step(patch: pytest.MonkeyPatch) -> None:
    """An address goes on for ever."""
    change(patch, table.received_ttl, ("0 if is_own else 1", "0"))


def believe_any_ttl(patch: pytest.MonkeyPatch) -> None:
    """Whoever says a large number is believed."""
    change(patch, table.received_ttl, ("min(told, default)", "told"))


def pass_on_ttl_0(patch: pytest.MonkeyPatch) -> None:
    """What is to be used is handed on."""
    change(patch, Exchange._others, ("if ttl > 0:", "if ttl >= 0:"))


def begin_anew_at_every_link(patch: pytest.MonkeyPatch) -> None:
    """Who is known by gossip alone hears as much as who was introduced by hand."""
    change(patch, Exchange._hops_to, ("0 if hearer in self._table.named else", "0 if True else"))


def take_strangers(patch: pytest.MonkeyPatch) -> None:
    """A record of somebody who is no member is accepted."""
    change(patch, GossipTable._hear, ("if not self._is_member(group, record.peer):", "if False:"))


def tell_strangers(patch: pytest.MonkeyPatch) -> None:
    """Whoever asks is told."""
    change(patch, Exchange.entries, (" or not self._is_member(group, hearer)", ""))


def tell_of_those_who_left(patch: pytest.MonkeyPatch) -> None:
    """Who was removed is still told of."""
    change(patch, Exchange._others, (" and self._is_member(group, peer)", ""))


def tell_of_whom_nobody_reached(patch: pytest.MonkeyPatch) -> None:
    """Hearsay is handed on as it came."""
    change(patch, _may_be_told, ("reached_ms is not None and now_ms - reached_ms < REACHED_WITHIN_MS", "True"))


def believe_who_came_last(patch: pytest.MonkeyPatch) -> None:
    """An older record takes the place of a newer one."""
    change(patch, GossipTable._put, ("if told.rank > held.rank:", "if told.rank != held.rank:"), ("if told.rank < held.rank:", "if False:"))


def let_nobody_go(patch: pytest.MonkeyPatch) -> None:
    """Failures are counted and lead to nothing."""
    change(patch, GossipTable.tried, (">= self._rules.max_failures", "< 0"))


def take_without_end(patch: pytest.MonkeyPatch) -> None:
    """There is always room."""
    change(patch, GossipTable._make_room, ("or len(held) < self._rules.max_gossip_peers", "or True"))
    change(patch, GossipTable._trim, ("held[self._rules.max_gossip_peers :]", "held[len(held) :]"))


def lie_at_no_cost(patch: pytest.MonkeyPatch) -> None:
    """Nobody is ever shut out."""
    change(patch, Credit.spend, ("account.points - points", "account.points"))


def dial_whatever_is_told(patch: pytest.MonkeyPatch) -> None:
    """Addresses are let go all at once."""
    change(patch, GossipTable.tick, (" and self._dials.take(told.learned_from, addresses, now_ms)", ""))


MUTANTS = (
    Mutant(forget_to_count_a_step, lambda _: check_reach(CHAIN, 1)),
    Mutant(believe_any_ttl, lambda _: check_order(TOLD, TOLD[::-1])),
    Mutant(pass_on_ttl_0, lambda _: test_exchange.test_ttl_0_is_used_and_not_passed_on()),
    Mutant(begin_anew_at_every_link, lambda _: check_reach(CHAIN, 1)),
    Mutant(take_strangers, lambda _: test_table.test_only_members_are_taken_and_only_from_members(), shows=(AssertionError, KeyError)),
    Mutant(tell_strangers, lambda _: test_exchange.test_members_of_one_group_hear_nothing_of_another()),
    Mutant(tell_of_those_who_left, lambda _: test_exchange.test_members_of_one_group_hear_nothing_of_another()),
    Mutant(tell_of_whom_nobody_reached, lambda _: test_exchange.test_only_who_was_reached_lately_is_told_of()),
    Mutant(believe_who_came_last, lambda _: check_order(TOLD, TOLD[::-1])),
    Mutant(let_nobody_go, lambda _: test_table.test_who_fails_again_and_again_goes_and_is_not_taken_again_at_once()),
    Mutant(take_without_end, lambda _: test_table.test_there_is_room_for_so_many_and_of_each_informant_for_its_share()),
    Mutant(lie_at_no_cost, lambda _: test_table.test_what_is_forged_costs_until_nothing_is_taken_any_more()),
    Mutant(dial_whatever_is_told, lambda _: test_table.test_addresses_are_let_go_a_few_in_a_minute_and_of_each_informant_its_share()),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_it_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(mutant, tmp_path, monkeypatch)
