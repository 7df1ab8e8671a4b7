"""Guesses at which machine of a mesh a member is."""

from collections.abc import Sequence

from peer.core import mesh_candidates
from peer.core.identity import PeerId
from peer.core.mesh import Mesh, MeshNode, MeshState
from peer.core.mesh_candidates import GUESSES_MAX, GUESSES_PER_MINUTE, SILENT_MS, SOUGHT_MAX, WRONG_MS, Candidates, Sought

TAG = "tag:recmesh"
WRONG_KEY = "channel_key_mismatch"


def machine(number: int, name: str = "", *, tags: tuple[str, ...] = (TAG,), is_online: bool = True, addresses: Sequence[str] = ()) -> MeshNode:
    """One of the mesh."""
    own = tuple(addresses) or (f"fd7a:115c:a1e0::{number:x}", f"100.64.1.{number}")
    return MeshNode(f"n{number:04}", f"{name or f'm{number}'}.mesh.example", "", "", "", own, tags, is_online, False, "", "", False, "")  # noqa: FBT003


def mesh(*machines: MeshNode, own: tuple[str, ...] = ("100.64.0.1",)) -> MeshState:
    """With this machine and others."""
    own_node = machine(0, "own", addresses=own)
    return MeshState(Mesh.RUNNING, own_node, {address: each for each in machines for address in each.addresses})


def member(number: int, name: str = "somebody", *, is_linked: bool = False) -> Sought:
    """Somebody to look for."""
    return Sought(PeerId(number.to_bytes(2, "big") * 16), name, is_linked)


def test_a_member_is_sought_first_at_the_machine_that_is_called_like_it() -> None:
    state = mesh(*(machine(number) for number in range(1, 9)), machine(9, "Field"))

    found = Candidates(TAG).choose(state, [member(3, "field")], 0)

    assert found[member(3).peer][0] == "100.64.1.9"


def test_machines_without_the_tag_that_are_away_or_that_cannot_be_reached_from_here_are_nobodys() -> None:
    state = mesh(
        machine(1, tags=("tag:other",)), machine(2, is_online=False), machine(3, addresses=["fd7a:115c:a1e0::3"]), machine(4, addresses=["10.0.0.4"])
    )

    assert not Candidates(TAG).choose(state, [member(3)], 0)
    assert not Candidates("").choose(mesh(machine(1)), [member(3)], 0)
    assert not Candidates(TAG).choose(MeshState(Mesh.STOPPED), [member(3)], 0)


def test_a_wrong_guess_is_made_once_an_hour() -> None:
    candidates, where, who = Candidates(TAG), machine(1), member(3)
    assert candidates.choose(mesh(where), [who], 0) == {who.peer: ("100.64.1.1",)}

    candidates.tried(who.peer, where, WRONG_KEY, 0)

    assert not candidates.choose(mesh(where), [who], WRONG_MS - 1)
    assert candidates.choose(mesh(where), [who], WRONG_MS) == {who.peer: ("100.64.1.1",)}
    other = member(4)
    assert set(candidates.choose(mesh(where), [who, other], 1)) == {other.peer}


def test_a_machine_where_a_member_has_proved_who_it_is_is_nobody_elses() -> None:
    candidates, where, who, other = Candidates(TAG), machine(1), member(3), member(4)
    candidates.tried(who.peer, where, None, 0)

    assert candidates.choose(mesh(where), [who, other], 0) == {who.peer: ("100.64.1.1",)}
    moved = machine(1, addresses=["100.64.1.77"])
    assert candidates.choose(mesh(moved), [who, other], 0) == {who.peer: ("100.64.1.77",)}
    candidates.tried(who.peer, moved, WRONG_KEY, 1)  # Another peer runs there now.
    assert candidates.choose(mesh(moved), [who, other], 1) == {other.peer: ("100.64.1.77",)}


def test_where_nobody_answers_nobody_is_sought_for_longer_each_time() -> None:
    candidates, where, who = Candidates(TAG), machine(1), member(3)
    now_ms, waits = 0, []
    for _ in range(8):
        candidates.tried(who.peer, where, "unreachable", now_ms)
        began_ms = now_ms
        while not candidates.choose(mesh(where), [who], now_ms):
            now_ms += 1_000
        waits.append(now_ms - began_ms)

    assert waits[0] == SILENT_MS
    assert waits == sorted(waits)
    assert waits[-1] == mesh_candidates.SILENT_MAX_MS


def test_who_is_linked_is_not_sought() -> None:
    assert not Candidates(TAG).choose(mesh(machine(1)), [member(3, is_linked=True)], 0)


def test_however_many_members_and_machines_there_are_few_guesses_are_made() -> None:
    state = mesh(*(machine(number) for number in range(1, 200)))
    sought = [member(number) for number in range(1000)]
    candidates, made = Candidates(TAG), 0
    for now_ms in range(0, 60_000, 500):
        found = candidates.choose(state, sought, now_ms)
        assert len(found) <= SOUGHT_MAX
        for peer, hosts in found.items():
            assert 0 < len(hosts) <= GUESSES_MAX
            for host in hosts:
                made += 1
                candidates.tried(peer, state.nodes[host], WRONG_KEY, now_ms)

    assert made == GUESSES_PER_MINUTE


def test_each_member_is_found_whoever_is_where() -> None:
    """Every wrong guess costs one try: after as many as there are machines, everybody is found."""
    machines = [machine(number) for number in range(1, 6)]
    sought = [member(number) for number in range(40, 45)]
    lives = {each.peer: f"100.64.1.{number}" for each, number in zip(sought, (3, 1, 5, 2, 4), strict=True)}
    candidates, found_out, tries, now_ms = Candidates(TAG), set(), 0, 0
    while len(found_out) < len(sought):
        now_ms += 5_000
        links = [each._replace(is_linked=each.peer in found_out) for each in sought]
        for peer, hosts in candidates.choose(mesh(*machines), links, now_ms).items():
            for host in hosts if peer not in found_out else ():
                tries += 1
                is_there = lives[peer] == host
                candidates.tried(peer, mesh(*machines).nodes[host], None if is_there else WRONG_KEY, now_ms)
                found_out |= {peer} if is_there else set()

    assert tries <= len(machines) * len(sought)
    assert candidates.choose(mesh(*machines), sought, now_ms) == {peer: (host,) for peer, host in lives.items()}


def test_what_is_remembered_is_bounded_and_goes_with_the_machines() -> None:
    candidates = Candidates(TAG)
    for number in range(mesh_candidates.WRONG_MAX + 10):
        candidates.tried(PeerId(number.to_bytes(32, "big")), machine(1), WRONG_KEY, 0)
    candidates.tried(member(3).peer, machine(2), None, 0)
    candidates.tried(member(4).peer, machine(3), "unreachable", 0)
    assert len(candidates._wrong) == mesh_candidates.WRONG_MAX

    candidates.choose(mesh(machine(1)), [], 0)

    assert (candidates._proved, candidates._silent) == ({}, {})
