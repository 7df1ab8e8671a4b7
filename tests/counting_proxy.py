"""A proxy between two peers that speak plain HTTP on loopback: counts what crosses it, and fails as networks and other people's proxies do.

It takes WebSocket frames and messages apart by itself, with nothing of this project: what it counts is seen from outside.
"""

import asyncio
import contextlib
import re
import threading
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import blake3
import cbor2

BLOCK_SIZE = 64 * 1024
EVENT_CONTEXT = "recmesh event v1"
LINK_REQUESTS = (b"GET /sync/v1/link ", b"POST /sync/v1/poll ")
BLOB_REQUEST = re.compile(rb"GET /sync/v1/groups/[0-9a-f]{64}/blobs/([0-9a-f]{64})[? ]")
NOTHING = b""
"""As a fault: the connection is taken, and no answer comes."""

START_TIMEOUT_S = 20.0


def refusal(status: int, *headers: str) -> bytes:
    """An answer to a request, as a fault."""
    return "\r\n".join([f"HTTP/1.1 {status} No", "Content-Length: 0", "Connection: close", *headers, "", ""]).encode()


class Crossing:
    """One connection that a peer dialled through the proxy."""

    def __init__(self) -> None:
        self.is_link = False
        self.events: dict[str, Counter[bytes]] = {"in": Counter(), "out": Counter()}
        """How often each event crossed, towards the listener and from it."""
        self.messages: Counter[str] = Counter()


class CountingProxy:
    """In front of one listener."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.faults: deque[bytes] = deque()
        """What the next requests for a link are answered, instead of being passed on; then they are."""
        self.happened: Counter[str] = Counter()
        """Faults that were met."""
        self.crossings: list[Crossing] = []
        self.blobs: Counter[str] = Counter()
        """How often bytes of each blob were asked for over plain HTTP, by its id."""
        self.carried = {"in": 0, "out": 0}
        """Bytes that were passed on, towards the listener and from it."""
        self.mark: int | None = None
        self.reached = threading.Event()
        """Is set once `mark` bytes were passed on from the listener: for who waits in another thread."""
        self.is_silent = False
        """Nothing is passed on and nothing is closed, as if the cable was cut: for connections that stand."""
        self.answers_per_s: float | None = None
        """Bytes of answers that are passed on in a second, beside links: somebody slow is behind it."""
        self.lies = False
        """One bit of each full block of an answer is turned, beside links: somebody behind it lies, or has a bad disk."""
        self._behind = port
        self._ended = asyncio.Event()

    @property
    def url(self) -> str:
        """Where it is dialled."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def links(self) -> list[Crossing]:
        """The connections that became links."""
        return [each for each in self.crossings if each.is_link]

    def copies(self) -> Counter[bytes]:
        """How often each event crossed this proxy, either way, on all connections together."""
        return sum((each.events["in"] + each.events["out"] for each in self.crossings), Counter[bytes]())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            return
        if head.startswith(LINK_REQUESTS) and self.faults:
            await self._fail(self.faults.popleft(), writer)
            return
        crossing = Crossing()
        self.crossings.append(crossing)
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        except OSError:
            writer.close()
            return
        inner_writer.write(head)
        is_link = b"upgrade: websocket" in head.lower()
        try:
            await asyncio.gather(
                self._pass("in", reader, inner_writer, _Frames(crossing, "in") if is_link else _Requests(self.blobs, head)),
                self._pass("out", inner_reader, writer, _Frames(crossing, "out", after_head=True) if is_link else None),
            )
        except asyncio.CancelledError:
            inner_writer.transport.abort()
            raise
        finally:
            for each in (writer, inner_writer):
                each.close()

    async def _fail(self, fault: bytes, writer: asyncio.StreamWriter) -> None:
        if fault == NOTHING:
            self.happened["nothing"] += 1
            await self._ended.wait()
        else:
            self.happened[fault.split()[1].decode()] += 1
            writer.write(fault)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        writer.close()

    async def _pass(self, direction: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, parts: "_Frames | _Requests | None") -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(BLOCK_SIZE):
                if self.is_silent:
                    self.happened["silence"] += 1
                    await self._ended.wait()
                    return
                if parts is not None:
                    parts.feed(data)
                elif direction == "out":
                    data = await self._answered(data)
                self.carried[direction] += len(data)
                if self.mark is not None and self.carried["out"] >= self.mark:
                    self.reached.set()
                writer.write(data)
                await writer.drain()
        if self.is_silent:
            await self._ended.wait()
        writer.close()

    async def _answered(self, data: bytes) -> bytes:
        if self.answers_per_s is not None:
            self.happened["slow"] += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), len(data) / self.answers_per_s)
        if self.lies and len(data) == BLOCK_SIZE:
            self.happened["lie"] += 1
            return data[:-1] + bytes([data[-1] ^ 1])
        return data

    def end(self) -> None:
        """Let go of those who wait."""
        self._ended.set()


