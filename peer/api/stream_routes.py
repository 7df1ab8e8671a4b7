"""`/api/v1/stream`: everything that changes here, as server-sent events."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from aiohttp import web

from peer.api.event_streams import STREAM_TYPE, event_frame, send_events
from peer.api.routes import Query, Route, whole_number
from peer.core.access import Tier


class Told(Protocol):
    """One thing that changed."""

    @property
    def kind(self) -> str:
        """What it is."""
        ...

    @property
    def position(self) -> int | None:
        """Of an event."""
        ...

    @property
    def data(self) -> object:
        """The document."""
        ...


class StreamService(Protocol):
    """What changes."""

    def follow(self, after: int | None) -> AsyncGenerator[Told | None, None]:
        """All of it after that position, or from now on; None now and then."""
        ...


class StreamRoutes:
    """Handlers, for this service."""

    def __init__(self, stream: StreamService) -> None:
        """Does nothing yet."""
        self._stream = stream

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        after = (Query("after", "Begin after this position, as Last-Event-ID says it, too; left out, what changes from now on", "integer"),)
        return (Route("GET", "/api/v1/stream", self.follow, "Everything that changes here", query=after, content=(STREAM_TYPE,), tier=Tier.VIEWER),)

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """Send what changes until they go away."""
        last = request.headers.get("Last-Event-ID") or request.query.get("after")
        stream = self._stream.follow(whole_number(last, "after") if last is not None else None)
        return await send_events(request, stream, lambda told: event_frame(told.data, told.position, told.kind))
