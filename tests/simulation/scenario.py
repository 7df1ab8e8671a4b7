"""One seed, one history: peers write, links are cut, peers crash, the mesh falls apart and heals.

`python -m tests.simulation history SEED` replays it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from peer.core.certificate import LogKind
from peer.core.control import Role, member_set
from peer.sync import limits
from tests.simulation.checks import BrokenPromiseError
from tests.simulation.faults import crash, crash_in_a_write, cut, part, restart, silence, write, write_much
from tests.simulation.shell import Peer
from tests.simulation.trust import TRUST_KINDS, plan_trust
from tests.simulation.world import World

STORM_MS = 60_000
CALM_MS = 240_000
FAULT_KINDS = (
    *("cuts", "silent_cuts", "crashes", "lost_writes", "partitions", "double_links", "forged_runs", "forks"),
    *("removals", "unknown_diallers", "guests", "guests_shown_in", "told_no_member"),
    *TRUST_KINDS,
)


@contextmanager
def small_limits() -> Iterator[None]:
    """Make pages and credit small, so that a short history fills them."""
    before = (limits.CREDIT_INITIAL, limits.CREDIT_GRANT_MIN)
    limits.CREDIT_INITIAL, limits.CREDIT_GRANT_MIN = 96 * 1024, 8 * 1024
    try:
        yield
    finally:
        limits.CREDIT_INITIAL, limits.CREDIT_GRANT_MIN = before


def run_seed(seed: int, prepare: Callable[[World], None] = lambda _world: None) -> World:
    """The world of `seed`, after storm and calm. Raises `BrokenPromiseError` if a check fails or it does not converge.

    `prepare` may add to it what is not there otherwise.
    """
    with small_limits():
        return _run(seed, prepare)


def _run(seed: int, prepare: Callable[[World], None]) -> World:
    late = ("z",) if seed % 7 in {3, 5} else ()
    world = World(seed, names=(*("a", "b", "c", "d", "e")[: 3 + seed % 3], *late), late=late, delay_ms_max=(5, 40, 400)[seed % 3])
    chance = world.random
    world.tamper_chance = 0.02 if seed % 4 == 1 else 0.0
    with_forks = seed % 5 == 2
    with_decisions = seed % 7 in {0, 2, 4}
    _connect(world, chance_of_more=1 if with_decisions else 0.35)  # Who is removed connects nobody any more.
    prepare(world)
    world.start()
    for _ in range(chance.randint(20, 60)):
        writer = chance.choice(world.peers)
        world.after(chance.randint(0, STORM_MS), lambda writer=writer: write(world, writer))
    world.after(chance.randint(0, STORM_MS), lambda: write_much(world, chance.choice(world.peers)))
    for _ in range(chance.randint(6, 16)):
        fault = chance.choice([cut, cut, silence, crash, crash_in_a_write, part])
        world.after(chance.randint(1_000, STORM_MS), lambda fault=fault: fault(world))
    if with_forks:
        _plan_fork(world)
    if late:
        plan_newcomer(world)
    if seed % 7 in {1, 5}:
        plan_removal(world)
    if with_decisions:
        plan_trust(world, STORM_MS)
    world.run(STORM_MS)
    _calm(world)
    if not world.run(CALM_MS, until=world.converged):
        raise BrokenPromiseError(f"seed {seed}: the peers do not converge: {[len(peer.store.ids()) for peer in world.peers]} events")
    world.run(5_000)
    world.checks.acknowledged_everywhere()
    world.checks.judged_the_same()
    if not world.converged():
        raise BrokenPromiseError(f"seed {seed}: converged peers drift apart")
    return world


def _connect(world: World, chance_of_more: float) -> None:
    """A random connected graph; some edges are dialled from both sides. Late peers dial everybody."""
    chance = world.random
    settled = [peer for peer in world.peers if peer.name not in world.late]
    for index, peer in enumerate(settled[1:], start=1):
        other = settled[chance.randrange(index)]
        world.connect(*((peer, other) if chance.random() < 0.5 else (other, peer)))
    for one in settled:
        for other in settled:
            if one is not other and other not in one.targets and chance.random() < chance_of_more:
                world.connect(one, other)
    for late in world.peers[len(settled) :]:
        for other in settled:
            world.connect(late, other)


def _plan_fork(world: World) -> None:
    """Somebody puts an old disk back, past every fence, and goes on writing under the same key."""
    peer = world.random.choice(world.peers)
    saved: list[object] = []
    start = world.random.randint(5_000, 20_000)

    def save() -> None:
        write(world, peer)
        saved.append(peer.store.copy())

    def put_back() -> None:
        store = saved[0]
        if peer.up:
            peer.crash()
        peer.store = store  # type: ignore[assignment]
        world.checks.acknowledged_events[peer] &= peer.store.ids()
        peer.restart()
        write(world, peer)
        world.faults["forks"] += 1

    world.after(start, save)
    world.after(start + 2_000, lambda: write(world, peer, 5))
    world.after(start + 15_000, put_back)


def plan_newcomer(world: World) -> None:
    """The owner admits somebody while only the two of them are connected, then goes down: the newcomer shows the others that it is in."""
    owner, newcomer = world.peers[0], world.peers[-1]
    start = world.random.randint(3_000, 12_000)

    def admit() -> None:
        world.faults["partitions"] += 1
        world.part({owner, newcomer})
        set_role(world, newcomer, Role.WRITER)

    def leave() -> None:
        if owner.up:
            owner.crash()
            world.after(world.random.randint(10_000, 20_000), lambda: restart(world, owner))
        world.heal()

    world.after(start, admit)
    world.after(start + 25_000, leave)


def plan_removal(world: World) -> None:
    """The owner removes a member, in whatever else goes on, and takes it back some time later."""
    removed = world.peers[1]
    start = world.random.randint(3_000, 20_000)
    world.after(start, lambda: set_role(world, removed, Role.NONE))
    world.after(start + world.random.randint(12_000, 35_000), lambda: set_role(world, removed, Role.WRITER))


def set_role(world: World, peer: Peer, role: Role) -> None:
    """The owner decides, as soon as it is up, and again until that is durable."""
    owner = world.peers[0]
    roster = owner.store.groups[world.group].roster
    if roster.role(peer.key.peer_id) is role:
        return
    if owner.up and not owner.pending:
        world.faults["removals"] += role is Role.NONE
        decided = roster.standing(peer.key.peer_id).now.live
        owner.write(world.group, LogKind.CONTROL, [member_set(peer.key.peer_id, peer.name, role, replaces=decided)])
    world.after(500, lambda: set_role(world, peer, role))


def _calm(world: World) -> None:
    """No more faults; who is down comes back, and links that forged runs went over start anew. Silent ones have to be noticed."""
    world.heal()
    if world.tamper_chance:
        world.tamper_chance = 0.0
        for connection in world.live_connections():
            connection.cut()
    for peer in world.peers:
        if not peer.up:
            restart(world, peer)


def several_decisions(world: World) -> None:
    """The owner makes every peer an admin, one event each: control logs that grow while data flows."""
    owner = world.peers[0]
    for peer in world.peers[1:]:
        owner.write(world.group, LogKind.CONTROL, [member_set(peer.key.peer_id, peer.name, Role.ADMIN)])
