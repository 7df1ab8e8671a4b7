"""The network under the mesh over HTTP."""

from collections.abc import Sequence

from aiohttp import web

from peer.api.network_models import NetworkPlan, NetworkStatus, SiteKeyMade, SiteKeyOrder
from peer.api.routes import Route, read_body
from peer.api.services import Services
from peer.core.access import Tier

NETWORK = "/api/v1/network"
MS_PER_S = 1000


class NetworkRoutes:
    """Handlers, for these services."""

    def __init__(self, services: Services) -> None:
        """Does nothing yet."""
        self._network = services.network
        self._policy = services.network_policy

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        made = "Make a key that lets one new machine into the mesh; it is told this once"
        return (
            Route("GET", NETWORK, self.status, "This machine in its WireGuard mesh, and the others there", NetworkStatus, tier=Tier.VIEWER),
            Route("GET", f"{NETWORK}/plan", self.plan, "What the mesh should let through for the groups", NetworkPlan, tier=Tier.OPERATOR),
            Route("POST", f"{NETWORK}/apply", self.apply, "Have the mesh let that through", NetworkPlan, tier=Tier.ADMIN),
            Route("POST", f"{NETWORK}/keys", self.make_key, made, SiteKeyMade, SiteKeyOrder, status=201, tier=Tier.ADMIN),
        )

    async def status(self, _: web.Request) -> object:
        """How it is."""
        return await self._network.status()

    async def plan(self, _: web.Request) -> object:
        """What would be written."""
        return await self._policy.plan()

    async def apply(self, _: web.Request) -> object:
        """Write it."""
        return await self._policy.apply()

    async def make_key(self, request: web.Request) -> object:
        """One for a new site."""
        body = await read_body(request, SiteKeyOrder)
        return await self._policy.site_key(body.tags, body.expires_in_ms // MS_PER_S)
