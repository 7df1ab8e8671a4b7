"""The door of the peer listener, with real sockets: strangers that say nothing, or nothing that makes sense."""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_network

import pytest
from aiohttp import web

from peer.transport import door
from peer.transport.tls import client_context, server_context
from tests.blob_site import SERVER

ROOM = 8
REQUEST = b"GET /here HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@contextlib.asynccontextmanager
async def opened(*, tls: bool = False, crowding: door.Crowding = door.NO_EXEMPTIONS) -> AsyncIterator[int]:
    """A door with something behind it; gives its port."""

    async def here(_: web.Request) -> web.Response:
        return web.Response(text="here")

    app = web.Application()
    app.add_routes([web.get("/here", here)])
    opened = door.Door(app, server_context(SERVER) if tls else None, stop_timeout_s=1.0, crowding=crowding)
    try:
        await opened.open()
        yield await opened.listen("127.0.0.1", 0)
    finally:
        await opened.close()


async def ask(port: int, data: bytes = REQUEST, *, tls: bool = False, host: str = "127.0.0.1") -> bytes:
    """What comes back until the other side closes; nothing if it does not want us."""
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, local_addr=(host, 0))
            writer.write(data)
            answer = await reader.read()
            writer.close()
            return answer
    except OSError:
        return b""


@contextlib.contextmanager
def silent(port: int, count: int, data: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connections that say `data` and no more."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(count)]
        for each in held:
            each.sendall(data)
        yield held


def is_closed(held: socket.socket) -> bool:
    """Whether the other side has closed it."""
    held.settimeout(0)
    try:
        return held.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


async def answered(port: int, *, tls: bool) -> None:
    """Until somebody is let in and answered."""
    async with asyncio.timeout(10):
        while not (await ask(port, tls=tls)).endswith(b"here"):  # noqa: ASYNC110  (the door has no event for it)
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("tls", [False, True])
async def test_no_more_are_let_in_than_there_is_room_for_and_the_room_is_given_back(monkeypatch: pytest.MonkeyPatch, *, tls: bool) -> None:
    monkeypatch.setattr(door, "CONNECTIONS_MAX", ROOM)
    async with opened(tls=tls) as port:
        with silent(port, 5 * ROOM) as held:
            assert await ask(port, tls=tls) == b""
            assert sum(not is_closed(each) for each in held) == ROOM
        await answered(port, tls=tls)


@pytest.mark.parametrize("tls", [False, True])
async def test_one_address_has_its_share_of_the_room_and_no_more(*, tls: bool) -> None:
    """Whoever comes from another one is let in; so is the first again, once it gives up a place."""
    async with opened(tls=tls, crowding=door.Crowding(3)) as port:
        with silent(port, 10) as held:
            assert await ask(port, tls=tls) == b""
            assert sum(not is_closed(each) for each in held) == 3
            assert (await ask(port, tls=tls, host="127.0.0.2")).endswith(b"here")
        await answered(port, tls=tls)


async def test_an_exempt_network_has_all_of_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "CONNECTIONS_MAX", ROOM)
    async with opened(crowding=door.Crowding(3, (ip_network("127.0.0.0/8"),))) as port:
        with silent(port, ROOM - 1):
            assert (await ask(port)).endswith(b"here")


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.2", "192.0.2.2"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::1", "2001:db8:0:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.0.0.1", None),
        ("::ffff:127.0.0.1", None),
        ("10.8.3.4", None),
    ],
)
def test_connections_are_counted_by_address_and_those_of_ipv6_by_network(host: str, source: str | None) -> None:
    """One site has 2**64 addresses of IPv6, but one network."""
    exempt = (ip_network("127.0.0.0/8"), ip_network("10.8.0.0/16"))

    assert door.Crowding(1, exempt).source_of(host) == source


