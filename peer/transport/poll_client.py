"""The dialler's side of `POST /sync/v1/poll`: one request that asks and waits, and one that brings what there is to say, for ever.

What something in between refuses for its size is sent in smaller pieces; who wants us to wait is waited for. Anything else that fails ends the
connection.
"""

import asyncio
import time
from io import BytesIO

import aiohttp

from peer.errors import FrameTooLargeError, LimitExceededError, LinkBrokenError, MalformedFrameError, RemoteProtocolError
from peer.transport.pinning import Dialled
from peer.transport.poll_batches import BATCH_BYTES_MAX, CONTENT_TYPE, POLL_BODY_SIZE_MAX, POLL_PATH, Batch, decode_batch, encode_batch
from peer.transport.poll_end import PollEnd
from peer.transport.refusals import refused
from peer.transport.retry_after import WAIT_STATUS, retry_after_ms

ANSWER_TIMEOUT_S = 60.0
"""For a request and its answer, which the other side holds for a while."""

WAIT_MAX_MS = 20_000
"""How long we wait when asked to; the other side forgets a connection that says nothing for much longer."""

WAITS_MAX = 8
"""How often in a row."""

TOO_LARGE_STATUS = frozenset({408, 413})
"""Too large, or too large for the time that it may take."""


class PollClient(PollEnd):
    """The dialler's end of a connection."""

    def __init__(self, http: aiohttp.ClientSession, dialled: Dialled) -> None:
        super().__init__(b"", "")
        self._http = http
        self._dialled = dialled
        self._batch_bytes = BATCH_BYTES_MAX
        self._running: asyncio.Task[None] | None = None

    async def open(self, timeout_s: float) -> None:
        """Begin. Raises `TransportError` or what else stands against it."""
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._post(Batch(b"", 0, last=False, frames=()))
        except TimeoutError as error:
            raise LinkBrokenError("no answer") from error
        if isinstance(answer, aiohttp.ClientResponse):
            raise refused(str(self._dialled.endpoint), answer.status, answer.headers)
        if not answer.connection:
            raise MalformedFrameError("a connection without an id")
        self.connection, self.other_end = answer.connection, self._dialled.other_end
        self._dialled.keep_channel_key()
        self._running = asyncio.create_task(self._run())

    async def ended(self) -> None:
        """Return when nothing is under way any more."""
        self.cut()
        if self._running is not None:
            await asyncio.gather(self._running, return_exceptions=True)

    def cut(self) -> None:
        """End it now."""
        super().cut()
        if self._running is not None:
            self._running.cancel()

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._ask())
                tasks.create_task(self._bring())
        except* Exception as group:  # noqa: BLE001  (whoever receives is told, of bugs as well)
            self.break_off(group.exceptions[0])

    async def _ask(self) -> None:
        """Ask for frames until there are no more, each time when the last ones are read."""
        number = 0
        while not self._have_they_ended:
            await self._changes.until(lambda: not self._arrived)
            number += 1
            answer = await self._patiently(Batch(self.connection, number, last=False, frames=()))
            self._arrive(answer.frames, last=answer.last)

    async def _bring(self) -> None:
        """Bring frames as they come, until there are no more."""
        number = 1
        while not self._have_they_heard:
            await self._changes.until(lambda: bool(self._leaving) or self._is_closing)
            frames, last = self._take(self._batch_bytes)
            try:
                await self._patiently(Batch(self.connection, number, last, frames))
            except _TooLargeError as error:
                self._bring_less(frames, error)
            else:
                number += 1
                self._have_they_heard = last
                self._changes.tell()

    def _bring_less(self, frames: tuple[bytes, ...], error: "_TooLargeError") -> None:
        """Begin with half of what was too much. Raises if it was as little as can be."""
        size = sum(len(frame) for frame in frames)
        if len(frames) <= 1:
            text = f"{self._dialled.endpoint} refuses a request with a single frame of {size} bytes"
            raise FrameTooLargeError(text, fix="let the proxy in between take larger bodies, 2 MB are enough: `client_max_body_size 2m`") from error
        self._batch_bytes = size // 2
        self._put_back(frames)

    async def _patiently(self, batch: Batch) -> Batch:
        """The answer to one request, made again while it asks us to wait. Raises `MeshError`."""
        waits = 0
        while not isinstance(answer := await self._post(batch), Batch):
            if answer.status in TOO_LARGE_STATUS and not batch.is_question:
                raise _TooLargeError
            wait_ms = retry_after_ms(answer.headers, time.time()) if answer.status in WAIT_STATUS else None
            if wait_ms is None or wait_ms > WAIT_MAX_MS or waits == WAITS_MAX:
                raise LinkBrokenError(f"{self._dialled.endpoint} answers {answer.status}")
            waits += 1
            await asyncio.sleep(wait_ms / 1000)
        if answer.connection != batch.connection or answer.number != batch.number:
            raise RemoteProtocolError("an answer to another request")
        return answer

    async def _post(self, batch: Batch) -> Batch | aiohttp.ClientResponse:
        """One request: what it gets, or the refusal. Raises `MeshError`."""
        try:
            async with self._http.post(
                self._dialled.url / POLL_PATH[1:],
                data=BytesIO(encode_batch(batch)),
                headers={**self._dialled.headers(), "Content-Type": CONTENT_TYPE, "Accept-Encoding": "identity"},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S),
            ) as answer:
                if answer.status != 200 or answer.content_type != CONTENT_TYPE:  # noqa: PLR2004  (OK)
                    return answer
                return decode_batch(await _read(answer))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise LinkBrokenError(str(error) or "no answer") from error


class _TooLargeError(Exception):
    """Less has to be brought at once."""


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The body. Raises `LimitExceededError` once it is too long."""
    body = bytearray()
    async for part in answer.content.iter_any():
        body += part
        if len(body) > POLL_BODY_SIZE_MAX:
            raise LimitExceededError(f"an answer of more than {POLL_BODY_SIZE_MAX} bytes")
    return bytes(body)
