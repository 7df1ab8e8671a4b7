"""A proxy that knows no WebSockets. It takes each request whole before it passes it on, and each answer, and has limits of its own."""

import asyncio
import contextlib
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from io import BytesIO

import aiohttp
from aiohttp import web

HOP_BY_HOP = frozenset({"connection", "upgrade", "host", "content-length", "transfer-encoding", "keep-alive"})


@dataclass
class OldProxy:
    """One that runs, with what it does and what it saw."""

    behind: str
    """Where it leads: `http://HOST:PORT`."""
    http: aiohttp.ClientSession
    upgrade_status: int | None = 400
    """What it answers to upgrades; None for nothing at all."""
    upgrade_headers: dict[str, str] = field(default_factory=dict)
    body_max: int = 1024 * 1024
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Answers to the next requests that are no upgrades, instead of passing them on; without a status there is none."""
    port: int = 0
    upgrades: int = 0
    """Refused ones."""
    passed: int = 0
    largest: int = 0
    """Bytes of the largest body that was passed on."""
    too_large: int = 0

    @property
    def url(self) -> str:
        """Where it is dialled."""
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Refuse, or pass on."""
        if "upgrade" in request.headers:
            return await self._refuse()
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            self.too_large += 1
            return web.Response(status=413, text="too large")
        if self.answers:
            status, headers = self.answers.pop(0)
            if not status:
                await asyncio.Event().wait()
            return web.Response(status=status, headers=headers, text="not now")
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        self.passed += 1
        self.largest = max(self.largest, len(body))
        try:
            url = f"{self.behind}{request.path_qs}"
            async with self.http.request(request.method, url, data=BytesIO(body), headers=headers, allow_redirects=False) as answer:
                kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
                return web.Response(status=answer.status, headers=kept, body=await answer.read())
        except aiohttp.ClientError:
            return web.Response(status=502, text="nobody there")

    async def _refuse(self) -> web.StreamResponse:
        self.upgrades += 1
        if self.upgrade_status is None:
            await asyncio.Event().wait()
        assert self.upgrade_status is not None
        return web.Response(status=self.upgrade_status, headers=self.upgrade_headers, text="<html>what?</html>", content_type="text/html")


@contextlib.asynccontextmanager
async def old_proxy(
    behind: str, *, host: str = "127.0.0.1", port: int = 0, context: ssl.SSLContext | None = None, **settings: object
) -> AsyncIterator[OldProxy]:
    """One in front of `behind`; with a `context` it ends TLS."""
    http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True), auto_decompress=False)
    proxy = OldProxy(behind, http, **settings)  # type: ignore[arg-type]
    app = web.Application(client_max_size=proxy.body_max)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=context)
        await site.start()
        proxy.port = runner.addresses[0][1]
        yield proxy
    finally:
        await runner.cleanup()
        await http.close()


async def _serve(certificate: str, key: str, host: str, port: str, behind: str) -> None:
    """As a program of its own, until it is ended."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with old_proxy(behind, host=host, port=int(port), context=context):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
