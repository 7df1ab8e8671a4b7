"""Gossip, whatever comes in whatever order: how far an address goes, what wins, and that nothing grows."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.failed import FAILED_MAX
from gossip.rules import GossipRules
from gossip.table import GossipTable
from peer.core.identity import PeerId
from tests.gossip_samples import BLUE, RED, View, forged, peer_id, record

NAMES = [f"p{number}" for number in range(7)]
RECORDS = {(name, seq): record(name, seq) for name in NAMES for seq in (1, 2, 3)}
FORGED = {name: forged(name) for name in NAMES}
LINKS = st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(lambda pair: pair[0] < pair[1]), max_size=9)
ROUNDS = 6


class Mesh:
    """Peers that are introduced by hand along some edges, and link with everybody of whom they hear."""

    def __init__(self, edges: set[tuple[int, int]], ttl: int) -> None:
        self.edges, self.ttl = edges, ttl
        self.views = {name: View(name, red=" ".join(NAMES), rules=GossipRules(default_ttl=ttl)) for name in NAMES}
        for name, view in self.views.items():
            view.name(**dict.fromkeys(self.introduced(name), ttl))

    def introduced(self, name: str) -> set[str]:
        """To whom this one was, by hand."""
        number = NAMES.index(name)
        return {NAMES[b if a == number else a] for a, b in self.edges if number in (a, b)}

    def linked(self, name: str) -> set[str]:
        """To whom it has a link now, whoever dialled."""
        wanted = {other: self.introduced(other) | self.views[other].dialled() for other in NAMES}
        return {other for other in NAMES if other in wanted[name] or name in wanted[other]} - {name}

    def exchange(self) -> None:
        """One round: everybody tells everybody to whom it is linked, in an order that does not matter in the end."""
        linked = {name: self.linked(name) for name in NAMES}
        for name in NAMES:
            self.views[name].link(*linked[name])
        for name in NAMES:
            for other in sorted(linked[name]):
                told = self.views[name].tells(other, own=RECORDS[name, 1])
                self.views[other].hear(name, *told)

    def distance(self, name: str) -> dict[str, int]:
        """Introductions between this one and each that can be reached over them."""
        found, frontier, steps = {name: 0}, {name}, 0
        while frontier:
            steps += 1
            frontier = {other for each in frontier for other in self.introduced(each)} - found.keys()
            found.update(dict.fromkeys(frontier, steps))
        return found


@settings(max_examples=30, deadline=None)
@given(LINKS, st.integers(0, 3))
def test_an_address_goes_as_far_as_its_ttl_says_and_no_further(edges: set[tuple[int, int]], ttl: int) -> None:
    check_reach(edges, ttl)


def check_reach(edges: set[tuple[int, int]], ttl: int) -> None:
    """Whatever the mesh looks like: each knows in the end exactly those who are up to one introduction more than the TTL away."""
    mesh = Mesh(edges, ttl)
    for _ in range(ROUNDS):
        mesh.exchange()

    for name, view in mesh.views.items():
        distance = mesh.distance(name)
        heard = {other: ttl for other, (_, ttl, _) in view.known().items() if other not in mesh.introduced(name)}
        assert heard == {other: ttl - steps + 1 for other, steps in distance.items() if 1 < steps <= ttl + 1}


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(NAMES[:3]), st.sampled_from(NAMES[3:]), st.integers(1, 3), st.integers(0, 2**62)), max_size=30), st.randoms()
)
def test_who_wins_does_not_depend_on_the_order(told: list[tuple[str, str, int, int]], chance: Random) -> None:
    again = list(told)
    chance.shuffle(again)
    check_order(told, again)


def check_order(told: list[tuple[str, str, int, int]], again: list[tuple[str, str, int, int]]) -> None:
    """The newest record of each, and no TTL beyond what one of those who told it allows."""
    first, second = (View(red=" ".join(NAMES)) for _ in range(2))
    for view, entries in ((first, told), (second, again)):
        for informant, name, seq, ttl in entries:
            view.hear(informant, (RECORDS[name, seq], ttl))

    taken = [(name, seq, min(ttl, 2) - 1) for _, name, seq, ttl in told if ttl > 0]
    newest = {name: max(seq for other, seq, _ in taken if other == name) for name, _, _ in taken}
    furthest = {name: max(ttl for other, seq, ttl in taken if (other, seq) == (name, newest[name])) for name in newest}
    for view in (first, second):
        assert {name: (seq, ttl) for name, (seq, ttl, _) in view.known().items()} == {name: (newest[name], furthest[name]) for name in newest}


STEPS = st.one_of(
    st.tuples(st.just("hear"), st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(0, 4), st.integers(0, 2**63), st.booleans()),
    st.tuples(st.just("fail"), st.sampled_from(NAMES), st.sampled_from(["unreachable", "channel_key_mismatch"])),
    st.tuples(st.just("link"), st.sets(st.sampled_from(NAMES))),
    st.tuples(st.just("named"), st.sets(st.sampled_from(NAMES))),
    st.tuples(st.just("leave"), st.sampled_from(NAMES)),
    st.tuples(st.just("time"), st.integers(0, 10**8)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=60), st.integers(0, 3))
def test_whatever_comes_the_table_stays_small_and_true(steps: list[tuple[object, ...]], room: int) -> None:
    """Never more than there is room for, nobody but members, nothing told with more than the own TTL, nothing told of who was not reached."""
    view = View(red=" ".join(NAMES), blue=" ".join(NAMES[:3]), rules=GossipRules(max_gossip_peers=room))
    for step in steps:
        take(view, step)
        view.table.tick(view.now_ms)
        for group in (RED, BLUE):
            known = view.known(group)
            assert len([name for name in known if peer_id(name) not in view.table.named]) <= room
            assert known.keys() <= view.members[group]
            for hearer in NAMES:
                for data, ttl in view.tells(hearer, group):
                    assert 0 < ttl <= 2
                    assert data in RECORDS.values()
        check_bounds(view.table)


def take(view: View, step: tuple[object, ...]) -> None:
    """Let it happen."""
    match step:
        case ("hear", str(informant), str(name), int(seq), int(ttl), bool(in_red)):
            data = RECORDS.get((name, seq), FORGED[name])
            view.hear(informant, (data, ttl), group=RED if in_red else BLUE)
        case ("fail", str(name), str(code)):
            view.fails(name, code=code)
        case ("link", set(names)):
            view.link(*names)
        case ("named", set(names)):
            view.name(**dict.fromkeys(names, 2))
        case ("leave", str(name)):
            view.members[RED].discard(name)
        case ("time", int(ms)):
            view.pass_time(ms)


def check_bounds(table: GossipTable) -> None:
    """What is remembered beside it stays small, too."""
    known = {peer for _, peer in table._told}
    linked = {peer for peer, contact in table._contacts.items() if contact.is_linked}
    assert table._contacts.keys() == known | linked
    assert len(table._failed._failed) <= FAILED_MAX
    assert all(isinstance(peer, bytes) for peer in table.credit._accounts)
    assert table.credit._accounts.keys() <= {PeerId(peer_id(name)) for name in NAMES}
