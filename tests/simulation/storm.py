"""One seed, one history of a mesh that finds itself among members of all sorts.

Some cannot be dialled, or only from one side; some are slow, silent, or lie; clocks jump by years. Addresses spread by the real gossip table from a
few introductions, links are chosen by the real overlay. Those who follow the protocol converge all the same.

`python -m tests.simulation storm SEED` replays it.
"""

from peer.core.certificate import LogKind
from tests.simulation.byzantine import BYZANTINE_KINDS, Byzantine
from tests.simulation.checks import BrokenPromiseError
from tests.simulation.faults import crash, crash_in_a_write, cut, part, restart, silence, write, write_much
from tests.simulation.neighbourhood import Neighbourhood
from tests.simulation.scenario import small_limits
from tests.simulation.shared import shared_work
from tests.simulation.shell import Peer
from tests.simulation.world import World

STORM_MS = 40_000
CALM_MS = 300_000
STABLE_MS = 4_000
CHOOSE_INTERVAL_MS = 2_000
YEAR_MS = 365 * 24 * 60 * 60 * 1000
STORM_KINDS = (
    *(
        "cuts",
        "silent_cuts",
        "crashes",
        "lost_writes",
        "partitions",
        "freezes",
        "clock_jumps_forward",
        "clock_jumps_back",
        "slow_links",
        "slow_disks",
    ),
    *("sites_nobody_can_dial", "one_way_pairs", "pairs_without_a_way", "unanswered_dials", "let_go", "found_by_gossip"),
    *BYZANTINE_KINDS,
)


def run_storm(seed: int) -> World:
    """The world of `seed`, after storm and calm. Raises `BrokenPromiseError` if a check fails or it does not converge."""
    with small_limits(), shared_work():
        return _run(seed)


def _run(seed: int) -> World:
    large = seed % 13 == 3
    count = 18 + seed % 4 if large else 3 + seed % 5
    liars = [f"x{number}" for number in range((0, 1, 2)[seed % 3] if count > 3 else 0)]
    mute = ["m"] if seed % 4 in {1, 2} else []
    names = (*(f"p{number}" for number in range(count)), *liars, *mute)
    world = World(seed, names=names, delay_ms_max=(5, 40, 200)[seed % 3], installed=large, kinds=dict.fromkeys(liars, Byzantine))
    for peer in world.peers:
        peer.is_mute = peer.name in mute
    _lay_out(world)
    _introduce(world)
    world.start()
    _plan(world)
    world.run(STORM_MS)
    _calm(world)
    _converge(world)
    world.checks.acknowledged_everywhere()
    world.checks.judged_the_same()
    world.faults["unanswered_dials"] += world.closes["handshake_timeout"]
    for peer in world.members:
        world.faults["found_by_gossip"] += len(peer.neighbourhood.table.placed()) if peer.neighbourhood else 0
    return world


def _converge(world: World) -> None:
    """And stay so. What liars have kept for themselves may come when all others agree."""
    end_ms = world.now_ms + CALM_MS
    while world.run(end_ms - world.now_ms, until=world.converged):
        world.run(STABLE_MS)
        if world.converged():
            return
    raise BrokenPromiseError(f"seed {world.seed}: the peers do not converge: {[len(peer.store.ids()) for peer in world.members]} events")


