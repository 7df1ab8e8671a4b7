"""What a hub announces over its WebSocket: a reason to look, and nothing else. None is lost for good, since the hub is asked now and then anyway.

The key goes into a header: in the query, where other clients of hubs show it, proxies write it down. A hub that looks for it there alone takes us for
a stranger, and tells strangers the same.
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import Callable, Sequence

import aiohttp
from yarl import URL

from peer.errors import HubUnreachableError

FRAME_SIZE_MAX = 64 * 1024
CONNECT_TIMEOUT_S = 15.0
PING_S = 25.0
"""How often to say that somebody listens: hubs end a connection over which no ping in JSON came for 60 s."""

SILENT_S = 75.0
"""After how long without a word from the hub, not even an answer to a ping, the connection is given up."""

PATH = "/ws"


async def hear(
    url: str, context: ssl.SSLContext | None, key: str, channels: Sequence[str], heard: Callable[[], None], *, ping_s: float = PING_S
) -> None:
    """Call `heard` for each announcement until the connection ends. Raises `HubUnreachableError` if there is none."""
    target = URL(url) / PATH[1:]
    connector = aiohttp.TCPConnector(ssl=context if context is not None else True, limit=1)
    async with aiohttp.ClientSession(connector=connector, trace_configs=[_no_redirects()]) as http:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                headers = {"Authorization": f"Bearer {key}"} if key else {}
                socket = await http.ws_connect(target, headers=headers, max_msg_size=FRAME_SIZE_MAX, compress=0, autoclose=False)
                await socket.send_json({"type": "subscribe", "channels": list(channels)})
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise HubUnreachableError(f"the hub announces nothing: {type(error).__name__}", fix="nothing: it is asked now and then") from None
        pinging = asyncio.create_task(_ping(socket, ping_s))
        try:
            await _listen(socket, heard)
        finally:
            pinging.cancel()
            await asyncio.gather(pinging, return_exceptions=True)
            with contextlib.suppress(TimeoutError, aiohttp.ClientError, ConnectionError):
                async with asyncio.timeout(1.0):
                    await socket.close()


async def _listen(socket: aiohttp.ClientWebSocketResponse, heard: Callable[[], None]) -> None:
    with contextlib.suppress(TimeoutError, ConnectionError):
        while True:
            async with asyncio.timeout(SILENT_S):
                message = await socket.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            if _is_announcement(message.data):
                heard()


async def _ping(socket: aiohttp.ClientWebSocketResponse, ping_s: float) -> None:
    with contextlib.suppress(aiohttp.ClientError, ConnectionError):
        while True:
            await asyncio.sleep(ping_s)
            await socket.send_json({"type": "ping"})


def _is_announcement(text: str) -> bool:
    """Whatever comes over a channel is one; answers and pings name none."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(message, dict) and isinstance(message.get("channel"), str)


def _no_redirects() -> aiohttp.TraceConfig:
    async def refuse(*_: object) -> None:
        raise aiohttp.ClientPayloadError("the hub sends us elsewhere")

    traced = aiohttp.TraceConfig()
    traced.on_request_redirect.append(refuse)
    return traced
