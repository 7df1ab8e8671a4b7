"""Bodies of requests: read whole before anybody looks at them, few at once, none large, none slowly."""

import asyncio
from collections import Counter
from collections.abc import Mapping

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


class Bodies:
    """Those that are being read or worked on."""

    def __init__(self) -> None:
        self._of: Counter[str | None] = Counter()

    def place_for(self, source: str | None) -> "BodyPlace | None":
        """A place for one more from there; None if there is no room."""
        if self._of.total() >= BODIES_AT_ONCE_MAX or (source is not None and self._of[source] >= BODIES_PER_ADDRESS_MAX):
            return None
        self._of[source] += 1
        return BodyPlace(self._of, source)


class BodyPlace:
    """What one body occupies."""

    def __init__(self, occupied: Counter[str | None], source: str | None) -> None:
        self._occupied: Counter[str | None] | None = occupied
        self._source = source

    def free(self) -> None:
        """The body is worked on no more; a handler that goes on for long says so itself."""
        if self._occupied is not None:
            self._occupied[self._source] -= 1
            if not self._occupied[self._source]:
                del self._occupied[self._source]
        self._occupied = None


BODY_PLACE = web.RequestKey("body_place", BodyPlace)
"""Of a request with a body."""


def limited_bodies(crowding: Crowding, larger: Mapping[str, int]) -> Middleware:
    """For all routes of a listener, with larger bodies at these paths."""
    bodies = Bodies()

    @web.middleware
    async def read(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.can_read_body:
            return await handler(request)
        place = bodies.place_for(crowding.source_of(socket_addresses(request.transport)[1]))
        if place is None:
            busy = refusal(503, LimitExceededError("too many bodies at once"))
            busy.headers["Retry-After"] = "1"
            return busy
        size_max = larger.get(request.path, BODY_SIZE_MAX)
        request = request.clone(client_max_size=size_max)
        request[BODY_PLACE] = place
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                await request.read()  # Kept by the request: handlers read it again.
        except TimeoutError:
            return refusal(408, TimedOutError(f"a body that takes longer than {BODY_TIMEOUT_S:g} s"))
        except web.HTTPRequestEntityTooLarge:
            return refusal(413, LimitExceededError(f"a body of more than {size_max} bytes"))
        else:
            return await handler(request)
        finally:
            place.free()

    return read
