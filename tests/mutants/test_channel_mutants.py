"""Planted bugs in what stands between two peers, and in the limits of the listener. Each must be caught by a test over real sockets or a table."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from peer.core import endpoint
from peer.transport import channel, tls
from peer.transport.door import Door
from peer.transport.pace import Pace
from peer.transport.websocket import WebSocketCarrier
from tests.integration import test_channel, test_door, test_limits
from tests.integration.good_link import meshed
from tests.link_lab import Lab
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.unit.core import test_endpoint
from tests.unit.transport import test_pace, test_tls


def _in_a_lab(test: Callable[[Lab, Path], Awaitable[None]]) -> Callable[[Path], Awaitable[None]]:
    """A test of the channel, with what it needs."""

    async def check(folder: Path) -> None:
        async with AsyncExitStack() as stack:
            await test(Lab(folder / "sites", stack), folder)

    return check


async def _readers_are_cut_off(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        await test_limits.test_who_asks_for_everything_and_reads_nothing_is_cut_off(folder, patch, {"QUEUE_BYTES_MAX": 1024 * 1024}, tls=False)


async def _debts_stay(folder: Path) -> None:
    async with meshed(folder) as mesh:
        await test_limits.test_dialling_anew_does_not_fill_the_bucket(mesh)


def _peers_are_bounded(_folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        test_pace.test_few_peers_are_remembered_and_those_that_owe_something_first(patch)


async def _an_address_has_its_share(_folder: Path) -> None:
    await test_door.test_one_address_has_its_share_of_the_room_and_no_more(tls=False)


def _ipv6_is_counted_by_network(_folder: Path) -> None:
    test_door.test_connections_are_counted_by_address_and_those_of_ipv6_by_network("2001:db8:0:1::1", "2001:db8:0:1::/64")


def _keys_are_kept_from_others(folder: Path) -> None:
    test_tls.test_a_key_that_others_may_read_or_change_is_refused(folder, 0o644)


def _the_interface_counts(_folder: Path) -> None:
    test_endpoint.test_plain_http_is_for_loopback_and_for_tunnels_at_both_ends("10.8.0.9", "10.8.0.2", plain=False)


def _both_addresses_count(_folder: Path) -> None:
    test_endpoint.test_plain_http_is_for_loopback_and_for_tunnels_at_both_ends("10.8.0.1", "192.0.2.8", plain=False)


def take_any_certificate(patch: pytest.MonkeyPatch) -> None:
    """Whoever shows a certificate is who was dialled."""
    change(patch, tls.check_pin, ("shown not in (peer_spki_sha256(peer), pin)", "False"))


def sign_nothing_for_proxies(patch: pytest.MonkeyPatch) -> None:
    """What comes from a proxy's address is taken for a direct connection."""
    change(patch, channel.listener_channel_key, ("if rules.from_proxy(own, other):", "if False:"))


def believe_the_header(patch: pytest.MonkeyPatch) -> None:
    """The listener signs whatever key the dialler names, so any proxy will do."""
    change(patch, channel._told_key, ("return key if key in rules.proxy_keys else rules.proxy_keys[0]", "return key"))


def forget_the_interface(patch: pytest.MonkeyPatch) -> None:
    """Any address in the network will do, whether or not the tunnel has it."""
    change(patch, endpoint.may_be_plain, (" and ours in addresses_of(each.interface)", ""))


def look_at_one_address(patch: pytest.MonkeyPatch) -> None:
    """Whoever reaches our address in the tunnel is taken to come through it."""
    change(patch, endpoint.may_be_plain, (" and theirs in each.network", ""))


def leave_keys_open(patch: pytest.MonkeyPatch) -> None:
    """A key file may be readable by everybody."""
    patch.setattr(tls, "EXPOSED", 0)


def wait_for_readers(patch: pytest.MonkeyPatch) -> None:
    """A link that ends waits until the other side has read everything."""
    patch.setattr("tests.link_lab.DEADLINE_S", 4.0)
    patch.setattr("tests.integration.test_limits.DEADLINE_S", 4.0)
    patch.setattr(WebSocketCarrier, "cut", lambda _: None)


def forgive_who_dials_anew(patch: pytest.MonkeyPatch) -> None:
    """Every frame finds a full bucket."""
    change(patch, Pace.take, ("if peer not in self._buckets:", "if True:"))


def remember_everybody(patch: pytest.MonkeyPatch) -> None:
    """Buckets are never forgotten."""
    patch.setattr(Pace, "_make_room", lambda _, __: None)


def count_nobody(patch: pytest.MonkeyPatch) -> None:
    """One address may have all places."""
    change(patch, Door._has_room, ("< self._crowding.per_address", ">= 0"))


def count_every_ipv6_address(patch: pytest.MonkeyPatch) -> None:
    """Each of the 2**64 addresses of a network has places of its own."""
    change(patch, endpoint.counted_as, ("str(IPv6Network((int(address) >> 64 << 64, 64)))", "str(address)"))


MUTANTS = (
    Mutant(take_any_certificate, _in_a_lab(test_channel.test_an_operators_certificate_is_refused_where_nothing_or_another_key_is_pinned)),
    Mutant(sign_nothing_for_proxies, _in_a_lab(test_channel.test_behind_a_proxy_a_direct_connection_does_not_pass_for_one_through_it)),
    Mutant(believe_the_header, _in_a_lab(test_channel.test_a_proxy_that_the_listener_was_not_told_of_fails_the_handshake)),
    Mutant(forget_the_interface, _the_interface_counts),
    Mutant(look_at_one_address, _both_addresses_count),
    Mutant(leave_keys_open, _keys_are_kept_from_others),
    Mutant(wait_for_readers, _readers_are_cut_off, (TimeoutError,)),
    Mutant(forgive_who_dials_anew, _debts_stay),
    Mutant(remember_everybody, _peers_are_bounded),
    Mutant(count_nobody, _an_address_has_its_share),
    Mutant(count_every_ipv6_address, _ipv6_is_counted_by_network),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_in_the_channel_or_a_limit_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(mutant, tmp_path, monkeypatch)
