"""The mesh under faults, by seed. A failing seed prints the command that replays it."""

import os
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from peer.core.certificate import LogKind
from peer.core.identity import EventId
from peer.core.run import Draft
from peer.sync import messages
from tests.simulation.checks import BrokenPromiseError
from tests.simulation.scenario import FAULT_KINDS, run_seed
from tests.simulation.shell import Peer
from tests.simulation.world import World

SEEDS = int(os.environ.get("SEEDS", "200"))
BATCHES = 10
FAULTS_MIN_PER_100_SEEDS = {
    "crashes": 150,
    "cuts": 150,
    "double_links": 80,
    "forged_runs": 15,
    "forks": 8,
    "lost_writes": 80,
    "partitions": 80,
    "guests": 200,
    "guests_shown_in": 40,
    "removals": 20,
    "removals_with_a_cut": 40,
    "removals_without_a_cut": 25,
    "readmissions": 20,
    "role_changes": 80,
    "seals": 70,
    "forks_below_a_cut": 40,
    "late_writes": 60,
    "late_events_held": 60,
    "left_out": 1000,
    "silent_cuts": 60,
    "told_no_member": 150,
    "unknown_diallers": 100,
}


@pytest.mark.parametrize("batch", range(BATCHES))
def test_every_seed_converges_and_keeps_its_promises(batch: int, record_property: Callable[[str, object], None]) -> None:
    """Safety, cost and convergence hold in every history, and the histories had the faults that they are about."""
    faults: Counter[str] = Counter()
    seeds = range(SEEDS * batch // BATCHES, SEEDS * (batch + 1) // BATCHES)
    for seed in seeds:
        faults.update(run_seed(seed).faults)
    for kind in FAULT_KINDS:
        record_property(kind, faults[kind])
    print(f"{len(seeds)} seeds, faults: {dict(sorted(faults.items()))}")  # noqa: T201
    if SEEDS >= 200:
        few = {kind: faults[kind] for kind, least in FAULTS_MIN_PER_100_SEEDS.items() if faults[kind] < least * len(seeds) / 400}
        assert not few, f"too few faults to prove anything: {few}"


def test_the_same_seed_gives_the_same_history() -> None:
    """A failure can be replayed: every frame comes again, at the same time."""
    assert run_seed(7).trace_digest == run_seed(7).trace_digest != run_seed(8).trace_digest


def test_without_faults_every_event_reaches_every_peer_once() -> None:
    """In the steady state of a full mesh an event costs N - 1 copies."""
    world = World(1, names=("a", "b", "c", "d", "e"), delay_ms_max=30)
    for index, peer in enumerate(world.peers):
        for other in world.peers[index + 1 :]:
            world.connect(peer, other)
    world.start()
    assert world.run(60_000, until=world.converged)
    for peer in world.peers:
        _write_one(world, peer)
    world.run(20_000)
    world.checks.copies.clear()
    for _ in range(20):
        for peer in world.peers:
            _write_one(world, peer)
        world.run(500)
    assert world.run(20_000, until=world.converged)

    assert len(world.checks.copies) == 100
    assert set(world.checks.copies.values()) == {4}


def test_a_connection_that_dies_silently_is_noticed_and_replaced() -> None:
    """It is the only one there is: nothing else brings what was written."""
    world = World(1, names=("a", "b"), delay_ms_max=30)
    world.connect(*world.peers)
    world.start()
    assert world.run(60_000, until=world.converged)
    for connection in world.live_connections():
        connection.silent = True
    _write_one(world, world.peers[0])

    if not world.run(120_000, until=world.converged):
        raise BrokenPromiseError("nobody notices that nothing arrives")


@pytest.mark.parametrize("is_forged", [False, True])
def test_what_arrived_must_not_come_back_unless_it_arrived_forged(is_forged: bool) -> None:  # noqa: FBT001  (a case)
    """Who got a forged run has nothing from its sender, and may send it what others brought."""
    world = World(1, names=("a", "b"), delay_ms_max=30)
    writer, other = world.peers
    world.connect(writer, other)
    world.start()
    assert world.run(60_000, until=world.converged)
    _write_one(world, writer)
    assert world.run(20_000, until=lambda: not writer.pending)
    assert world.run(20_000, until=world.converged)
    world.tamper_chance = 1.0 if is_forged else 0.0
    _write_one(world, writer)
    world.run(5_000)
    assert bool(world.faults["forged_runs"]) is is_forged
    own = writer.own_log(world.group, LogKind.DATA)
    assert own is not None
    assert own.last is not None
    run = writer.store.read_after(world.group, own.certificate.log, (EventId(own.last.header.previous),), 1).runs[0]
    other.append(own.certificate, run, lambda _code: None)
    assert world.run(5_000, until=lambda: not other.pending)
    frame = messages.encode_message(
        messages.Events(world.group, run.log, run.signature, tuple((event.header_bytes, event.body) for event in run.events))
    )

    with nullcontext() if is_forged else pytest.raises(BrokenPromiseError, match="sent an event back"):
        world.checks.sent(other, world.live_connections()[0], frame)


def _write_one(world: World, peer: Peer) -> None:
    peer.write(world.group, LogKind.DATA, [Draft("test.note", b"\xa0")])
