"""Dialling a peer over HTTP: the connection is checked once it stands and before a byte is sent. Nothing is said to anybody else.

Accepted are the certificate with the peer's own key, the one whose key is pinned in the endpoint, and plain HTTP where the network protects it. No
authority is trusted, names and dates in certificates mean nothing, and no redirect leads away.

An address that others told of, a hint, is judged when its name was looked up: right before a connection is made, each of the addresses behind it, and
connected to as it was judged. A name that means something else a moment later leads nowhere else.
"""

import asyncio
import socket as sockets

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from peer.core.endpoint import Endpoint, may_be_dialled_plain, read_endpoint
from peer.core.identity import PeerId
from peer.errors import AddressNotAllowedError, ChannelKeyMismatchError, ChannelUnprotectedError, TransportError
from peer.sync.handshake import NO_CHANNEL_KEY
from peer.transport.channel import CHANNEL_KEY_HEADER, ChannelRules, other_end, socket_addresses
from peer.transport.hint_names import HintResolver, look_up
from peer.transport.tls import check_pin, client_context, peer_spki_sha256

HINT_FIX = "if the site is there, name its network in `dial_networks` of config.toml, or give its address yourself"
CLIENT_CONTEXT = client_context()
REUSE_S = 5.0
"""How long a connection without a request is kept: less than the other side does, so that no request meets its end."""


class Dialled:
    """One peer at one endpoint."""

    def __init__(self, peer: PeerId, endpoint: str, rules: ChannelRules, *, is_hint: bool = False) -> None:
        """A hint is what neither the operator nor an invitation named. Raises `TransportError` for an endpoint that must not be dialled."""
        self.peer = peer
        self.endpoint = _checked(endpoint, rules)
        self.url = URL(self.endpoint.url)
        self.channel_key = NO_CHANNEL_KEY
        """What a handshake on the connection that was made last binds."""
        self.other_end = ""
        """Where the connection that was made last leads, as IP:PORT."""
        self.is_connected = False
        """Whether a connection was ever made."""
        self._kept_key: bytes | None = None
        self.refused: list[str] = []
        """Addresses where it leads and that must not be dialled."""
        self._rules = rules
        self.is_hint = is_hint

    def headers(self) -> dict[str, str]:
        """What a listener behind a proxy wants to know."""
        if self.endpoint.scheme != "https":
            return {}
        return {CHANNEL_KEY_HEADER: (self.endpoint.pin or peer_spki_sha256(self.peer)).hex()}

    def failure(self, error: aiohttp.ClientConnectorError) -> Exception:
        """What to say of a connection that could not be made."""
        if not self.refused:
            return error
        text = f"{self.endpoint} leads to {', '.join(dict.fromkeys(self.refused))}, where addresses are not dialled that others told of"
        return AddressNotAllowedError(text, fix=HINT_FIX)

    def check(self, transport: asyncio.BaseTransport | None) -> None:
        """Take a connection that was made. Raises `ChannelKeyMismatchError` or `ChannelUnprotectedError`."""
        if self.endpoint.scheme == "https":
            secured = transport.get_extra_info("ssl_object") if transport is not None else None
            self.channel_key = check_pin(secured, self.peer, self.endpoint.pin)
            if self._kept_key not in (None, self.channel_key):
                raise ChannelKeyMismatchError("another connection to the same address shows another key", fix="check what is in front of the site")
        else:
            self._check_plain(*socket_addresses(transport))
        self.is_connected, self.other_end = True, other_end(transport)

    def _check_plain(self, own: str, other: str) -> None:
        if not self._rules.is_plain_allowed(own, other):
            raise ChannelUnprotectedError(
                f"{self.endpoint} is neither on loopback nor reached through a configured WireGuard network",
                fix="use https://, or check `wireguard` in config.toml and that the tunnel is up",
            )

    def keep_channel_key(self) -> None:
        """Take only connections from now on that show the key which was shown last: one handshake is for all of them."""
        self._kept_key = self.channel_key

    def open_socket(self, found: tuple[int, int, int, str, tuple[object, ...]]) -> sockets.socket:
        """For a connection to one of the addresses behind the endpoint. Raises `OSError` if it must not be made."""
        family, kind, protocol, _, to = found
        if self.is_hint and not self._rules.may_follow_hint(str(to[0])):
            self.refused.append(str(to[0]))
            raise OSError(f"{to[0]} is not dialled")
        return sockets.socket(family, kind, protocol)

    async def connect_plain(self) -> sockets.socket:
        """A connected socket to an endpoint of plain HTTP, judged as all others are. Raises `OSError` or `MeshError`."""
        assert self.endpoint.scheme == "http"
        wrong: OSError = OSError("the name leads nowhere")
        for found in await look_up(self.endpoint.host, self.url.port or 80):
            try:
                opened = self.open_socket(found)
            except OSError as error:
                wrong = error
                continue
            try:
                opened.setblocking(False)  # noqa: FBT003  (as the library has it)
                await asyncio.get_running_loop().sock_connect(opened, found[4])
                self._check_plain(str(opened.getsockname()[0]), str(opened.getpeername()[0]))
            except OSError as error:
                opened.close()
                wrong = error
            except BaseException:
                opened.close()
                raise
            else:
                return opened
        raise wrong

    def connector(self, *, connections_max: int = 8) -> aiohttp.TCPConnector:
        """For a session that speaks with this peer alone. Needs a running event loop."""
        return _Connector(self, connections_max)


class _Connector(aiohttp.TCPConnector):
    """Gives out connections that were checked, to one origin."""

    def __init__(self, dialled: Dialled, connections_max: int) -> None:
        resolver = HintResolver() if dialled.is_hint else None
        super().__init__(ssl=CLIENT_CONTEXT, limit=connections_max, socket_factory=dialled.open_socket, resolver=resolver, keepalive_timeout=REUSE_S)
        self._dialled = dialled

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: "list[aiohttp.tracing.Trace]",
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  (as `aiohttp` has it)
    ) -> ResponseHandler:
        if req.url.origin() != self._dialled.url.origin():
            raise TransportError(f"{self._dialled.endpoint} sends us elsewhere", fix="check the endpoint")
        self._dialled.refused.clear()  # What a name led to earlier says nothing of now, and may be of any number.
        try:
            connected = await super()._create_connection(req, traces, timeout)
        except aiohttp.ClientConnectorError as error:
            raise self._dialled.failure(error) from error
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
