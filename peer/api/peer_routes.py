"""Other peers over HTTP: adding and forgetting them, who knocked, how far they can be reached."""

from collections.abc import Sequence

from aiohttp import web

from peer.api.models import Peer
from peer.api.peer_models import PeerChange, PeerCreate, PeerRemoved, PeerTested, PendingDecided, PendingDecision, PendingPeer
from peer.api.routes import Route, read_body
from peer.api.services import Services
from peer.core.access import Tier

PEERS = "/api/v1/sync/peers"


class PeerRoutes:
    """Handlers, for these services."""

    def __init__(self, services: Services) -> None:
        """Does nothing yet."""
        self._peers = services.peers

    def routes(self) -> Sequence[Route]:
        """All routes of this file. What knocked comes before what has an id."""
        pending, one = f"{PEERS}/pending", f"{PEERS}/{{id}}"
        return (
            Route("GET", PEERS, self.list_peers, "All known peers", (Peer,), tier=Tier.VIEWER),
            Route("POST", PEERS, self.create, "Share groups with a peer", Peer, PeerCreate, status=201, tier=Tier.ADMIN),
            Route("GET", pending, self.pending, "Who knocked with a key that is a member of nothing here", (PendingPeer,), tier=Tier.VIEWER),
            Route("POST", pending, self.decide, "Accept or ignore somebody who knocked", PendingDecided, PendingDecision, tier=Tier.ADMIN),
            Route("GET", one, self.show, "One peer", Peer, tier=Tier.VIEWER),
            Route("PATCH", one, self.change, "Pause or resume the link to a peer", Peer, PeerChange, tier=Tier.OPERATOR),
            Route("DELETE", one, self.remove, "Forget the address of a peer; it stays a member", PeerRemoved, tier=Tier.ADMIN),
            Route("POST", f"{one}/test", self.test, "Say how far a peer can be reached", PeerTested, tier=Tier.OPERATOR),
        )

    async def list_peers(self, _: web.Request) -> object:
        """All of them."""
        return self._peers.all()

    async def show(self, request: web.Request) -> object:
        """One of them."""
        return self._peers.show(request.match_info["id"])

    async def create(self, request: web.Request) -> object:
        """One more."""
        body = await read_body(request, PeerCreate)
        return await self._peers.add(body.peer_id, body.name, body.sync_endpoint, body.shared_groups, body.role)

    async def change(self, request: web.Request) -> object:
        """Paused or not."""
        body = await read_body(request, PeerChange)
        return await self._peers.set_paused(request.match_info["id"], paused=body.paused)

    async def remove(self, request: web.Request) -> object:
        """One less."""
        return await self._peers.remove(request.match_info["id"])

    async def test(self, request: web.Request) -> object:
        """How far it can be reached."""
        return await self._peers.test(request.match_info["id"])

    async def pending(self, _: web.Request) -> object:
        """Who knocked."""
        return await self._peers.pending()

    async def decide(self, request: web.Request) -> object:
        """What becomes of somebody who knocked."""
        body = await read_body(request, PendingDecision)
        return await self._peers.decide(body.peer_id, body.action, body.group, body.role)