def _lay_out(world: World) -> None:
    """Who can dial whom, and how fast everybody is. All who follow the protocol are connected somehow."""
    chance, good = world.random, [peer for peer in world.peers if peer.is_honest and not peer.is_mute]
    for peer in good:
        peer.is_hidden = chance.random() < 0.25
        world.faults["sites_nobody_can_dial"] += peer.is_hidden
        if chance.random() < 0.2:
            world.faults["slow_links"] += 1
            peer.bytes_per_second, peer.latency_ms = chance.randint(20_000, 100_000), chance.randint(50, 800)
        if chance.random() < 0.2:
            world.faults["slow_disks"] += 1
            peer.commit_ms_max = chance.randint(500, 3_000)
    for index, one in enumerate(world.peers):
        for other in world.peers[:index]:
            if chance.random() < 0.3:
                world.no_way.update(chance.choice([[(one, other)], [(other, one)], [(one, other), (other, one)]]))
    good[0].is_hidden = False
    reached = good[:1]
    for peer in good[1:]:
        if not any(_has_way(world, peer, other) for other in reached):
            other = chance.choice([each for each in reached if not each.is_hidden])
            world.no_way.discard((peer, other))
        reached.append(peer)
    for one, other in ((one, other) for index, one in enumerate(good) for other in good[:index]):
        ways = world.can_dial(one, other) + world.can_dial(other, one)
        world.faults["one_way_pairs" if ways == 1 else "pairs_without_a_way" if not ways else "two_way_pairs"] += 1


def _has_way(world: World, one: Peer, other: Peer) -> bool:
    return world.can_dial(one, other) or world.can_dial(other, one)


def _introduce(world: World) -> None:
    """Each is introduced to one who was there before, along a way that there is, and some to more. Both operators know of it."""
    chance = world.random
    named: dict[Peer, list[Peer]] = {peer: [] for peer in world.peers}
    for index, peer in enumerate(world.peers[1:], start=1):
        before = [other for other in world.peers[:index] if other.is_honest and not other.is_mute and _has_way(world, peer, other)]
        for other in chance.sample(before, min(len(before), 1 + (chance.random() < 0.3))):
            dialler, listener = (peer, other) if world.can_dial(peer, other) else (other, peer)
            named[dialler].append(listener)
            for one, another in ((dialler, listener), (listener, dialler)):
                one.store.named.setdefault(world.group, set()).add(another.key.peer_id)
    for peer in world.peers:
        peer.neighbourhood = Neighbourhood(peer, named[peer], CHOOSE_INTERVAL_MS, gossips=True)


def _plan(world: World) -> None:
    """What happens in the storm."""
    chance = world.random
    writers = [peer for peer in world.peers if not peer.is_mute]
    for _ in range(chance.randint(15, 40)):
        writer = chance.choice(writers)
        world.after(chance.randint(0, STORM_MS), lambda writer=writer: write(world, writer))
    world.after(chance.randint(0, STORM_MS), lambda: write_much(world, world.peers[0]))
    for _ in range(chance.randint(6, 14)):
        fault = chance.choice([cut, silence, crash, crash_in_a_write, part, _freeze, _clock_jump, _clock_jump, _clock_jump])
        world.after(chance.randint(1_000, STORM_MS), lambda fault=fault: fault(world))
    for peer in world.peers:
        for _ in range(20 if isinstance(peer, Byzantine) else 0):
            world.after(chance.randint(3_000, STORM_MS), peer.misbehave)  # type: ignore[attr-defined]


def _freeze(world: World) -> None:
    """A process stands still for a while, and reads all that came meanwhile."""
    peer = world.random.choice(world.peers)
    world.faults["freezes"] += 1
    peer.frozen_until_ms = world.now_ms + world.random.randint(3_000, 50_000)


def _clock_jump(world: World) -> None:
    """Somebody's clock is set, by years, and it writes."""
    peer = world.random.choice([each for each in world.peers if not each.is_mute])
    years = world.random.choice((-30, -5, -1, 1, 3, 40))
    world.faults["clock_jumps_forward" if years > 0 else "clock_jumps_back"] += 1
    peer.clock_skew_ms += years * YEAR_MS
    write(world, peer)


def _calm(world: World) -> None:
    """Nothing new goes wrong. The slow stay slow, the silent silent, and what was said stays said."""
    world.heal()
    for peer in world.peers:
        peer.frozen_until_ms = 0
        restart(world, peer)
        if not peer.is_mute and peer.own_log(world.group, LogKind.DATA) is None:
            write(world, peer)
