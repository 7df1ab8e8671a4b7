"""Bytes on their way here, over HTTP."""

from collections.abc import Sequence

from aiohttp import web

from peer.api.routes import Route, read_body
from peer.api.services import Services
from peer.api.transfer_models import Transfer, TransferChoice, TransferLimitChange, TransferLimits, TransfersChanged
from peer.core.access import Tier

TRANSFERS = "/api/v1/transfers"


class TransferRoutes:
    """Handlers, for these services."""

    def __init__(self, services: Services) -> None:
        """Does nothing yet."""
        self._transfers = services.transfers

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        answer, body, tier = TransfersChanged, TransferChoice, Tier.OPERATOR
        return (
            Route("GET", TRANSFERS, self.all, "Bytes on their way here", (Transfer,), tier=Tier.VIEWER),
            Route("POST", f"{TRANSFERS}/pause", self.pause, "Fetch nothing for now, or not these", answer, body, tier=tier),
            Route("POST", f"{TRANSFERS}/resume", self.resume, "Go on with what is paused, or with these", answer, body, tier=tier),
            Route("POST", f"{TRANSFERS}/cancel", self.cancel, "Do not fetch what is wanted now, or not these", answer, body, tier=tier),
            Route("POST", f"{TRANSFERS}/retry", self.retry, "Try again what was given up, or these", answer, body, tier=tier),
            Route("GET", f"{TRANSFERS}/limit", self.limits, "How fast bytes may travel", TransferLimits, tier=Tier.VIEWER),
            Route("PATCH", f"{TRANSFERS}/limit", self.limit, "Say how fast bytes may travel", TransferLimits, TransferLimitChange, tier=tier),
        )

    async def all(self, _: web.Request) -> object:
        """What is on its way, what waits, what is held back."""
        return self._transfers.shown()

    async def pause(self, request: web.Request) -> object:
        """Pause all of them or some."""
        return await self._transfers.pause((await read_body(request, TransferChoice)).id)

    async def resume(self, request: web.Request) -> object:
        """Go on with all of them or some."""
        return await self._transfers.resume((await read_body(request, TransferChoice)).id)

    async def cancel(self, request: web.Request) -> object:
        """Cancel all of them or some."""
        return await self._transfers.cancel((await read_body(request, TransferChoice)).id)

    async def retry(self, request: web.Request) -> object:
        """Try all of them or some again."""
        return await self._transfers.retry((await read_body(request, TransferChoice)).id)

    async def limits(self, _: web.Request) -> object:
        """The limits."""
        return self._transfers.limits()

    async def limit(self, request: web.Request) -> object:
        """Another limit."""
        body = await read_body(request, TransferLimitChange)
        return await self._transfers.limit(body.limit, body.peer)
