"""Dialling a peer over HTTP: the carrier is TLS with the peer's own key, or plain on loopback. Nothing is sent to anybody else."""

import asyncio

import aiohttp
from yarl import URL

from peer.core.identity import PeerId
from peer.errors import HandshakeFailedError, TransportError
from peer.transport.tls import check_pin, client_context, may_be_plain

CLIENT_CONTEXT = client_context()
"""To be given as `ssl` with each request."""

_LOOPBACK_NAME = "localhost"


class PeerPin(aiohttp.Fingerprint):
    """Accepts the certificate with the key of one peer, before anything is sent over the connection."""

    def __init__(self, peer: PeerId) -> None:
        super().__init__(peer)
        self._peer = peer

    def check(self, transport: asyncio.Transport) -> None:
        """Raise `aiohttp.ServerFingerprintMismatch` for any other certificate."""
        secured = transport.get_extra_info("ssl_object")
        if secured is None:
            return
        try:
            check_pin(secured, self._peer)
        except HandshakeFailedError as error:
            host, port, *_ = transport.get_extra_info("peername")
            raise aiohttp.ServerFingerprintMismatch(self._peer, b"", host, port) from error


def connector_to(peer: PeerId, *, connections_max: int = 8) -> aiohttp.TCPConnector:
    """For a session that speaks with `peer` alone. Each request needs `ssl=CLIENT_CONTEXT` and a checked endpoint."""
    return aiohttp.TCPConnector(ssl=PeerPin(peer), limit=connections_max)


def check_endpoint(endpoint: str) -> URL:
    """The URL of a peer. Raises `TransportError` for one that must not be dialled."""
    try:
        url = URL(endpoint)
    except ValueError as error:
        raise TransportError(f"{endpoint!r} is no URL") from error
    if not url.host or url.scheme not in ("http", "https") or url.path not in ("", "/") or url.query_string or url.user:
        raise TransportError(f"{endpoint!r} is no endpoint", fix="write https://HOST:PORT")
    if url.scheme == "http" and url.host != _LOOPBACK_NAME and not may_be_plain(url.host, url.host):
        raise TransportError(f"{endpoint} would not be protected", fix="use https://, plain HTTP is for loopback only")
    return url.origin()


def check_carrier(transport: asyncio.BaseTransport | None) -> None:
    """For listeners: raise `HandshakeFailedError` for a connection that is neither TLS nor on loopback at both ends."""
    own = transport.get_extra_info("sockname") if transport is not None else None
    other = transport.get_extra_info("peername") if transport is not None else None
    if transport is not None and transport.get_extra_info("ssl_object") is not None:
        return
    if not own or not other or not may_be_plain(str(own[0]), str(other[0])):
        raise HandshakeFailedError("plain HTTP is for loopback only")