class _Frames:
    """One direction of a WebSocket."""

    def __init__(self, crossing: Crossing, direction: str, *, after_head: bool = False) -> None:
        self._crossing = crossing
        self._direction = direction
        self._waiting = b""
        self._in_head = after_head

    def feed(self, data: bytes) -> None:
        """Take what comes."""
        self._waiting += data
        if self._in_head:
            head, end, rest = self._waiting.partition(b"\r\n\r\n")
            if not end:
                return
            self._crossing.is_link = head.startswith(b"HTTP/1.1 101 ")
            self._in_head, self._waiting = False, rest
        while (frame := self._next()) is not None:
            opcode, payload = frame
            if opcode == 2:
                self._count(payload)

    def _next(self) -> tuple[int, bytes] | None:
        """RFC 6455, section 5.2; nobody here splits a message into several frames."""
        data = self._waiting
        if len(data) < 2:
            return None
        assert data[0] & 0x80, "a message in several frames"
        size, start = data[1] & 0x7F, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        mask = b""
        if data[1] & 0x80:
            mask, start = data[start : start + 4], start + 4
        if len(data) < start + size:
            return None
        payload = data[start : start + size]
        if mask:
            key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
            payload = (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")
        self._waiting = data[start + size :]
        return data[0] & 0x0F, payload

    def _count(self, frame: bytes) -> None:
        name, *fields = cbor2.loads(frame)
        self._crossing.messages[name] += 1
        if name == "events":
            for header, _ in fields[3]:
                self._crossing.events[self._direction][_event_id(header)] += 1


class _Requests:
    """Plain requests of one connection, one after the other. Who asks for bytes sends no body."""

    def __init__(self, blobs: Counter[str], head: bytes) -> None:
        self._blobs = blobs
        self._waiting = b""
        self.feed(head)

    def feed(self, data: bytes) -> None:
        """Take what comes."""
        *lines, self._waiting = (self._waiting + data).split(b"\r\n")
        for line in lines:
            if found := BLOB_REQUEST.match(line):
                self._blobs[found[1].decode()] += 1


def _event_id(header: bytes) -> bytes:
    return blake3.blake3(header, derive_key_context=EVENT_CONTEXT).digest()


@asynccontextmanager
async def counting_proxy(endpoint: str) -> AsyncIterator[CountingProxy]:
    """A proxy in front of the listener at `endpoint`, `http://127.0.0.1:PORT`."""
    proxy = CountingProxy(int(endpoint.rpartition(":")[2]))
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.gather(task, return_exceptions=True)
        if task.cancelled():
            writer.transport.abort()  # Whatever it waited for, and whatever was still to be written.

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.end()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # They close what they had in the next round of the loop.
        await asyncio.sleep(0)


@contextmanager
def proxy_in_background(endpoint: str) -> Iterator[CountingProxy]:
    """The same, in a thread of its own: for tests of processes, which wait without a loop."""
    started: list[CountingProxy] = []
    ready, stop = threading.Event(), threading.Event()

    async def run() -> None:
        async with counting_proxy(endpoint) as proxy:
            started.append(proxy)
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert ready.wait(START_TIMEOUT_S)
    try:
        yield started[0]
    finally:
        stop.set()
        thread.join(START_TIMEOUT_S)
