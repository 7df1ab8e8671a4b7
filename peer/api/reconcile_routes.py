"""Comparing events, bytes here and bytes elsewhere, over HTTP."""

from collections.abc import Sequence

from aiohttp import web

from peer.api.reconcile_models import Reconcile, Reconciled
from peer.api.recording_routes import RECORDINGS
from peer.api.routes import Route, read_body
from peer.api.services import Services
from peer.core.access import Tier

EVERYTHING = "/api/v1/reconcile"


class ReconcileRoutes:
    """Handlers, for these services."""

    def __init__(self, services: Services) -> None:
        """Does nothing yet."""
        self._reconciling = services.reconciling

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        one = f"{RECORDINGS}/{{id}}/reconcile"
        summary = "Compare what events say of it, what lies here and what other sites have"
        return (
            Route("POST", one, self.one, summary, Reconciled, Reconcile, tier=Tier.OPERATOR),
            Route(
                "POST",
                EVERYTHING,
                self.everything,
                "The same of all recordings, and of bytes that none has",
                Reconciled,
                Reconcile,
                tier=Tier.OPERATOR,
            ),
        )

    async def one(self, request: web.Request) -> object:
        """One recording."""
        body = await read_body(request, Reconcile)
        return await self._reconciling.one(request.match_info["id"], restore=body.restore)

    async def everything(self, request: web.Request) -> object:
        """All of them."""
        body = await read_body(request, Reconcile)
        return await self._reconciling.all(restore=body.restore)
