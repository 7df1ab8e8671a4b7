"""Making a connection to one address: a WebSocket, and where something in between refuses that, a series of requests.

Proxies that know no WebSockets answer the upgrade with all kinds of things, or with nothing. An answer of a listener of ours has its code, and is an
answer; after any other the same address is asked once more, without an upgrade. What worked is remembered for a while.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import ClientWSTimeout

from peer.errors import HandshakeFailedError, LinkBrokenError, MeshError, RemoteProtocolError, TransportError
from peer.sync.limits import FRAME_SIZE_MAX
from peer.transport.carrier import Carrier
from peer.transport.connection import now_ms
from peer.transport.pinning import Dialled
from peer.transport.poll_client import PollClient
from peer.transport.refusals import AskedToWaitError, code_of, refused, unreachable
from peer.transport.retry_after import WAIT_STATUS
from peer.transport.websocket import WebSocketCarrier

LINK_PATH = "/sync/v1/link"
CONNECT_TIMEOUT_S = 10.0
UPGRADE_REFUSED_MS = 600_000
"""How long no WebSocket is tried where polling worked instead."""

ENDPOINTS_MAX = 1024
"""Addresses of which that is remembered."""

CONNECTIONS_MAX = 2
"""To one address for one link: one asks, one brings."""

SILENCE = frozenset({TransportError.code, LinkBrokenError.code})
"""What says less than an answer to the upgrade did."""


class Upgrades:
    """Where WebSockets are refused."""

    def __init__(self) -> None:
        self._until_ms: OrderedDict[str, int] = OrderedDict()

    def are_refused(self, endpoint: str, at_ms: int) -> bool:
        """Whether that was so a while ago."""
        return self._until_ms.get(endpoint, 0) > at_ms

    def refused(self, endpoint: str, at_ms: int) -> None:
        """Polling works where a WebSocket did not."""
        self._until_ms[endpoint] = at_ms + UPGRADE_REFUSED_MS
        self._until_ms.move_to_end(endpoint)
        if len(self._until_ms) > ENDPOINTS_MAX:
            self._until_ms.popitem(last=False)

    def forget(self, endpoint: str) -> None:
        """Polling does not work there any more."""
        self._until_ms.pop(endpoint, None)


@asynccontextmanager
async def opened_carrier(dialled: Dialled, upgrades: Upgrades) -> AsyncIterator[Carrier]:
    """A carrier to whoever is there. Raises `TransportError`, or a `HandshakeFailedError` if the connection must not be used."""
    async with aiohttp.ClientSession(connector=dialled.connector(connections_max=CONNECTIONS_MAX), auto_decompress=False) as http:
        failure: TransportError | None = None
        if not upgrades.are_refused(str(dialled.endpoint), now_ms()):
            upgraded = await _upgraded(http, dialled)
            if isinstance(upgraded, aiohttp.ClientWebSocketResponse):
                yield WebSocketCarrier(upgraded)
                return
            failure = upgraded
        polling = await _polling(http, dialled, upgrades, failure)
        try:
            yield polling
        finally:
            await polling.ended()


async def _upgraded(http: aiohttp.ClientSession, dialled: Dialled) -> aiohttp.ClientWebSocketResponse | TransportError:
    """A WebSocket, or why something in between may have refused it. Raises `TransportError` for anything else."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await http.ws_connect(
                dialled.url / LINK_PATH[1:],
                headers=dialled.headers(),
                max_msg_size=FRAME_SIZE_MAX,
                timeout=ClientWSTimeout(ws_close=CONNECT_TIMEOUT_S),
                compress=0,
                autoping=False,
            )
    except aiohttp.WSServerHandshakeError as error:
        failure = refused(str(dialled.endpoint), error.status, error.headers or {})
        if error.status in WAIT_STATUS or code_of(error.headers or {}) is not None:
            raise failure from error
        return failure
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        failure = unreachable(str(dialled.endpoint), error)
        if not dialled.is_connected or isinstance(error, aiohttp.ClientConnectorError):
            raise failure from error
        return failure


async def _polling(http: aiohttp.ClientSession, dialled: Dialled, upgrades: Upgrades, failure: TransportError | None) -> PollClient:
    """A polled connection. Raises what is more telling, that there is none or why there was no WebSocket."""
    polling = PollClient(http, dialled)
    try:
        await polling.open(CONNECT_TIMEOUT_S)
    except MeshError as error:
        upgrades.forget(str(dialled.endpoint))
        says_more = isinstance(error, (HandshakeFailedError, AskedToWaitError))
        if failure is not None and not says_more and (isinstance(error, RemoteProtocolError) or error.code in SILENCE):
            raise failure from error
        raise
    if failure is not None:  # Else none was tried now, and one is when that time is over, however often polling begins anew.
        upgrades.refused(str(dialled.endpoint), now_ms())
    return polling
