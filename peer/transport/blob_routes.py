"""`GET|HEAD /sync/v1/groups/{group}/blobs/{blob}`: the bytes of a group, for its members.

Three answers refuse, and none of them tells more than the asker knows: 401 without a good signature and nonce, 403 to whoever is no member of such a
group, 404 for all that is not to be had in it. Whether there is such a group, or such a blob in another one, shows in none.
"""

import asyncio
import contextlib
import errno
import os
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

from aiohttp import web

from peer.core.control import Role
from peer.core.identity import BlobId, GroupId, PeerId
from peer.core.interfaces import BlobStore, Replica
from peer.core.relaying import BlobRelay, WantedPart
from peer.errors import HandshakeFailedError, LimitExceededError
from peer.transport.bandwidth import Bandwidth, Way
from peer.transport.blob_client import CHECK_AGAIN, HERE_ONLY
from peer.transport.signatures import NONCE_HEADER, Request, RequestVerifier

PATH = "/sync/v1/groups/{group:[0-9a-f]{64}}/blobs/{blob:[0-9a-f]{64}}"
ANSWERS_MAX = 64
"""Blobs that are sent at once; who comes then is asked to come again."""

ANSWERS_PER_PEER_MAX = 16
"""Those of them that one peer is sent."""

BLOCK_SIZE = 256 * 1024
"""Bytes that are read at a time where the kernel cannot send the file itself."""

CHECK_AGAIN_S = 600.0
"""Who says that it was given wrong bytes lets a blob be hashed again, one at a time; each of them once in so long, whoever says so."""

CHECKED_MAX = 1024
"""Blobs of which it is remembered when that was."""

SLICE_SIZE = 8 * 1024 * 1024
"""Bytes that the disk is asked for ahead."""

SEND_TIMEOUT_S = 60.0
SLOWEST_RATE = 16 * 1024
"""Bytes a second: a reader that is slower is cut off."""

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z", re.ASCII)

Let = Callable[[int, asyncio.Timeout], Awaitable[int]]
"""Waits until some of so many bytes may be sent, and makes up for the time in a deadline; how many."""

BlobInGroup = Callable[[GroupId, BlobId], Awaitable[bool]]


class CheckableBlobs(BlobStore, Protocol):
    """Blobs that can be hashed again."""

    async def check(self, blob: BlobId) -> bool:
        """Hash it again, whatever is known of it. True if it is sound."""
        ...


class RangeError(ValueError):
    """A range that no bytes are in, or more than one."""


def read_range(text: str, size: int) -> tuple[int, int]:
    """Start and stop of a `Range` header. Raises `RangeError`."""
    match = _RANGE.match(text.strip().replace(" ", "").lower())
    if match is None or match.groups() == ("", ""):
        raise RangeError(text)
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            raise RangeError(text)
    if start >= stop:
        raise RangeError(text)
    return start, stop


