"""A mesh of any size in its steady state: what each event costs, how long it takes, how many links there are.

Everybody has the roster from the start, knows so many others as a gossip table holds, and finds its links by the real overlay. One site of ten cannot
be dialled by anybody, one of twenty that somebody knows not from there. Frames take up to 80 ms.
"""

import time
from collections import Counter
from typing import NamedTuple

from gossip.rules import GossipRules
from peer.core.certificate import LogKind
from peer.core.run import Draft
from peer.sync.overlay import LINKS_MAX, SMALL_GROUP_MAX
from tests.simulation.checks import BrokenPromiseError
from tests.simulation.neighbourhood import Neighbourhood
from tests.simulation.shared import shared_work
from tests.simulation.shell import Peer
from tests.simulation.world import World

SIZES = (10, 100, 1000)
WRITERS_MAX = 20
EVENTS = 40
DELAY_MS_MAX = 80
KNOWN_MAX = GossipRules().max_gossip_peers
CHOOSE_INTERVAL_MS = 5_000
SETTLE_MS_MAX = 30 * 60_000
QUIET_MS = 30_000
CROWDED_SHARE = 150
"""Of so many peers one may have a link too many."""

CHANGING_SHARE = 100
"""Of so many links one may come and go."""

FRONTIERS = 5
"""Links that are made anew at the end, to see what is said first on them."""


class Row(NamedTuple):
    """One line of the table."""

    peers: int
    events: int
    copies: Counter[int]
    """How many events crossed links so often."""
    slowest_ms: int
    """From the write until the last peer had it."""
    frontier_bytes: int
    """All that both ends of a new link say of what they hold, on average."""
    links_min: int
    """With peers that somebody can dial."""
    links_mean: float
    links_max: int
    links_most: int
    """With those, too, that nobody can dial."""
    real_s: float

    @property
    def is_least(self) -> bool:
        """True if each event crossed N - 1 links."""
        return set(self.copies) == {self.peers - 1} and sum(self.copies.values()) == self.events


def measure(count: int, seed: int = 1, events: int = EVENTS) -> Row:
    """The steady state of a mesh of `count` peers. Raises `BrokenPromiseError` if it does not come about, or a promise is broken in it."""
    began = time.monotonic()
    with shared_work():
        world = mesh(count, seed)
        _settle(world)
        writers = world.random.sample(world.peers, min(count, WRITERS_MAX))
        for writer in writers:
            write(world, writer)
        _converge(world)
        world.run(10_000)  # Whoever has a link to an author takes its log from there.
        world.checks.copies.clear()
        world.checks.slowest_ms = 0
        for number in range(events):
            write(world, writers[number % len(writers)])
            world.run(world.random.randint(0, 400))
        _converge(world)
        world.run(10_000)
        checks = world.checks
        copies, slowest_ms = Counter(checks.copies.values()), checks.slowest_ms
        spread, everything = _degrees(world, hidden=False), _degrees(world, hidden=True)
        checks.frontier_bytes.clear()
        for connection in world.random.sample(world.live_connections(), FRONTIERS):
            connection.cut()
        world.run(20_000)
    return Row(
        count,
        events,
        copies,
        slowest_ms,
        sum(checks.frontier_bytes.values()) // max(1, len(checks.frontier_bytes)),
        min(spread.values()),
        sum(spread.values()) / len(spread),
        max(spread.values()),
        max(everything.values()),
        time.monotonic() - began,
    )


def mesh(count: int, seed: int) -> World:
    """Peers that know a few others each."""
    world = World(seed, names=tuple(f"p{number}" for number in range(count)), delay_ms_max=DELAY_MS_MAX, installed=True)
    chance = world.random
    for peer in world.peers:
        peer.is_hidden = chance.random() < 0.1
    for one in world.peers:
        others = chance.sample([each for each in world.peers if each is not one], min(KNOWN_MAX, count - 1))
        for other in others:
            if chance.random() < 0.05 and (other, one) not in world.no_way:
                world.no_way.add((one, other))
        one.neighbourhood = Neighbourhood(one, others, CHOOSE_INTERVAL_MS, gossips=False)
    world.start()
    return world


def write(world: World, peer: Peer) -> None:
    """One event."""
    peer.write(world.group, LogKind.DATA, [Draft("test.note", b"\xa0")])


def _settle(world: World) -> None:
    """Until no link has come or gone for a while, but for those that are tried again and let go again, and hardly anybody has too many.

    One more than that has who is the only one that somebody else can reach.
    """
    end_ms = world.now_ms + SETTLE_MS_MAX
    before: set[int] = set()
    while world.now_ms < end_ms:
        world.run(QUIET_MS)
        links = {link.number for peer in world.peers for link in peer.links.values() if link.facts is not None}
        crowded = sum(degree > LINKS_MAX for degree in _degrees(world, hidden=False).values()) if len(world.peers) > SMALL_GROUP_MAX else 0
        if len(links ^ before) <= len(links) // CHANGING_SHARE and crowded <= len(world.peers) // CROWDED_SHARE:
            return
        before = links
    raise BrokenPromiseError("the links do not come to rest")


def _converge(world: World) -> None:
    if not world.run(120_000, until=_Converged(world)):
        raise BrokenPromiseError(f"a mesh of {len(world.peers)} does not converge")


class _Converged:
    """`World.converged`, asked once a second of its time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._next_ms = 0

    def __call__(self) -> bool:
        if self._world.now_ms < self._next_ms:
            return False
        self._next_ms = self._world.now_ms + 1_000
        return self._world.converged()


def _degrees(world: World, *, hidden: bool) -> Counter[str]:
    found = Counter({peer.name: 0 for peer in world.peers})
    for peer in world.peers:
        others = {link.connection.other(peer) for link in peer.links.values() if link.facts is not None}
        found[peer.name] = sum(hidden or not other.is_hidden for other in others)
    return found
