"""Bytes for those who take too many at once, or do not take what they asked for; over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from peer.core.byte_store import BlobFacts
from peer.core.identity import BlobId, KeyPair
from peer.core.relaying import WantedPart
from peer.transport import blob_routes
from peer.transport.signatures import NONCE_HEADER, NONCES_SPENT_MAX, Request, sign_request
from peer.transport.tls import server_context
from tests.blob_site import GROUP, MEMBER, MIB, SERVER, STRANGER, Site, serving, write_file

DEADLINE_S = 20.0
SIZE = 24 * MIB
"""More than the buffers of a socket take."""


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
async def site(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    members = {GROUP: [MEMBER.peer_id, STRANGER.peer_id]}
    async with serving(tmp_path / "served", members, tls=server_context(SERVER) if request.param else None) as served:
        yield served


@pytest.fixture
async def facts(site: Site, tmp_path: Path) -> BlobFacts:
    return await site.add(write_file(tmp_path / "source", SIZE))


class Reader:
    """Asks for bytes, and reads only when told to."""

    def __init__(self, http: aiohttp.ClientSession, site: Site, key: KeyPair) -> None:
        self._http, self._site, self._key = http, site, key

    async def ask(self, blob: BlobId) -> aiohttp.ClientResponse:
        path = f"/sync/v1/groups/{GROUP.hex()}/blobs/{blob.hex()}"
        async with self._http.get(self._site.endpoint + path, ssl=False) as answer:
            nonce = answer.headers[NONCE_HEADER]
        headers = sign_request(self._key, SERVER.peer_id, nonce, Request("GET", path, {}))
        return await self._http.get(self._site.endpoint + path, headers=headers, ssl=False)


@pytest.fixture
async def readers(site: Site) -> AsyncIterator[tuple[Reader, Reader]]:
    """Two members, with as many connections as they like."""
    async with AsyncExitStack() as stack:
        sessions = [aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), read_bufsize=2**16) for _ in range(2)]
        one, other = [await stack.enter_async_context(each) for each in sessions]
        yield Reader(one, site, MEMBER), Reader(other, site, STRANGER)


async def test_one_peer_is_sent_its_share_of_blobs_at_once_and_all_no_more_than_there_is_room_for(
    readers: tuple[Reader, Reader], facts: BlobFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes then is asked to come again, and gets everything when somebody has gone."""
    monkeypatch.setattr(blob_routes, "ANSWERS_PER_PEER_MAX", 2)
    monkeypatch.setattr(blob_routes, "ANSWERS_MAX", 3)
    one, other = readers
    held = [await one.ask(facts.blob), await one.ask(facts.blob)]
    third = await one.ask(facts.blob)
    held.append(await other.ask(facts.blob))
    fourth = await other.ask(facts.blob)

    assert [each.status for each in held] == [200] * 3
    for refused in (third, fourth):
        assert (refused.status, refused.headers["Retry-After"], (await refused.json())["code"]) == (503, "1", "limit_exceeded")
    for each in held:
        each.close()
    async with asyncio.timeout(DEADLINE_S):
        while (answer := await one.ask(facts.blob)).status == 503:
            answer.release()
        assert len(await answer.read()) == SIZE


async def test_who_does_not_read_what_it_asked_for_is_cut_off(
    site: Site, readers: tuple[Reader, Reader], facts: BlobFacts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By the slowest rate that is waited for; who reads at once gets all. It is no news to the operator."""
    monkeypatch.setattr(blob_routes, "SEND_TIMEOUT_S", 1.0)
    monkeypatch.setattr(blob_routes, "SLOWEST_RATE", 1 << 40)
    one, other = readers
    silent = await one.ask(facts.blob)
    assert silent.status == 200
    got = await other.ask(facts.blob)
    assert len(await got.read()) == SIZE
    async with asyncio.timeout(DEADLINE_S):
        while site.routes._answers.total():  # noqa: ASYNC110  (the routes have no event for it)
            await asyncio.sleep(0.02)
    with pytest.raises((aiohttp.ClientPayloadError, ConnectionError)):
        await silent.read()
    assert caplog.text == ""


async def test_asking_for_nonces_leaves_nothing_behind(site: Site, facts: BlobFacts, readers: tuple[Reader, Reader]) -> None:
    """Whoever asks gets one, and nothing is remembered until a member spends it."""
    path = f"{site.endpoint}/sync/v1/groups/{GROUP.hex()}/blobs/{facts.blob.hex()}"
    given = set()
    for _ in range(200):
        async with readers[0]._http.get(path, ssl=False) as answer:
            assert answer.status == 401
            given.add(answer.headers[NONCE_HEADER])
    assert len(given) == 200
    assert not site.routes._verifier._nonces._spent
    answer = await readers[0].ask(facts.blob)
    assert len(await answer.read()) == SIZE
    assert 1 == len(site.routes._verifier._nonces._spent) < NONCES_SPENT_MAX


@pytest.mark.parametrize("there", [0, 1000])
async def test_what_passes_through_and_is_shorter_than_somebody_says_ends_the_answer(
    site: Site, readers: tuple[Reader, Reader], monkeypatch: pytest.MonkeyPatch, there: int
) -> None:
    """Whoever asked does not wait for bytes that nobody has, nor takes the next answer for them."""
    blob = BlobId(b"b" * 32)

    class Relay:
        async def size(self, *_: object) -> int:
            return 2000

        async def read(self, part: WantedPart) -> bytes:
            return bytes(there)[part.start : part.start + part.size]

    site.in_group.add((GROUP, blob))
    monkeypatch.setattr(site.routes, "_relay", Relay())
    async with asyncio.timeout(DEADLINE_S):
        answer = await readers[0].ask(blob)
        if there:
            with pytest.raises((aiohttp.ClientPayloadError, ConnectionError)):
                await answer.read()
        else:
            assert (answer.status, (await answer.json())["code"]) == (404, "not_found")
