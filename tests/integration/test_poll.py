"""Polled connections between two ends, over real sockets: what arrives, and what somebody sees who does not keep to the rules."""

import asyncio
import contextlib
import os
import random
import ssl
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from peer.core.identity import PeerId
from peer.errors import ChannelKeyMismatchError, LinkBrokenError, MeshError
from peer.transport import bodies, poll
from peer.transport.carrier import Carrier, CarrierKind
from peer.transport.channel import CODE_HEADER, NO_RULES
from peer.transport.connection import now_ms
from peer.transport.opening import UPGRADE_REFUSED_MS, Upgrades, opened_carrier
from peer.transport.pinning import Dialled
from peer.transport.poll_batches import BATCH_BYTES_MAX, POLL_BODY_SIZE_MAX, POLL_PATH, Batch, decode_batch, encode_batch
from peer.transport.poll_end import PollEnd
from peer.transport.tls import server_context
from tests.blob_site import SERVER
from tests.integration.polling import DEADLINE_S, KEY_HEADER, answering, dialled, listening, say_nothing, until
from tests.old_proxy import old_proxy
from tests.tls_proxy import make_certificate


async def test_frames_arrive_in_order_and_once_both_ways() -> None:
    """Of all sizes, single ones and many at once, and the last before the end."""
    chance = random.Random(1)
    frames = [bytes([number % 256]) * chance.choice([0, 1, 100, 10_000, 260_000, 1024 * 1024]) for number in range(60)]
    frames += [number.to_bytes(4, "big") for number in range(2000)]
    heard: list[bytes] = []

    async with listening() as (there, _), dialled(there.endpoint) as carrier, asyncio.timeout(DEADLINE_S):

        async def read() -> None:
            while len(heard) < len(frames) and (frame := await carrier.receive()) is not None:
                heard.append(frame)

        reading = asyncio.create_task(read())
        for frame in frames:
            await carrier.send(frame)
        await reading
        await carrier.close()

    assert heard == frames


async def test_what_was_said_before_the_end_arrives() -> None:
    """Last words are why a link ends: they are not lost."""

    async def last_words(carrier: Carrier) -> None:
        for number in range(10):
            await carrier.send(bytes([number]))
        await carrier.close()

    async with listening(last_words) as (there, _), dialled(there.endpoint) as carrier, asyncio.timeout(DEADLINE_S):
        heard = [await carrier.receive() for _ in range(11)]

    assert heard == [*(bytes([number]) for number in range(10)), None]


async def test_a_request_that_is_repeated_is_not_taken_twice_and_ends_the_connection() -> None:
    """Whoever repeats it, a proxy or somebody who heard it."""
    async with listening() as (there, _), aiohttp.ClientSession() as http:
        connection = await there.opened(http)
        said = Batch(connection, 1, last=False, frames=(b"once",))
        assert (await there.ask(http, said))[0] == 200
        assert await there.ask(http, Batch(connection, 1, last=False, frames=())) == (200, Batch(connection, 1, last=False, frames=(b"once",)))
        assert await there.ask(http, said) == (400, "protocol_violation")
        assert await there.ask(http, Batch(connection, 2, last=False, frames=())) == (404, "not_found")


@pytest.mark.parametrize("frames", [(), (b"later",)])
async def test_a_request_that_is_missing_ends_the_connection(frames: tuple[bytes, ...]) -> None:
    """What came after a loss is not taken for what comes next."""
    async with listening() as (there, _), aiohttp.ClientSession() as http:
        connection = await there.opened(http)
        assert await there.ask(http, Batch(connection, 2, last=False, frames=frames)) == (400, "protocol_violation")
        assert await there.ask(http, Batch(connection, 1, last=False, frames=(b"first",))) == (404, "not_found")


async def test_one_question_is_asked_at_a_time() -> None:
    async with listening() as (there, served), aiohttp.ClientSession() as http:
        connection = await there.opened(http)
        asked = asyncio.create_task(there.ask(http, Batch(connection, 1, last=False, frames=())))
        await until(lambda: bool(served.carriers and served.carriers[0]._under_way))  # type: ignore[attr-defined]
        assert await there.ask(http, Batch(connection, 2, last=False, frames=())) == (400, "protocol_violation")
        assert await asked == (200, Batch(connection, 1, last=True, frames=()))


