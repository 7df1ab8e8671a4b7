"""Whom to ask for bytes: the linked peers of a group, each at the addresses that are known for it."""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import NamedTuple

from peer.core.endpoint import read_endpoint
from peer.core.filling import Place
from peer.core.identity import BlobId, GroupId, KeyPair, PeerId
from peer.core.interfaces import BlobSource
from peer.core.mesh import ABSENT, Mesh
from peer.core.mesh_addresses import Moved
from peer.core.relaying import WantedPart
from peer.core.wishes import PRIORITIES, Why
from peer.errors import MeshError
from peer.sync.limits import BLOB_PART_SIZE_MAX
from peer.transport.bandwidth import Bandwidth, Pacing
from peer.transport.blob_client import BlobClient
from peer.transport.links import PeerLinks

CLIENTS_MAX = 256
"""Those beyond it that were not asked for the longest time are closed: a peer may say that it is somewhere else as often as it likes."""

URGENCY = PRIORITIES[Why.ASKED]
"""Of what is read for somebody who waits for it, here or at another site."""

PARTS_AHEAD = 4
"""Parts that are asked for on a link before the first has come; with four blobs at once half of what the other side allows."""


class LinkBlobSource:
    """A `BlobSource` over the link itself, for peers that cannot be dialled."""

    def __init__(self, links: PeerLinks, peer: PeerId, pacing: Pacing, *, relay: bool) -> None:
        """`relay` lets it ask others for what it does not have."""
        self._pacing = pacing
        self._links = links
        self._peer = peer
        self._relay = relay

    def __eq__(self, other: object) -> bool:
        """Whether the same is asked in the same way."""
        return isinstance(other, LinkBlobSource) and (self._peer, self._relay) == (other._peer, other._relay)

    def __hash__(self) -> int:
        """As `__eq__`."""
        return hash((self._peer, self._relay))

    @property
    def peer_id(self) -> PeerId:
        """Whose bytes these are."""
        return self._peer

    @property
    def asks_others(self) -> bool:
        """As `BlobSource.asks_others`."""
        return self._relay

    def read(self, group: GroupId, blob: BlobId, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Bytes `start` to `stop` of a blob, a few parts ahead. Raises `TransportError` if they do not come."""
        return self._pacing.read(self._peer, start, stop, partial(self._read, group, blob))

    async def _read(self, group: GroupId, blob: BlobId, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        asked: deque[asyncio.Task[bytes]] = deque()
        try:
            while start < stop or asked:
                while start < stop and len(asked) < PARTS_AHEAD:
                    size = min(BLOB_PART_SIZE_MAX, stop - start)
                    part = WantedPart(group, blob, start, size, self._relay)
                    asked.append(asyncio.create_task(self._links.ask_blob(self._peer, part)))
                    start += size
                yield await asked.popleft()
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)


class HttpBlobSource:
    """A `BlobSource` over HTTP."""

    def __init__(self, client: BlobClient, pacing: Pacing, *, relay: bool) -> None:
        """`relay` lets it ask others for what it does not have."""
        self._pacing = pacing
        self._client = client
        self._relay = relay

    def __eq__(self, other: object) -> bool:
        """Whether the same is asked at the same address."""
        return isinstance(other, HttpBlobSource) and (self._client, self._relay) == (other._client, other._relay)

    def __hash__(self) -> int:
        """As `__eq__`."""
        return hash((self._client, self._relay))

    @property
    def peer_id(self) -> PeerId:
        """Whose bytes these are."""
        return self._client.peer_id

    @property
    def asks_others(self) -> bool:
        """As `BlobSource.asks_others`."""
        return self._relay

    def read(self, group: GroupId, blob: BlobId, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """As `BlobClient.read`."""
        return self._pacing.read(self._client.peer_id, start, stop, partial(self._client.read, group, blob, relay=self._relay))

    def read_into(self, group: GroupId, blob: BlobId, place: Place, start: int, stop: int) -> AsyncGenerator[memoryview, None]:
        """As `BlobClient.read_into`."""
        return self._pacing.read(self._client.peer_id, start, stop, partial(self._client.read_into, group, blob, place, relay=self._relay))


class _Ground(NamedTuple):
    """What connections to an address stand on. When that is another, nothing comes over them any more, and nobody says so."""

    own: frozenset[str]
    """The addresses of this machine in the mesh."""
    node_id: str
    """Of the machine there, empty if none of the mesh is."""


class BlobSources:
    """Clients that are kept open between blobs."""

    def __init__(self, key: KeyPair, links: PeerLinks) -> None:
        """`key` is this peer's own."""
        self.bandwidth = Bandwidth()
        """How fast bytes may travel, both ways."""
        self._key = key
        self._links = links
        self._mesh = ABSENT
        """When it ran last."""
        self._moved = Moved()
        self._clients: OrderedDict[tuple[PeerId, str, bool], tuple[BlobClient, _Ground]] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    def of_group(self, group: GroupId, site: PeerId, urgency: int = URGENCY) -> Sequence[BlobSource]:
        """All that can be asked now: who has the bytes itself comes before who might get them from others. `site` made the recording.

        Where speed is limited the more urgent goes first.
        """
        others = [peer for peer in self._links.group_peers(group) if peer != site]
        return [*self.holders(group, site, urgency), *(source for peer in others for source in self._ways(peer, urgency, relay=True))]

    def holders(self, group: GroupId, site: PeerId, urgency: int = URGENCY) -> Sequence[BlobSource]:
        """The same, asked for what they have and no more; `site`, which made the recording, first."""
        peers = sorted(self._links.group_peers(group), key=lambda peer: peer != site)
        return [source for peer in peers for source in self._ways(peer, urgency, relay=False)]

    async def doubt(self, peer: PeerId, group: GroupId, blob: BlobId) -> None:
        """Tell `peer` that what it gave of a blob is wrong, if it can be dialled: then it hashes its own bytes again before it gives more of them."""
        for client in (self._client(peer, endpoint) for endpoint in self._links.endpoints_of(peer)):
            if client is not None:
                with contextlib.suppress(MeshError):
                    await client.doubt(group, blob)
                    return

    async def close(self) -> None:
        """Close all connections."""
        while self._clients:
            await self._clients.popitem()[1][0].close()
        await asyncio.gather(*self._closing)

    def _ways(self, peer: PeerId, urgency: int, *, relay: bool) -> Sequence[BlobSource]:
        pacing = Pacing(self.bandwidth, urgency)
        clients = [self._client(peer, endpoint) for endpoint in self._links.endpoints_of(peer)]
        dialled: list[BlobSource] = [HttpBlobSource(client, pacing, relay=relay) for client in clients if client is not None]
        over_link = LinkBlobSource(self._links, peer, pacing, relay=relay)
        # Who dialled us may be one that nobody can dial, whatever it says of its address.
        return [*dialled, over_link] if self._links.is_dialled(peer) else [over_link, *dialled]

    def _client(self, peer: PeerId, endpoint: str) -> BlobClient | None:
        key, ground = (peer, endpoint, self._links.is_hint(peer, endpoint)), self._ground(endpoint)
        if key in self._clients and self._clients[key][1] != ground:
            self._close(self._clients.pop(key)[0])
        if self._moved.is_left(read_endpoint(endpoint).host):
            return None  # Nobody of the mesh is there any more: who connects waits long.
        if key not in self._clients:
            try:
                self._clients[key] = BlobClient(self._key, peer, endpoint, self._links.channel_rules, is_hint=key[2]), ground
            except MeshError:
                return None  # An address that must not be dialled: the peer said so, not we.
        self._clients.move_to_end(key)
        while len(self._clients) > CLIENTS_MAX:
            self._close(self._clients.popitem(last=False)[1][0])
        return self._clients[key][0]

    def _ground(self, endpoint: str) -> "_Ground":
        state = self._links.channel_rules.mesh()
        if state.mesh is Mesh.RUNNING and state is not self._mesh:
            self._mesh = state
            self._moved.see(state)
        node = self._mesh.node_at(read_endpoint(endpoint).host)
        return _Ground(frozenset(self._mesh.addresses), node.node_id if node is not None else "")

    def _close(self, client: BlobClient) -> None:
        closing = asyncio.create_task(client.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
