"""Where recordings come in bit by bit, over HTTP: open ones, and watched folders."""

from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from peer.api.access import caller_of
from peer.api.editing_models import RecordingShown
from peer.api.ingest_models import ChunksAdd, Watch, WatchAdd
from peer.api.models import Empty
from peer.api.recording_routes import RECORDINGS
from peer.api.routes import Query, Route, read_body
from peer.api.services import Services
from peer.core.access import Tier
from peer.errors import RequestError

WATCH = "/api/v1/watch"


class IngestRoutes:
    """Handlers, for these services."""

    def __init__(self, services: Services) -> None:
        """Does nothing yet."""
        self._recordings = services.recordings
        self._opening = services.opening
        self._watch = services.watch
        self._paths = services.paths

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        one = f"{RECORDINGS}/{{id}}"
        folder = (Query("folder", "Its whole path, as the list has it"),)
        return (
            Route("POST", f"{one}/chunks", self.append, "Add files to an open recording", RecordingShown, ChunksAdd, status=201, tier=Tier.OPERATOR),
            Route("POST", f"{one}/finalize", self.finalize, "Say that an open recording is complete", RecordingShown, Empty, tier=Tier.OPERATOR),
            Route("GET", WATCH, self.list_folders, "Watched folders, and what became of their files", (Watch,), tier=Tier.VIEWER),
            Route("POST", WATCH, self.add, "Watch a folder", Watch, WatchAdd, status=201, tier=Tier.OPERATOR),
            Route("DELETE", WATCH, self.remove, "Watch a folder no more", Watch, query=folder, tier=Tier.OPERATOR),
            Route("POST", f"{WATCH}/scan", self.scan, "Look into all watched folders now", (Watch,), Empty, tier=Tier.OPERATOR),
        )

    async def append(self, request: web.Request) -> object:
        """Add files to one."""
        body = await read_body(request, ChunksAdd)
        paths = await self._paths.allowed(caller_of(request), body.paths)
        recording = await self._opening.append(request.match_info["id"], [Path(path) for path in paths])
        return await self._recordings.show(recording.hex())

    async def finalize(self, request: web.Request) -> object:
        """Say that one is complete."""
        await read_body(request, Empty)
        recording = await self._opening.finalize(request.match_info["id"])
        return await self._recordings.show(recording.hex())

    async def list_folders(self, _: web.Request) -> object:
        """All of them."""
        return await self._watch.all()

    async def add(self, request: web.Request) -> object:
        """Watch one more."""
        body = await read_body(request, WatchAdd)
        (folder,) = await self._paths.allowed(caller_of(request), [body.folder])
        return await self._watch.add(folder, body.group, body.tags, body.machine or "")

    async def remove(self, request: web.Request) -> object:
        """Watch one no more."""
        folder = request.query.get("folder")
        if folder is None:
            raise RequestError("the request names no folder", fix="write ?folder=PATH")
        return await self._watch.remove(folder)

    async def scan(self, request: web.Request) -> object:
        """Look into all of them now."""
        await read_body(request, Empty)
        return await self._watch.scan()