async def test_an_id_that_was_not_given_opens_nothing() -> None:
    """And the connections of others go on."""
    async with listening() as (there, _), aiohttp.ClientSession() as http:
        connection = await there.opened(http)
        for wrong in (os.urandom(32), bytes(32), connection[:-1] + bytes([connection[-1] ^ 1])):
            assert await there.ask(http, Batch(wrong, 1, last=False, frames=(b"hello",))) == (404, "not_found")
        assert (await there.ask(http, Batch(connection, 1, last=False, frames=(b"mine",))))[0] == 200
        assert await there.ask(http, Batch(connection, 1, last=False, frames=())) == (200, Batch(connection, 1, last=False, frames=(b"mine",)))


async def test_an_id_is_good_over_the_channel_that_it_was_given_over() -> None:
    """The handshake inside binds one key: what comes through another proxy is not part of it."""
    async with listening() as (there, _), aiohttp.ClientSession() as http:
        connection = await there.opened(http)
        foreign = Batch(connection, 1, last=False, frames=(b"foreign",))
        assert await there.ask(http, foreign, **{KEY_HEADER: "other"}) == (404, "not_found")
        assert (await there.ask(http, Batch(connection, 1, last=False, frames=(b"mine",))))[0] == 200


async def test_a_body_that_is_too_large_is_refused() -> None:
    """The longest frame just fits, here and in nothing else that has a body."""
    async with listening() as (there, _), aiohttp.ClientSession() as http:
        connection = await there.opened(http)
        assert (await there.ask(http, Batch(connection, 1, last=False, frames=(bytes(1024 * 1024),))))[0] == 200
        assert await there.send(http, bytes(POLL_BODY_SIZE_MAX + 1)) == (413, "limit_exceeded")
        async with http.post(f"{there.endpoint}/take", data=BytesIO(bytes(bodies.BODY_SIZE_MAX + 1))) as answer:
            assert answer.status == 413


@pytest.mark.parametrize("body", [b"", b"\x80", b"\xfe" * 100, encode_batch(Batch(b"", 1, last=False, frames=())), b"\x84\x40\x00\xf4\x81\x41a"])
async def test_what_is_no_batch_is_refused(body: bytes) -> None:
    """And nobody is served for it."""
    async with listening() as (there, served), aiohttp.ClientSession() as http:
        status, code = await there.send(http, body)

        assert (status, code) in {(400, "malformed_frame"), (400, "protocol_violation")}
        assert not served.carriers


