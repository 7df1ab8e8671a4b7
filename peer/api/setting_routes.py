"""Settings of a group over HTTP."""

from collections.abc import Sequence

from aiohttp import web

from peer.api.member_models import Setting, SettingChange
from peer.api.routes import Route, read_body
from peer.api.services import Services
from peer.core.access import Tier

SETTINGS = "/api/v1/sync/groups/{id}/settings"


class SettingRoutes:
    """Handlers, for these services."""

    def __init__(self, services: Services) -> None:
        """Does nothing yet."""
        self._settings = services.settings

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        return (
            Route("GET", SETTINGS, self.all, "The settings of a group", (Setting,), tier=Tier.VIEWER),
            Route("PATCH", SETTINGS, self.change, "Give a setting another value", Setting, SettingChange, tier=Tier.ADMIN),
        )

    async def all(self, request: web.Request) -> object:
        """All of them."""
        return await self._settings.all(request.match_info["id"])

    async def change(self, request: web.Request) -> object:
        """Another value."""
        body = await read_body(request, SettingChange)
        return await self._settings.set(request.match_info["id"], body.key, body.value)
