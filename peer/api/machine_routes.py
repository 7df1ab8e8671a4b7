"""Machines over HTTP: what groups say of the robots that recordings name."""

from collections.abc import Sequence

from aiohttp import web

from peer.api.editing_models import Machine, MachineChange
from peer.api.routes import Query, Route, read_body
from peer.api.services import Services
from peer.core.access import Tier
from peer.errors import RequestError

MACHINES = "/api/v1/machines"
GROUP = Query("group", "Name or id of a group")


class MachineRoutes:
    """Handlers, for these services."""

    def __init__(self, services: Services) -> None:
        """Does nothing yet."""
        self._machines = services.machines

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        one = f"{MACHINES}/{{name}}"
        return (
            Route("GET", MACHINES, self.all, "Machines that recordings name, or that were described", (Machine,), query=(GROUP,), tier=Tier.VIEWER),
            Route("GET", one, self.show, "What each group says of one", (Machine,), query=(GROUP,), tier=Tier.VIEWER),
            Route("PATCH", one, self.change, "Say something about one", Machine, MachineChange, tier=Tier.OPERATOR),
        )

    async def all(self, request: web.Request) -> object:
        """All of them."""
        return await self._machines.all(_group(request))

    async def show(self, request: web.Request) -> object:
        """One of them, in each group that knows it."""
        return await self._machines.show(request.match_info["name"], _group(request))

    async def change(self, request: web.Request) -> object:
        """Something new about one."""
        body = await read_body(request, MachineChange)
        return await self._machines.set(request.match_info["name"], body.key, body.value, body.group)


def _group(request: web.Request) -> str | None:
    for name in request.query:
        if name != GROUP.name:
            raise RequestError(f"there is no filter {name[:80]!r}", fix="see /openapi.json")
    return request.query.get(GROUP.name) or None
