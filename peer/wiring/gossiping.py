"""How members tell one another where members can be dialled, put together."""

from collections.abc import Callable, Mapping

from gossip.kept import FILE_BYTES_MAX
from gossip.rules import GossipRules
from gossip.service import Clocks, GossipParts, GossipService
from peer.config import Config
from peer.core.endpoint import read_endpoint
from peer.core.identity import PeerId
from peer.core.neighbours import Both, Neighbours
from peer.logs import get_log
from peer.store.directory import DataDirectory, write_durably
from peer.threads import in_thread
from peer.transport.connection import now_ms as link_time_ms
from peer.transport.links import PeerLinks
from peer.transport.pinning import pinned
from peer.wiring.core import Core, now_ms
from peer.wiring.mesh_addresses import Meshing
from resolver.base import PeerResolver
from resolver.gossip import GossipPeerResolver

GOSSIP_FILE = "gossip.json"
MS_PER_S = 1000

_log = get_log("gossip")


def make_gossip(
    core: Core,
    directory: DataDirectory,
    config: Config,
    others: tuple[Callable[[], PeerLinks], Callable[[], PeerResolver], Meshing],
    sites: Neighbours,
) -> tuple[GossipService, GossipPeerResolver]:
    """The service, and what it knows as a source of addresses. `others` give the links, and all sources as one."""
    links, resolver, mesh = others
    path = directory.root / GOSSIP_FILE

    def endpoints() -> tuple[str, ...]:
        endpoint = links().endpoint
        if endpoint is None:
            return ()
        pin = read_endpoint(endpoint).pin
        return tuple(dict.fromkeys((endpoint, *(pinned(each, core.key.peer_id, pin) for each in config.advertise[1:]), *mesh.addresses.endpoints)))

    async def keep(data: bytes) -> None:
        await in_thread(None, lambda _: write_durably(path, data))

    def name_of(peer: PeerId) -> str | None:
        members = (view.roster.members.get(peer) for view in core.store.replica.groups.values())
        return next((member.name for member in members if member is not None), None)

    def report(event: str, fields: Mapping[str, object]) -> None:
        _log.warning(event, **fields)

    parts = GossipParts(
        core.store.replica,
        links,
        lambda: resolver().peers(),
        endpoints,
        Clocks(link_time_ms, now_ms),
        Both(sites, mesh.found),
        report,
        _read(directory) if config.gossip.enabled else None,
        keep,
    )
    gossip = GossipService(core.key, gossip_rules(config), parts)
    return gossip, GossipPeerResolver(gossip, name_of)


def gossip_rules(config: Config) -> GossipRules:
    """What the operator has set."""
    section = config.gossip
    return GossipRules(
        section.enabled,
        section.default_ttl,
        section.hub_peer_ttl,
        round(section.exchange_interval * MS_PER_S),
        section.max_gossip_peers,
        round(section.stale_timeout * MS_PER_S),
        section.max_failures,
    )


def _read(directory: DataDirectory) -> bytes | None:
    """What an earlier process wrote; None if there was none, or it cannot be read."""
    try:
        with (directory.root / GOSSIP_FILE).open("rb") as file:
            return file.read(FILE_BYTES_MAX)
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("what was kept of gossip cannot be read: it begins anew", error=error.strerror)
        return None
