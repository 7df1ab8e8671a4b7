"""Groups and their events over HTTP."""

from collections.abc import Sequence

from aiohttp import web

from peer.api.event_streams import STREAM_TYPE, event_frame, send_events
from peer.api.models import TIMEOUT_MS_MAX, EventPage, Group, GroupCreate, GroupJoin
from peer.api.peer_models import GroupLeft, Resynced
from peer.api.routes import JSON_TYPE, Query, Route, query_flag, query_number, read_body, whole_number
from peer.api.services import Services
from peer.core.access import Tier
from peer.errors import RequestError

CBOR_TYPE = "application/cbor"
GROUPS = "/api/v1/sync/groups"
EVENTS_DEFAULT = 100
LEAVE_TIMEOUT_MS = 10_000


class GroupRoutes:
    """Handlers, for these services."""

    def __init__(self, services: Services) -> None:
        """Does nothing yet."""
        self._services = services

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        after = Query("after", "A position of this peer: only events above it", "integer")
        event_query = (
            after,
            Query("limit", "How many events at most, up to 1000", "integer"),
            Query("follow", "1 for a stream of server-sent events that does not end", "integer"),
        )
        leave_query = (
            Query("now", "1 to forget it without waiting for the answer of an admin", "integer"),
            Query("timeout_ms", "How long to wait for that answer; then the request goes on waiting by itself", "integer"),
        )
        return (
            Route("GET", GROUPS, self.list_groups, "All groups of this peer", (Group,), tier=Tier.VIEWER),
            Route("POST", GROUPS, self.create, "Begin a group", Group, GroupCreate, status=201, tier=Tier.ADMIN),
            Route("POST", f"{GROUPS}/join", self.join, "Use an invitation", Group, GroupJoin, tier=Tier.ADMIN),
            Route("GET", f"{GROUPS}/{{id}}", self.show, "One group", Group, tier=Tier.VIEWER),
            Route("DELETE", f"{GROUPS}/{{id}}", self.leave, "Leave a group and forget it", GroupLeft, query=leave_query, tier=Tier.ADMIN),
            Route("POST", f"{GROUPS}/{{id}}/resync", self.resync, "Compare everything with every peer again", Resynced, tier=Tier.OPERATOR),
            Route(
                "GET",
                f"{GROUPS}/{{id}}/events",
                self.events,
                "The events of a group in the order in which they came here",
                EventPage,
                query=event_query,
                content=(JSON_TYPE, STREAM_TYPE),
                tier=Tier.VIEWER,
            ),
            Route(
                "GET",
                f"{GROUPS}/{{id}}/state",
                self.state,
                "The canonical export of all projections of a group, as CBOR or JSON by Accept",
                content=(CBOR_TYPE, JSON_TYPE),
                tier=Tier.VIEWER,
            ),
        )

    async def list_groups(self, _: web.Request) -> object:
        """All groups."""
        return await self._services.groups.all()

    async def create(self, request: web.Request) -> object:
        """Begin a group."""
        body = await read_body(request, GroupCreate)
        return await self._services.groups.create(body.name, body.owners)

    async def join(self, request: web.Request) -> object:
        """Use an invitation."""
        body = await read_body(request, GroupJoin)
        group = await self._services.joining.join(body.invitation, wait=body.wait, timeout_ms=body.timeout_ms)
        return await self._services.groups.describe(group)

    async def show(self, request: web.Request) -> object:
        """One group."""
        return await self._services.groups.show(request.match_info["id"])

    async def state(self, request: web.Request) -> object:
        """The export of a group."""
        cbor, document = await self._services.groups.state(request.match_info["id"])
        if wants_cbor(request):
            return web.Response(body=cbor, content_type=CBOR_TYPE)
        return document

    async def events(self, request: web.Request) -> object:
        """A page of events, or a stream of them."""
        reference = request.match_info["id"]
        after = query_number(request, "after", 0)
        if request.query.get("follow") == "1":
            last = request.headers.get("Last-Event-ID", "")
            return await self._follow(request, reference, whole_number(last, "Last-Event-ID") if last else after)
        page = await self._services.events.page(reference, after, query_number(request, "limit", EVENTS_DEFAULT))
        return {"events": page.events, "next": page.next}

    async def leave(self, request: web.Request) -> object:
        """Leave a group and forget it."""
        timeout_ms = query_number(request, "timeout_ms", LEAVE_TIMEOUT_MS)
        if timeout_ms > TIMEOUT_MS_MAX:
            raise RequestError("timeout_ms is at most a day", fix="leave it out")
        return await self._services.leaving.leave(request.match_info["id"], now=query_flag(request, "now"), timeout_ms=timeout_ms)

    async def resync(self, request: web.Request) -> object:
        """Compare everything again."""
        return await self._services.groups.resync(request.match_info["id"])

    async def _follow(self, request: web.Request, reference: str, after: int) -> web.StreamResponse:
        stream = self._services.events.follow(reference, after)
        return await send_events(request, stream, lambda event: event_frame(event, event["position"]))


def wants_cbor(request: web.Request) -> bool:
    """True if the caller asks for CBOR rather than JSON."""
    return CBOR_TYPE in request.headers.get("Accept", "")
