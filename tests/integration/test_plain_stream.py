"""Large parts over plain HTTP, from servers that answer as they should not. What is wrong ends that request and no more."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from peer.core.identity import BlobId
from peer.errors import BlobAbsentError, HandshakeFailedError, NotAMemberError, TransportError
from peer.transport import blob_client
from peer.transport.blob_client import LARGE_SIZE, BlobClient
from peer.transport.plain_stream import HEAD_SIZE_MAX
from tests.blob_site import GROUP, MEMBER, MIB, SERVER, STRANGER, serving, write_file
from tests.patience import PATIENCE_S

BLOB = BlobId(bytes(32))
RIGHT = f"HTTP/1.1 206 Partial Content\r\nContent-Length: {LARGE_SIZE}\r\n\r\n".encode()
NEVER = b"never"


@contextlib.asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that says always the same, and keeps what it was asked."""
    asked: list[bytes] = []
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer.removesuffix(NEVER))
            await writer.drain()
            if answer.endswith(NEVER):
                await over.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
        over.set()


async def read(endpoint: str, start: int = 0, stop: int = LARGE_SIZE, blob: BlobId = BLOB) -> bytes:
    """What comes, put into pieces of memory that fit badly."""
    room, found = memoryview(bytearray(100_001)), bytearray()
    async with (
        asyncio.timeout(PATIENCE_S),
        BlobClient(MEMBER, SERVER.peer_id, endpoint) as client,
        contextlib.aclosing(client.read_into(GROUP, blob, lambda: room, start, stop)) as stream,
    ):
        async for part in stream:
            found += part
    return bytes(found)


async def test_what_is_asked_for_comes_and_no_more_is_read() -> None:
    async with answering(RIGHT + bytes(LARGE_SIZE) + b"and more") as (endpoint, asked):
        assert await read(endpoint) == bytes(LARGE_SIZE)
        assert f"range: bytes=0-{LARGE_SIZE - 1}".encode() in asked[0].lower()
        assert b"\r\nconnection: close\r\n" in asked[0].lower()


@pytest.mark.parametrize("size", [LARGE_SIZE - 1, LARGE_SIZE, 3 * MIB + 17])
async def test_every_part_of_a_blob_is_what_the_file_has_there(tmp_path: Path, size: int) -> None:
    """The first request has no good nonce, and is sent again."""
    async with serving(tmp_path / "served") as site:
        facts = await site.add(write_file(tmp_path / "source", 4 * MIB))
        data = (tmp_path / "source").read_bytes()
        assert await read(site.endpoint, 5, 5 + size, facts.blob) == data[5 : 5 + size]
        with pytest.raises(BlobAbsentError):
            await read(site.endpoint)


async def test_a_stranger_is_told_so(tmp_path: Path) -> None:
    async with serving(tmp_path / "served") as site, BlobClient(STRANGER, SERVER.peer_id, site.endpoint) as client:
        with pytest.raises(NotAMemberError):
            await anext(client.read_into(GROUP, BLOB, lambda: memoryview(bytearray(1)), 0, LARGE_SIZE))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"hello\r\n\r\n", id="no-http"),
        pytest.param(b"HTTP/1.1 206 Partial Content\r\nContent-Length", id="half-a-head"),
        pytest.param(b"HTTP/1.1 206 Partial Content\r\n" + b"x-header: y\r\n" * 1000 + b"\r\n", id="many-headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\n\r\n" + bytes(LARGE_SIZE), id="all-of-it"),
        pytest.param(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 99\r\n\r\n" + bytes(99), id="another-length"),
        pytest.param(b"HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="chunks"),
        pytest.param(RIGHT + bytes(LARGE_SIZE - 1), id="less-than-it-says"),
        pytest.param(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", id="elsewhere"),
    ],
)
async def test_what_is_no_good_answer_is_told_so(answer: bytes) -> None:
    async with answering(answer) as (endpoint, _):
        with pytest.raises(TransportError):
            await read(endpoint)


async def test_a_head_that_does_not_end_is_not_read_for_ever() -> None:
    async with answering(b"HTTP/1.1 206 Partial Content\r\nx: " + b"y" * 8 * HEAD_SIZE_MAX + NEVER) as (endpoint, _):
        with pytest.raises(TransportError, match="does not end"):
            await read(endpoint)


async def test_who_accepts_no_signature_is_asked_a_few_times() -> None:
    async with answering(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n") as (endpoint, asked):
        with pytest.raises(HandshakeFailedError):
            await read(endpoint)
        assert len(asked) == blob_client.TRIES_MAX


@pytest.mark.parametrize("answer", [NEVER, RIGHT + bytes(1000) + NEVER])
async def test_silence_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    monkeypatch.setattr(blob_client, "READ_TIMEOUT_S", 0.2)
    async with answering(answer) as (endpoint, _):
        with pytest.raises(TransportError):
            await read(endpoint)
