"""Routes: each with what it takes and gives, in one list, so that what is served and what `openapi.json` says cannot differ."""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from aiohttp import web
from pydantic import BaseModel

from peer.core.access import Tier
from peer.errors import RequestError

JSON_TYPE = "application/json"
M = TypeVar("M", bound=BaseModel)


class Query(NamedTuple):
    """A parameter in the query of a URL."""

    name: str
    description: str
    type: str = "string"
    repeated: bool = False


class Route(NamedTuple):
    """One method of one path."""

    method: str
    path: str
    handler: Callable[[web.Request], Awaitable[object]]
    """Gives the document to answer with, or a whole response."""
    summary: str
    answer: type[BaseModel] | tuple[type[BaseModel]] | None = None
    """A model, or a tuple of one for a list of it."""
    request: type[BaseModel] | None = None
    query: Sequence[Query] = ()
    status: int = 200
    content: Sequence[str] = (JSON_TYPE,)
    """Content types of the answer."""
    tier: Tier | None = None
    """What a caller needs at least; left out, it is the highest."""

    @property
    def needed(self) -> Tier:
        """What a caller needs at least."""
        return Tier.ADMIN if self.tier is None else self.tier


def add_routes(app: web.Application, routes: Sequence[Route]) -> None:
    """Serve all of `routes`."""
    for route in routes:
        app.router.add_route(route.method, route.path, _wrap(route))


async def read_body(request: web.Request, model: type[M]) -> M:
    """The JSON body of a request. Raises `RequestError`, or pydantic's `ValidationError`."""
    data = await request.read()
    if not data:
        return model()
    if request.content_type != JSON_TYPE:
        raise RequestError("the body of a request is JSON", fix=f"send Content-Type: {JSON_TYPE}")
    return model.model_validate_json(data)


def query_number(request: web.Request, name: str, default: int) -> int:
    """A whole number from the query. Raises `RequestError`."""
    text = request.query.get(name)
    return default if text is None else whole_number(text, name)


def whole_number(text: str, name: str) -> int:
    """The number that `text` is, of up to 20 digits; the parameter is called `name`. Raises `RequestError`."""
    if not text.isascii() or not text.isdecimal() or len(text) > 20:  # noqa: PLR2004  (the digits of 64 bits)
        raise RequestError(f"{name} is a whole number", fix="see /openapi.json")
    return int(text)


def query_flag(request: web.Request, name: str) -> bool:
    """Whether the query says 1; without it, or with 0, it does not. Raises `RequestError` for anything else."""
    value = query_number(request, name, 0)
    if value > 1:
        raise RequestError(f"{name} is 0 or 1", fix="see /openapi.json")
    return value == 1


def _wrap(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    handler, status = route.handler, route.status

    async def serve(request: web.Request) -> web.StreamResponse:
        document = await handler(request)
        if isinstance(document, web.StreamResponse):
            return document
        return web.Response(text=json.dumps(document, ensure_ascii=False), status=status, content_type=JSON_TYPE)

    return serve