class BlobRoutes:
    """The blob routes of a peer's listener."""

    def __init__(
        self,
        replica: Replica,
        blobs: CheckableBlobs,
        access: tuple[BlobInGroup, BlobInGroup],
        verifier: RequestVerifier,
        ways: tuple[Bandwidth, BlobRelay | None],
    ) -> None:
        """`access` tells whether a blob, which may be a piece list, belongs to a group here, and whether it may be given there if it is here.

        `ways` are how fast it may leave, and what brings what is not here or may not be given.
        """
        self._replica = replica
        self._blobs = blobs
        self._blob_in_group, self._may_give = access
        self._verifier = verifier
        self._bandwidth, self._relay = ways
        self._answers: Counter[PeerId] = Counter()
        self._checking = False
        self._checked: dict[BlobId, float] = {}
        """When blobs were hashed again because somebody doubted them, the longest ago first."""

    def routes(self) -> list[web.RouteDef]:
        """To be added to the listener's application."""
        return [web.get(PATH, self.answer)]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Refuse, or send the bytes asked for."""
        group, blob = GroupId(bytes.fromhex(request.match_info["group"])), BlobId(bytes.fromhex(request.match_info["blob"]))
        now_ms = time.monotonic_ns() // 1_000_000
        fresh = {NONCE_HEADER: self._verifier.fresh_nonce(now_ms), "Cache-Control": "no-store"}
        try:
            peer = self._verifier.verify(_signed(request), now_ms, lambda peer: self._is_member(group, peer))
        except HandshakeFailedError as error:
            return _refusal(401, error.code, fresh)
        if not self._is_member(group, peer):
            return _refusal(403, "not_a_member", fresh)
        is_here = self._blobs.has(blob) and await self._may_give(group, blob) and await self._is_sound(request, blob)
        if not await self._blob_in_group(group, blob) or not (is_here or self._relay):
            return _refusal(404, "not_found", fresh)
        if self._answers.total() >= ANSWERS_MAX or self._answers[peer] >= ANSWERS_PER_PEER_MAX:
            return _refusal(503, LimitExceededError.code, {**fresh, "Retry-After": "1"})
        self._answers[peer] += 1
        try:
            let = partial(self._let, peer)
            return await (self._send(request, blob, fresh, let) if is_here else self._pass_on(request, (group, blob), fresh, let))
        finally:
            self._answers[peer] -= 1
            if not self._answers[peer]:
                del self._answers[peer]

    async def _let(self, peer: PeerId, size: int, deadline: asyncio.Timeout) -> int:
        """Wait until some of `size` bytes may be sent; how many. That time is not the reader's."""
        loop = asyncio.get_running_loop()
        before = loop.time()
        allowed = await self._bandwidth.take(Way.UP, peer, size)
        deadline.reschedule((deadline.when() or before) + loop.time() - before)
        return allowed

    async def _is_sound(self, request: web.Request, blob: BlobId) -> bool:
        """Whether it may be given; hashed again where a member says that it was given wrong bytes, but not as often as it says so."""
        now = time.monotonic()
        asks = request.method == "HEAD" and request.query_string == CHECK_AGAIN
        if not asks or self._checking or now - self._checked.get(blob, -CHECK_AGAIN_S) < CHECK_AGAIN_S:
            return await self._blobs.is_sound(blob)
        self._checked[blob] = now
        while len(self._checked) > CHECKED_MAX:
            del self._checked[next(iter(self._checked))]
        self._checking = True
        try:
            return await self._blobs.check(blob)
        finally:
            self._checking = False

    def _is_member(self, group: GroupId, peer: PeerId) -> bool:
        view = self._replica.groups.get(group)
        return view is not None and view.roster.role(peer) is not Role.NONE

    async def _send(self, request: web.Request, blob: BlobId, fresh: dict[str, str], let: Let) -> web.StreamResponse:
        opened = _open(self._blobs.path(blob))
        if opened is None:
            return _refusal(404, "not_found", fresh)
        file, size = opened
        with file:
            try:
                response, start, stop = _answer_with(request, blob, size, fresh)
            except RangeError:
                return _not_in_range(blob, size, fresh)
            await response.prepare(request)
            if request.method == "GET" and stop > start:
                try:
                    await _send_file((request, response), file, start, stop - start, let)
                except TimeoutError:
                    _cut_off(request)  # It does not read: it would not read an ending either.
                except OSError as error:
                    if error.errno != errno.EIO:
                        raise
                    _cut_off(request)
                    await self._blobs.check(blob)  # The disk has lost some of it.
        return response

    async def _pass_on(self, request: web.Request, what: tuple[GroupId, BlobId], fresh: dict[str, str], let: Let) -> web.StreamResponse:
        """Send what is not kept here but passes through; what cannot be had breaks off, since its length was said."""
        assert self._relay is not None
        group, blob = what
        ask = request.query_string != HERE_ONLY
        size = await self._relay.size(group, blob)
        if size is None:
            return _refusal(404, "not_found", fresh)
        try:
            response, start, stop = _answer_with(request, blob, size, fresh)
        except RangeError:
            return _not_in_range(blob, size, fresh)
        data = await self._relay.read(WantedPart(group, blob, start, min(BLOCK_SIZE, stop - start), ask))
        if data is None or (start < stop and not data):
            return _refusal(404, "not_found", fresh)
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SEND_TIMEOUT_S + (stop - start) / SLOWEST_RATE) as deadline:
                while data and start < stop:
                    await _write(response, data, let, deadline)
                    start += len(data)
                    if start < stop:
                        data = await self._relay.read(WantedPart(group, blob, start, min(BLOCK_SIZE, stop - start), ask))
        if start < stop:
            _cut_off(request)  # Also where the blob is shorter than somebody says: what comes next would be taken for the rest.
        return response


