"""Bodies of requests: read whole before anybody looks at them, few at once, none large, none slowly."""

import asyncio
from collections import Counter

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from peer.errors import LimitExceededError, TimedOutError
from peer.transport.channel import refusal, socket_addresses
from peer.transport.door import Crowding

BODY_SIZE_MAX = 1024 * 1024
BODY_TIMEOUT_S = 10.0
"""How long a body may take, however it trickles."""

BODIES_AT_ONCE_MAX = 32
"""Bodies that are being read or worked on; who comes then is asked to come again."""


BODIES_PER_ADDRESS_MAX = 8
"""Of these, from one address."""


def limited_bodies(crowding: Crowding) -> Middleware:
    """For all routes of a listener."""
    reading: Counter[str | None] = Counter()

    @web.middleware
    async def read(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.can_read_body:
            return await handler(request)
        source = crowding.source_of(socket_addresses(request.transport)[1])
        if reading.total() >= BODIES_AT_ONCE_MAX or (source is not None and reading[source] >= BODIES_PER_ADDRESS_MAX):
            busy = refusal(503, LimitExceededError("too many bodies at once"))
            busy.headers["Retry-After"] = "1"
            return busy
        reading[source] += 1
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
            reading[source] -= 1
            if not reading[source]:
                del reading[source]

    return read
