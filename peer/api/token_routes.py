"""Tokens over HTTP: who may call this API. All of it needs the highest tier, looking too."""

from collections.abc import Sequence

from aiohttp import web

from peer.api.models import Token, TokenCreate, TokenMade
from peer.api.routes import Route, read_body
from peer.api.services import Services
from peer.core.access import Tier

TOKENS = "/api/v1/tokens"


class TokenRoutes:
    """Handlers, for these services."""

    def __init__(self, services: Services) -> None:
        """Does nothing yet."""
        self._tokens = services.tokens

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        return (
            Route("GET", TOKENS, self.list_tokens, "The tokens of this API, without their secrets", (Token,), tier=Tier.ADMIN),
            Route("POST", TOKENS, self.create, "Make a token; its secret is told this once", TokenMade, TokenCreate, status=201, tier=Tier.ADMIN),
            Route("DELETE", f"{TOKENS}/{{name}}", self.revoke, "Revoke a token, from now on", Token, tier=Tier.ADMIN),
        )

    async def list_tokens(self, _: web.Request) -> object:
        """All of them."""
        return self._tokens.all()

    async def create(self, request: web.Request) -> object:
        """A new one."""
        body = await read_body(request, TokenCreate)
        return self._tokens.create(body.name, body.tier, body.expires_in_ms)

    async def revoke(self, request: web.Request) -> object:
        """One less."""
        return self._tokens.revoke(request.match_info["name"])
