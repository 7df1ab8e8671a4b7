"""What protects a connection between peers. Judged from the connected socket, on both sides, before anything is said; no header is ever asked.

TLS protects, loopback does, and a configured WireGuard network does if both addresses are in it and ours is on its interface. A proxy that ends TLS
speaks plain HTTP to the listener from an address that the operator named; then the handshake binds the proxy's key, which both sides were told.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from peer.core.dial_networks import DialNetworks, read_address
from peer.core.endpoint import IpAddress, WireGuardNetwork, may_be_plain, read_channel_key, read_ip
from peer.core.mesh import ABSENT, MeshState
from peer.core.mesh_addresses import machine_networks
from peer.errors import ChannelUnprotectedError, MeshError
from peer.sync.handshake import NO_CHANNEL_KEY
from peer.transport.interfaces import addresses_of, own_networks

CHANNEL_KEY_HEADER = "Recmesh-Channel-Key"
"""Which key a dialler was told to find. It chooses among those that a listener behind proxies was told of, and proves nothing: the handshake does."""

CODE_HEADER = "Recmesh-Code"
"""Why a request is refused, where the body of the answer is not read."""

CHANNEL_KEY = web.RequestKey("channel_key", bytes)
"""Of a request that was let in: SHA-256 of the SubjectPublicKeyInfo that the dialler saw, or zeros."""


class ChannelRules(NamedTuple):
    """What the operator knows of the networks around a peer."""

    wireguard: tuple[WireGuardNetwork, ...] = ()
    proxies: frozenset[IpAddress] = frozenset()
    """Where proxies that end TLS for this listener speak from; empty for loopback."""
    proxy_keys: tuple[bytes, ...] = ()
    """SHA-256 of the SubjectPublicKeyInfo of these proxies; empty if there are none."""
    hints: DialNetworks = DialNetworks()
    """Where addresses may lead that others told of."""
    mesh: Callable[[], MeshState] = lambda: ABSENT
    """The mesh that this machine is in: they may lead to its machines, too."""

    def from_proxy(self, own: str, other: str) -> bool:
        """True for a connection that one of the proxies makes."""
        if not self.proxy_keys:
            return False
        theirs, ours = read_ip(other), read_ip(own)
        if theirs is None or ours is None:
            return False
        return theirs in self.proxies if self.proxies else theirs.is_loopback and ours.is_loopback

    def is_plain_allowed(self, own: str, other: str) -> bool:
        """Whether two socket addresses may talk without TLS."""
        return may_be_plain(own, other, self.wireguard, addresses_of)

    def may_follow_hint(self, to: str) -> bool:
        """Whether a connection may be made to this address because others told of it."""
        address = read_address(to)
        if address is None:
            return False
        named = (*self.hints.named, *machine_networks(to, self.mesh()))
        return self.hints._replace(named=named).allow(address, own_networks())


NO_RULES = ChannelRules()
"""Loopback and TLS alone."""


def socket_addresses(transport: asyncio.BaseTransport | None) -> tuple[str, str]:
    """Our address and theirs, as the connected socket has them; empty where it is gone."""
    own = transport.get_extra_info("sockname") if transport is not None else None
    other = transport.get_extra_info("peername") if transport is not None else None
    return (str(own[0]), str(other[0])) if own and other and isinstance(own, tuple) and isinstance(other, tuple) else ("", "")


def other_end(transport: asyncio.BaseTransport | None) -> str:
    """Their address and port, as the connected socket has them, as IP:PORT; empty where it is gone."""
    return socket_name(transport.get_extra_info("peername")) if transport is not None else ""


def socket_name(name: object) -> str:
    """What a socket says of one of its ends, as IP:PORT; empty if it says nothing."""
    match name:
        case (str(host), int(port), *_):
            found = str(read_ip(host) or host)  # IPv4 in IPv6 is the same machine.
            return f"[{found}]:{port}" if ":" in found else f"{found}:{port}"
        case _:
            return ""


def listener_channel_key(rules: ChannelRules, transport: asyncio.BaseTransport | None, tls_key: bytes, told: str) -> bytes:
    """What a handshake on this connection binds. `tls_key` is that of our own certificate, `told` the dialler's header or nothing.

    Raises `ChannelUnprotectedError`.
    """
    if transport is not None and transport.get_extra_info("ssl_object") is not None:
        return tls_key
    own, other = socket_addresses(transport)
    if rules.from_proxy(own, other):
        return _told_key(rules, told)
    if rules.is_plain_allowed(own, other):
        return NO_CHANNEL_KEY
    raise ChannelUnprotectedError("plain HTTP is for loopback and for configured WireGuard networks", fix="use https://")


def _told_key(rules: ChannelRules, told: str) -> bytes:
    try:
        key = read_channel_key(told)
    except ValueError:
        return rules.proxy_keys[0]
    return key if key in rules.proxy_keys else rules.proxy_keys[0]


def protected(rules: ChannelRules, tls_key: bytes) -> Middleware:
    """Lets in what comes over a protected connection, for all routes of a listener, and notes what a handshake has to bind."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            key = listener_channel_key(rules, request.transport, tls_key, request.headers.get(CHANNEL_KEY_HEADER, ""))
        except ChannelUnprotectedError as error:
            return refusal(403, error)
        request[CHANNEL_KEY] = key
        return await handler(request)

    return check


def refusal(status: int, error: MeshError) -> web.Response:
    """The answer to a request that is not let in. The connection ends with it."""
    response = web.json_response({"code": error.code}, status=status, headers={CODE_HEADER: error.code})
    response.force_close()
    return response
