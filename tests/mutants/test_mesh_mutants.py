"""Planted bugs in what is known of a mesh, and in who may call by its word. Each must be caught by a test of these."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from peer.core import mesh
from peer.core.mesh_rule import MeshRule
from peer.transport.callers import Callers
from resolver.mesh_watch import MeshWatch
from tests.fake_tailscaled import FakeDaemon
from tests.integration import test_callers as callers
from tests.mutants.planting import Check, Mutant, assert_caught, change, name_of
from tests.unit.core import test_mesh_rule as rules
from tests.unit.resolver import test_mesh_watch as watches

Patch = pytest.MonkeyPatch


def forget_no_callers(patch: Patch) -> None:
    """Who was nobody before it joined the mesh stays that for a minute."""
    change(patch, MeshWatch._take, ("self._callers.clear()", "pass"))


def remember_ports_of_this_machine(patch: Patch) -> None:
    """The next connection from a port is taken for the machine that the last one was."""
    change(patch, MeshWatch.ask, (" and not is_loopback(host)", ""))


def tell_of_every_look(patch: Patch) -> None:
    """Whoever listens works anew because a packet went another way."""
    change(patch, mesh._what_matters, ("_lasting(node) for", "node for"))


def believe_any_address(patch: Patch) -> None:
    """A daemon that says 0.0.0.0 makes that an address of this machine."""
    change(patch, mesh._addresses, (" and not ip.is_unspecified and not ip.is_multicast", ""))


def listen_for_ever(patch: Patch) -> None:
    """Who floods the bus is heard to the end."""
    patch.setattr("tests.unit.resolver.test_mesh_watch.DEADLINE_S", 3.0)
    change(patch, MeshWatch._hear, ("if self._told_bytes > TOLD_BYTES_MAX:", "if False:"))


def read_what_the_bus_says(patch: Patch) -> None:
    """A change is looked at when the time has come."""
    patch.setattr("tests.unit.resolver.test_mesh_watch.DEADLINE_S", 3.0)
    change(patch, MeshWatch._hear, ("self._wake.set()", "pass"))


def let_in_who_is_unknown(patch: Patch) -> None:
    """Whoever does not come through the mesh needs no tag."""
    change(patch, MeshRule.check, ("if not self.is_set:", "if not self.is_set or caller is None:"))


def take_any_tag(patch: Patch) -> None:
    """Having tags is enough."""
    change(patch, MeshRule.check, ("not self.tags & set(caller.tags)", "not caller.tags"))


def let_in_while_nobody_can_be_asked(patch: Patch) -> None:
    """A daemon that is away opens the door."""
    change(patch, Callers.check, ("raise refused", "if isinstance(refused, CallerRefusedError): raise refused"))


def judge_links_once(patch: Patch) -> None:
    """A link stays whatever becomes of the machine."""
    patch.setattr("tests.integration.running_peer.DEADLINE_S", 5.0)
    change(patch, Callers._may_stay, ("self._rule.check(connection.caller)", "pass"))


def judge_connections_once(patch: Patch) -> None:
    """Who was let in is let in for a minute."""
    change(patch, Callers._mesh_changed, ("self._let_in.clear()", "pass"))


def ask_each_time(patch: Patch) -> None:
    """Each request of a connection costs a question."""
    change(patch, Callers.let_in, ("if transport is not None and changed is self._changed:", "if False:"))


def watched(test: Callable[..., Awaitable[None]], *more: Any) -> Check:
    """That test of the watch, with a daemon of its own."""

    async def check(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        fake, path = FakeDaemon(), folder / "tailscaled.sock"
        with pytest.MonkeyPatch.context() as patch:
            async with fake.on_socket(path):
                await test(fake, path, *(patch if each is pytest.MonkeyPatch else each for each in more))

    return check


def called(test: Callable[..., Awaitable[None]]) -> Check:
    """That test of callers, with a daemon that takes loopback for the mesh."""

    async def check(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        fake, path = FakeDaemon(), folder / "tailscaled.sock"
        callers.tell_field(fake, TailscaleIPs=["127.0.0.1"])
        async with fake.on_socket(path):
            await test(fake, path, folder)

    return check


def tags_count(_: Path) -> None:
    """The rule itself."""
    rules.test_one_of_both_is_not_enough(MeshRule(frozenset({"tag:ROBOT"})), "none of the tags tag:ROBOT")


MUTANTS = (
    Mutant(forget_no_callers, watched(watches.test_what_was_known_of_callers_is_forgotten_with_a_change)),
    Mutant(remember_ports_of_this_machine, watched(watches.test_a_port_of_this_machine_from_which_the_daemon_speaks_is_asked_about_each_time)),
    Mutant(tell_of_every_look, watched(watches.test_who_listens_is_not_told_of_what_comes_and_goes)),
    Mutant(believe_any_address, watched(watches.test_an_address_that_no_machine_can_have_is_none)),
    Mutant(
        listen_for_ever,
        watched(watches.test_who_floods_the_bus_makes_no_more_work_than_a_look_now_and_then, pytest.MonkeyPatch),
        (TimeoutError,),
    ),
    Mutant(
        read_what_the_bus_says,
        watched(watches.test_what_the_daemon_tells_wakes_the_watch_whatever_it_is, b"\n"),
        (TimeoutError,),
    ),
    Mutant(let_in_who_is_unknown, called(callers.test_whoever_comes_from_outside_the_mesh_is_refused_under_a_rule), (AssertionError, KeyError)),
    Mutant(take_any_tag, tags_count),
    Mutant(
        let_in_while_nobody_can_be_asked,
        called(callers.test_while_the_daemon_cannot_be_asked_nobody_new_comes_in_and_who_is_in_stays),
        (AssertionError, KeyError),
    ),
    Mutant(judge_links_once, called(callers.test_a_machine_that_may_not_call_is_not_dialled_either), (TimeoutError,)),
    Mutant(judge_connections_once, called(callers.test_a_connection_that_was_let_in_is_judged_anew_when_the_mesh_changes_and_not_each_time)),
    Mutant(ask_each_time, called(callers.test_a_connection_that_was_let_in_is_judged_anew_when_the_mesh_changes_and_not_each_time)),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_in_what_is_known_of_a_mesh_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(mutant, tmp_path, monkeypatch)
