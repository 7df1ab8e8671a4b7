"""Where peers can be dialled, put together: the operator's word, live and in the configuration file, and other sources after it."""

from typing import NamedTuple

from peer.config import Config
from peer.core.endpoint import read_endpoint
from peer.core.identity import PeerId
from peer.sections import StaticPeer
from peer.store.known import KnownKeeper
from peer.wiring.belonging import open_book
from peer.wiring.core import Core
from peer.wiring.hub_source import HubSourceParts, make_hub_source
from peer.wiring.mesh_addresses import Meshing
from resolver.base import KnownPeer, NoSource, PeerResolver
from resolver.composite import CompositePeerResolver
from resolver.hub import SOURCE as SOURCE_OF_HUBS
from resolver.hub import HubPeerResolver
from resolver.manual import SOURCE, ManualPeerResolver
from resolver.operator import OperatorBook
from resolver.static import StaticPeerResolver


class Resolving(NamedTuple):
    """The sources of addresses."""

    manual: ManualPeerResolver
    book: OperatorBook
    """What the operator said, wherever."""
    resolver: CompositePeerResolver
    hub: HubPeerResolver | None
    """What keeps asking the hub, where there is one."""


async def make_resolving(config: Config, core: Core, keeper: KnownKeeper, others: tuple[PeerResolver, Meshing], asked: HubSourceParts) -> Resolving:
    """All sources that the configuration asks for; `others`, gossip and the mesh, come last."""
    gossip, mesh = others
    replica = core.store.replica
    manual = await open_book(core.store, keeper, config.gossip.default_ttl)
    static = StaticPeerResolver([_entry(each, config.gossip.default_ttl) for each in config.peers], replica)
    book = OperatorBook(manual, static, replica.name_peer, lambda group: replica.whole.groups[group].genesis.name)
    operator = CompositePeerResolver([manual, static])
    hub = make_hub_source(asked, operator)
    mesh.found.operator = operator
    hubs: PeerResolver = NoSource(SOURCE_OF_HUBS) if hub is None else hub
    arranged = mesh.found.preferred if config.tailscale.prefer else mesh.found.followed
    return Resolving(manual, book, CompositePeerResolver([manual, static, hubs, gossip, mesh.found], arranged), hub)


def _entry(each: StaticPeer, ttl: int) -> KnownPeer:
    endpoints = tuple(str(read_endpoint(url)) for url in each.endpoints)
    return KnownPeer(PeerId(bytes.fromhex(each.peer_id)), each.name, endpoints, frozenset(), SOURCE, expects=frozenset(each.groups), ttl=ttl)
