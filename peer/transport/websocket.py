"""The carrier of nearly all links: a WebSocket, one frame in each of its binary messages."""

import contextlib
import socket as sockets

import aiohttp
from aiohttp import web

from peer.errors import LinkBrokenError
from peer.transport.carrier import CarrierKind
from peer.transport.channel import socket_name

CONTROL_FRAMES_MAX = 64
"""WebSocket pings and pongs that may come on a link between two messages; our own protocol has its own."""


class WebSocketCarrier:
    """One end of a WebSocket, whoever opened it."""

    kind = CarrierKind.WEBSOCKET

    def __init__(self, socket: web.WebSocketResponse | aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    @property
    def address(self) -> str:
        """Where the other end speaks from, empty if that is not known."""
        return self._host("peername")

    @property
    def other_end(self) -> str:
        """That with its port, as IP:PORT; empty if it is not known."""
        return socket_name(self._socket.get_extra_info("peername"))

    @property
    def own_address(self) -> str:
        """Where this end speaks from, empty if that is not known."""
        return self._host("sockname")

    def _host(self, which: str) -> str:
        name = self._socket.get_extra_info(which)
        return str(name[0]) if isinstance(name, tuple) and name else ""

    async def send(self, frame: bytes) -> None:
        """Send `frame`; waits while the other side does not read. Raises `LinkBrokenError`."""
        try:
            await self._socket.send_bytes(frame)
        except (ConnectionError, aiohttp.ClientError) as error:
            raise LinkBrokenError(str(error) or "the connection broke") from error

    async def receive(self) -> bytes | None:
        """The next frame; None when there is none any more, or what comes is no frame."""
        for _ in range(CONTROL_FRAMES_MAX + 1):
            message = await self._socket.receive()
            if message.type is aiohttp.WSMsgType.BINARY:
                return bytes(message.data)
            if message.type is aiohttp.WSMsgType.PING:
                with contextlib.suppress(ConnectionError, aiohttp.ClientError):  # What is broken says so at the next frame.
                    await self._socket.pong(message.data)
            elif message.type is not aiohttp.WSMsgType.PONG:
                break
        return None

    async def close(self) -> None:
        """Say so, and wait until the other side says it, too."""
        await self._socket.close()

    def cut(self) -> None:
        """End the connection below it."""
        connected = self._socket.get_extra_info("socket")
        if connected is not None:
            with contextlib.suppress(OSError):
                connected.shutdown(sockets.SHUT_RDWR)
