"""`GET|HEAD /sync/v1/groups/{group}/blobs/{blob}`: the bytes of a group, for its members.

Three answers refuse, and none of them tells more than the asker knows: 401 without a good signature and nonce, 403 to whoever is no member of such a
group, 404 for all that is not to be had in it. Whether there is such a group, or such a blob in another one, shows in none.
"""

import asyncio
import contextlib
import os
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from peer.core.control import Role
from peer.core.identity import BlobId, GroupId, PeerId
from peer.core.interfaces import BlobStore, Replica
from peer.core.relaying import BlobRelay, WantedPart
from peer.errors import HandshakeFailedError, LimitExceededError
from peer.transport.blob_client import HERE_ONLY
from peer.transport.signatures import NONCE_HEADER, Request, RequestVerifier

PATH = "/sync/v1/groups/{group:[0-9a-f]{64}}/blobs/{blob:[0-9a-f]{64}}"
ANSWERS_MAX = 64
"""Blobs that are sent at once; who comes then is asked to come again."""

ANSWERS_PER_PEER_MAX = 16
"""Those of them that one peer is sent."""

BLOCK_SIZE = 256 * 1024
"""Bytes that are read at a time where the kernel cannot send the file itself."""

SLICE_SIZE = 8 * 1024 * 1024
"""Bytes that the disk is asked for ahead."""

SEND_TIMEOUT_S = 60.0
SLOWEST_RATE = 16 * 1024
"""Bytes a second: a reader that is slower is cut off."""

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z", re.ASCII)

BlobInGroup = Callable[[GroupId, BlobId], Awaitable[bool]]


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
        self, replica: Replica, blobs: BlobStore, access: tuple[BlobInGroup, BlobInGroup], verifier: RequestVerifier, relay: BlobRelay | None = None
    ) -> None:
        """`access` tells whether a blob, which may be a piece list, belongs to a group here, and whether it may be given there if it is here.

        `relay` brings what is not, or may not.
        """
        self._replica = replica
        self._blobs = blobs
        self._blob_in_group, self._may_give = access
        self._verifier = verifier
        self._relay = relay
        self._answers: Counter[PeerId] = Counter()

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
        is_here = self._blobs.has(blob) and await self._may_give(group, blob) and await self._blobs.is_sound(blob)
        if not await self._blob_in_group(group, blob) or not (is_here or self._relay):
            return _refusal(404, "not_found", fresh)
        if self._answers.total() >= ANSWERS_MAX or self._answers[peer] >= ANSWERS_PER_PEER_MAX:
            return _refusal(503, LimitExceededError.code, {**fresh, "Retry-After": "1"})
        self._answers[peer] += 1
        try:
            return await (self._send(request, blob, fresh) if is_here else self._pass_on(request, group, blob, fresh))
        finally:
            self._answers[peer] -= 1
            if not self._answers[peer]:
                del self._answers[peer]

    def _is_member(self, group: GroupId, peer: PeerId) -> bool:
        view = self._replica.groups.get(group)
        return view is not None and view.roster.role(peer) is not Role.NONE

    async def _send(self, request: web.Request, blob: BlobId, fresh: dict[str, str]) -> web.StreamResponse:
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
                    await _send_file(request, response, file, start, stop - start)
                except TimeoutError:
                    _cut_off(request)  # It does not read: it would not read an ending either.
        return response

    async def _pass_on(self, request: web.Request, group: GroupId, blob: BlobId, fresh: dict[str, str]) -> web.StreamResponse:
        """Send what is not kept here but passes through; what cannot be had breaks off, since its length was said."""
        assert self._relay is not None
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
            async with asyncio.timeout(SEND_TIMEOUT_S + (stop - start) / SLOWEST_RATE):
                while data and start < stop:
                    await response.write(data)
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


async def _send_file(request: web.Request, response: web.StreamResponse, file: BinaryIO, start: int, count: int) -> None:
    """From the file to the socket within the kernel, or through memory where there is TLS in between."""
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the other side went away")
    loop, stop = asyncio.get_running_loop(), start + count
    plain = transport.get_extra_info("ssl_object") is None
    async with asyncio.timeout(SEND_TIMEOUT_S + count / SLOWEST_RATE):
        await loop.run_in_executor(None, _read_ahead, file, start, stop)
        for position in range(start, stop, SLICE_SIZE):
            end = min(position + SLICE_SIZE, stop)
            ahead = loop.run_in_executor(None, _read_ahead, file, end, stop)
            try:
                if plain:
                    await loop.sendfile(transport, file, position, end - position)
                else:
                    await _send_blocks(response, file, position, end)
            finally:
                await asyncio.wait([ahead])
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
    return file, path.stat().st_size


def _signed(request: web.Request) -> Request:
    if request.can_read_body:
        raise HandshakeFailedError("a request for a blob has no body")
    return Request(request.method, request.raw_path, request.headers)


def _refusal(status: int, code: str, headers: dict[str, str]) -> web.Response:
    return web.json_response({"code": code}, status=status, headers=headers)
