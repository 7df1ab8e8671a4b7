"""Holds, and how long recordings are kept, over HTTP."""

from collections.abc import Sequence

from aiohttp import web

from peer.api.editing_models import RecordingShown
from peer.api.recording_routes import RECORDINGS
from peer.api.retention_models import Keeping, RetentionChange
from peer.api.routes import Route, read_body
from peer.api.services import Services
from peer.core.access import Tier

RETENTION = f"{RECORDINGS}/{{id}}/retention"


class RetentionRoutes:
    """Handlers, for these services."""

    def __init__(self, services: Services) -> None:
        """Does nothing yet."""
        self._retaining = services.retaining

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        change = "Hold it, lift a hold, or say how long it is to be kept; with a reason"
        return (
            Route("GET", RETENTION, self.show, "What holds it, and how long it is to be kept", Keeping, tier=Tier.VIEWER),
            Route("POST", RETENTION, self.change, change, RecordingShown, RetentionChange, tier=Tier.OPERATOR),
        )

    async def show(self, request: web.Request) -> object:
        """Of one recording."""
        return await self._retaining.show(request.match_info["id"])

    async def change(self, request: web.Request) -> object:
        """One of the two."""
        body, reference = await read_body(request, RetentionChange), request.match_info["id"]
        if body.class_ is not None:
            until_ns = None if body.until_ns is None else int(body.until_ns)
            return await self._retaining.retain(reference, body.class_, until_ns, body.reason, body.person)
        change = self._retaining.hold if body.hold else self._retaining.unhold
        return await change(reference, body.reason, body.person)
