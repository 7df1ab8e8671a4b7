"""The door of the peer listener: how many may come in, and how long they may stay without asking for anything.

Strangers open connections at no cost. Each takes a file descriptor and, with TLS, a quarter of a megabyte; a process without descriptors can write
no log. So the room is limited where connections are accepted, before TLS, and what is too much is closed at once: who means it dials again.
"""

import asyncio
import logging
import resource
import socket as sockets
import ssl
from functools import partial
from ipaddress import IPv6Network
from typing import NamedTuple

from aiohttp import web
from aiohttp.http import HttpProcessingError

from peer.core.endpoint import IpNetwork, read_ip

CONNECTIONS_MAX = 256
PER_ADDRESS_MAX = 64
"""Connections of one address, or one /64 of IPv6, unless the operator says otherwise."""

HEADER_LINE_MAX = 4096
"""Bytes of the first line of a request, and of each header."""

HEADERS_MAX = 64
BACKLOG = 128
SILENT_MAX_S = 10.0
"""How long a connection may stay before its first request, within one, and between two."""
ACCEPT_PAUSE_S = 0.2
"""After the system could not accept."""


class Crowding(NamedTuple):
    """How many connections an address may have."""

    per_address: int = PER_ADDRESS_MAX
    exempt: tuple[IpNetwork, ...] = ()
    """Networks that only the limit for all holds for: proxies, above all."""

    def source_of(self, host: str) -> str | None:
        """Whom a connection from `host` is counted to: an address, the /64 of an IPv6 address, or nobody."""
        address = read_ip(host)
        if address is None or any(address in network for network in self.exempt):
            return None
        return str(address) if address.version == 4 else str(IPv6Network((int(address) >> 64 << 64, 64)))  # noqa: PLR2004


NO_EXEMPTIONS = Crowding()


class Door:
    """Accepts connections for one application."""

    def __init__(self, app: web.Application, context: ssl.SSLContext | None, *, stop_timeout_s: float, crowding: Crowding = NO_EXEMPTIONS) -> None:
        """With a `context`, connections speak TLS."""
        self._context = context
        self._crowding = crowding
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_junk_left_out(),
            keepalive_timeout=SILENT_MAX_S,
            shutdown_timeout=stop_timeout_s,
            max_line_size=HEADER_LINE_MAX,
            max_field_size=HEADER_LINE_MAX,
            max_headers=HEADERS_MAX,
        )
        self._room = min(CONNECTIONS_MAX, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._listening: list[sockets.socket] = []
        self._arriving: dict[asyncio.Task[None], str | None] = {}
        """Whom each of them is counted to."""
        self._arrived: dict[asyncio.BaseProtocol, str | None] = {}

    async def open(self, host: str, port: int) -> int:
        """Accept from now on; returns the port. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=sockets.SOCK_STREAM, flags=sockets.AI_PASSIVE)
        await self._runner.setup()
        try:
            for family, address in dict.fromkeys((each[0], each[4]) for each in found):
                self._listening.append(sockets.create_server(address, family=family, backlog=BACKLOG))
        except OSError:
            await self.close()
            raise
        for listening in self._listening:
            listening.settimeout(0)
            loop.add_reader(listening, self._accept, listening)
        return int(self._listening[0].getsockname()[1])

    async def close(self) -> None:
        """Accept no more, and end what is under way."""
        for listening in self._listening:
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        self._listening.clear()
        arriving = list(self._arriving)
        for task in arriving:
            task.cancel()
        await asyncio.gather(*arriving, return_exceptions=True)
        await self._runner.cleanup()

    def _accept(self, listening: sockets.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            arrived, address = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:  # No descriptors are left, say: asked again at once, it would be the same.
            loop.remove_reader(listening)
            loop.call_later(ACCEPT_PAUSE_S, self._go_on, listening)
            return
        source = self._crowding.source_of(str(address[0]))
        if not self._has_room(source):
            arrived.close()
            return
        arrived.settimeout(0)
        task = loop.create_task(self._let_in(arrived, source))
        self._arriving[task] = source
        task.add_done_callback(partial(self._has_arrived, arrived))

    def _go_on(self, listening: sockets.socket) -> None:
        if listening in self._listening:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _has_arrived(self, arrived: sockets.socket, task: asyncio.Task[None]) -> None:
        del self._arriving[task]
        if task.cancelled():
            arrived.close()

    def _has_room(self, source: str | None) -> bool:
        assert self._runner.server is not None
        inside = self._runner.server.connections
        self._arrived = {each: its for each, its in self._arrived.items() if each in inside}
        if len(self._arriving) + len(inside) >= self._room:
            return False
        of_source = [*self._arriving.values(), *self._arrived.values()].count(source)
        return source is None or of_source < self._crowding.per_address

    async def _let_in(self, arrived: sockets.socket, source: str | None) -> None:
        """From here on it is the application's, which counts it."""
        assert self._runner.server is not None
        timeout_s = SILENT_MAX_S if self._context is not None else None
        try:
            _, protocol = await asyncio.get_running_loop().connect_accepted_socket(
                self._runner.server, arrived, ssl=self._context, ssl_handshake_timeout=timeout_s
            )
            self._arrived[protocol] = source
        except OSError:
            arrived.close()  # Not our protocol, or gone already.


class _NoJunk(logging.Filter):
    """What strangers send that is no HTTP is answered, and is no news to the operator."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def _junk_left_out() -> logging.Logger:
    log = logging.getLogger(__name__)
    if not log.filters:
        log.addFilter(_NoJunk())
    return log
