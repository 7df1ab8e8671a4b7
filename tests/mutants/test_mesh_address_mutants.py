"""Planted bugs in what a peer believes of its mesh: where it listens, where hints lead, where members are sought. Each must be caught by a table."""

from pathlib import Path

import pytest

from peer.core import mesh_addresses
from peer.core.mesh_addresses import MeshFirst, Moved
from peer.core.mesh_candidates import Candidates
from peer.transport.door import Door
from tests.integration import test_door
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.unit.core import test_mesh_addresses as addresses
from tests.unit.core import test_mesh_candidates as candidates
from tests.unit.resolver import test_tailnet


def _listens_nowhere_else(_folder: Path) -> None:
    addresses.test_a_daemon_brings_a_peer_to_listen_at_addresses_of_a_mesh_alone()


def _liars_lead_nowhere(_folder: Path) -> None:
    addresses.test_a_hint_may_lead_to_a_machine_of_the_mesh_at_an_address_of_a_mesh("127.0.0.1", may=False)


def _strangers_in_the_range_are_no_machines(_folder: Path) -> None:
    addresses.test_a_hint_may_lead_to_a_machine_of_the_mesh_at_an_address_of_a_mesh("100.64.0.9", may=False)


def _those_away_come_last(_folder: Path) -> None:
    addresses.test_addresses_of_machines_that_are_there_are_dialled_first_and_those_that_are_away_last()


def _wrong_once(_folder: Path) -> None:
    candidates.test_a_wrong_guess_is_made_once_an_hour()


def _one_machine_one_member(_folder: Path) -> None:
    candidates.test_a_machine_where_a_member_has_proved_who_it_is_is_nobody_elses()


def _silence_is_left_alone(_folder: Path) -> None:
    candidates.test_where_nobody_answers_nobody_is_sought_for_longer_each_time()


def _few_guesses(_folder: Path) -> None:
    candidates.test_however_many_members_and_machines_there_are_few_guesses_are_made()


def _tagged_alone(_folder: Path) -> None:
    candidates.test_machines_without_the_tag_that_are_away_or_that_cannot_be_reached_from_here_are_nobodys()


async def _followed_to_the_new_address(_folder: Path) -> None:
    await test_tailnet.test_a_machine_that_has_another_address_is_followed_there(test_tailnet.Scene())


async def _who_is_in_stays(_folder: Path) -> None:
    await test_door.test_a_door_that_opens_at_another_address_keeps_who_came_in_at_the_first()


def listen_wherever_the_daemon_says(patch: pytest.MonkeyPatch) -> None:
    """Also on all interfaces."""
    change(patch, mesh_addresses.own_hosts, (" if is_mesh_address(host) or is_loopback(host)", ""))


def follow_the_coordination_server_anywhere(patch: pytest.MonkeyPatch) -> None:
    """A machine may be said to be at any address."""
    change(patch, mesh_addresses.machine_networks, ("any(map(is_loopback, own_hosts(state)))", "True"))


def follow_hints_into_the_whole_range(patch: pytest.MonkeyPatch) -> None:
    """Which providers use for their customers, too."""
    change(patch, mesh_addresses.machine_networks, ("address is None or state.node_at(to) is None", "address is None"))


def dial_machines_first_that_are_away(patch: pytest.MonkeyPatch) -> None:
    """Seconds are lost on each try."""
    change(patch, MeshFirst._rank, ("0 if node.is_online else 2", "0"))


def guess_again_and_again(patch: pytest.MonkeyPatch) -> None:
    """The same wrong machine."""
    change(patch, Candidates._is_good, ("self._wrong.get((peer, place), 0) <= now_ms and ", ""))


def seek_others_where_a_member_is(patch: pytest.MonkeyPatch) -> None:
    """It has proved that the machine is its own."""
    change(patch, Candidates.choose, ("place not in self._proved and ", ""))


def seek_at_once_where_nobody_answers(patch: pytest.MonkeyPatch) -> None:
    """As often as it is looked."""
    change(patch, Candidates.choose, (" and self._silent.get(place, (0, 0))[0] <= now_ms", ""))


def guess_without_end(patch: pytest.MonkeyPatch) -> None:
    """Every member at every machine, now."""
    change(patch, Candidates._is_spent, ("now_ms - self._made_ms[0] < MS_PER_MINUTE", "False"))


def seek_at_every_machine(patch: pytest.MonkeyPatch) -> None:
    """Printers and telephones as well."""
    change(patch, Candidates._machines, ("self._tag in node.tags and ", ""))


def follow_whoever_has_the_old_address(patch: pytest.MonkeyPatch) -> None:
    """It is another machine's now."""
    change(patch, Moved.see, ("for address in self._former.keys() & state.nodes.keys():", "for address in ():"))


def forget_where_machines_were(patch: pytest.MonkeyPatch) -> None:
    """Nobody finds them before somebody tells."""
    change(patch, Moved.see, ("self._former[address] = self._state.nodes[address].node_id", "continue"))


def leave_every_address(patch: pytest.MonkeyPatch) -> None:
    """Nobody comes in at the new one."""
    change(patch, Door.leave, (" if each.getsockname()[:2] == (host, port)", ""))


MUTANTS = (
    Mutant(listen_wherever_the_daemon_says, _listens_nowhere_else),
    Mutant(follow_the_coordination_server_anywhere, _liars_lead_nowhere),
    Mutant(follow_hints_into_the_whole_range, _strangers_in_the_range_are_no_machines),
    Mutant(dial_machines_first_that_are_away, _those_away_come_last),
    Mutant(guess_again_and_again, _wrong_once),
    Mutant(seek_others_where_a_member_is, _one_machine_one_member),
    Mutant(seek_at_once_where_nobody_answers, _silence_is_left_alone, (AssertionError, IndexError)),
    Mutant(guess_without_end, _few_guesses),
    Mutant(seek_at_every_machine, _tagged_alone),
    Mutant(follow_whoever_has_the_old_address, _followed_to_the_new_address),
    Mutant(forget_where_machines_were, _followed_to_the_new_address),
    Mutant(leave_every_address, _who_is_in_stays, (AssertionError, ConnectionRefusedError)),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(mutant, tmp_path, monkeypatch)