@pytest.mark.parametrize("limit", ["CONNECTIONS_MAX", "CONNECTIONS_PER_ADDRESS_MAX"])
async def test_polled_connections_are_few(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """Who comes then is asked to come again; a place that is given up is free."""
    monkeypatch.setattr(poll, limit, 3)
    async with listening() as (there, _), aiohttp.ClientSession() as http:
        held = [await there.opened(http) for _ in range(3)]
        async with http.post(f"{there.endpoint}{POLL_PATH}", data=encode_batch(Batch(b"", 0, last=False, frames=()))) as answer:
            assert (answer.status, answer.headers[CODE_HEADER], answer.headers["Retry-After"]) == (503, "limit_exceeded", "5")
        assert (await there.ask(http, Batch(held[0], 1, last=True, frames=())))[0] == 200
        assert (await there.ask(http, Batch(held[0], 1, last=False, frames=())))[0] in (200, 404)
        async with asyncio.timeout(DEADLINE_S):
            while (await there.ask(http, Batch(b"", 0, last=False, frames=())))[0] != 200:  # noqa: ASYNC110  (the listener has no event for it)
                await asyncio.sleep(0.02)


async def test_where_strangers_fill_the_room_a_polled_connection_is_asked_to_come_again() -> None:
    """Those that have not proved anything are counted together, however they came."""
    async with listening() as (there, served), aiohttp.ClientSession() as http:
        served.room = False
        assert await there.ask(http, Batch(b"", 0, last=False, frames=())) == (503, "limit_exceeded")
        assert not served.carriers


async def test_questions_that_wait_take_no_places_of_bodies() -> None:
    """Otherwise a few quiet links would shut out everybody's requests."""
    async with listening() as (there, served), aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        count = bodies.BODIES_AT_ONCE_MAX
        asked = [asyncio.create_task(there.ask(http, Batch(await there.opened(http), 1, last=False, frames=()))) for _ in range(count)]
        await until(lambda: sum(bool(each._under_way) for each in served.carriers) == count)  # type: ignore[attr-defined]
        async with http.post(f"{there.endpoint}/take", data=b"123") as answer:
            assert await answer.text() == "3"
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def test_a_question_is_answered_in_the_end_without_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a proxy in between loses patience; the connection goes on."""
    monkeypatch.setattr(poll, "HOLD_MAX_S", 0.2)
    monkeypatch.setattr(poll, "LOOK_S", 0.1)
    async with listening() as (there, _), aiohttp.ClientSession() as http:
        connection = await there.opened(http)
        for number in (1, 2):
            assert await there.ask(http, Batch(connection, number, last=False, frames=())) == (200, Batch(connection, number, last=False, frames=()))


async def test_a_connection_without_requests_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poll, "SILENT_MAX_S", 0.2)
    async with listening() as (there, _), aiohttp.ClientSession() as http:
        connection = await there.opened(http)
        await until(lambda: there.carriers[0].is_cut)  # type: ignore[attr-defined]
        assert await there.ask(http, Batch(connection, 1, last=False, frames=())) == (404, "not_found")


async def test_a_connection_ends_when_who_asked_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site that was switched off is not shown as linked for as long as a question may wait."""
    monkeypatch.setattr(poll, "LOOK_S", 0.1)
    async with listening() as (there, _):
        async with aiohttp.ClientSession() as http:
            connection = await there.opened(http)
            asked = asyncio.create_task(there.ask(http, Batch(connection, 1, last=False, frames=())))
            await until(lambda: bool(there.carriers[0]._under_way))  # type: ignore[attr-defined]
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        await until(lambda: there.carriers[0].is_cut)  # type: ignore[attr-defined]


async def test_a_slow_reader_makes_the_other_side_wait() -> None:
    """In both directions little is kept, and all of it arrives when it is read."""
    frames = 40
    frame = bytes(100_000)
    sent = 0
    may_read = asyncio.Event()

    async def send_much(carrier: Carrier) -> None:
        nonlocal sent
        for _ in range(frames):
            await carrier.send(frame)
            sent += 1
        await may_read.wait()
        for _ in range(frames):
            assert await carrier.receive() == frame
        await carrier.close()

    async with listening(send_much) as (there, _), dialled(there.endpoint) as carrier, asyncio.timeout(DEADLINE_S):
        brought = 0

        async def bring_much() -> None:
            nonlocal brought
            for _ in range(frames):
                await carrier.send(frame)
                brought += 1

        bringing = asyncio.create_task(bring_much())
        await until(lambda: sent * len(frame) >= BATCH_BYTES_MAX and brought * len(frame) >= BATCH_BYTES_MAX)
        await asyncio.wait([bringing], timeout=0.3)
        for count in (sent, brought):
            assert count * len(frame) <= 3 * BATCH_BYTES_MAX + 2 * len(frame)
        may_read.set()
        assert [await carrier.receive() for _ in range(frames)] == [frame] * frames
        await bringing
        assert await carrier.receive() is None


async def test_frames_that_nobody_reads_are_not_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first are taken, the next wait for a while; then it is over."""
    monkeypatch.setattr(poll, "TAKE_TIMEOUT_S", 0.2)
    async with listening(say_nothing) as (there, _), aiohttp.ClientSession() as http:
        connection = await there.opened(http)
        assert (await there.ask(http, Batch(connection, 1, last=False, frames=(b"a",))))[0] == 200
        await there.ask(http, Batch(connection, 2, last=False, frames=(b"b",)))
        await until(lambda: there.carriers[0].is_cut)  # type: ignore[attr-defined]
        assert list(there.carriers[0]._arrived) == [b"a"]  # type: ignore[attr-defined]


async def test_a_dialler_does_not_believe_another_answer() -> None:
    """An answer that belongs to another request, or to another connection, ends it."""
    forged: list[Batch] = []

    async def answer(request: web.Request) -> web.Response:
        batch = decode_batch(await request.read())
        if not batch.connection:
            return web.Response(body=encode_batch(batch._replace(connection=b"c" * 32)), content_type="application/cbor")
        return web.Response(body=encode_batch(forged[0]), content_type="application/cbor")

    for wrong in (Batch(b"c" * 32, 2, last=False, frames=(b"x",)), Batch(b"d" * 32, 1, last=False, frames=(b"x",))):
        forged[:] = [wrong]
        async with answering(answer) as endpoint, dialled(endpoint) as carrier, asyncio.timeout(DEADLINE_S):
            with pytest.raises(MeshError, match="another request"):
                await carrier.receive()
            with pytest.raises(MeshError):
                await carrier.send(b"y")


async def test_an_answer_without_end_is_not_read() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        batch = decode_batch(await request.read())
        if not batch.connection:
            return web.Response(body=encode_batch(batch._replace(connection=b"c" * 32)), content_type="application/cbor")
        endless = web.StreamResponse(headers={"Content-Type": "application/cbor"})
        await endless.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await endless.write(bytes(65536))
        return endless

    async with answering(answer) as endpoint, dialled(endpoint) as carrier, asyncio.timeout(DEADLINE_S):
        with pytest.raises(MeshError) as caught:
            await carrier.receive()
    assert caught.value.code == "limit_exceeded"


async def test_what_is_too_large_for_a_proxy_arrives_in_order_and_once() -> None:
    """Half of it, and half of that, with nothing left out."""
    frames = [bytes([number]) * 25_000 for number in range(80)]
    async with (
        listening() as (there, _),
        old_proxy(there.endpoint, body_max=100_000) as proxy,
        dialled(proxy.url) as carrier,
        asyncio.timeout(DEADLINE_S),
    ):
        sending = asyncio.create_task(_send_all(carrier, frames))
        heard = [await carrier.receive() for _ in frames]
        await sending

    assert heard == frames
    assert proxy.too_large >= 2


async def _send_all(carrier: Carrier, frames: list[bytes]) -> None:
    for frame in frames:
        await carrier.send(frame)


async def test_all_connections_of_a_link_show_one_key(tmp_path: Path) -> None:
    """One handshake binds one key: where the address shows another one, good as that may be, no request is made."""
    files, served = make_certificate(tmp_path / "tls"), 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            served += 1
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        to = Dialled(SERVER.peer_id, f"https://127.0.0.1:{port}#spki={files.spki.hex()}", NO_RULES)
        async with aiohttp.ClientSession(connector=to.connector()) as http:
            async with http.get(to.url):
                to.keep_channel_key()
            server.close()
            async with await asyncio.start_server(answer, "127.0.0.1", port, ssl=server_context(SERVER)):
                with pytest.raises(ChannelKeyMismatchError, match="another key"):
                    await http.get(to.url)

    assert served == 1


async def test_what_is_put_back_leaves_in_order() -> None:
    """What did not leave is what leaves next."""
    end = PollEnd(b"", "")
    frames = [bytes([number]) * 10 for number in range(6)]
    for frame in frames:
        await end.send(frame)
    taken, _ = end._take(30)
    assert list(taken) == frames[:3]
    end._put_back(taken)
    left = [frame for _ in range(3) for frame in end._take(20)[0]]

    assert left == frames


async def test_a_listener_that_goes_away_ends_the_connection() -> None:
    async with listening() as (there, _), dialled(there.endpoint) as carrier:
        await until(lambda: bool(there.carriers))
        there.carriers[0].cut()
        async with asyncio.timeout(DEADLINE_S):
            with contextlib.suppress(LinkBrokenError):
                assert await carrier.receive() is None


async def test_polling_that_begins_anew_does_not_put_off_the_next_upgrade() -> None:
    """Where links often end, that would be for ever, also when a WebSocket would pass again."""
    upgrades = Upgrades()
    async with listening() as (there, _), asyncio.timeout(DEADLINE_S):
        upgrades.refused(there.endpoint, now_ms() - UPGRADE_REFUSED_MS + 60_000)
        for _ in range(2):
            async with opened_carrier(Dialled(PeerId(bytes(32)), there.endpoint, NO_RULES), upgrades) as carrier:
                assert carrier.kind is CarrierKind.POLL

        assert not upgrades.are_refused(there.endpoint, now_ms() + 60_000)
