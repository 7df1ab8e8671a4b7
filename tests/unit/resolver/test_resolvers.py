"""Sources of addresses, alone and merged."""

from typing import Any

from peer.core.identity import GroupId, PeerId
from resolver.base import KnownPeer
from resolver.composite import CompositePeerResolver, merge
from resolver.manual import ManualPeerResolver
from resolver.static import StaticPeerResolver
from tests.unit.resolver.fixed_source import FixedSource
from tests.unit.resolver.hub_lab import Groups, group_id

ALICE, BOB = PeerId(b"a" * 32), PeerId(b"b" * 32)
RED, BLUE = GroupId(b"r" * 32), GroupId(b"g" * 32)


class MemoryBook:
    """A book that forgets with the process."""

    def __init__(self) -> None:
        self.entries: dict[PeerId, KnownPeer] = {}

    async def save(self, entry: KnownPeer) -> None:
        self.entries[entry.peer] = entry

    async def remove(self, peer: PeerId) -> None:
        self.entries.pop(peer, None)


def entry(peer: PeerId, *endpoints: str, group: GroupId = RED, source: str = "manual") -> KnownPeer:
    return KnownPeer(peer, peer[:1].decode(), endpoints, frozenset({group}), source)


async def test_an_added_peer_is_kept_and_told() -> None:
    book = MemoryBook()
    manual = ManualPeerResolver(book, [])
    told: list[int] = []
    end = manual.subscribe(lambda: told.append(1))

    await manual.add(entry(ALICE, "https://a:1"))
    end()
    await manual.add(entry(BOB, "https://b:1"))

    assert [each.peer for each in manual.peers()] == [ALICE, BOB]
    assert set(book.entries) == {ALICE, BOB}
    assert told == [1]


async def test_a_change_of_address_makes_no_second_peer() -> None:
    manual = ManualPeerResolver(MemoryBook(), [entry(ALICE, "https://a:1")])

    await manual.add(entry(ALICE, "https://a:2", group=BLUE))

    (held,) = manual.peers()
    assert held.endpoints == ("https://a:2", "https://a:1")
    assert held.groups == {RED, BLUE}


async def test_a_removed_peer_is_gone_and_removing_it_again_is_no_error() -> None:
    manual = ManualPeerResolver(MemoryBook(), [entry(ALICE, "https://a:1")])

    await manual.remove(ALICE)
    await manual.remove(ALICE)

    assert list(manual.peers()) == []


async def test_the_source_with_precedence_names_the_peer_and_the_others_add_endpoints() -> None:
    manual = ManualPeerResolver(MemoryBook(), [entry(ALICE, "https://a:1")])
    other = ManualPeerResolver(
        MemoryBook(), [entry(ALICE, "https://a:9", "https://a:1", group=BLUE, source="gossip"), entry(BOB, "https://b:1", source="gossip")]
    )
    merged = CompositePeerResolver([manual, other])

    alice, bob = merged.peers()

    assert (alice.source, alice.endpoints) == ("manual", ("https://a:1", "https://a:9"))
    assert bob.source == "gossip"
    assert [each.peer for each in merged.peers_of(BLUE)] == [ALICE]
    assert [state.source for state in merged.states()] == ["manual", "manual"]


def learned(peer: PeerId, *endpoints: str, **more: Any) -> KnownPeer:
    """As a hub or gossip tells it: all endpoints are hints."""
    return entry(peer, *endpoints, **{"source": "hub", **more})._replace(hints=frozenset(endpoints))


def test_name_and_pause_are_those_of_the_source_with_precedence() -> None:
    manual, gossip = entry(ALICE, "https://a:1"), learned(ALICE, "https://a:2", source="gossip")

    merged = merge([manual._replace(name="alice", paused=True), gossip._replace(name="mallory")])

    assert (merged.name, merged.paused, merged.source) == ("alice", True, "manual")


def test_an_endpoint_is_a_hint_only_while_nobody_else_names_it() -> None:
    manual, hub = entry(ALICE, "https://a:1", "https://a:2"), learned(ALICE, "https://a:2", "https://a:3")

    assert merge([manual, hub]).hints == {"https://a:3"}
    assert merge([hub, learned(ALICE, "https://a:2")]).hints == {"https://a:2", "https://a:3"}
    assert merge([hub, manual]).hints == {"https://a:3"}


def test_whether_somebody_is_online_is_said_by_the_first_source_that_knows() -> None:
    first, second, third = (FixedSource([entry(ALICE)]) for _ in range(3))
    second.online, third.online = False, True

    assert CompositePeerResolver([first, second, third]).is_online(ALICE) is False
    assert CompositePeerResolver([first]).is_online(ALICE) is None
    assert CompositePeerResolver([third]).is_online(BOB) is None


def test_ttl_and_informant_are_of_the_first_that_has_a_ttl() -> None:
    hub, gossip = learned(ALICE, "https://a:1")._replace(ttl=1), learned(ALICE, "https://a:2")._replace(ttl=0, learned_from=BOB)

    assert merge([entry(ALICE), gossip])[-2:] == (BOB, 0)
    assert merge([hub, gossip])[-2:] == (None, 1)


async def test_who_was_only_paused_is_known_by_the_word_of_others() -> None:
    """Pausing somebody whom gossip told of makes no manual peer of it, that others would be told of as such."""
    manual = ManualPeerResolver(MemoryBook(), [], 2)
    gossip = ManualPeerResolver(MemoryBook(), [learned(ALICE, "https://a:1", source="gossip")], 0)
    merged = CompositePeerResolver([manual, gossip])

    await manual.set_paused(ALICE, "alice", paused=True)
    (paused,) = merged.peers()
    await manual.set_paused(ALICE, "alice", paused=False)
    (resumed,) = merged.peers()

    assert (paused.paused, paused.source, paused.ttl) == (True, "gossip", 0)
    assert (resumed.paused, resumed.source) == (False, "gossip")
    assert list(manual.peers()) == []


async def test_a_pause_stays_when_a_resumed_entry_says_more() -> None:
    manual = ManualPeerResolver(MemoryBook(), [entry(ALICE, "https://a:1")], 2)

    await manual.set_paused(ALICE, "alice", paused=True)
    await manual.set_paused(ALICE, "alice", paused=False)

    assert [(each.endpoints, each.paused, each.ttl) for each in manual.peers()] == [(("https://a:1",), False, 2)]


def test_a_peer_of_the_file_shares_only_a_group_that_it_is_in() -> None:
    """Another group of the same name is none that it was named for, until it brings it."""
    groups = Groups(lab=[BOB], other=[ALICE])
    said = KnownPeer(ALICE, "alice", ("https://a:1",), frozenset(), "manual", expects=frozenset({"LAB"}))
    static = StaticPeerResolver([said], groups)  # type: ignore[arg-type]

    assert [(each.groups, each.expects) for each in static.peers()] == [(frozenset(), {"LAB"})]

    static.fulfil(ALICE, group_id("lab"))
    assert [(each.groups, each.expects) for each in static.peers()] == [({group_id("lab")}, frozenset())]


async def test_a_change_of_any_source_is_told_until_one_unsubscribes() -> None:
    manual = ManualPeerResolver(MemoryBook(), [])
    merged = CompositePeerResolver([manual])
    told: list[int] = []
    end = merged.subscribe(lambda: told.append(1))

    await manual.add(entry(ALICE))
    end()
    await manual.remove(ALICE)

    assert told == [1]
