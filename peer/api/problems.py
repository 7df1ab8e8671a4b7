"""Errors as `application/problem+json` (RFC 9457)."""

import json
from collections.abc import Callable
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import ValidationError

from peer.errors import (
    BodyTooLargeError,
    ConfigError,
    EventRejectedError,
    MeshError,
    MethodNotAllowedError,
    NotFoundError,
    PolicyChangedError,
    PolicyTextError,
    RequestError,
    ResolveError,
    StoreError,
    TokensDamagedError,
    TransportError,
)

PROBLEM_TYPE = "application/problem+json"
CODE: web.RequestKey[str] = web.RequestKey("code", str)
"""The code of the error that a request ended with."""

Report = Callable[[str, BaseException], None]
"""Takes what happened, as a constant, and the error: for the log."""


def problem(error: MeshError, status: int) -> web.Response:
    """The answer that tells of `error`."""
    document = {
        "type": f"urn:recmesh:error:{error.code}",
        "title": type(error).__name__.removesuffix("Error"),
        "status": status,
        "detail": error.text,
        "code": error.code,
        "fix": error.fix,
    }
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return web.Response(text=json.dumps(document), status=status, content_type=PROBLEM_TYPE, headers=headers)


def status_of(error: MeshError) -> int:
    """The HTTP status for an error of ours."""
    match error:
        case RequestError():
            return error.status
        case PolicyChangedError() | PolicyTextError():
            return 409
        case TransportError() | ResolveError():
            return 502
        case StoreError() | TokensDamagedError():
            return 503
        case EventRejectedError() | ConfigError():
            return 400
        case _:
            return 500


def problems_middleware(report: Report) -> Middleware:
    """Turns whatever a handler raises into a problem document."""

    def answer(request: web.Request, error: MeshError, status: int) -> web.Response:
        request[CODE] = error.code
        return problem(error, status)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except MeshError as error:
            return answer(request, error, status_of(error))
        except ValidationError as error:
            return answer(request, RequestError(f"the request is not as it should be: {_first(error)}", fix="see /openapi.json"), 400)
        except web.HTTPException as error:
            return answer(request, _http_error(error), error.status)
        except (ConnectionResetError, ConnectionAbortedError):
            raise
        except Exception as error:  # noqa: BLE001  (an edge: a bug in one handler must not take the peer down)
            report("a request failed for a reason that nobody thought of", error)
            return answer(request, MeshError(f"internal error: {type(error).__name__}", fix="see the log of the peer, and report it"), 500)

    return middleware


def _http_error(error: web.HTTPException) -> RequestError:
    """What the HTTP server itself refuses: no such route, a body that is too large."""
    kind = {404: NotFoundError, 405: MethodNotAllowedError, 413: BodyTooLargeError}.get(error.status, RequestError)
    return kind(f"{error.status} {error.reason}", fix="see /openapi.json for the routes")


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])
