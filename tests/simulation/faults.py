"""What goes wrong in simulated worlds, each counted where it happens."""

from peer.core.certificate import LogKind
from peer.core.encoding import encode
from peer.core.run import Draft
from tests.simulation.shell import Peer
from tests.simulation.world import World


def write(world: World, peer: Peer, count: int = 0) -> None:
    """Some notes, if it is up."""
    if peer.up:
        drafts = [Draft("test.note", encode({"text": "x" * world.random.randint(0, 300)})) for _ in range(count or world.random.randint(1, 12))]
        peer.write(world.group, LogKind.DATA, drafts)


def write_much(world: World, peer: Peer) -> None:
    """More than one page and more than the credit."""
    for _ in range(6):
        write(world, peer, 200)


def cut(world: World) -> None:
    """A connection breaks."""
    connections = world.live_connections()
    if connections:
        world.faults["cuts"] += 1
        world.random.choice(connections).cut()


def silence(world: World) -> None:
    """From now on nothing arrives on some connection, and nobody is told."""
    connections = world.live_connections()
    if connections:
        world.faults["silent_cuts"] += 1
        world.random.choice(connections).silent = True


def crash(world: World) -> None:
    """Somebody goes down, and comes back."""
    peer = world.random.choice(world.peers)
    if peer.up:
        world.faults["crashes"] += 1
        peer.crash()
        world.after(world.random.randint(100, 15_000), lambda: restart(world, peer))


def crash_in_a_write(world: World) -> None:
    """Between the write and its commit."""
    peer = world.random.choice(world.peers)
    if peer.up:
        write(world, peer)
        world.faults["crashes"] += 1
        peer.crash()
        world.after(world.random.randint(100, 5_000), lambda: restart(world, peer))


def restart(world: World, peer: Peer) -> None:
    """Back with what is durable."""
    if not peer.up:
        peer.restart()
        world.checks.acknowledged_survive(peer)


def part(world: World) -> None:
    """The mesh falls in two."""
    world.faults["partitions"] += 1
    world.part(set(world.random.sample(world.peers, world.random.randint(1, len(world.peers) - 1))))
    world.after(world.random.randint(1_000, 20_000), world.heal)
