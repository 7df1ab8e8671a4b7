"""The network under the mesh over HTTP."""

from collections.abc import Sequence

from aiohttp import web

from peer.api.network_models import NetworkStatus
from peer.api.routes import Route
from peer.api.services import Services
from peer.core.access import Tier

NETWORK = "/api/v1/network"


class NetworkRoutes:
    """Handlers, for these services."""

    def __init__(self, services: Services) -> None:
        """Does nothing yet."""
        self._network = services.network

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        return (Route("GET", NETWORK, self.status, "This machine in its WireGuard mesh, and the others there", NetworkStatus, tier=Tier.VIEWER),)

    async def status(self, _: web.Request) -> object:
        """How it is."""
        return await self._network.status()
