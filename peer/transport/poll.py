"""`POST /sync/v1/poll`, the listener's side: frames of a link in requests and answers, where something in between lets no WebSocket pass.

The id of a connection is 256 random bits that travel in bodies alone. It is worth what the connection below a WebSocket is worth, and no more: who
may speak is decided by the handshake inside. Whatever fails ends the connection; dialling again costs little.
"""

import asyncio
import secrets
from collections.abc import Callable

from aiohttp import web

from peer.errors import LimitExceededError, LinkBrokenError, MalformedFrameError, NotFoundError, RemoteProtocolError, TransportError
from peer.transport.bodies import BODY_PLACE
from peer.transport.channel import CHANNEL_KEY, other_end, refusal, socket_addresses
from peer.transport.dialler import Server
from peer.transport.door import Crowding
from peer.transport.poll_batches import BATCH_BYTES_MAX, CONNECTION_SIZE, CONTENT_TYPE, POLL_PATH, Batch, decode_batch, encode_batch
from peer.transport.poll_end import PollEnd

CONNECTIONS_MAX = 128
"""Polled connections at once."""

CONNECTIONS_PER_ADDRESS_MAX = 32
"""Of these, from one address."""

HOLD_MAX_S = 20.0
"""How long a question waits for an answer with something in it."""

LOOK_S = 1.0
"""How often we look meanwhile whether whoever asked is still there."""

TAKE_TIMEOUT_S = 60.0
"""How long frames wait until those before them are read."""

SILENT_MAX_S = 30.0
"""How long a connection lasts without a request."""

COME_AGAIN_S = 5


class Polled(PollEnd):
    """The listener's end of one connection."""

    def __init__(self, connection: bytes, address: str, channel_key: bytes, other_end: str = "") -> None:
        super().__init__(connection, address, other_end)
        self.channel_key = channel_key
        self._numbers = {True: 0, False: 0}
        """Of the last request, of questions and of those that bring something."""
        self._under_way: set[bool] = set()
        self._silence: asyncio.TimerHandle | None = None
        self._wait_for_requests()

    async def answer(self, batch: Batch, taken: Callable[[], None], is_there: Callable[[], bool]) -> Batch:
        """What one request gets; `taken` is called when its body is needed no more, `is_there` tells whether whoever asks still waits.

        Raises `RemoteProtocolError`.
        """
        kind = batch.is_question
        if kind in self._under_way or batch.number != self._numbers[kind] + 1:
            self.break_off(LinkBrokenError("the requests of the other side do not follow one another"))
            raise RemoteProtocolError("requests of a connection that do not follow one another")
        self._numbers[kind] = batch.number
        self._under_way.add(kind)
        self._wait_for_requests()
        try:
            if not kind:
                await self._bring(batch)
            taken()
            frames, last = await self._next_frames(is_there) if kind else ((), False)
            return Batch(self.connection, batch.number, last, frames)
        finally:
            self._under_way.discard(kind)
            self._wait_for_requests()

    def cut(self) -> None:
        """End it now."""
        super().cut()
        if self._silence is not None:
            self._silence.cancel()

    async def _bring(self, batch: Batch) -> None:
        """Take frames once those before them are read."""
        try:
            async with asyncio.timeout(TAKE_TIMEOUT_S):
                await self._changes.until(lambda: self.is_cut or not self._arrived)
        except TimeoutError:
            self.break_off(LinkBrokenError("frames that nobody reads"))
        if not self.is_cut:
            self._arrive(batch.frames, last=batch.last)

    async def _next_frames(self, is_there: Callable[[], bool]) -> tuple[tuple[bytes, ...], bool]:
        """What there is to say, after a while nothing; and whether it is the last."""
        for _ in range(int(HOLD_MAX_S / LOOK_S)):
            if await self._has_something_to_say():
                break
            if not is_there():
                self.break_off(LinkBrokenError("the other side does not wait for an answer"))
        frames, last = self._take(BATCH_BYTES_MAX)
        if last:
            self._have_they_heard = True
            self._changes.tell()
        return frames, last or self.is_cut

    async def _has_something_to_say(self) -> bool:
        """Whether there is something within a while."""
        try:
            async with asyncio.timeout(LOOK_S):
                await self._changes.until(lambda: bool(self._leaving) or self._is_closing or self.is_cut)
        except TimeoutError:
            return False
        return True

    def _wait_for_requests(self) -> None:
        """Begin to count the silence, unless a request is here."""
        if self._silence is not None:
            self._silence.cancel()
        if not self._under_way and not self.is_cut:
            error = LinkBrokenError("the other side asks no more")
            self._silence = asyncio.get_running_loop().call_later(SILENT_MAX_S, self.break_off, error)


class PollRoutes:
    """All polled connections of a listener."""

    def __init__(self, server: Server, crowding: Crowding) -> None:
        self._server = server
        self._crowding = crowding
        self._open: dict[bytes, tuple[Polled, str | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        """To be added to the listener's application."""
        return [web.post(POLL_PATH, self.poll)]

    async def stop(self) -> None:
        """End what is left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def poll(self, request: web.Request) -> web.Response:
        """Open a connection, bring frames, or ask for some."""
        try:
            batch = decode_batch(await request.read())
        except MalformedFrameError as error:
            return refusal(400, error)
        if not batch.connection:
            return self._opened(request, batch)
        polled, _ = self._open.get(batch.connection, (None, None))
        if polled is None or polled.channel_key != request[CHANNEL_KEY]:
            return refusal(404, NotFoundError("there is no such connection"))
        polled.other_end = other_end(request.transport)
        try:
            return _answer(await polled.answer(batch, request[BODY_PLACE].free, lambda: request.transport is not None))
        except RemoteProtocolError as error:
            return refusal(400, error)

    def _opened(self, request: web.Request, batch: Batch) -> web.Response:
        if batch.number or batch.frames or batch.last:
            return refusal(400, RemoteProtocolError("frames before there is a connection"))
        address = socket_addresses(request.transport)[1]
        came_from = self._crowding.source_of(address)
        if not self._has_room(came_from) or not self._server.has_room(came_from):
            full = refusal(503, LimitExceededError("too many connections"))
            full.headers["Retry-After"] = str(COME_AGAIN_S)
            return full
        polled = Polled(secrets.token_bytes(CONNECTION_SIZE), address, request[CHANNEL_KEY], other_end(request.transport))
        self._open[polled.connection] = polled, came_from
        task = asyncio.create_task(self._serve(polled, came_from))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return _answer(Batch(polled.connection, 0, last=False, frames=()))

    def _has_room(self, came_from: str | None) -> bool:
        of_address = sum(other == came_from for _, other in self._open.values())
        return len(self._open) < CONNECTIONS_MAX and (came_from is None or of_address < CONNECTIONS_PER_ADDRESS_MAX)

    async def _serve(self, polled: Polled, came_from: str | None) -> None:
        try:
            await self._server.serve(polled, dialled=None, channel_key=polled.channel_key, came_from=came_from)
        except TransportError:
            return  # There is no room any more.
        except Exception as error:  # noqa: BLE001  (a bug of ours ends this link, not the listener)
            self._server.report(error)
        finally:
            polled.cut()
            del self._open[polled.connection]


def _answer(batch: Batch) -> web.Response:
    return web.Response(body=encode_batch(batch), content_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})
