"""Who is given bytes, over real sockets: members, of their group, once for each signature, over the right carrier."""

import asyncio
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest

from peer.core.byte_store import BlobFacts
from peer.core.identity import BlobId, GroupId, KeyPair, PeerId
from peer.errors import ChannelUnprotectedError, HandshakeFailedError, NotAMemberError, TransportError
from peer.transport.blob_client import BlobClient
from peer.transport.signatures import NONCE_HEADER, Request, sign_request
from peer.transport.tls import client_context, server_context
from tests.blob_site import GROUP, MEMBER, MIB, OTHER_GROUP, SERVER, STRANGER, Site, serving, write_file

UNKNOWN_GROUP = GroupId(b"\x09" * 32)


class Answer:
    """What a raw request got."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body


class Asker:
    """Sends requests as it is told to, right ones and wrong ones."""

    def __init__(self, session: aiohttp.ClientSession, site: Site) -> None:
        self._session = session
        self._site = site

    async def send(self, path: str, headers: dict[str, str], *, method: str = "GET") -> Answer:
        async with self._session.request(method, self._site.endpoint + path, headers=headers) as response:
            return Answer(response.status, response.headers, await response.read())

    async def nonce(self) -> str:
        return (await self.send(path_of(GROUP, BlobId(bytes(32))), {})).headers[NONCE_HEADER]

    async def ask(
        self,
        group: GroupId,
        blob: BlobId,
        *,
        key: KeyPair = MEMBER,
        destination: PeerId = SERVER.peer_id,
        method: str = "GET",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        path = path_of(group, blob)
        signed = sign_request(key, destination, await self.nonce(), Request(method, path, headers or {}))
        return await self.send(path, signed, method=method)


def path_of(group: GroupId, blob: BlobId) -> str:
    return f"/sync/v1/groups/{group.hex()}/blobs/{blob.hex()}"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with serving(tmp_path / "served") as served:
        yield served


@pytest.fixture
async def facts(site: Site, tmp_path: Path) -> BlobFacts:
    return await site.add(write_file(tmp_path / "source", 3 * MIB + 17))


@pytest.fixture
async def asker(site: Site) -> AsyncIterator[Asker]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield Asker(session, site)


async def test_a_member_gets_the_bytes_of_its_group(asker: Asker, facts: BlobFacts, tmp_path: Path) -> None:
    answer = await asker.ask(GROUP, facts.blob)

    assert (answer.status, answer.body) == (200, (tmp_path / "source").read_bytes())
    assert answer.headers["ETag"] == f'"{facts.blob.hex()}"'
    assert answer.headers["Accept-Ranges"] == "bytes"


async def test_head_tells_the_size_and_sends_nothing(asker: Asker, facts: BlobFacts) -> None:
    answer = await asker.ask(GROUP, facts.blob, method="HEAD")

    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", str(facts.size))


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=1048576-1048576", MIB, MIB + 1), ("bytes=3145728-", 3 * MIB, 3 * MIB + 17), ("bytes=-17", 3 * MIB, 3 * MIB + 17)],
)
async def test_a_range_is_answered_with_exactly_its_bytes(asker: Asker, facts: BlobFacts, tmp_path: Path, header: str, start: int, stop: int) -> None:
    answer = await asker.ask(GROUP, facts.blob, headers={"Range": header})

    assert (answer.status, answer.body) == (206, (tmp_path / "source").read_bytes()[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{facts.size}"


@pytest.mark.parametrize("header", ["bytes=3145745-", "bytes=9-8", "bytes=0-1,5-6", "bytes=-0", "lines=1-2"])
async def test_a_range_that_cannot_be_answered_is_416(asker: Asker, facts: BlobFacts, header: str) -> None:
    answer = await asker.ask(GROUP, facts.blob, headers={"Range": header})

    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{facts.size}")


async def test_a_range_of_other_bytes_than_these_is_not_applied(asker: Asker, facts: BlobFacts) -> None:
    assert (await asker.ask(GROUP, facts.blob, headers={"Range": "bytes=0-0", "If-Range": '"other"'})).status == 200
    assert (await asker.ask(GROUP, facts.blob, headers={"Range": "bytes=0-0", "If-Range": f'"{facts.blob.hex()}"'})).status == 206


async def test_the_empty_blob_can_be_asked_for(site: Site, asker: Asker, tmp_path: Path) -> None:
    empty = await site.add(write_file(tmp_path / "empty", 0))

    assert (await asker.ask(GROUP, empty.blob)).status == 200
    assert (await asker.ask(GROUP, empty.blob, headers={"Range": "bytes=0-"})).status == 416


async def test_a_stranger_learns_nothing(asker: Asker, facts: BlobFacts) -> None:
    """Whether there is such a group or such a blob, a stranger is answered the same."""
    answers = [
        await asker.ask(group, blob, key=STRANGER) for group in (GROUP, OTHER_GROUP, UNKNOWN_GROUP) for blob in (facts.blob, BlobId(b"\x05" * 32))
    ]

    assert {(answer.status, answer.body) for answer in answers} == {(403, answers[0].body)}


async def test_a_member_is_a_stranger_in_other_groups(asker: Asker, facts: BlobFacts) -> None:
    answers = [await asker.ask(group, facts.blob) for group in (OTHER_GROUP, UNKNOWN_GROUP)]

    assert {(answer.status, answer.body) for answer in answers} == {(403, answers[0].body)}


async def test_a_blob_of_another_group_is_not_there(site: Site, asker: Asker, facts: BlobFacts, tmp_path: Path) -> None:
    """It is stored, but it came here in another group: answered as if it did not exist."""
    elsewhere = await site.add(write_file(tmp_path / "elsewhere", 100, 7), OTHER_GROUP)
    assert site.store.has(elsewhere.blob)

    for blob in (elsewhere.blob, elsewhere.pieces, BlobId(b"\x05" * 32)):
        answer = await asker.ask(GROUP, blob)
        assert (answer.status, answer.body) == (404, b'{"code": "not_found"}')
    assert (await asker.ask(GROUP, facts.blob)).status == 200


async def test_a_replayed_request_is_refused(asker: Asker, facts: BlobFacts) -> None:
    path = path_of(GROUP, facts.blob)
    signed = sign_request(MEMBER, SERVER.peer_id, await asker.nonce(), Request("GET", path, {}))

    assert (await asker.send(path, signed)).status == 200
    again = await asker.send(path, signed)
    assert again.status == 401
    assert again.body.startswith(b'{"code"')


async def test_an_overheard_signature_opens_no_other_blob(site: Site, asker: Asker, facts: BlobFacts, tmp_path: Path) -> None:
    other = await site.add(write_file(tmp_path / "other", 100, 9))
    signed = sign_request(MEMBER, SERVER.peer_id, await asker.nonce(), Request("GET", path_of(GROUP, facts.blob), {}))

    assert (await asker.send(path_of(GROUP, other.blob), signed)).status == 401
    assert (await asker.send(path_of(GROUP, facts.blob) + "?x", signed)).status == 401
    assert (await asker.send(path_of(GROUP, facts.blob), signed, method="HEAD")).status == 401
    assert (await asker.send(path_of(GROUP, facts.blob), signed)).status == 200


async def test_unsigned_requests_and_those_for_another_peer_are_refused_with_a_nonce(asker: Asker, facts: BlobFacts) -> None:
    for answer in (await asker.send(path_of(GROUP, facts.blob), {}), await asker.ask(GROUP, facts.blob, destination=STRANGER.peer_id)):
        assert answer.status == 401
        assert answer.headers[NONCE_HEADER]


async def test_each_good_answer_carries_the_next_nonce(asker: Asker, facts: BlobFacts) -> None:
    path, nonce = path_of(GROUP, facts.blob), await asker.nonce()
    for _ in range(3):
        answer = await asker.send(path, sign_request(MEMBER, SERVER.peer_id, nonce, Request("GET", path, {})))
        assert answer.status == 200
        nonce = answer.headers[NONCE_HEADER]


@pytest.mark.parametrize("tls", [False, True])
async def test_the_client_reads_any_part(tmp_path: Path, *, tls: bool) -> None:
    async with serving(tmp_path / "served", tls=server_context(SERVER) if tls else None) as site:
        facts = await site.add(write_file(tmp_path / "source", 20 * MIB + 3))
        data = (tmp_path / "source").read_bytes()
        async with BlobClient(MEMBER, SERVER.peer_id, site.endpoint) as client:
            for start, stop in ((0, facts.size), (0, 1), (5 * MIB - 1, 9 * MIB + 1), (facts.size - 1, facts.size), (7, 7)):
                assert b"".join([part async for part in client.read(GROUP, facts.blob, start, stop)]) == data[start:stop]


async def test_the_client_says_who_refused_and_why(site: Site, facts: BlobFacts) -> None:
    async with BlobClient(STRANGER, SERVER.peer_id, site.endpoint) as client:
        with pytest.raises(NotAMemberError):
            await anext(client.read(GROUP, facts.blob, 0, 1))
    async with BlobClient(MEMBER, SERVER.peer_id, site.endpoint) as client:
        for blob, stop in ((BlobId(b"\x05" * 32), 1), (facts.blob, facts.size + 1)):
            with pytest.raises(TransportError):
                await anext(client.read(GROUP, blob, 0, stop))
    async with BlobClient(MEMBER, STRANGER.peer_id, site.endpoint) as client:
        with pytest.raises(HandshakeFailedError):
            await anext(client.read(GROUP, facts.blob, 0, 1))


async def test_nobody_listening_is_nobodys_fault() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with BlobClient(MEMBER, SERVER.peer_id, f"http://127.0.0.1:{port}") as client:
            with pytest.raises(TransportError):
                await anext(client.read(GROUP, BlobId(bytes(32)), 0, 1))


async def test_a_listener_with_another_key_gets_no_request(tmp_path: Path) -> None:
    """The pin is checked before a byte of the request leaves."""
    async with serving(tmp_path / "served", tls=server_context(STRANGER)) as site:
        facts = await site.add(write_file(tmp_path / "source", 10))
        async with BlobClient(MEMBER, SERVER.peer_id, site.endpoint) as client:
            with pytest.raises(HandshakeFailedError, match="not the peer's own"):
                await anext(client.read(GROUP, facts.blob, 0, 1))
        assert site.requests == 0


async def test_tls_1_2_is_refused_by_the_listener(tmp_path: Path) -> None:
    async with serving(tmp_path / "served", tls=server_context(SERVER)) as site:
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        port = int(site.endpoint.rpartition(":")[2])

        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", port, ssl=old)
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context())
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        writer.close()
        await writer.wait_closed()


async def test_a_listener_that_speaks_tls_1_2_alone_is_refused(tmp_path: Path) -> None:
    old = server_context(SERVER)
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(tmp_path / "served", tls=old) as site, BlobClient(MEMBER, SERVER.peer_id, site.endpoint) as client:
        with pytest.raises(TransportError):
            await anext(client.read(GROUP, BlobId(bytes(32)), 0, 1))


async def test_plain_http_from_beyond_loopback_is_refused(tmp_path: Path) -> None:
    """Over another address of this machine, which is as far as one process can go."""
    address = next((info for info in _own_addresses() if not info.startswith("127.")), None)
    if address is None:
        pytest.skip("this machine has no address but loopback")
    async with serving(tmp_path / "served", host=address) as site, aiohttp.ClientSession() as session:
        facts = await site.add(write_file(tmp_path / "source", 10))
        path = path_of(GROUP, facts.blob)
        asker = Asker(session, site)
        nonce = site.routes._verifier.fresh_nonce(time.monotonic_ns() // 1_000_000)
        signed = sign_request(MEMBER, SERVER.peer_id, nonce, Request("GET", path, {})) | {
            "X-Forwarded-For": "127.0.0.1",
            "Forwarded": "for=127.0.0.1",
        }
        answer = await asker.send(path, signed)
        assert (answer.status, json.loads(answer.body)) == (403, {"code": "channel_unprotected"})
        with pytest.raises(ChannelUnprotectedError, match="not be protected"):
            BlobClient(MEMBER, SERVER.peer_id, site.endpoint)


def _own_addresses() -> list[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return []
        return [str(probe.getsockname()[0])]
