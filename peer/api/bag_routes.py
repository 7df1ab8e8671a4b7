"""Exporting recordings over HTTP."""

from collections.abc import Sequence

from aiohttp import web

from peer.api.access import caller_of
from peer.api.bag_models import Exported, RecordingExport
from peer.api.recording_routes import RECORDINGS
from peer.api.routes import Route, read_body
from peer.api.services import Services
from peer.core.access import Tier


class BagRoutes:
    """Handlers, for these services."""

    def __init__(self, services: Services) -> None:
        """Does nothing yet."""
        self._exporting = services.exporting
        self._paths = services.paths

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        path = f"{RECORDINGS}/{{id}}/export"
        return (Route("POST", path, self.export, "Write it to a new folder of this machine", Exported, RecordingExport, tier=Tier.ADMIN),)

    async def export(self, request: web.Request) -> object:
        """Write one, or say what would be written."""
        body = await read_body(request, RecordingExport)
        (to,) = await self._paths.allowed(caller_of(request), [body.to])
        return await self._exporting.export(request.match_info["id"], to, dry_run=body.dry_run)
