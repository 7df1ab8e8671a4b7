"""Bodies of requests to the peer listener, over real sockets: none large, none slowly, few at once."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from io import BytesIO

import aiohttp
import pytest
from aiohttp import web

from peer.transport import bodies
from peer.transport.channel import CODE_HEADER
from peer.transport.connection import Connection
from peer.transport.listener import PeerListener

HEAD = b"POST /take HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"


class NoLinks:
    """A server behind which there are no links."""

    async def serve(self, *_: object, **__: object) -> Connection:
        raise AssertionError("nobody asks for a link here")


class Behind:
    """A listener with one route that takes a body, and answers when it is let."""

    def __init__(self) -> None:
        self.port = 0
        self.taken: list[int] = []
        self.waiting = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def take(self, request: web.Request) -> web.Response:
        self.taken.append(len(await request.read()))
        self.waiting += 1
        await self.may_answer.wait()
        self.waiting -= 1
        return web.json_response({"size": self.taken[-1]})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/take"


@pytest.fixture
async def behind() -> AsyncIterator[Behind]:
    made = Behind()
    listener = PeerListener(NoLinks(), tls=None)  # type: ignore[arg-type]
    await listener.start([web.post("/take", made.take)])
    made.port = int((await listener.listen("127.0.0.1", 0)).rpartition(":")[2])
    try:
        yield made
    finally:
        made.may_answer.set()
        await listener.stop()


async def refused(http: aiohttp.ClientSession, behind: Behind, data: object) -> tuple[int, str]:
    """Status and code, which stands in the head too."""
    async with http.post(behind.url, data=data) as answer:
        code = (await answer.json())["code"]
        assert answer.headers[CODE_HEADER] == code
        return answer.status, code


async def test_a_body_that_is_too_large_is_refused_whether_or_not_it_says_so(behind: Behind) -> None:
    async def in_parts() -> AsyncIterator[bytes]:
        for _ in range(bodies.BODY_SIZE_MAX // 1024 + 1):
            yield bytes(1024)

    async with aiohttp.ClientSession() as http:
        async with http.post(behind.url, data=bytes(bodies.BODY_SIZE_MAX)) as answer:
            assert await answer.json() == {"size": bodies.BODY_SIZE_MAX}
        for data in (BytesIO(bytes(bodies.BODY_SIZE_MAX + 1)), in_parts()):
            assert await refused(http, behind, data) == (413, "limit_exceeded")

    assert behind.taken == [bodies.BODY_SIZE_MAX]


async def test_a_body_that_trickles_is_not_waited_for(behind: Behind, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then, for ever: time counts from the first."""
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_S", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", behind.port)
    writer.write(HEAD + b"Content-Length: 60000\r\n\r\n")
    answer = asyncio.create_task(reader.readuntil(b"}"))
    sent = 0
    async with asyncio.timeout(10):
        while not answer.done():
            writer.write(b"a")
            sent += 1
            await asyncio.wait([answer], timeout=0.02)
    head, _, body = answer.result().partition(b"\r\n\r\n")
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()

    assert (head.split()[1], json.loads(body)) == (b"408", {"code": "timed_out"})
    assert sent > 1
    assert behind.taken == []


async def test_few_bodies_are_taken_at_once(behind: Behind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes then is asked to come again, and is served when there is room; requests without a body do not wait."""
    monkeypatch.setattr(bodies, "BODIES_AT_ONCE_MAX", 3)
    behind.may_answer.clear()
    async with aiohttp.ClientSession() as http:
        asked = [asyncio.create_task(http.post(behind.url, data=b"abc")) for _ in range(3)]
        async with asyncio.timeout(10):
            while behind.waiting < 3:  # noqa: ASYNC110  (the route has no event for it)
                await asyncio.sleep(0)
        async with http.post(behind.url, data=b"abc") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        async with http.get(behind.url) as answer:
            assert answer.status == 405
        behind.may_answer.set()
        assert [(await each).status for each in asked] == [200] * 3
        async with http.post(behind.url, data=b"abc") as answer:
            assert answer.status == 200


async def test_one_address_has_its_share_of_bodies(behind: Behind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes from another one is served."""
    monkeypatch.setattr(bodies, "BODIES_PER_ADDRESS_MAX", 2)
    behind.may_answer.clear()
    other = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with aiohttp.ClientSession() as http, aiohttp.ClientSession(connector=other) as elsewhere:
        asked = [asyncio.create_task(http.post(behind.url, data=b"abc")) for _ in range(2)]
        async with asyncio.timeout(10):
            while behind.waiting < 2:  # noqa: ASYNC110  (the route has no event for it)
                await asyncio.sleep(0)
        assert await refused(http, behind, b"abc") == (503, "limit_exceeded")
        asked.append(asyncio.create_task(elsewhere.post(behind.url, data=b"abc")))
        async with asyncio.timeout(10):
            while behind.waiting < 3:  # noqa: ASYNC110  (as above)
                await asyncio.sleep(0)
        behind.may_answer.set()
        assert [(await each).status for each in asked] == [200] * 3
