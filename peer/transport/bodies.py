"""Bodies of requests: read whole before anybody looks at them, few at once, none large, none slowly."""

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from peer.errors import LimitExceededError, TimedOutError
from peer.transport.channel import refusal

BODY_SIZE_MAX = 1024 * 1024
BODY_TIMEOUT_S = 10.0
"""How long a body may take, however it trickles."""

BODIES_AT_ONCE_MAX = 32
"""Bodies that are being read or worked on; who comes then is asked to come again."""


def limited_bodies() -> Middleware:
    """For all routes of a listener."""
    reading = 0

    @web.middleware
    async def read(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal reading
        if not request.can_read_body:
            return await handler(request)
        if reading >= BODIES_AT_ONCE_MAX:
            busy = refusal(503, LimitExceededError("too many bodies at once"))
            busy.headers["Retry-After"] = "1"
            return busy
        reading += 1
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                await request.read()  # Kept by the request: handlers read it again.
        except TimeoutError:
            return refusal(408, TimedOutError(f"a body that takes longer than {BODY_TIMEOUT_S:g} s"))
        except web.HTTPRequestEntityTooLarge:
            return refusal(413, LimitExceededError(f"a body of more than {BODY_SIZE_MAX} bytes"))
        else:
            return await handler(request)
        finally:
            reading -= 1

    return read