@pytest.mark.parametrize("tls", [False, True])
async def test_who_sends_a_request_byte_by_byte_has_to_leave(monkeypatch: pytest.MonkeyPatch, *, tls: bool) -> None:
    """Time counts from when the connection stands, not from the last byte."""
    monkeypatch.setattr(door, "SILENT_MAX_S", 0.3)
    async with opened(tls=tls) as port:
        context = client_context() if tls else None
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"GET /here HTTP/1.1\r\nX: ")
        left = asyncio.create_task(reader.read())
        sent = 0
        async with asyncio.timeout(10):
            while not left.done():
                writer.write(b"a")
                sent += 1
                await asyncio.wait([left], timeout=0.02)
        assert sent > 1
        assert not left.result().startswith(b"HTTP/1.1 200")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /" + b"a" * (door.HEADER_LINE_MAX - 20) + b" HTTP/1.1\r\nHost: x\r\n", 404),
        (b"GET /" + b"a" * (door.HEADER_LINE_MAX + 10) + b" HTTP/1.1\r\nHost: x\r\n", 400),
        (b"GET /here HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (door.HEADER_LINE_MAX - 20) + b"\r\n", 200),
        (b"GET /here HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (door.HEADER_LINE_MAX + 10) + b"\r\n", 400),
        (b"GET /here HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * (door.HEADERS_MAX - 3), 200),
        (b"GET /here HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * (door.HEADERS_MAX + 1), 400),
    ],
    ids=["target", "long-target", "header", "long-header", "headers", "many-headers"],
)
async def test_a_head_has_a_size(head: bytes, status: int) -> None:
    async with opened() as port:
        answer = await ask(port, head + b"Connection: close\r\n\r\n")

        assert int(answer.split(maxsplit=2)[1]) == status
        assert (await ask(port)).endswith(b"here")


async def test_a_head_without_end_is_cut_off() -> None:
    """Headers of the right size, one after the other, for ever."""
    async with opened() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /here HTTP/1.1\r\n")
        left = asyncio.create_task(reader.read())
        sent = 0
        async with asyncio.timeout(10):
            while not left.done() and not writer.is_closing():
                writer.write(b"X: " + b"a" * 1000 + b"\r\n")
                sent += 1
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
                await asyncio.sleep(0)
            with contextlib.suppress(ConnectionError):
                assert b" 400 " in await left
        assert sent >= door.HEADERS_MAX
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.mark.parametrize("said", [b"", b"GET /here HTTP/1.1\r\nHost: "])
@pytest.mark.parametrize("tls", [False, True])
async def test_who_says_nothing_has_to_leave(monkeypatch: pytest.MonkeyPatch, said: bytes, *, tls: bool) -> None:
    monkeypatch.setattr(door, "CONNECTIONS_MAX", ROOM)
    monkeypatch.setattr(door, "SILENT_MAX_S", 0.2)
    async with opened(tls=tls) as port:
        with silent(port, ROOM, said):
            await answered(port, tls=tls)


async def test_junk_is_answered_or_cut_off_and_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    junk = [os.urandom(1000), b"FOO BAR BAZ\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", b"GET / HTTP/1.1\r\n\x00\r\n\r\n"]
    junk.append(b"POST /here HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n")
    with caplog.at_level(logging.INFO):
        async with opened() as port:
            for data in junk:
                await ask(port, data)
            assert (await ask(port)).endswith(b"here")
    assert caplog.text == ""


async def test_a_door_that_opens_at_another_address_keeps_who_came_in_at_the_first() -> None:
    """The new one is open before the old one closes; nobody comes in there any more, and whoever did stays."""

    async def here(_: web.Request) -> web.Response:
        return web.Response(text="here")

    app = web.Application()
    app.add_routes([web.get("/here", here)])
    opened = door.Door(app, None, stop_timeout_s=1.0)
    try:
        await opened.open()
        port = await opened.listen("127.0.0.2", 0)
        reader, writer = await asyncio.open_connection("127.0.0.2", port)
        writer.write(REQUEST.replace(b"Connection: close\r\n", b""))
        assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"here"), 20)

        other = await opened.listen("127.0.0.3", 0)
        opened.leave("127.0.0.2", port)

        writer.write(REQUEST)
        assert b"here" in await asyncio.wait_for(reader.read(), 20)
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.2", port)
        _, writer = await asyncio.open_connection("127.0.0.3", other)
        writer.close()
    finally:
        await opened.close()


async def test_an_address_where_a_door_cannot_open_leaves_the_others_as_they_are() -> None:
    opened = door.Door(web.Application(), None, stop_timeout_s=1.0)
    try:
        await opened.open()
        port = await opened.listen("127.0.0.2", 0)
        with pytest.raises(OSError, match="in use"):
            await opened.listen("127.0.0.2", port)
        _, writer = await asyncio.open_connection("127.0.0.2", port)
        writer.close()
    finally:
        await opened.close()


@pytest.mark.parametrize("plain", [True, False])
async def test_one_door_speaks_tls_at_one_address_and_not_at_another(*, plain: bool) -> None:
    async def here(_: web.Request) -> web.Response:
        return web.Response(text="here")

    app = web.Application()
    app.add_routes([web.get("/here", here)])
    opened = door.Door(app, server_context(SERVER), stop_timeout_s=1.0)
    try:
        await opened.open()
        port = await opened.listen("127.0.0.1", 0, plain=plain)
        assert (b"here" in await ask(port), b"here" in await ask(port, tls=True)) == (plain, not plain)
    finally:
        await opened.close()
