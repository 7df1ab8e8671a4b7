"""Recordings over HTTP: adding, finding, their manifests and bytes."""

import json
from collections.abc import Sequence

from aiohttp import web

from peer.api.access import caller_of
from peer.api.bag_models import RecordingAdded, RecordingTake
from peer.api.editing_models import RecordingShown
from peer.api.group_routes import CBOR_TYPE, wants_cbor
from peer.api.models import Empty, RecordingPage
from peer.api.routes import JSON_TYPE, Query, Route, query_number, read_body, whole_number
from peer.api.services import Json, Services
from peer.core.access import Tier
from peer.errors import RequestError

RECORDINGS = "/api/v1/recordings"
MANIFEST_SCHEMA = "/api/v1/schemas/manifest"
BYTES_TYPE = "application/octet-stream"
SCHEMA_TYPE = "application/schema+json"
LIST_DEFAULT = 100
FILTERS = (
    Query("group", "Name or id of a group"),
    Query("site", "Name or id of the site that made it"),
    Query("machine", "The machine that it was recorded on"),
    Query("tag", "A tag that it has", repeated=True),
    Query("topic", "A topic that it has; * in it stands for any characters"),
    Query("schema", "A schema that one of its topics has"),
    Query("text", "Text in its name, machine, tags, properties or topics, in capitals or not"),
    Query("since_ns", "It ends at or after this time"),
    Query("until_ns", "It starts at or before this time"),
    Query("state", "open, local, partial, remote, missing or corrupt"),
    Query("property", "A property that it has, as KEY=VALUE", repeated=True),
    Query("few_copies", "1 for those of which there are fewer copies than the group asks for"),
    Query("deleted", "1 to see deleted ones, too"),
    Query("sort", "created, start, end, size or messages (the latest or largest first), name or site (A first); default: created"),
    Query("reverse", "1 for the opposite order"),
)
REPEATED = tuple(query.name for query in FILTERS if query.repeated)


class RecordingRoutes:
    """Handlers, for these services."""

    def __init__(self, services: Services) -> None:
        """Does nothing yet."""
        self._recordings = services.recordings
        self._recovering = services.recovering
        self._paths = services.paths

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        paging = (Query("limit", "How many at most, up to 1000", "integer"), Query("cursor", "The `next` of the page before"))
        one = f"{RECORDINGS}/{{id}}"
        return (
            Route(
                "GET",
                RECORDINGS,
                self.list_recordings,
                "Recordings that fit all filters, in order",
                RecordingPage,
                query=(*FILTERS, *paging),
                tier=Tier.VIEWER,
            ),
            Route("POST", RECORDINGS, self.add, "Add a recording", RecordingAdded, RecordingTake, status=201, tier=Tier.OPERATOR),
            Route("GET", one, self.show, "One recording", RecordingShown, tier=Tier.VIEWER),
            Route(
                "GET", f"{one}/manifest", self.manifest, "Its manifest, as CBOR or JSON by Accept", content=(JSON_TYPE, CBOR_TYPE), tier=Tier.VIEWER
            ),
            Route("GET", MANIFEST_SCHEMA, self.manifest_schema, "What the JSON of manifests looks like", content=(SCHEMA_TYPE,), tier=Tier.VIEWER),
            Route("POST", f"{one}/fetch", self.fetch, "Bring its bytes here", RecordingShown, Empty, status=202, tier=Tier.OPERATOR),
            Route(
                "GET",
                f"{one}/chunks/{{index}}",
                self.chunk,
                "The bytes of a chunk; with Range, a part of them",
                content=(BYTES_TYPE,),
                tier=Tier.VIEWER,
            ),
        )

    async def list_recordings(self, request: web.Request) -> object:
        """Those that fit."""
        known = {query.name for query in FILTERS} | {"limit", "cursor"}
        for name in request.query:
            if name not in known:
                raise RequestError(f"there is no filter {name[:80]!r}", fix="see /openapi.json")
        filters: Json = {name: request.query[name] for name in request.query if name in known - {"limit", "cursor", *REPEATED}}
        filters.update({name: request.query.getall(name, []) for name in REPEATED})
        return await self._recordings.page(filters, query_number(request, "limit", LIST_DEFAULT), request.query.get("cursor"))

    async def add(self, request: web.Request) -> object:
        """Add one."""
        body = await read_body(request, RecordingTake)
        order: Json = {**body.model_dump(), "paths": await self._paths.allowed(caller_of(request), body.paths)}
        recording, recovered = await self._recovering.add(order) if body.recover else (await self._recordings.add(order), [])
        return {**await self._recordings.show(recording.hex()), "recovered": recovered}

    async def show(self, request: web.Request) -> object:
        """One of them."""
        return with_revision(await self._recordings.show(request.match_info["id"]))

    async def manifest(self, request: web.Request) -> object:
        """Its manifest."""
        cbor, text = await self._recordings.manifest(request.match_info["id"])
        if wants_cbor(request):
            return web.Response(body=cbor, content_type=CBOR_TYPE)
        return web.Response(body=text, content_type=JSON_TYPE)

    async def manifest_schema(self, _: web.Request) -> object:
        """What manifests look like."""
        return web.Response(text=self._recordings.manifest_schema(), content_type=SCHEMA_TYPE)

    async def fetch(self, request: web.Request) -> object:
        """Bring its bytes here."""
        await read_body(request, Empty)
        return await self._recordings.fetch(request.match_info["id"])

    async def chunk(self, request: web.Request) -> object:
        """The bytes of a chunk."""
        index = request.match_info["index"]
        path, blob = await self._recordings.chunk(request.match_info["id"], whole_number(index, "index"))
        return web.FileResponse(path, headers={"ETag": f'"{blob}"', "Content-Type": BYTES_TYPE})


def with_revision(document: Json) -> web.Response:
    """A recording, with its revision as ETag."""
    text = json.dumps(document, ensure_ascii=False)
    return web.Response(text=text, content_type=JSON_TYPE, headers={"ETag": f'"{document["revision"]}"'})
