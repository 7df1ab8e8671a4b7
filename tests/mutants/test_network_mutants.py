"""Planted bugs in what is read of coordination servers, and in what a daemon that fails brings about. Each must be caught."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from peer.transport.mesh_listening import MeshListening
from resolver import json_fields, network_calls
from resolver.headscale_control import HeadscaleControl
from resolver.network_calls import Calls
from resolver.tailscale_control import TailscaleControl
from tests.fake_control import FakeHeadscale, FakeServer, FakeTailscale
from tests.integration import test_mesh_troubles as troubles
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.unit.resolver import test_network_providers as providers
from tests.unit.resolver import test_tailscale_answers as answers

Patch = pytest.MonkeyPatch


def write_back_other_characters(patch: Patch) -> None:
    """What is no UTF-8 in a policy is mended in passing."""
    change(patch, network_calls.policy_text, ("data.decode()", 'data.decode(errors="replace")'))


def tell_on_what_a_server_repeats(patch: Patch) -> None:
    """Its own words, whole."""
    change(patch, Calls.words, ("for secret in self._shown:", "for secret in ():"))


def overwrite_whatever_holds_now(patch: Patch) -> None:
    """The version is that of the moment, not that of what was planned on."""
    change(patch, TailscaleControl.write, ("before.version", "(await self.policy()).version"))


def compare_with_nothing(patch: Patch) -> None:
    """A Headscale takes whatever comes."""
    change(patch, HeadscaleControl.write, ("if now != before:", "if not now:"))


def take_any_item_for_a_text(patch: Patch) -> None:
    """A list of texts holds texts."""
    change(patch, json_fields.texts_of, ("if isinstance(each, str)", ""))


def use_a_token_for_ever(patch: Patch) -> None:
    """It was good once."""
    change(patch, TailscaleControl._bearer, ("if self._clock() >= self._token_until:", "if not self._token:"))


def shut_the_doors_when_the_daemon_fails(patch: Patch) -> None:
    """Without a mesh there is no address of it."""
    change(patch, MeshListening.leave, ("if any(host in self._urls for host in wanted):", "if True:"))


def with_server(make: Callable[[], FakeServer], check: Callable[..., Awaitable[None]]) -> Callable[[Path], Awaitable[None]]:
    """A check that needs one, and a client of it."""

    async def run(_: Path) -> None:
        server = make()
        async with server.running():
            client = providers.provider_of(server)
            try:
                await check(server, client)
            finally:
                await client.close()

    return run


async def links_stand(folder: Path) -> None:
    """Whatever the daemon does."""
    async with troubles.linked(folder) as two:
        before = await troubles.standing(two)
        for machine in two:
            troubles.is_logged_out(machine)
        for machine in two:
            await machine.peer.until("/api/v1/network", lambda found: found["mesh"] == "stopped")
        await troubles.check_link(two, before)


MUTANTS = [
    Mutant(write_back_other_characters, lambda _: providers.test_a_policy_that_could_not_be_written_back_as_it_came_is_told(FakeTailscale)),
    Mutant(
        tell_on_what_a_server_repeats,
        with_server(FakeTailscale, providers.test_what_a_server_repeats_of_our_key_is_left_out_of_its_words),
    ),
    Mutant(
        overwrite_whatever_holds_now,
        with_server(FakeTailscale, providers.test_a_policy_that_somebody_changed_meanwhile_is_not_overwritten),
    ),
    Mutant(
        compare_with_nothing,
        with_server(lambda: FakeHeadscale("0.29"), providers.test_a_policy_that_somebody_changed_meanwhile_is_not_overwritten),
    ),
    Mutant(
        take_any_item_for_a_text,
        lambda _: answers.test_a_field_that_is_missing_or_of_another_type_takes_nothing_else_with_it([1]),
        shows=(TypeError,),
    ),
    Mutant(use_a_token_for_ever, lambda _: providers.test_the_secret_of_a_client_gives_a_token_that_is_used_until_shortly_before_its_end()),
    Mutant(shut_the_doors_when_the_daemon_fails, links_stand),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: Patch) -> None:
    await assert_caught(mutant, tmp_path, monkeypatch)
