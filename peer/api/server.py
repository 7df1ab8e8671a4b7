"""The listener of the admin API. Loopback by default; a token of a high enough tier for everything but the health of the process."""

import errno
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from peer.api.access import access_middleware
from peer.api.audit import audit_middleware
from peer.api.backup_routes import BackupRoutes
from peer.api.bag_routes import BagRoutes
from peer.api.drop_routes import DropRoutes
from peer.api.editing_routes import EditingRoutes
from peer.api.group_routes import GroupRoutes
from peer.api.hub_routes import HubAdminRoutes
from peer.api.ingest_routes import IngestRoutes
from peer.api.machine_routes import MachineRoutes
from peer.api.member_routes import MemberRoutes
from peer.api.message_routes import MessageRoutes
from peer.api.metrics import MetricsRoutes
from peer.api.models import Health, Verified, Verify
from peer.api.network_routes import NetworkRoutes
from peer.api.openapi import describe
from peer.api.peer_routes import PeerRoutes
from peer.api.policy_routes import PolicyRoutes
from peer.api.problems import Report, problems_middleware
from peer.api.rate_routes import RateRoutes
from peer.api.reconcile_routes import ReconcileRoutes
from peer.api.recording_routes import RecordingRoutes
from peer.api.retention_routes import RetentionRoutes
from peer.api.routes import Route, add_routes, read_body
from peer.api.services import Json, Services
from peer.api.setting_routes import SettingRoutes
from peer.api.status_models import Rebuilt, Status
from peer.api.stream_routes import StreamRoutes
from peer.api.token_routes import TokenRoutes
from peer.api.transfer_routes import TransferRoutes
from peer.core.access import Tier
from peer.errors import ConfigError, PortInUseError

BODY_SIZE_MAX = 1024 * 1024
SHUTDOWN_S = 1.0
"""How long answers under way may take once the peer is to stop."""


class SiteRoutes:
    """Handlers for what concerns the peer as a whole."""

    def __init__(self, services: Services, version: str) -> None:
        """Does nothing yet."""
        self._site = services.site
        self._guards = (services.tokens, services.audit)
        self._watch = services.watch
        self._version = version
        self._routes: Sequence[Route] = ()
        self._document: dict[str, object] | None = None

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        return (
            Route("GET", "/api/v1/status", self.status, "This peer, its groups, links, transfers, disk, problems", Status, tier=Tier.VIEWER),
            Route("POST", "/api/v1/verify", self.verify, "Check log, projections and stored bytes", Verified, Verify, tier=Tier.OPERATOR),
            Route("POST", "/api/v1/rebuild", self.rebuild, "Compute the projections anew", Rebuilt, tier=Tier.OPERATOR),
            Route("GET", "/health/live", self.live, "Whether the process answers", Health, tier=Tier.ANYONE),
            Route("GET", "/health/ready", self.ready, "Whether the log can be written; 503 if not", Health, tier=Tier.ANYONE),
            Route("GET", "/openapi.json", self.openapi, "This description", tier=Tier.VIEWER),
        )

    def set_routes(self, routes: Sequence[Route]) -> None:
        """Say what `/openapi.json` describes: once somebody asks, since most peers are never asked."""
        self._routes = routes

    async def status(self, _: web.Request) -> object:
        """How it is."""
        status = await self._site.status()
        return {**status, "problems": [*_list(status["problems"]), *self._problems(), *self._watch.problems()]}

    async def verify(self, request: web.Request) -> object:
        """Check what is stored."""
        body = await read_body(request, Verify)
        return await self._site.verify(deep=body.deep)

    async def rebuild(self, _: web.Request) -> object:
        """Compute the projections anew."""
        return await self._site.rebuild()

    async def live(self, _: web.Request) -> object:
        """It answers."""
        return {"ok": True}

    async def ready(self, _: web.Request) -> object:
        """It can write."""
        if self._site.is_ready:
            return {"ok": True}
        return web.json_response({"ok": False}, status=503)

    async def openapi(self, _: web.Request) -> object:
        """All routes."""
        if self._document is None:
            self._document = describe(self._routes, self._version)
        return self._document

    def _problems(self) -> list[Json]:
        found = (guard.problem for guard in self._guards)
        return [{"code": error.code, "text": error.text, "fix": error.fix} for error in found if error is not None]


def _list(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


def all_routes(services: Services, version: str) -> list[Route]:
    """Every route that there is."""
    site = SiteRoutes(services, version)
    routes = [
        *site.routes(),
        *GroupRoutes(services).routes(),
        *MemberRoutes(services).routes(),
        *SettingRoutes(services).routes(),
        *PeerRoutes(services).routes(),
        *RecordingRoutes(services).routes(),
        *EditingRoutes(services).routes(),
        *RetentionRoutes(services).routes(),
        *MachineRoutes(services).routes(),
        *TokenRoutes(services).routes(),
    ]
    routes += MessageRoutes(services.messages).routes()
    routes += RateRoutes(services.rates).routes()
    routes += IngestRoutes(services).routes()
    routes += TransferRoutes(services).routes()
    routes += MetricsRoutes(services.counting).routes()
    routes += StreamRoutes(services.stream).routes()
    routes += [*PolicyRoutes(services).routes(), *NetworkRoutes(services).routes()]
    routes += ReconcileRoutes(services).routes()
    routes += DropRoutes(services).routes()
    routes += BagRoutes(services).routes()
    routes += BackupRoutes(services).routes()
    routes += HubAdminRoutes(services).routes()
    site.set_routes(routes)
    return routes


def make_app(services: Services, *, host: str, version: str, report: Report) -> web.Application:
    """The admin API as an application that can be served. `host` is how its listener is called in the configuration."""
    routes = all_routes(services, version)
    app = web.Application(
        client_max_size=BODY_SIZE_MAX,
        middlewares=[audit_middleware(services.audit), problems_middleware(report), access_middleware(services.tokens, host, routes)],
    )
    add_routes(app, routes)
    return app


@asynccontextmanager
async def listening(app: web.Application, host: str, port: int) -> AsyncIterator[str]:
    """Serve `app` while the block runs; gives `HOST:PORT` as it is really used. Raises `PortInUseError` or `ConfigError`."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S, handler_cancellation=True)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise _cannot_listen(error, host, port) from error
        used = runner.addresses[0][1]
        yield f"[{host}]:{used}" if ":" in host else f"{host}:{used}"
    finally:
        await runner.cleanup()


def _cannot_listen(error: OSError, host: str, port: int) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return PortInUseError(f"the admin API cannot listen at {host}:{port}: the port is in use", fix="stop what uses it, or set `admin` to another")
    return ConfigError(f"the admin API cannot listen at {host}:{port}: {error.strerror}", fix="set `admin` to an address of this machine")
