"""Dialling: one task for each peer that is to be linked, for ever, with jittered back-off between failures."""

import asyncio
import random
import re
from typing import Protocol

import aiohttp
from aiohttp import ClientWSTimeout

from peer.core.identity import PeerId
from peer.core.neighbours import Neighbours
from peer.errors import DuplicateLinkError, LinkBrokenError, MeshError, TransportError
from peer.sync.limits import FRAME_SIZE_MAX
from peer.sync.reconnect import delay_ms, failures_after
from peer.transport.carrier import Carrier
from peer.transport.channel import CODE_HEADER, ChannelRules
from peer.transport.connection import Connection, JoinAttempt, now_ms
from peer.transport.pinning import Dialled
from peer.transport.websocket import WebSocketCarrier

LINK_PATH = "/sync/v1/link"
CONNECT_TIMEOUT_S = 10.0
CODE_PATTERN = r"[a-z][a-z0-9_]{0,63}"


class Server(Protocol):
    """Who runs a session on a carrier, and knows which links stand."""

    channel_rules: ChannelRules
    neighbours: Neighbours

    async def serve(
        self,
        carrier: Carrier,
        *,
        dialled: PeerId | None,
        channel_key: bytes,
        attempt: JoinAttempt | None = None,
        came_from: str | None = None,
        endpoint: str | None = None,
    ) -> Connection:
        """Until it ends; tells `neighbours` once somebody proves at `endpoint` to be `dialled`."""
        ...

    def report(self, error: Exception) -> None:
        """A bug of ours ended a link."""
        ...

    def is_linked(self, peer: PeerId) -> bool:
        """Whether a proven link stands."""
        ...

    async def changed(self) -> None:
        """Return when some link came or went."""
        ...


async def dial(
    server: Server,
    peer: PeerId,
    endpoint: str,
    *,
    attempt: JoinAttempt | None = None,
) -> Connection:
    """Open a link to `peer` at `endpoint` and serve it until it ends. Raises `TransportError`, or a `HandshakeFailedError` if it must not be used."""
    dialled = Dialled(peer, endpoint, server.channel_rules)
    async with aiohttp.ClientSession(connector=dialled.connector(connections_max=1)) as http:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                socket = await http.ws_connect(
                    dialled.url / LINK_PATH[1:],
                    headers=dialled.headers(),
                    max_msg_size=FRAME_SIZE_MAX,
                    timeout=ClientWSTimeout(ws_close=CONNECT_TIMEOUT_S),
                    compress=0,
                    autoping=False,
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(endpoint, error) from error
        return await server.serve(WebSocketCarrier(socket), dialled=peer, channel_key=dialled.channel_key, attempt=attempt, endpoint=endpoint)


class Dialler:
    """Keeps a link to one peer."""

    def __init__(self, peer: PeerId, endpoints: tuple[str, ...], server: Server) -> None:
        self._peer = peer
        self._endpoints = endpoints
        self._server = server
        self._failures = 0
        self._hurry = asyncio.Event()
        self.last_error: MeshError | None = None
        self.next_try_ms: int | None = None
        """When it dials again, by the clock of `now_ms`; None while it does."""
        self.tries = 0
        """How often all endpoints were tried."""
        self.endpoint = endpoints[0]
        """What was dialled last."""

    def retarget(self, endpoints: tuple[str, ...]) -> None:
        """The addresses changed: try them now."""
        if endpoints != self._endpoints:
            self._endpoints = endpoints
            self._hurry.set()

    def hurry(self) -> None:
        """Do not wait for the next try."""
        self._hurry.set()

    async def run(self) -> None:
        """Dial whenever there is no link."""
        while True:
            while self._server.is_linked(self._peer):
                await self._server.changed()
            await self._try_all()
            self.tries += 1
            if not self._server.is_linked(self._peer):
                await self._wait()

    async def _try_all(self) -> None:
        self.next_try_ms = None
        for endpoint in self._endpoints:
            self.endpoint = endpoint
            was_up_to_date = proved = False
            try:
                connection = await dial(self._server, self._peer, endpoint)
            except MeshError as error:
                self.last_error = error
            except Exception as error:  # noqa: BLE001  (a bug of ours must not end the trying)
                self._server.report(error)
                self.last_error = TransportError("an error of this peer; its log says more")
            else:
                was_up_to_date, proved = connection.session.was_up_to_date, connection.remote is not None
                self.last_error = _ending(connection)
            if not proved:
                self._server.neighbours.tried(self._peer, endpoint, self.last_error.code if self.last_error else LinkBrokenError.code)
            self._failures = failures_after(self._failures, was_up_to_date=was_up_to_date)
            if was_up_to_date:
                return

    async def _wait(self) -> None:
        wait_ms = delay_ms(max(0, self._failures - 1), random.random())  # noqa: S311  (spreads retries)
        self.next_try_ms = now_ms() + wait_ms
        self._hurry.clear()
        try:
            async with asyncio.timeout(wait_ms / 1000):
                await self._hurry.wait()
        except TimeoutError:
            return


def _ending(connection: Connection) -> MeshError | None:
    """Why a link ended, as something to show."""
    if connection.end is None or connection.end.code == DuplicateLinkError.code:
        return None
    error = TransportError(connection.end.text)
    error.code = connection.end.code
    return error


def _unreachable(endpoint: str, error: BaseException) -> TransportError:
    """With the code that the listener gave, if it gave one."""
    found = TransportError(f"{endpoint} cannot be reached: {_reason(error)}", fix="check that the site is up and its address right")
    code = error.headers.get(CODE_HEADER, "") if isinstance(error, aiohttp.WSServerHandshakeError) and error.headers is not None else ""
    if re.fullmatch(CODE_PATTERN, code):
        found.code = code
    return found


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return f"it answers {error.status}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or str(error.os_error)
    return str(error) or type(error).__name__
