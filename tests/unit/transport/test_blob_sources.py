"""Whom to ask for bytes, and where: what is kept of addresses that peers say."""

import asyncio

import pytest

from peer.core.identity import BlobId, GroupId, PeerId
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
