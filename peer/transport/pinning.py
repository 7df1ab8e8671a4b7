"""Dialling a peer over HTTP: the connection is checked once it stands and before a byte is sent. Nothing is said to anybody else.

Accepted are the certificate with the peer's own key, the one whose key is pinned in the endpoint, and plain HTTP where the network protects it. No
authority is trusted, names and dates in certificates mean nothing, and no redirect leads away.
"""

import asyncio

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from peer.core.endpoint import Endpoint, may_be_dialled_plain, read_endpoint
from peer.core.identity import PeerId
from peer.errors import ChannelUnprotectedError, TransportError
from peer.sync.handshake import NO_CHANNEL_KEY
from peer.transport.channel import CHANNEL_KEY_HEADER, ChannelRules, socket_addresses
from peer.transport.tls import check_pin, client_context, peer_spki_sha256

CLIENT_CONTEXT = client_context()


class Dialled:
    """One peer at one endpoint."""

    def __init__(self, peer: PeerId, endpoint: str, rules: ChannelRules) -> None:
        """Raises `TransportError` for an endpoint that must not be dialled."""
        self.peer = peer
        self.endpoint = _checked(endpoint, rules)
        self.url = URL(self.endpoint.url)
        self.channel_key = NO_CHANNEL_KEY
        """What a handshake on the connection that was made last binds."""
        self._rules = rules

    def headers(self) -> dict[str, str]:
        """What a listener behind a proxy wants to know."""
        if self.endpoint.scheme != "https":
            return {}
        return {CHANNEL_KEY_HEADER: (self.endpoint.pin or peer_spki_sha256(self.peer)).hex()}

    def check(self, transport: asyncio.BaseTransport | None) -> None:
        """Take a connection that was made. Raises `ChannelKeyMismatchError` or `ChannelUnprotectedError`."""
        if self.endpoint.scheme == "https":
            secured = transport.get_extra_info("ssl_object") if transport is not None else None
            self.channel_key = check_pin(secured, self.peer, self.endpoint.pin)
        elif not self._rules.is_plain_allowed(*socket_addresses(transport)):
            raise ChannelUnprotectedError(
                f"{self.endpoint} is neither on loopback nor reached through a configured WireGuard network",
                fix="use https://, or check `wireguard` in config.toml and that the tunnel is up",
            )

    def connector(self, *, connections_max: int = 8) -> aiohttp.TCPConnector:
        """For a session that speaks with this peer alone. Needs a running event loop."""
        return _Connector(self, connections_max)


class _Connector(aiohttp.TCPConnector):
    """Gives out connections that were checked, to one origin."""

    def __init__(self, dialled: Dialled, connections_max: int) -> None:
        super().__init__(ssl=CLIENT_CONTEXT, limit=connections_max)
        self._dialled = dialled

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: "list[aiohttp.tracing.Trace]",
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  (as `aiohttp` has it)
    ) -> ResponseHandler:
        if req.url.origin() != self._dialled.url.origin():
            raise TransportError(f"{self._dialled.endpoint} sends us elsewhere", fix="check the endpoint")
        connected = await super()._create_connection(req, traces, timeout)
        try:
            self._dialled.check(connected.transport)
        except BaseException:
            if connected.transport is not None:
                connected.transport.abort()
            raise
        return connected


def pinned(text: str, peer: PeerId, channel_key: bytes | None) -> str:
    """The endpoint of `peer` in `text` with the key that is shown there, unless that is the peer's own or `text` names one already."""
    endpoint = read_endpoint(text)
    if channel_key is None or endpoint.scheme != "https" or endpoint.pin is not None or channel_key == peer_spki_sha256(peer):
        return text
    return str(endpoint._replace(pin=channel_key))


def _checked(text: str, rules: ChannelRules) -> Endpoint:
    try:
        endpoint = read_endpoint(text)
    except ValueError as error:
        raise TransportError(str(error), fix="write https://HOST:PORT") from error
    if endpoint.scheme == "http" and not may_be_dialled_plain(endpoint.host, rules.wireguard):
        raise ChannelUnprotectedError(
            f"{endpoint} would not be protected", fix="use https://; plain HTTP is for loopback and for addresses in a configured WireGuard network"
        )
    return endpoint
