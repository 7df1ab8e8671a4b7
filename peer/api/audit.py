"""What is written about requests: every change, and attempts without a right to call, these so seldom that strangers cannot fill the file.

The name of a token is written, never a token; the path, never the query or the body. Whatever looks like a secret in a path is blotted out: people
paste them in odd places.
"""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from peer.api.access import CALLER, route_path
from peer.api.problems import CODE
from peer.api.services import AuditService
from peer.core.access import TOKEN_PREFIX
from peer.core.allowance import Allowances

REFUSED_BURST = 20
REFUSED_PER_MINUTE = 20
"""Lines about refused requests, for each token, and for all who have none together. The next line says how many were left out."""

PATH_CHARACTERS_MAX = 512
READING = ("GET", "HEAD", "OPTIONS")
STRANGERS = ("token_invalid", "origin_refused", "not_allowed")
"""How somebody is refused who has shown no token."""
_SECRET = re.compile(rf"{TOKEN_PREFIX}\S*|recmesh1\S*", re.IGNORECASE)


def audit_middleware(audit: AuditService, clock: Callable[[], float] = time.monotonic) -> Middleware:
    """Writes about each request that changes something, and about refused ones. `clock` gives seconds that never go back."""
    allowances = Allowances(REFUSED_BURST, REFUSED_PER_MINUTE)

    def write(request: web.Request, status: int | None, code: str | None) -> None:
        caller = request.get(CALLER)
        refused = caller is None or code == "tier_too_low"
        changing = request.method not in READING and request.path.startswith("/api/")
        if not changing and (caller is not None or code not in STRANGERS):
            return
        left_out = allowances.take(caller.name if caller else None, clock()) if refused else 0
        if left_out is None:
            return
        audit.write(
            {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "token": caller.name if caller else None,
                "tier": caller.tier.label if caller else None,
                "method": request.method[:16],
                "route": route_path(request),
                "path": _SECRET.sub("[secret]", request.path)[:PATH_CHARACTERS_MAX],
                "status": status,
                "code": code,
                "remote": request.remote,
                **({"left_out": left_out} if left_out else {}),
            }
        )

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except BaseException:
            write(request, None, "interrupted")  # The caller went away, or the peer is stopping: what was begun may have been done.
            raise
        write(request, response.status, request.get(CODE))
        return response

    return middleware
