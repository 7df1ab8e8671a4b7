"""Asking another peer for bytes over HTTP. What it says is believed about nothing: sizes are bounded here, hashes are checked by whoever asked."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from peer.core.filling import Place, copied
from peer.core.identity import BlobId, GroupId, KeyPair, PeerId
from peer.errors import BlobAbsentError, HandshakeFailedError, NotAMemberError, TransportError
from peer.transport.channel import NO_RULES, ChannelRules
from peer.transport.pinning import Dialled
from peer.transport.plain_stream import PlainStream
from peer.transport.signatures import NONCE_CHARACTERS_MAX, NONCE_HEADER, Request, sign_request

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
TRIES_MAX = 3
"""Times that a request is sent until its nonce is good: none at first, then a fresh one, then one in case that was slow."""

NONCES_MAX = 16
ERROR_SIZE_MAX = 4096
HERE_ONLY = "relay=no"
"""The query that asks for no more than what is there."""

CHECK_AGAIN = "check=yes"
"""The query of a HEAD that asks to hash a blob again: what came of it was wrong."""

LARGE_SIZE = 2 * 1024 * 1024
"""Parts that are worth a connection of their own."""

READ_BUFFER_SIZE = 256 * 1024


class BlobClient:
    """A `BlobSource`: one peer at one endpoint. To be closed."""

    def __init__(self, key: KeyPair, peer: PeerId, endpoint: str, rules: ChannelRules = NO_RULES, *, is_hint: bool = False) -> None:
        """`key` is this peer's own; a hint is an endpoint that others told of. Needs a running event loop.

        Raises `TransportError` or `ChannelUnprotectedError` for an endpoint that must not be dialled.
        """
        dialled = Dialled(peer, endpoint, rules, is_hint=is_hint)
        self._key = key
        self._peer = peer
        self._url = dialled.url
        self._dialled = dialled
        self._nonces: deque[str] = deque(maxlen=NONCES_MAX)
        self._session = aiohttp.ClientSession(
            connector=dialled.connector(),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S),
            read_bufsize=READ_BUFFER_SIZE,
        )

    @property
    def peer_id(self) -> PeerId:
        """Whose bytes these are."""
        return self._peer

    @property
    def asks_others(self) -> bool:
        """It may, unless it is told not to."""
        return True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def read(self, group: GroupId, blob: BlobId, start: int, stop: int, *, relay: bool = True) -> AsyncGenerator[bytes, None]:
        """Bytes `start` to `stop` of a blob, in parts; `relay` lets them be got from others.

        Raises `TransportError` if they do not come, `HandshakeFailedError` if somebody else answers or our key is refused, `NotAMemberError`.
        """
        if start >= stop:
            return
        try:
            target = f"/sync/v1/groups/{group.hex()}/blobs/{blob.hex()}"
            response = await self._ask(target if relay else f"{target}?{HERE_ONLY}", start, stop)
            try:
                left = stop - start
                async for part in response.content.iter_any():
                    left -= len(part)
                    if left < 0:
                        raise TransportError(f"peer {self._peer.hex()} sent more than was asked for")
                    yield part
                if left:
                    raise TransportError(f"peer {self._peer.hex()} sent less than was asked for")
            finally:
                if response.content.at_eof():
                    response.release()
                else:
                    response.close()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransportError(f"peer {self._peer.hex()} at {self._url}: {error or type(error).__name__}") from error

    async def read_into(
        self, group: GroupId, blob: BlobId, place: Place, start: int, stop: int, *, relay: bool = True
    ) -> AsyncGenerator[memoryview, None]:
        """The same, in parts that lie where `place` says each time."""
        if self._url.scheme != "http" or stop - start < LARGE_SIZE:
            async with contextlib.aclosing(self.read(group, blob, start, stop, relay=relay)) as stream:
                async for part in copied(stream, place):
                    yield part
            return
        target = f"/sync/v1/groups/{group.hex()}/blobs/{blob.hex()}"
        try:
            opened = await self._ask_plain(target if relay else f"{target}?{HERE_ONLY}", start, stop)
            async with contextlib.aclosing(opened.read(stop - start, place)) as filling:
                async for part in filling:
                    yield part
        except (TimeoutError, OSError) as error:
            raise TransportError(f"peer {self._peer.hex()} at {self._url}: {error or type(error).__name__}") from error

    async def _ask_plain(self, target: str, start: int, stop: int) -> PlainStream:
        for _ in range(TRIES_MAX):
            nonce = self._nonces.popleft() if self._nonces else ""
            asked = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
            headers = sign_request(self._key, self._peer, nonce, Request("GET", target, asked))
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                stream = PlainStream(await self._dialled.connect_plain(), READ_TIMEOUT_S)
            is_good, status = False, 0
            try:
                status, told = await stream.ask(self._url.authority, "GET", target, headers)
                self._remember_nonce(told.get(NONCE_HEADER.lower(), ""))
                is_good = status == 206 and told.get("content-length") == str(stop - start)  # noqa: PLR2004
            finally:
                if not is_good:
                    stream.close()
            if is_good:
                return stream
            if status != 401:  # noqa: PLR2004
                raise self._refused(status)
        raise HandshakeFailedError(f"peer {self._peer.hex()} does not accept our signature")

    async def doubt(self, group: GroupId, blob: BlobId) -> None:
        """Say that the bytes which came of a blob are wrong: an honest peer hashes it again. Raises `TransportError` where it cannot be told."""
        target = f"/sync/v1/groups/{group.hex()}/blobs/{blob.hex()}?{CHECK_AGAIN}"
        try:
            await _finish(await self._send("HEAD", target, {}))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransportError(f"peer {self._peer.hex()} at {self._url}: {error or type(error).__name__}") from error

    async def _ask(self, target: str, start: int, stop: int) -> aiohttp.ClientResponse:
        response = await self._send("GET", target, {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"})
        if response.status != 206 or response.content_length != stop - start:  # noqa: PLR2004
            await _finish(response)
            raise self._refused(response.status)
        return response

    async def _send(self, method: str, target: str, asked: Mapping[str, str]) -> aiohttp.ClientResponse:
        for _ in range(TRIES_MAX):
            if self._session.closed:
                raise TransportError(f"peer {self._peer.hex()} is not asked at {self._url} any more")
            nonce = self._nonces.popleft() if self._nonces else ""
            headers = sign_request(self._key, self._peer, nonce, Request(method, target, asked))
            response = await self._session.request(method, self._url.join(URL(target)), headers=headers, allow_redirects=False)
            self._remember_nonce(response.headers.get(NONCE_HEADER, ""))
            if response.status != 401:  # noqa: PLR2004
                return response
            await _finish(response)
        raise HandshakeFailedError(f"peer {self._peer.hex()} does not accept our signature")

    def _remember_nonce(self, nonce: str) -> None:
        if nonce and len(nonce) <= NONCE_CHARACTERS_MAX and nonce.isalnum() and nonce.isascii():
            self._nonces.append(nonce)

    def _refused(self, status: int) -> TransportError | NotAMemberError:
        match status:
            case 403:
                return NotAMemberError(f"peer {self._peer.hex()} does not know us as a member")
            case 404:
                return BlobAbsentError(f"peer {self._peer.hex()} does not have the blob")
            case _:
                return TransportError(f"peer {self._peer.hex()} answers {status} where the bytes asked for should come")


async def _finish(response: aiohttp.ClientResponse) -> None:
    """Keep the connection if there is little left to read, else drop it."""
    if response.content_length is not None and response.content_length <= ERROR_SIZE_MAX:
        await response.read()
        response.release()
    else:
        response.close()
