"""What this peer waits for, and for how long: others that are slow or say nothing, over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from peer.core.certificate import LogKind
from peer.core.encoding import encode
from peer.core.identity import BlobId
from peer.core.run import Draft
from peer.errors import MeshError, TransportError
from peer.sync import limits, messages
from peer.transport import blob_client, opening
from peer.transport.blob_client import BlobClient
from tests.blob_site import GROUP, MEMBER, SERVER
from tests.integration.hostile_peer import HostilePeer, admit, hostile_peer
from tests.link_lab import Lab
from tests.samples import key_pair

KIB = 1024


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Sites that end with the test."""
    async with AsyncExitStack() as stack:
        yield Lab(tmp_path, stack)


@contextlib.asynccontextmanager
async def answering(answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """A listener that reads a request, answers as it is told, and then says no more; gives its endpoint."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
            await ended.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ended.set()


async def nothing(_: asyncio.StreamWriter) -> None:
    """Say nothing."""


async def half_a_blob(writer: asyncio.StreamWriter) -> None:
    """Promise 100 bytes and send 50."""
    writer.write(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 100\r\nContent-Range: bytes 0-99/100\r\n\r\n" + bytes(50))
    await writer.drain()


async def test_a_listener_that_never_answers_is_not_waited_for(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "CONNECT_TIMEOUT_S", 0.2)
    a, b = await lab.site("a"), await lab.site("b")
    group = await lab.found(a)
    async with answering(nothing) as endpoint:
        with pytest.raises(MeshError, match="no answer") as caught:
            await b.links.join((await lab.invitation(a, group))._replace(endpoint=endpoint))
    assert caught.value.code == "unreachable"


@pytest.mark.parametrize("answer", [nothing, half_a_blob])
async def test_bytes_that_do_not_come_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[asyncio.StreamWriter], Awaitable[None]]
) -> None:
    monkeypatch.setattr(blob_client, "READ_TIMEOUT_S", 0.2)
    async with answering(answer) as endpoint, BlobClient(MEMBER, SERVER.peer_id, endpoint) as client:
        with pytest.raises(TransportError):
            async for _ in client.read(GROUP, BlobId(bytes(32)), 0, 100):
                pass


def bytes_of_events(peer: HostilePeer) -> int:
    """How much of all that was heard is events."""
    return sum(len(messages.encode_message(message)) for message in peer.heard if isinstance(message, messages.Events))


async def test_a_page_is_read_only_when_the_one_before_has_gone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for a long log gets what it granted credit for, and the store is not read further than a page beyond that."""
    monkeypatch.setattr(limits, "CREDIT_INITIAL", 1200 * KIB)
    a = await lab.site("a")
    group = await lab.found(a)
    await admit(a, group, key_pair("mallory").peer_id)
    for _ in range(20):
        await a.store.write(group, LogKind.DATA, [Draft("test.note", encode({"a": bytes(60 * KIB)}))] * 4)
    (log,) = [log for log in a.store.replica.groups[group].tips if a.store.replica.groups[group].certificates[log].kind is LogKind.DATA]
    async with hostile_peer(a) as mallory:
        await mallory.hears(lambda message: isinstance(message, messages.Have))
        await mallory.say(messages.Want(group, log, (), search=False))
        await mallory.hears(lambda message: isinstance(message, messages.Events))
        await mallory.is_heard_out()
        link = a.links.link_to(key_pair("mallory").peer_id)
        assert link is not None
        await lab.wait(lambda: bytes_of_events(mallory) > limits.CREDIT_INITIAL - 260 * KIB)
        assert bytes_of_events(mallory) <= limits.CREDIT_INITIAL
        before = link._pages_read
        assert before <= limits.CREDIT_INITIAL // (limits.PAGE_SIZE_MAX // 2) + 1
        await mallory.say(messages.Credit(800 * KIB))
        await lab.wait(lambda: bytes_of_events(mallory) > limits.CREDIT_INITIAL)
        assert link._pages_read > before
