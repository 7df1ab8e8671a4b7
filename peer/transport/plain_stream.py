"""Large parts of blobs over plain HTTP, read from the socket straight to where they are to lie: that is what they cost most by otherwise.

One request on a connection of its own, which ends with it. Whoever answers is believed about nothing: the head is small, says how many bytes come,
and no more are read.
"""

import asyncio
import http.client
import io
import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import NamedTuple

from peer.errors import TransportError

HEAD_SIZE_MAX = 16 * 1024
"""Bytes of the head of an answer."""

READ_SIZE = 64 * 1024
_END = b"\r\n\r\n"


class Head(NamedTuple):
    """What stands above the bytes."""

    status: int
    headers: Mapping[str, str]


class PlainStream:
    """A connection on which one request is sent. To be closed."""

    def __init__(self, connected: socket.socket, silence_s: float) -> None:
        """`connected` does not block. Nothing may be silent for longer than `silence_s`."""
        self._socket = connected
        self._silence_s = silence_s
        self._loop = asyncio.get_running_loop()
        self._rest = memoryview(b"")

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    async def ask(self, host: str, method: str, target: str, headers: Mapping[str, str]) -> Head:
        """Send a request without a body and read the head of the answer. Raises `TransportError`, `OSError` or `TimeoutError`."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items()), "Connection: close"]
        async with asyncio.timeout(self._silence_s):
            await self._loop.sock_sendall(self._socket, ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
            data = b""
            while (end := data.find(_END)) < 0:
                if len(data) > HEAD_SIZE_MAX:
                    raise TransportError("an answer whose head does not end")
                part = await self._loop.sock_recv(self._socket, READ_SIZE)
                if not part:
                    raise TransportError("no answer")
                data += part
        self._rest = memoryview(data)[end + len(_END) :]
        return _read_head(data[: end + len(_END)])

    async def read(self, size: int, place: Callable[[], memoryview]) -> AsyncGenerator[memoryview, None]:
        """The next `size` bytes, in parts that lie where `place` said each time. Raises `TransportError`, `OSError` or `TimeoutError`."""
        try:
            async with asyncio.timeout(self._silence_s) as limit:
                while size:
                    room = place()[:size]
                    limit.reschedule(self._loop.time() + self._silence_s)
                    count = await self._receive(room)
                    if not count:
                        raise TransportError("less came than was asked for")
                    size -= count
                    limit.reschedule(None)  # Whoever takes it may take its time.
                    yield room[:count]
        finally:
            self.close()

    async def _receive(self, room: memoryview) -> int:
        if not self._rest:
            return await self._loop.sock_recv_into(self._socket, room)
        count = min(len(room), len(self._rest))
        room[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _read_head(data: bytes) -> Head:
    line, _, rest = data.partition(b"\r\n")
    version, _, said = line.partition(b" ")
    status = said[:3]
    if version not in {b"HTTP/1.1", b"HTTP/1.0"} or not status.isdigit():
        raise TransportError("an answer that is not HTTP")
    try:
        headers = http.client.parse_headers(io.BytesIO(rest))
    except http.client.HTTPException as error:
        raise TransportError("an answer whose head cannot be read") from error
    return Head(int(status), {name.lower(): value for name, value in headers.items()})
