"""Errors as `application/problem+json` (RFC 9457), and who may call at all: the outermost layer of the admin API."""

import hmac
import ipaddress
import json
from collections.abc import Callable
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import ValidationError

from peer.errors import ConfigError, EventRejectedError, MeshError, NotAllowedError, RequestError, StoreError, TokenInvalidError, TransportError

PROBLEM_TYPE = "application/problem+json"
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
    return web.Response(text=json.dumps(document), status=status, content_type=PROBLEM_TYPE)


def status_of(error: MeshError) -> int:
    """The HTTP status for an error of ours."""
    match error:
        case RequestError():
            return error.status
        case TransportError():
            return 502
        case StoreError():
            return 503
        case EventRejectedError() | ConfigError():
            return 400
        case _:
            return 500


def problems_middleware(report: Report) -> Middleware:
    """Turns whatever a handler raises into a problem document."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except MeshError as error:
            return problem(error, status_of(error))
        except ValidationError as error:
            return problem(RequestError(f"the request is not as it should be: {_first(error)}", fix="see /openapi.json"), 400)
        except web.HTTPException as error:
            return problem(_HttpError(error), error.status)
        except (ConnectionResetError, ConnectionAbortedError):
            raise
        except Exception as error:  # noqa: BLE001  (an edge: a bug in one handler must not take the peer down)
            report("a request failed for a reason that nobody thought of", error)
            return problem(MeshError(f"internal error: {type(error).__name__}", fix="see the log of the peer, and report it"), 500)

    return middleware


def access_middleware(token: str, hosts: frozenset[str]) -> Middleware:
    """Lets in who has the token and addresses this peer as itself: a web page that resolves its own name to us does not."""
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        _check_host(request.headers.get("Host", ""), hosts)
        if not request.path.startswith("/health/"):
            given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(given, expected):
                raise TokenInvalidError("the admin API needs a valid token", fix="send Authorization: Bearer with the content of admin.token")
        return await handler(request)

    return middleware


class _HttpError(RequestError):
    """What the HTTP server itself refuses: no such route, a body that is too large."""

    def __init__(self, error: web.HTTPException) -> None:
        super().__init__(f"{error.status} {error.reason}", fix="see /openapi.json for the routes")
        self.code = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}.get(error.status, "request_invalid")


def _check_host(header: str, hosts: frozenset[str]) -> None:
    try:
        host = urlsplit(f"//{header}").hostname or ""
    except ValueError:
        host = ""
    if host in hosts:
        return
    try:
        ipaddress.ip_address(host)
    except ValueError as error:
        raise NotAllowedError("the Host header names somebody else", fix="address the admin API by its IP address or localhost") from error


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])
