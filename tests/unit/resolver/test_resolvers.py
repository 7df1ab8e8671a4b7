"""Sources of addresses, alone and merged."""

from peer.core.identity import GroupId, PeerId
from resolver.base import KnownPeer
from resolver.composite import CompositePeerResolver
from resolver.manual import ManualPeerResolver

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


async def test_a_change_of_any_source_is_told_until_one_unsubscribes() -> None:
    manual = ManualPeerResolver(MemoryBook(), [])
    merged = CompositePeerResolver([manual])
    told: list[int] = []
    end = merged.subscribe(lambda: told.append(1))

    await manual.add(entry(ALICE))
    end()
    await manual.remove(ALICE)

    assert told == [1]
