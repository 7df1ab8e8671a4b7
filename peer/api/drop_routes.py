"""Dropping the bytes of recordings over HTTP."""

from collections.abc import Sequence

from aiohttp import web

from peer.api.drop_models import Drop, RecordingDropped
from peer.api.recording_routes import RECORDINGS
from peer.api.routes import Route, read_body
from peer.api.services import Services
from peer.core.access import Tier


class DropRoutes:
    """Handlers, for these services."""

    def __init__(self, services: Services) -> None:
        """Does nothing yet."""
        self._dropping = services.dropping

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        return (
            Route(
                "POST",
                f"{RECORDINGS}/{{id}}/drop",
                self.drop,
                "Drop its bytes here, if enough other sites prove that they hold it",
                RecordingDropped,
                Drop,
                tier=Tier.OPERATOR,
            ),
        )

    async def drop(self, request: web.Request) -> object:
        """Drop one."""
        body = await read_body(request, Drop)
        return await self._dropping.drop(request.match_info["id"], dry_run=body.dry_run)
