"""Which bytes this site wants, over HTTP."""

from collections.abc import Sequence

from aiohttp import web

from peer.api.policy_models import SHOWN_DEFAULT, SHOWN_MAX, Policy, PolicyChange, PolicyTried, PolicyTry
from peer.api.routes import Query, Route, query_number, read_body
from peer.api.services import Services
from peer.core.access import Tier
from peer.errors import RequestError

POLICIES = "/api/v1/policies"


class PolicyRoutes:
    """Handlers, for these services."""

    def __init__(self, services: Services) -> None:
        """Does nothing yet."""
        self._policies = services.policies

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        one = f"{POLICIES}/{{id}}"
        limit = (Query("limit", f"How many recordings to show at most, up to {SHOWN_MAX}", "integer"),)
        return (
            Route("GET", POLICIES, self.all, "What this site keeps of each group", (Policy,), tier=Tier.VIEWER),
            Route("GET", one, self.show, "What this site keeps of a group", Policy, tier=Tier.VIEWER),
            Route("PATCH", one, self.change, "Say what this site keeps of a group", Policy, PolicyChange, tier=Tier.OPERATOR),
            Route("GET", f"{one}/dry-run", self.dry_run, "What comes here, and why", PolicyTried, query=limit, tier=Tier.VIEWER),
            Route("POST", f"{one}/dry-run", self.dry_run_of, "What other rules would bring here", PolicyTried, PolicyTry, tier=Tier.OPERATOR),
        )

    async def all(self, _: web.Request) -> object:
        """All of them."""
        return self._policies.all()

    async def show(self, request: web.Request) -> object:
        """One of them."""
        return self._policies.show(request.match_info["id"])

    async def change(self, request: web.Request) -> object:
        """Other rules."""
        body = await read_body(request, PolicyChange)
        return await self._policies.set(request.match_info["id"], body.rules)

    async def dry_run(self, request: web.Request) -> object:
        """What the rules bring that hold."""
        limit = query_number(request, "limit", SHOWN_DEFAULT)
        if not 1 <= limit <= SHOWN_MAX:
            raise RequestError(f"limit is 1 to {SHOWN_MAX}", fix="correct it")
        return await self._policies.dry_run(request.match_info["id"], [], limit)

    async def dry_run_of(self, request: web.Request) -> object:
        """What others would bring."""
        body = await read_body(request, PolicyTry)
        return await self._policies.dry_run(request.match_info["id"], body.rules, body.limit)
