"""The peer listener: `/sync/v1/link` and the blob routes, over TLS, or plain where the network protects what crosses it."""

import errno
import os
import socket as sockets
from collections.abc import Iterable

from aiohttp import WSCloseCode, web

from peer.core.endpoint import Endpoint, read_endpoint
from peer.errors import PortInUseError, TransportError
from peer.sync.handshake import NO_CHANNEL_KEY
from peer.sync.limits import FRAME_SIZE_MAX
from peer.transport.bodies import BODY_SIZE_MAX, limited_bodies
from peer.transport.callers import Callers, no_callers
from peer.transport.channel import CHANNEL_KEY, NO_RULES, ChannelRules, protected, socket_addresses
from peer.transport.dialler import Server
from peer.transport.door import NO_EXEMPTIONS, Crowding, Door
from peer.transport.opening import LINK_PATH
from peer.transport.poll import PollRoutes
from peer.transport.poll_batches import POLL_BODY_SIZE_MAX, POLL_PATH
from peer.transport.tls import ServerTls
from peer.transport.websocket import WebSocketCarrier

CLOSE_TIMEOUT_S = 3.0
ANY_HOSTS = ("0.0.0.0", "::")  # noqa: S104  (compared with, not bound to)


class PeerListener:
    """Where other peers reach this one."""

    def __init__(
        self,
        server: Server,
        *,
        tls: ServerTls | None,
        rules: ChannelRules = NO_RULES,
        crowding: Crowding = NO_EXEMPTIONS,
        callers: Callers | None = None,
    ) -> None:
        """Without `tls` only connections are served that `rules` allow to be plain. `callers` says which machines may call."""
        self._server = server
        self._tls = tls
        self._rules = rules
        self._crowding = crowding
        self._callers = callers or no_callers()
        self._polling = PollRoutes(server, crowding)
        self._door: Door | None = None

    async def start(self, routes: Iterable[web.RouteDef]) -> None:
        """Get ready to listen."""
        own_key = self._tls.channel_key if self._tls else NO_CHANNEL_KEY
        bodies = limited_bodies(self._crowding, {POLL_PATH: POLL_BODY_SIZE_MAX})
        app = web.Application(client_max_size=BODY_SIZE_MAX, middlewares=[protected(self._rules, own_key), self._callers.middleware(), bodies])
        app.add_routes([web.get(LINK_PATH, self._link), *self._polling.routes(), *routes])
        self._door = Door(app, self._tls.context if self._tls else None, stop_timeout_s=CLOSE_TIMEOUT_S, crowding=self._crowding)
        await self._door.open()

    async def listen(self, host: str, port: int, *, plain: bool = False) -> str:
        """Listen there, too, without TLS where `plain`; returns the URL under which others dial. Raises `PortInUseError`."""
        assert self._door is not None
        try:
            port = await self._door.listen(host, port, plain=plain)
        except OSError as error:
            what = "is taken by another program" if error.errno == errno.EADDRINUSE else f"cannot be used: {_reason(error)}"
            raise PortInUseError(f"{host}:{port} {what}", fix="choose another with `listen` in config.toml") from error
        return str(Endpoint("https" if self._tls and not plain else "http", _dialable(host), port))

    def leave(self, url: str) -> None:
        """Listen there no more, where `url` is what `listen` returned; links that came in there stay."""
        endpoint = read_endpoint(url)
        if self._door is not None and endpoint.port is not None:
            self._door.leave(endpoint.host, endpoint.port)

    async def stop(self) -> None:
        """Listen no more."""
        if self._door is not None:
            await self._door.close()
        await self._polling.stop()

    async def _link(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=FRAME_SIZE_MAX, compress=False, timeout=CLOSE_TIMEOUT_S, autoping=False)
        if not socket.can_prepare(request).ok:
            return web.json_response({"code": "protocol_violation"}, status=400)
        try:
            await socket.prepare(request)
        except ConnectionError:
            return web.Response()  # They hung up before they were answered: this is not sent either.
        try:
            came_from = self._crowding.source_of(socket_addresses(request.transport)[1])
            await self._server.serve(WebSocketCarrier(socket), dialled=None, channel_key=request[CHANNEL_KEY], came_from=came_from)
        except TransportError:
            await socket.close(code=WSCloseCode.TRY_AGAIN_LATER)
        return socket


def _reason(error: OSError) -> str:
    """What the system says, without the words that Python puts around it."""
    if isinstance(error, sockets.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)


def _dialable(host: str) -> str:
    """The address that others use for a listener on all addresses: that of the interface that leads outside."""
    if host not in ANY_HOSTS:
        return host
    with sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # Sends nothing: it only asks the system for the way there.
        except OSError:
            return sockets.gethostname()
        return str(probe.getsockname()[0])
