"""Planted bugs in what merges sources of addresses and in the source that is a hub. Each must be caught by a test of these."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from resolver import composite, hub, hub_client
from resolver.hub import HubPeerResolver
from resolver.hub_client import HubClient
from resolver.hub_presence import HubPresence
from resolver.static import StaticPeerResolver
from tests.mutants.planting import Mutant, assert_caught, change, impatient, name_of
from tests.unit.resolver import hub_lab
from tests.unit.resolver import test_hub_faults as faults
from tests.unit.resolver import test_hub_source as sources
from tests.unit.resolver import test_resolvers as resolvers
from tests.unit.resolver.fake_hub import FakeHub, served

Patch = pytest.MonkeyPatch


def believe_gossip_before_the_operator(patch: Patch) -> None:
    """The last source names the peer."""
    change(patch, composite.merge, ("first = entries[0]", "first = entries[-1]"))


def take_every_address_for_sure(patch: Patch) -> None:
    """What a hub told is dialled wherever it leads."""
    change(patch, composite.merge, ("hints=frozenset(endpoints) - sure", "hints=frozenset()"))


def make_a_manual_peer_of_a_pause(patch: Patch) -> None:
    """Pausing somebody is an introduction."""
    change(patch, composite.merge, ("if not each.is_empty", ""))


def let_the_cache_win_over_a_live_hub(patch: Patch) -> None:
    """What was kept stays what is believed."""
    change(patch, HubPeerResolver._look, ("seen = {}", "seen = dict(self._seen)"), ("moved else old.looked_s", "moved else 10**12"))


def keep_who_left_the_hub(patch: Patch) -> None:
    """Once listed, always listed."""
    change(patch, HubPeerResolver._look, ("seen = {}", "seen = dict(self._seen)"))


def believe_a_hub_who_is_a_member(patch: Patch) -> None:
    """Being in a hive is as good as being on a roster."""
    change(patch, HubPeerResolver._of_use, ("and view.roster.role(peer) is not Role.NONE", ""))


def take_the_oldest_record(patch: Patch) -> None:
    """A record that somebody kept sends us to an old address."""
    change(patch, hub._known_peer, ("newest = described[-1]", "newest = described[0]"))


def forget_what_was_told_when_the_hub_fails(patch: Patch) -> None:
    """A dead hub takes its peers with it."""
    change(patch, HubPresence.lost, ("self.swarm = None", "self.swarm = None"), ("if answer.status in", "if True or answer.status in"))
    change(patch, HubPeerResolver._wait, ("if failures:", "if failures and not self._seen.clear() and not self.publish():"))


def read_any_body_to_its_end(patch: Patch) -> None:
    """A hub may send what it likes."""
    change(patch, hub_client._read, ("if len(data) > BODY_SIZE_MAX:", "if False:"))


def come_again_at_once(patch: Patch) -> None:
    """A hub that is busy is asked all the same."""
    change(patch, HubClient._check, ("self._quiet_until = time.monotonic() + wait_s", "self._quiet_until = 0.0"))


def call_as_often_as_there_is_a_reason(patch: Patch) -> None:
    """No budget."""
    change(patch, HubClient.pace, ("if len(self._calls) == CALLS_PER_MINUTE_MAX else", "if False else"))


def speak_with_whoever_answers(patch: Patch) -> None:
    """The pin is looked at and forgotten."""
    change(patch, HubClient._pinned, ("if shown is None or not matches:", "if False:"))


def leave_no_hive(patch: Patch) -> None:
    """The hub goes on telling others that we share a group that we left."""
    change(patch, HubPresence.join, ("sorted(self.joined - wanted)", "sorted(frozenset())"))


def leave_hives_of_others_doing(patch: Patch) -> None:
    """What a pre-auth key joined is undone."""
    change(patch, HubPresence.join, ("sorted(self.joined - wanted)", 'sorted((self.joined | {"kept"}) - wanted)'))


def get_a_key_each_time(patch: Patch) -> None:
    """A pre-auth key is used up by restarts."""
    change(
        patch, HubPresence.register, ("if self._preauth and not self._client.key:", "if self._preauth and self.swarm is None or self._said is None:")
    )


def expect_a_group_that_is_here_from_anybody(patch: Patch) -> None:
    """A name is enough: who is named for `lab` shares whatever is called so."""
    change(patch, StaticPeerResolver._told, ("if group in taken or view.roster.role(entry.peer) is not Role.NONE", ""))


def with_a_scene(test: Callable[..., Awaitable[None]], *more: Any) -> Callable[[Path], Awaitable[None]]:
    """The test with a hub, and a site that asks it in a hurry. What it waits for in vain is an assertion that failed."""

    async def check(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hub_client, "CALLS_PER_MINUTE_MAX", 10_000)
            patch.setattr("resolver.hub.delay_ms", lambda _failures, _chance: 20)
            fake = FakeHub()
            groups = hub_lab.Groups(lab=[sources.ALPHA.peer_id, sources.BETA.peer_id])
            async with served(fake.app()) as url:
                await test(sources.Scene(fake, hub_lab.Site(folder, url, groups, sources.ALPHA)), *more)

    return check


def in_a_hurry(test: Callable[..., Awaitable[None]], *more: Any) -> Callable[[Path], Awaitable[None]]:
    """The test with a folder."""

    async def check(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hub_client, "CALLS_PER_MINUTE_MAX", 10_000)
            patch.setattr("resolver.hub.delay_ms", lambda _failures, _chance: 20)
            await test(folder, *([patch] if "monkeypatch" in test.__annotations__ else []), *more)

    return check


async def pinned(folder: Path) -> None:
    fake = faults.a_hub()
    async with served(fake.app(), tls=faults.own_tls(faults.HUB).context) as url:
        await in_a_hurry(lambda where: faults.test_a_hub_with_another_key_is_told_nothing((fake, url), where))(folder)


def static_of_somebody_else(folder: Path) -> None:
    del folder
    resolvers.test_a_peer_of_the_file_shares_only_a_group_that_it_is_in()


IN_VAIN = (AssertionError, TimeoutError)

MUTANTS = (
    Mutant(believe_gossip_before_the_operator, lambda _: resolvers.test_name_and_pause_are_those_of_the_source_with_precedence()),
    Mutant(take_every_address_for_sure, lambda _: resolvers.test_an_endpoint_is_a_hint_only_while_nobody_else_names_it()),
    Mutant(make_a_manual_peer_of_a_pause, lambda _: resolvers.test_who_was_only_paused_is_known_by_the_word_of_others()),
    Mutant(
        let_the_cache_win_over_a_live_hub,
        with_a_scene(sources.test_a_hub_that_comes_back_with_other_data_wins_over_what_was_kept),
        IN_VAIN,
    ),
    Mutant(keep_who_left_the_hub, with_a_scene(sources.test_a_hub_that_comes_back_with_other_data_wins_over_what_was_kept), IN_VAIN),
    Mutant(believe_a_hub_who_is_a_member, with_a_scene(sources.test_a_member_of_one_group_is_not_one_of_another_because_the_hub_says_so)),
    Mutant(take_the_oldest_record, with_a_scene(sources.test_a_peers_own_newest_record_goes_before_what_anybody_may_have_written), IN_VAIN),
    Mutant(
        forget_what_was_told_when_the_hub_fails,
        in_a_hurry(faults.test_a_fault_is_shown_keeps_what_is_known_and_ends_with_the_fault, "500"),
    ),
    Mutant(read_any_body_to_its_end, in_a_hurry(faults.test_a_body_is_read_no_further_than_it_may_be_long), IN_VAIN),
    Mutant(come_again_at_once, in_a_hurry(faults.test_a_hub_that_is_busy_is_left_alone_for_as_long_as_it_says, "seconds")),
    Mutant(call_as_often_as_there_is_a_reason, in_a_hurry(faults.test_calls_are_few_however_often_there_is_a_reason)),
    Mutant(speak_with_whoever_answers, pinned, IN_VAIN),
    Mutant(leave_no_hive, with_a_scene(sources.test_hives_follow_groups), IN_VAIN),
    Mutant(leave_hives_of_others_doing, with_a_scene(sources.test_hives_follow_groups), IN_VAIN),
    Mutant(get_a_key_each_time, with_a_scene(sources.test_a_preauth_key_gets_a_key_once), IN_VAIN),
    Mutant(expect_a_group_that_is_here_from_anybody, static_of_somebody_else),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(impatient(mutant, 5.0, "tests.unit.resolver.hub_lab.DEADLINE_S"), tmp_path, monkeypatch)
