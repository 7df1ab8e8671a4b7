"""Planted bugs in whom a peer dials, where, and when again. Each must be caught by a test over real sockets."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from peer.core.dial_networks import DialNetworks
from peer.sync.sources import Sources
from peer.transport import dialling, retry_after
from peer.transport.blob_client import BlobClient
from peer.transport.dialling import Dialler
from peer.transport.pinning import Dialled
from tests.integration import test_dialling, test_each_event_once, test_hints
from tests.link_lab import Lab
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.unit.core import test_dial_networks


def _in_a_lab(test: Callable[[Lab], Awaitable[None]]) -> Callable[[Path], Awaitable[None]]:
    async def check(folder: Path) -> None:
        async with AsyncExitStack() as stack:
            await test(Lab(folder, stack))

    return check


async def _each_address_is_judged(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        async with AsyncExitStack() as stack, test_hints.open_trap() as trap:
            await test_hints.test_each_address_behind_a_name_is_judged_not_only_the_first(Lab(folder, stack), trap, patch)


async def _no_bytes_from_elsewhere(_folder: Path) -> None:
    async with test_hints.open_trap() as trap:
        await test_hints.test_bytes_are_not_asked_for_where_a_hint_must_not_lead(trap)


async def _waits_are_obeyed(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        async with AsyncExitStack() as stack:
            lab = Lab(folder, stack)
            await test_dialling.test_who_asks_to_be_left_alone_is_dialled_when_it_said_and_not_before(lab, patch, "Retry-After: 2")


async def _silence_holds_up_nothing(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        async with AsyncExitStack() as stack:
            await test_dialling.test_an_address_that_accepts_and_says_nothing_ends_in_time_and_holds_up_no_other(
                Lab(folder, stack), patch, "http", [], "unreachable"
            )


def _mapped_addresses_are_no_way_around(_folder: Path) -> None:
    test_dial_networks.test_addresses_of_ipv4_in_those_of_ipv6_are_no_way_around("10.0.0.1")


def check_only_the_first_resolved_address(patch: pytest.MonkeyPatch) -> None:
    """The others behind the same name are connected to as they are."""
    judged: list[Dialled] = []
    may_follow = Dialled.open_socket

    def only_first(self: Dialled, found: tuple[int, int, int, str, tuple[object, ...]]) -> object:
        self.is_hint = self.is_hint and self not in judged
        judged.append(self)
        return may_follow(self, found)

    patch.setattr(Dialled, "open_socket", only_first)


def follow_redirects(patch: pytest.MonkeyPatch) -> None:
    """Whoever is asked for bytes says who else is to be asked."""
    change(patch, BlobClient._send, ("allow_redirects=False", "allow_redirects=True"))


def ignore_retry_after(patch: pytest.MonkeyPatch) -> None:
    """Whoever wants to be left alone is dialled as soon as anybody."""
    change(patch, retry_after.retry_after_ms, ("if wait_ms > 0 else None", "if wait_ms < 0 else None"))


def wait_as_the_back_off_says(patch: pytest.MonkeyPatch) -> None:
    """What it asked for is shown, and not kept."""
    change(patch, Dialler._attempt, ("now_ms() + error.wait_ms", "now_ms()"))


def one_address_after_the_other(patch: pytest.MonkeyPatch) -> None:
    """The next one is tried when the one before has failed, and no earlier."""
    patch.setattr(dialling, "HEAD_START_S", 7.0)


def take_addresses_of_ipv6_for_public(patch: pytest.MonkeyPatch) -> None:
    """Wherever translators and tunnels carry what is sent there."""
    change(patch, DialNetworks.allow, ("(address, *_embedded(address))", "(address,)"))


def ask_for_a_log_on_every_link(patch: pytest.MonkeyPatch) -> None:
    """Nobody remembers which link brings it."""
    patch.setattr(Sources, "get", lambda *_arguments: None)
    patch.setattr(Sources, "take_lost", lambda *_arguments: [])


MUTANTS = (
    Mutant(check_only_the_first_resolved_address, _each_address_is_judged),
    Mutant(follow_redirects, _no_bytes_from_elsewhere),
    Mutant(ignore_retry_after, _waits_are_obeyed),
    Mutant(wait_as_the_back_off_says, _waits_are_obeyed),
    Mutant(one_address_after_the_other, _silence_holds_up_nothing),
    Mutant(take_addresses_of_ipv6_for_public, _mapped_addresses_are_no_way_around),
    Mutant(
        ask_for_a_log_on_every_link,
        _in_a_lab(lambda lab: test_each_event_once.test_an_event_crosses_no_link_twice_and_reaches_everybody_once(lab, "mesh")),
    ),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_in_dialling_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(mutant, tmp_path, monkeypatch)
