"""The hub of this peer over HTTP, for its operator. What other peers ask of the hub is not here: see `peer/hub/routes.py`."""

from collections.abc import Sequence

from aiohttp import web

from peer.api.hub_models import HubKey, HubKeyCreate, HubKeyMade, HubPeer
from peer.api.routes import Route, read_body
from peer.api.services import Services
from peer.core.access import Tier

HUB = "/api/v1/hub"


class HubAdminRoutes:
    """Handlers, for these services."""

    def __init__(self, services: Services) -> None:
        """Does nothing yet."""
        self._hub = services.hub

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        keys, peers, made = f"{HUB}/keys", f"{HUB}/peers", "Make a pre-auth key; its secret is told this once"
        return (
            Route("GET", keys, self.list_keys, "The pre-auth keys of this hub, without their secrets", (HubKey,), tier=Tier.VIEWER),
            Route("POST", keys, self.create_key, made, HubKeyMade, HubKeyCreate, status=201, tier=Tier.ADMIN),
            Route("DELETE", f"{keys}/{{id}}", self.revoke_key, "Let nobody in with a pre-auth key any more", HubKey, tier=Tier.ADMIN),
            Route("GET", peers, self.list_peers, "Who registered at this hub, and who of them is there", (HubPeer,), tier=Tier.VIEWER),
            Route("DELETE", f"{peers}/{{id}}", self.forget, "Take away the credential of a peer, and what it registered", HubPeer, tier=Tier.ADMIN),
        )

    async def list_keys(self, _: web.Request) -> object:
        """All of them."""
        return self._hub.keys()

    async def create_key(self, request: web.Request) -> object:
        """A new one."""
        body = await read_body(request, HubKeyCreate)
        return await self._hub.create_key(body.hive, body.uses, body.expires_in_ms)

    async def revoke_key(self, request: web.Request) -> object:
        """One less."""
        return await self._hub.revoke_key(request.match_info["id"])

    async def list_peers(self, _: web.Request) -> object:
        """All of them."""
        return self._hub.peers()

    async def forget(self, request: web.Request) -> object:
        """One less."""
        return await self._hub.forget(request.match_info["id"])
