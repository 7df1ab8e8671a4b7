"""Polled connections with a test at one end, or at both."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from io import BytesIO
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web

from peer.core.identity import PeerId
from peer.transport import bodies, poll
from peer.transport.carrier import Carrier
from peer.transport.channel import CHANNEL_KEY, CODE_HEADER, NO_RULES
from peer.transport.door import Crowding
from peer.transport.opening import Upgrades, opened_carrier
from peer.transport.pinning import Dialled
from peer.transport.poll_batches import POLL_BODY_SIZE_MAX, POLL_PATH, Batch, decode_batch, encode_batch

DEADLINE_S = 20.0
KEY_HEADER = "X-Key"
KEYS = {"": bytes(32), "other": b"\1" * 32}


class Listening(NamedTuple):
    """A listener with polled connections and nothing else."""

    endpoint: str
    carriers: list[Carrier]

    async def ask(self, http: aiohttp.ClientSession, batch: Batch, **headers: str) -> tuple[int, Batch | str]:
        """What one request gets: a batch, or a code."""
        return await self.send(http, encode_batch(batch), **headers)

    async def send(self, http: aiohttp.ClientSession, body: bytes, **headers: str) -> tuple[int, Batch | str]:
        """The same with any body."""
        async with asyncio.timeout(DEADLINE_S), http.post(f"{self.endpoint}{POLL_PATH}", data=BytesIO(body), headers=headers) as answer:
            if answer.status != 200:
                return answer.status, answer.headers.get(CODE_HEADER, "")
            return 200, decode_batch(await answer.read())

    async def opened(self, http: aiohttp.ClientSession) -> bytes:
        """The id of a new connection."""
        _, batch = await self.ask(http, Batch(b"", 0, last=False, frames=()))
        assert isinstance(batch, Batch)
        return batch.connection


class Served:
    """Stands for all links of a peer; what it does with a connection is the test's."""

    def __init__(self, serve: Callable[[Carrier], Awaitable[None]]) -> None:
        self._serve = serve
        self.carriers: list[Carrier] = []
        self.room = True

    def has_room(self, _came_from: str | None) -> bool:
        return self.room

    def report(self, error: Exception) -> None:
        raise error

    async def serve(self, carrier: Carrier, **_: object) -> None:
        self.carriers.append(carrier)
        await self._serve(carrier)


async def echo(carrier: Carrier) -> None:
    """Say everything again."""
    while (frame := await carrier.receive()) is not None:
        await carrier.send(frame)
    await carrier.close()


async def say_nothing(_: Carrier) -> None:
    """Neither read nor say anything."""
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def listening(
    serve: Callable[[Carrier], Awaitable[None]] = echo, *, crowding: Crowding | None = None
) -> AsyncIterator[tuple[Listening, Served]]:
    """A listener for these."""
    served = Served(serve)
    routes = poll.PollRoutes(served, crowding or Crowding())  # type: ignore[arg-type]

    @web.middleware
    async def with_key(request: web.Request, handler: Any) -> web.StreamResponse:
        request[CHANNEL_KEY] = KEYS[request.headers.get(KEY_HEADER, "")]
        return await handler(request)  # type: ignore[no-any-return]

    async def take(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    app = web.Application(
        client_max_size=bodies.BODY_SIZE_MAX, middlewares=[with_key, bodies.limited_bodies(Crowding(), {POLL_PATH: POLL_BODY_SIZE_MAX})]
    )
    app.add_routes([*routes.routes(), web.post("/take", take)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Listening(f"http://127.0.0.1:{runner.addresses[0][1]}", served.carriers), served
    finally:
        await routes.stop()
        await runner.cleanup()


@contextlib.asynccontextmanager
async def dialled(endpoint: str) -> AsyncIterator[Carrier]:
    """The other end of a connection."""
    upgrades = Upgrades()
    upgrades.refused(endpoint, 2**62)
    async with opened_carrier(Dialled(PeerId(bytes(32)), endpoint, NO_RULES), upgrades) as carrier:
        yield carrier


@contextlib.asynccontextmanager
async def answering(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """A listener that answers polls as it likes; gives its endpoint."""
    app = web.Application()
    app.add_routes([web.post(POLL_PATH, answer)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], bool]) -> None:
    """Until it holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  (what is waited for has no event of its own)
            await asyncio.sleep(0.01)
