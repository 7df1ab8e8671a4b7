"""The door of the peer listener: how many may come in, and how long they may stay without asking for anything.

Strangers open connections at no cost. Each takes a file descriptor and, with TLS, a quarter of a megabyte; a process without descriptors can write
no log. So the room is limited where connections are accepted, before TLS, and what is too much is closed at once: who means it dials again.
"""

import asyncio
import logging
import resource
import socket as sockets
import ssl
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from aiohttp import web
from aiohttp.http import HttpProcessingError

from peer.core.endpoint import IpNetwork, counted_as, read_ip

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
        return counted_as(host)


NO_EXEMPTIONS = Crowding()


@dataclass(eq=False, slots=True)
class _Place:
    """What one connection occupies."""

    source: str | None
    arriving: asyncio.Task[None] | None = None
    """Until the application has it, or it is gone."""
    protocol: asyncio.BaseProtocol | None = None


class Door:
    """Accepts connections for one application."""

    def __init__(self, app: web.Application, context: ssl.SSLContext | None, *, stop_timeout_s: float, crowding: Crowding = NO_EXEMPTIONS) -> None:
        """With a `context`, connections speak TLS, unless they come in where they need not."""
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
        self._listening: dict[sockets.socket, ssl.SSLContext | None] = {}
        self._places: list[_Place] = []

    async def open(self) -> None:
        """Get ready to accept."""
        await self._runner.setup()

    async def listen(self, host: str, port: int, *, plain: bool = False) -> int:
        """Accept there from now on, without TLS where `plain`; returns the port. Raises `OSError`: then it is as if it had not been tried."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=sockets.SOCK_STREAM, flags=sockets.AI_PASSIVE)
        opened: list[sockets.socket] = []
        try:
            for family, address in dict.fromkeys((each[0], each[4]) for each in found):
                opened.append(sockets.create_server(address, family=family, backlog=BACKLOG))
        except OSError:
            for listening in opened:
                listening.close()
            raise
        for listening in opened:
            listening.settimeout(0)
            self._listening[listening] = None if plain else self._context
            loop.add_reader(listening, self._accept, listening)
        return int(opened[0].getsockname()[1])

    def leave(self, host: str, port: int) -> None:
        """Accept there no more; who came in stays."""
        for listening in [each for each in self._listening if each.getsockname()[:2] == (host, port)]:
            self._stop(listening)

    async def close(self) -> None:
        """Accept no more, and end what is under way."""
        for listening in list(self._listening):
            self._stop(listening)
        arriving = [place.arriving for place in self._places if place.arriving is not None]
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
        place = _Place(self._crowding.source_of(str(address[0])))
        if not self._has_room(place.source):
            arrived.close()
            return
        arrived.settimeout(0)
        self._places.append(place)
        place.arriving = loop.create_task(self._let_in(arrived, place, self._listening[listening]))
        place.arriving.add_done_callback(partial(_has_arrived, arrived, place))

    def _stop(self, listening: sockets.socket) -> None:
        asyncio.get_running_loop().remove_reader(listening)
        del self._listening[listening]
        listening.close()

    def _go_on(self, listening: sockets.socket) -> None:
        if listening in self._listening:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _has_room(self, source: str | None) -> bool:
        assert self._runner.server is not None
        inside = self._runner.server.connections
        self._places = [place for place in self._places if place.arriving is not None or place.protocol in inside]
        if len(self._places) >= self._room:
            return False
        return source is None or sum(place.source == source for place in self._places) < self._crowding.per_address

    async def _let_in(self, arrived: sockets.socket, place: _Place, context: ssl.SSLContext | None) -> None:
        """From here on it is the application's, until that forgets it."""
        assert self._runner.server is not None
        timeout_s = SILENT_MAX_S if context is not None else None
        try:
            _, place.protocol = await asyncio.get_running_loop().connect_accepted_socket(
                self._runner.server, arrived, ssl=context, ssl_handshake_timeout=timeout_s
            )
        except OSError:
            arrived.close()  # Not our protocol, or gone already.


def _has_arrived(arrived: sockets.socket, place: _Place, task: asyncio.Task[None]) -> None:
    place.arriving = None
    if task.cancelled():
        arrived.close()


class _NoJunk(logging.Filter):
    """What strangers send that is no HTTP is answered, and is no news to the operator."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def _junk_left_out() -> logging.Logger:
    log = logging.getLogger(__name__)
    if not log.filters:
        log.addFilter(_NoJunk())
    return log
