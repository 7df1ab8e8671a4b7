"""This peer as a hub for others, if its operator wants that: its database, its routes on the peer listener, its administration."""

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from aiohttp import web

from peer.api.services import AuditService, TokenService
from peer.config import Config
from peer.core.access import Tier
from peer.core.endpoint import read_endpoint
from peer.core.identity import PeerId
from peer.errors import StoreCorruptError
from peer.hub.administration import HubAdministration
from peer.hub.hub import Hub
from peer.hub.records import Moment
from peer.hub.routes import HubRoutes, Surroundings
from peer.hub.store import HubStore
from peer.logs import get_log
from peer.store.database import Database, open_database
from peer.store.directory import DataDirectory
from peer.transport.channel import socket_addresses
from peer.transport.door import Crowding
from peer.transport.tls import peer_spki_sha256
from peer.wiring.core import now_ms, report

DAMAGED_SUFFIX = ".damaged"
_NS_PER_MS = 1_000_000
_log = get_log("node")


def _moment() -> Moment:
    return Moment(now_ms(), time.monotonic_ns() // _NS_PER_MS)


async def open_hub(stack: AsyncExitStack, directory: DataDirectory, config: Config) -> Hub | None:
    """The hub with what it kept; None where this peer is none. One whose database is damaged begins anew: a hub is never a need."""
    if not config.hub.enabled:
        return None
    try:
        return await _opened(stack, directory, config)
    except StoreCorruptError as error:
        aside = directory.hub_database.with_name(directory.hub_database.name + DAMAGED_SUFFIX)
        _log.warning("what the hub knew is damaged: peers have to register again, with new keys", error=error.text, moved_to=str(aside))
        for suffix in ("-wal", "-shm"):
            directory.hub_database.with_name(directory.hub_database.name + suffix).unlink(missing_ok=True)
        directory.hub_database.replace(aside)
        return await _opened(stack, directory, config)


async def _opened(stack: AsyncExitStack, directory: DataDirectory, config: Config) -> Hub:
    database: Database = await open_database(directory.hub_database, "hub")
    hub = Hub(HubStore(database), _moment, config.hub.stale_after, report)
    try:
        await hub.open()
    except BaseException:
        await database.close()
        raise
    stack.push_async_callback(database.close)
    return hub


def make_administration(hub: Hub | None, peer: PeerId, endpoint: Callable[[], str | None]) -> HubAdministration:
    """The hub of `peer`, as its operator sees it. `endpoint` is where others dial this peer."""
    return HubAdministration(hub, lambda: hub_url(peer, endpoint()))


def hub_url(peer: PeerId, endpoint: str | None) -> str | None:
    """The URL of the hub with the key that is shown there: who asks a hub does not know whose key that would be otherwise."""
    if endpoint is None:
        return None
    found = read_endpoint(endpoint)
    return str(found._replace(pin=peer_spki_sha256(peer))) if found.scheme == "https" and found.pin is None else endpoint


def make_hub_routes(hub: Hub | None, crowding: Crowding, tokens: TokenService, audit: AuditService) -> HubRoutes | None:
    """What the peer listener answers as a hub; None where it is none."""
    if hub is None:
        return None

    def admin_named(secret: str) -> str | None:
        caller = tokens.identify(secret)
        return caller.name if caller is not None and caller.tier >= Tier.ADMIN and not caller.is_own else None

    def record(request: web.Request, token: str, status: int) -> None:
        resource = request.match_info.route.resource
        audit.write(
            {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "token": token,
                "tier": Tier.ADMIN.label,
                "method": request.method,
                "route": f"hub {resource.canonical if resource else ''}",
                "path": request.path,
                "status": status,
                "code": None,
                "remote": request.remote,
            }
        )

    def source_of(request: web.Request) -> str:
        return crowding.source_of(socket_addresses(request.transport)[1]) or ""

    return HubRoutes(hub, Surroundings(source_of, admin_named, record))
