"""Whom to ask for bytes, and where: what is kept of addresses that peers say."""

import asyncio

import pytest

from peer.core.identity import BlobId, GroupId, PeerId
from peer.core.mesh import ABSENT, Mesh, MeshNode, MeshState
from peer.errors import TransportError
from peer.transport import blob_sources
from peer.transport.blob_sources import BlobSources, HttpBlobSource
from peer.transport.channel import NO_RULES
from tests.samples import key_pair

GROUP = GroupId(bytes(32))
PEER = key_pair("somebody").peer_id


class MovingPeer:
    """Links to one peer, which is somewhere else each time."""

    channel_rules = NO_RULES

    def __init__(self) -> None:
        self.moves = 0

    def group_peers(self, _group: GroupId) -> list[PeerId]:
        return [PEER]

    def endpoints_of(self, _peer: PeerId) -> list[str]:
        return [f"https://site-{self.moves}.example:1"]

    def is_hint(self, _peer: PeerId, _endpoint: str) -> bool:
        return True

    def is_dialled(self, _peer: PeerId) -> bool:
        return True


async def test_a_peer_that_moves_on_and_on_is_asked_where_it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made for where it was before makes room."""
    monkeypatch.setattr(blob_sources, "CLIENTS_MAX", 2)
    links = MovingPeer()
    sources = BlobSources(key_pair("a"), links)  # type: ignore[arg-type]
    clients = []
    for links.moves in range(5):
        (dialled, _) = sources.holders(GROUP, PEER)
        assert isinstance(dialled, HttpBlobSource)
        clients.append(dialled._client)
        await asyncio.sleep(0)
    with pytest.raises(TransportError):  # Whoever still has it asks somebody else.
        await anext(clients[0].read(GROUP, BlobId(bytes(32)), 0, 1))
    await sources.close()

    assert len({id(each) for each in clients}) == 5
    assert all(each._session.closed for each in clients)


async def test_an_address_that_is_asked_again_is_asked_over_the_same_connections() -> None:
    links = MovingPeer()
    sources = BlobSources(key_pair("a"), links)  # type: ignore[arg-type]
    found = [sources.holders(GROUP, PEER)[0] for _ in range(2)]
    await sources.close()

    assert isinstance(found[0], HttpBlobSource)
    assert isinstance(found[1], HttpBlobSource)
    assert found[0]._client is found[1]._client


async def test_ways_to_ask_are_the_same_until_the_peer_is_somewhere_else() -> None:
    links = MovingPeer()
    sources = BlobSources(key_pair("a"), links)  # type: ignore[arg-type]
    before = sources.of_group(GROUP, PEER)

    assert sources.of_group(GROUP, PEER, 7) == before
    assert len({*before, *sources.of_group(GROUP, PEER)}) == len(before)
    links.moves += 1
    (dialled, over_link) = sources.holders(GROUP, PEER)
    assert dialled not in before
    assert over_link in before
    await sources.close()


def machine(node_id: str, address: str) -> MeshNode:
    return MeshNode(node_id, f"{node_id}.mesh.example", node_id, "linux", "", (address,), (), True, True, "", "", False, "")  # noqa: FBT003


def running(own: str, **others: str) -> MeshState:
    nodes = {address: machine(node_id, address) for node_id, address in others.items()}
    return MeshState(Mesh.RUNNING, machine("me", own), nodes)


class StayingPeer(MovingPeer):
    """Links to one peer that says that it is at one address of the mesh, for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.state = running("100.64.0.1", n2="100.64.0.2", n3="100.64.0.3")
        self.channel_rules = NO_RULES._replace(mesh=lambda: self.state)

    def endpoints_of(self, _peer: PeerId) -> list[str]:
        return ["https://100.64.0.2:7850"]


@pytest.mark.parametrize(
    ("state", "becomes"),
    [
        (running("100.64.0.77", n2="100.64.0.2"), "another"),
        (running("100.64.0.1", n3="100.64.0.2"), "another"),
        (running("100.64.0.1", n2="100.64.0.77"), "none"),
        (running("100.64.0.1", n2="100.64.0.2", n4="100.64.0.4"), "the same"),
        (MeshState(Mesh.STOPPED), "the same"),
        (ABSENT, "the same"),
    ],
)
async def test_connections_are_made_anew_once_the_mesh_has_moved_one_of_their_ends(state: MeshState, becomes: str) -> None:
    """Nothing would come over the old ones, and nobody would say so for as long as a read may take. A mesh that stops may come back as it was."""
    links = StayingPeer()
    sources = BlobSources(key_pair("a"), links)  # type: ignore[arg-type]
    (before, _) = sources.holders(GROUP, PEER)
    assert isinstance(before, HttpBlobSource)

    links.state, first = state, links.state
    for _ in range(2):
        (*now, over_link) = sources.holders(GROUP, PEER)
        assert not isinstance(over_link, HttpBlobSource)
        assert [each == before for each in now] == {"the same": [True], "another": [False], "none": []}[becomes]
    await asyncio.sleep(0)
    assert before._client._session.closed == (becomes != "the same")

    links.state = first
    assert len(sources.holders(GROUP, PEER)) == 2
    await sources.close()
