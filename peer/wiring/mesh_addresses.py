"""This peer at its addresses in the mesh: listens there if its operator wants that, tells others, and moves to new ones when they change."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from gossip.service import GossipService
from peer.config import Config
from peer.core.endpoint import Endpoint, may_be_dialled_plain, read_endpoint, read_ip
from peer.core.mesh import ABSENT, Mesh, MeshState, MeshView
from peer.core.mesh_addresses import named_endpoint, own_hosts
from peer.errors import MeshError
from peer.logs import get_log
from peer.transport.connection import now_ms as link_time_ms
from peer.transport.links import PeerLinks
from peer.transport.listener import ANY_HOSTS
from peer.transport.mesh_listening import MeshListening
from peer.transport.reaching import part_from_hosts
from peer.wiring.core import Core
from peer.wiring.networking import make_mesh_watch
from resolver.mesh_watch import MeshWatch
from resolver.tailnet import TailnetPeerResolver

AGAIN_S = 1.0
AGAIN_MAX_S = 60.0
"""How long after an address could not be listened at it is tried again: twice as long each time, up to this."""

_log = get_log("mesh")


class Doors(NamedTuple):
    """How others reach this peer."""

    mesh: MeshListening | None
    """At the addresses of the mesh alone, if the operator wants that."""
    fixed: Endpoint | None
    """Else where it listens; None where that is of no use to others in the mesh."""
    advertised: str | None
    """What comes first in any case."""
    pinned: Callable[[str], str]
    """An endpoint of this peer with the key that is shown there."""


NO_DOORS = Doors(None, None, None, str)


class MeshAddresses:
    """Keeps all of that up to date."""

    def __init__(self, mesh: MeshView, links: Callable[[], PeerLinks], tell: Callable[[], None], *, publish: bool) -> None:
        """`links` are made later than this; `tell` lets all who are linked know that the endpoints are others now."""
        self._mesh = mesh
        self._links = links
        self._tell = tell
        self._publishes = publish
        self._doors = NO_DOORS
        self._before = ABSENT
        """The mesh when it ran last."""
        self._wake = asyncio.Event()
        self.endpoints: tuple[str, ...] = ()
        """Where others in the mesh dial this peer, the best first."""

    @property
    def problem(self) -> MeshError | None:
        """Why nobody can dial this peer at some address of the mesh."""
        return self._doors.mesh.problem if self._doors.mesh is not None else None

    async def start(self, doors: Doors) -> None:
        """Listen at once where the mesh runs already."""
        self._doors = doors
        await self._follow()

    async def run(self) -> None:
        """Follow the mesh until cancelled."""
        end, again_s = self._mesh.subscribe(lambda _: self._wake.set()), AGAIN_S
        try:
            while True:
                self._wake.clear()
                await self._follow()
                failed = self.problem is not None and self._mesh.current.mesh is Mesh.RUNNING
                try:
                    async with asyncio.timeout(again_s if failed else None):
                        await self._wake.wait()
                except TimeoutError:
                    again_s = min(2 * again_s, AGAIN_MAX_S)
                else:
                    again_s = AGAIN_S
        finally:
            end()

    async def _follow(self) -> None:
        """New doors before old ones close; others hear of it before links end."""
        state = self._mesh.current
        if self._doors.mesh is not None:
            await self._doors.mesh.open(state)
            self._doors.mesh.leave(state)
        if state.mesh is not Mesh.RUNNING:
            return  # It may come back as it was, and what was told is of use again then.
        endpoints = tuple(map(self._doors.pinned, self._found(state)))
        if endpoints != self.endpoints:
            _log.info("where others in the mesh dial this peer has changed", endpoints=list(endpoints))
            self.endpoints = endpoints
            if self._doors.mesh is not None:
                self._links().endpoint = next(iter([*filter(None, [self._doors.advertised]), *endpoints]), None)
            self._tell()
        self._move(state)

    def _found(self, state: MeshState) -> list[str]:
        """Addresses, and then the name, which others may not be able to look up."""
        urls, fixed = (self._doors.mesh.urls, None) if self._doors.mesh is not None else ((), self._doors.fixed)
        if fixed is not None and self._publishes:
            urls = tuple(str(fixed._replace(host=host)) for host in own_hosts(state) if _is_at(fixed.host, host))
        secured = next((port for url in urls if url.startswith("https:") and (port := read_endpoint(url).port)), None)
        named = named_endpoint(state.name, secured) if secured and self._publishes else None
        return [*urls, *([named] if named is not None else [])]

    def _move(self, state: MeshState) -> None:
        """End the links over addresses that are gone, on this side or the other: whoever dialled them finds the new ones."""
        before, self._before = self._before, state
        own, theirs = set(before.addresses) - set(state.addresses), before.nodes.keys() - state.nodes.keys()
        if own or theirs:
            part_from_hosts(self._links(), own, theirs)


class Meshing(NamedTuple):
    """The mesh, as far as this peer is in it."""

    watch: MeshWatch
    addresses: MeshAddresses
    found: TailnetPeerResolver

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.watch.run())
                tasks.create_task(self.addresses.run())
        finally:
            self.found.close()


def make_mesh(config: Config, core: Core, links: Callable[[], PeerLinks], gossip: Callable[[], GossipService]) -> Meshing:
    """What knows the mesh, and follows it; links and gossip are made later than this. Raises `MeshCredentialError`."""
    watch, settings = make_mesh_watch(config), config.tailscale

    def endpoint_of(host: str) -> str:
        scheme = "http" if may_be_dialled_plain(host, config.wireguard_networks) else "https"
        return str(Endpoint(scheme, host, settings.peer_port))

    addresses = MeshAddresses(watch, links, lambda: gossip().own_changed(), publish=settings.publish)
    return Meshing(watch, addresses, TailnetPeerResolver(core.key.peer_id, core.store.replica, watch, settings.find_tag, endpoint_of, link_time_ms))


def _is_at(listens: str, host: str) -> bool:
    """Whether a listener at `listens` is there at `host`, too."""
    if listens not in ANY_HOSTS:
        return listens == host
    first, second = read_ip(listens), read_ip(host)
    return first is not None and second is not None and first.version == second.version
