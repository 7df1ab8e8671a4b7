"""The door of the peer listener, with real sockets: strangers that say nothing, or nothing that makes sense."""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import web

from peer.transport import door
from peer.transport.tls import server_context
from tests.blob_site import SERVER

ROOM = 8
REQUEST = b"GET /here HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@contextlib.asynccontextmanager
async def opened(*, tls: bool = False) -> AsyncIterator[int]:
    """A door with something behind it; gives its port."""

    async def here(_: web.Request) -> web.Response:
        return web.Response(text="here")

    app = web.Application()
    app.add_routes([web.get("/here", here)])
    opened = door.Door(app, server_context(SERVER) if tls else None, stop_timeout_s=1.0)
    try:
        yield await opened.open("127.0.0.1", 0)
    finally:
        await opened.close()


async def ask(port: int, data: bytes = REQUEST, *, tls: bool = False) -> bytes:
    """What comes back until the other side closes; nothing if it does not want us."""
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
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
