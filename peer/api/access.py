"""Who may call the admin API: the right address, no foreign web page, a valid token, a tier that is high enough. In this order.

Fails closed: what is not a listed route, and a listed one without a tier, needs the highest.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from peer.api.routes import Route
from peer.api.services import TokenService
from peer.core.access import Caller, Tier
from peer.errors import NotAllowedError, OriginRefusedError, TierTooLowError, TokenInvalidError

CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
"""Who has shown a valid token, once that is known."""

HTTP_PORT = 80
_SCHEME = "bearer"


def access_middleware(tokens: TokenService, host: str, routes: Sequence[Route]) -> Middleware:
    """Lets through who may; others get a `RequestError` with its own code. `host` is how this listener is called in the configuration."""
    hosts = frozenset({"localhost", host})
    tiers = {(route.method, route.path): route.needed for route in routes}

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        needed = needed_tier(request, tiers)
        if needed is Tier.ANYONE:
            return await handler(request)
        own = _check_host(request, hosts)
        _check_origin(request, own)
        caller = tokens.identify(_secret(request))
        if caller is None:
            raise TokenInvalidError("the admin API needs a valid token", fix="send Authorization: Bearer with a token, or the content of admin.token")
        request[CALLER] = caller
        if caller.tier < needed:
            raise TierTooLowError(
                f"this needs the tier {needed.label}; the token {caller.name} has {caller.tier.label}",
                fix=f"use another token: `recmesh token create NAME --tier {needed.label}` makes one",
            )
        return await handler(request)

    return middleware


def needed_tier(request: web.Request, tiers: Mapping[tuple[str, str], Tier]) -> Tier:
    """The tier for what is asked for; the highest for what is not there."""
    return tiers.get((request.method, route_path(request) or ""), Tier.ADMIN)


def route_path(request: web.Request) -> str | None:
    """The path of the route that serves `request`, with its parameters by name; None if there is no such route."""
    resource = request.match_info.route.resource
    return None if resource is None else resource.canonical


def caller_of(request: web.Request) -> Caller:
    """Who called the handler that runs. A route for anyone has no caller."""
    return request[CALLER]


def _secret(request: web.Request) -> str:
    given = request.headers.getall("Authorization", [])
    if len(given) != 1:
        return ""
    scheme, _, secret = given[0].partition(" ")
    return secret.strip() if scheme.lower() == _SCHEME else ""


def _check_host(request: web.Request, hosts: frozenset[str]) -> tuple[str, int]:
    """Host and port under which we were called. A name that is not ours was made to lead here: a web page that is allowed to ask its own site."""
    given = request.headers.getall("Host", [])
    own = _place(f"//{given[0]}") if len(given) == 1 else None
    if own is None or (own[0] not in hosts and not _is_ip(own[0])):
        raise NotAllowedError("the Host header names somebody else", fix="address the admin API by its IP address or localhost")
    return own


def _check_origin(request: web.Request, own: tuple[str, int]) -> None:
    """A browser says which page makes it ask. Only pages from this very listener may; `null` is nobody."""
    for origin in request.headers.getall("Origin", []):
        scheme, _, rest = origin.partition("//")
        if scheme.lower() != "http:" or not rest or set("/?#@") & set(rest) or _place(f"//{rest}") != own:
            raise OriginRefusedError("a web page from elsewhere may not call the admin API", fix="programs send no Origin header")


def _place(text: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port or HTTP_PORT
    except ValueError:
        return None
    return (host, port) if host and parts.username is None else None


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
