"""Whom to ask for bytes: the linked peers of a group, each at the addresses that are known for it."""

from collections.abc import Sequence

from peer.core.identity import GroupId, KeyPair, PeerId
from peer.core.interfaces import BlobSource
from peer.errors import TransportError
from peer.transport.blob_client import BlobClient
from peer.transport.links import PeerLinks

CLIENTS_MAX = 256


class BlobSources:
    """Clients that are kept open between blobs."""

    def __init__(self, key: KeyPair, links: PeerLinks) -> None:
        """`key` is this peer's own."""
        self._key = key
        self._links = links
        self._clients: dict[tuple[PeerId, str], BlobClient] = {}

    def of_group(self, group: GroupId) -> Sequence[BlobSource]:
        """Those that can be asked now."""
        found = []
        for peer in self._links.group_peers(group):
            for endpoint in self._links.endpoints_of(peer):
                client = self._client(peer, endpoint)
                if client is not None:
                    found.append(client)
        return found

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.close()
        self._clients.clear()

    def _client(self, peer: PeerId, endpoint: str) -> BlobClient | None:
        known = self._clients.get((peer, endpoint))
        if known is None and len(self._clients) < CLIENTS_MAX:
            try:
                known = self._clients[peer, endpoint] = BlobClient(self._key, peer, endpoint)
            except TransportError:
                return None  # An address that must not be dialled: the peer said so, not we.
        return known