def _answer_with(request: web.Request, blob: BlobId, size: int, fresh: dict[str, str]) -> tuple[web.StreamResponse, int, int]:
    """The head of the answer, and which bytes come after it. Raises `RangeError`."""
    tag = f'"{blob.hex()}"'
    headers = {**fresh, "ETag": tag, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    start, stop, status = 0, size, 200
    wanted = request.headers.get("Range")
    if wanted is not None and request.headers.get("If-Range", tag) == tag:
        (start, stop), status = read_range(wanted, size), 206
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = stop - start
    return response, start, stop


def _not_in_range(blob: BlobId, size: int, fresh: dict[str, str]) -> web.Response:
    return _refusal(416, "range_not_satisfiable", {**fresh, "ETag": f'"{blob.hex()}"', "Content-Range": f"bytes */{size}"})


def _cut_off(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _write(response: web.StreamResponse, data: bytes, let: Let, deadline: asyncio.Timeout) -> None:
    """Send what is in memory, as the limits let it."""
    view = memoryview(data)
    while view:
        size = await let(len(view), deadline)
        await response.write(view[:size])
        view = view[size:]


async def _send_file(answer: tuple[web.Request, web.StreamResponse], file: BinaryIO, start: int, count: int, let: Let) -> None:
    """From the file to the socket within the kernel, or through memory where there is TLS in between."""
    request, response = answer
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the other side went away")
    loop, stop = asyncio.get_running_loop(), start + count
    plain = transport.get_extra_info("ssl_object") is None
    async with asyncio.timeout(SEND_TIMEOUT_S + count / SLOWEST_RATE) as deadline:
        await loop.run_in_executor(None, _read_ahead, file, start, stop)
        position = start
        while position < stop:
            end = position + await let(min(SLICE_SIZE, stop - position), deadline)
            ahead = loop.run_in_executor(None, _read_ahead, file, end, stop)
            try:
                if plain:
                    await loop.sendfile(transport, file, position, end - position)
                else:
                    await _send_blocks(response, file, position, end)
            finally:
                await asyncio.wait([ahead])
            position = end
    await response.write_eof()


async def _send_blocks(response: web.StreamResponse, file: BinaryIO, start: int, stop: int) -> None:
    loop = asyncio.get_running_loop()
    for position in range(start, stop, BLOCK_SIZE):
        size = min(BLOCK_SIZE, stop - position)
        await response.write(await loop.run_in_executor(None, os.pread, file.fileno(), size, position))


def _read_ahead(file: BinaryIO, start: int, stop: int) -> None:
    """Have the disk bring the next slice while this one is sent: the kernel by itself looks only a little ahead."""
    if start < stop and hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), start, min(SLICE_SIZE, stop - start), os.POSIX_FADV_WILLNEED)


def _open(path: Path) -> tuple[BinaryIO, int] | None:
    try:
        file = path.open("rb", buffering=0)
    except FileNotFoundError:
        return None
    return file, os.fstat(file.fileno()).st_size


def _signed(request: web.Request) -> Request:
    if request.can_read_body:
        raise HandshakeFailedError("a request for a blob has no body")
    return Request(request.method, request.raw_path, request.headers)


def _refusal(status: int, code: str, headers: dict[str, str]) -> web.Response:
    return web.json_response({"code": code}, status=status, headers=headers)
