"""Under every fault: whoever holds the same shows the same, and where somebody does not, everybody linked to it names the row."""

import os
from collections import Counter

import pytest

from peer.core.identity import EventId
from tests.simulation.scenario import run_seed
from tests.simulation.shell import Peer
from tests.simulation.views import SimulatedViews
from tests.simulation.world import World

SEEDS = int(os.environ.get("SEEDS", "200")) // 16
PARTS = 2
SILENCE_NOTICED_MS = 90_000
"""After this every link that stands carries what is said."""


def with_views(world: World) -> None:
    """Everybody shows what it holds, and compares."""
    for peer in world.peers:
        peer.views = SimulatedViews(peer)


def differing(peer: Peer) -> dict[object, tuple[bytes, ...]]:
    assert peer.views is not None
    return {each.peer: each.keys for each in peer.views.comparing.differences()}


@pytest.mark.parametrize("part", range(PARTS))
def test_nobody_is_alarmed_whatever_happens(part: int) -> None:
    """Roles change, events are cut and voided, peers crash and forget: no two that have the same basis differ at any moment."""
    compared: Counter[str] = Counter()
    for seed in range(part, SEEDS, PARTS):
        world = run_seed(seed, with_views)
        assert not sum(peer.views.alarms for peer in world.peers if peer.views is not None), f"seed {seed}"
        compared.update(world.faults)
        compared["equal"] += len({peer.views.comparing.ours(world.group) for peer in world.members if peer.views is not None}) == 1
    assert compared["equal"] >= SEEDS // PARTS - 1, "in the end all have told the same"
    assert compared["left_out"], "some events did not count"


def planted(seed: int) -> tuple[World, Peer, EventId]:
    """A world in which the views of one peer have a bug from the middle of the storm on."""
    found: list[tuple[Peer, EventId]] = []

    def plant(world: World) -> None:
        peer = world.random.choice(world.members)
        view = peer.store.groups[world.group]
        wrong = min(event for log, tips in view.tips.items() for event, role in view.roles(log).items() if role and tips)
        assert peer.views is not None
        peer.views.wrong = wrong
        found.append((peer, wrong))

    def prepare(world: World) -> None:
        with_views(world)
        world.after(20_000, lambda: plant(world))

    world = run_seed(seed, prepare)
    (peer, wrong), *_ = found
    return world, peer, wrong


@pytest.mark.parametrize("seed", [3, 6, 10, 12])
def test_a_planted_difference_is_named_by_both_sides_of_each_link(seed: int) -> None:
    world, wrong_peer, wrong = planted(seed)
    world.run(SILENCE_NOTICED_MS)
    view = wrong_peer.store.groups[world.group]
    assert any(role for log in view.tips for event, role in view.roles(log).items() if event == wrong), "a seed whose event still counts"
    linked = {link.connection.other(wrong_peer) for link in wrong_peer.links.values() if world.group in link.session.shared_groups()}
    assert linked & {*world.members}
    for other in linked & {*world.members}:
        assert differing(other) == {wrong_peer.key.peer_id: (wrong,)}
        assert differing(wrong_peer)[other.key.peer_id] == (wrong,)
    for peer in world.members:
        assert set(differing(peer)) <= {wrong_peer.key.peer_id} or peer is wrong_peer, "of others nobody speaks"

    assert wrong_peer.views is not None
    wrong_peer.views.wrong = None
    world.run(15_000)
    for other in linked & {*world.members}:
        assert not differing(other)
        assert other.key.peer_id not in differing(wrong_peer)


def test_peers_of_two_versions_are_not_compared() -> None:
    """Every second peer has other rules, and shows an event otherwise by them."""

    def show_otherwise(world: World) -> None:
        for peer in world.peers[1::2]:
            assert peer.views is not None
            peer.views.wrong = min(peer.store.ids())

    def prepare(world: World) -> None:
        for number, peer in enumerate(world.peers):
            peer.views = SimulatedViews(peer, version=1 + number % 2)
        world.after(20_000, lambda: show_otherwise(world))

    world = run_seed(0, prepare)
    assert len(world.members) == 3
    assert not sum(peer.views.alarms for peer in world.peers if peer.views is not None)
