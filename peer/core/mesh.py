"""What is known of the WireGuard mesh that this machine is in, if it is in one. A mesh tells of machines; who a peer is, only its key proves."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import NamedTuple, Protocol

from peer.core.endpoint import IpAddress, read_ip
from peer.errors import MeshAbsentError, MeshError

RUNNING = "Running"
"""What the daemon says when it carries packets."""

MESH_NETWORKS = (ip_network("100.64.0.0/10"), ip_network("fd7a:115c:a1e0::/48"))
OTHERS_IN_THEM = (ip_network("100.115.92.0/23"), ip_network("fd7a:115c:a1e0:b1a::/64"))
"""Of containers in ChromeOS, and of routes to IPv4 networks behind machines."""

DNS_SERVICE = frozenset({ip_address("100.100.100.100"), ip_address("fd7a:115c:a1e0::53")})


class Mesh(StrEnum):
    """Whether this machine is in a mesh."""

    ABSENT = "absent"
    """There is no daemon."""
    STOPPED = "stopped"
    """There is one, and it carries nothing now."""
    RUNNING = "running"


class MeshNode(NamedTuple):
    """A machine in the mesh."""

    node_id: str
    """What the coordination server calls it: the one thing that stays."""
    name: str
    """Its name in the mesh's DNS, without a dot at its end."""
    host: str
    system: str
    user: str
    """Who it belongs to; `tagged-devices` where it has tags instead."""
    addresses: tuple[str, ...]
    tags: tuple[str, ...]
    is_online: bool
    """True if it is connected to the coordination server, which says nothing of whether it can be reached."""
    is_active: bool
    """True if something passed between it and this machine within two minutes."""
    direct_address: str
    """Where packets for it go; empty if they do not go there directly."""
    relay: str
    """The relay that packets go through where they do not go directly."""
    is_expired: bool
    """True if its key is not valid any more."""
    expires: str
    """When its key ends, RFC 3339; empty if it does not."""

    @property
    def route(self) -> str:
        """How packets go there: `direct`, `relayed`, `idle` where none went lately, `offline`."""
        if not self.is_online:
            return "offline"
        if self.direct_address:
            return "direct"
        return "relayed" if self.is_active and self.relay else "idle"


class MeshStatus(NamedTuple):
    """What a daemon says of itself and of the mesh."""

    backend: str
    """Its own word for how it is: Running, NeedsLogin, Stopped and so on."""
    version: str
    tailnet: str
    own: MeshNode | None
    """This machine; None while it is in no mesh."""
    peers: tuple[MeshNode, ...]
    complaints: tuple[str, ...]
    """What the daemon finds wrong, in its words."""

    @property
    def mesh(self) -> Mesh:
        """Whether the mesh carries anything."""
        return Mesh.RUNNING if self.backend == RUNNING else Mesh.STOPPED


class Caller(NamedTuple):
    """The machine behind a connection, in the daemon's words."""

    node_id: str
    """What the coordination server calls it: the one thing that stays."""
    name: str
    """Its name in the mesh's DNS, without a dot at its end."""
    user: str
    """Who it belongs to; `tagged-devices` where it has tags instead."""
    tags: tuple[str, ...] = ()
    capabilities: frozenset[str] = frozenset()
    """Names of what the policy of the mesh lets it do here."""


@dataclass(frozen=True, slots=True)
class MeshState:
    """What the daemon said last, as far as others act on it."""

    mesh: Mesh
    own: MeshNode | None = None
    """This machine; None while the mesh does not run."""
    nodes: Mapping[str, MeshNode] = field(default_factory=dict)
    """The other machines by each of their addresses, as `read_ip` has these; none while the mesh does not run."""
    error: MeshError | None = None
    """Why the daemon cannot be asked, if it cannot. None where there is no daemon."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Those of this machine."""
        return tuple(str(ip) for ip in _addresses(self.own)) if self.own is not None else ()

    @property
    def name(self) -> str:
        """Of this machine in the mesh's DNS; empty without one."""
        return self.own.name if self.own is not None else ""

    def node_at(self, address: str) -> MeshNode | None:
        """The other machine with an address, as a socket has it."""
        return self.nodes.get(str(read_ip(address)))


ABSENT = MeshState(Mesh.ABSENT)
StateListener = Callable[[MeshState], None]


class MeshView(Protocol):
    """The mesh as it is known to this peer right now."""

    @property
    def current(self) -> MeshState:
        """What the daemon said last."""
        ...

    def subscribe(self, listener: StateListener) -> Callable[[], None]:
        """Call `listener` when something changed that matters; returns what ends that."""
        ...

    async def ask(self, address: str) -> Caller | None:
        """Who speaks from `IP:PORT`, None if the mesh knows nobody there. Raises `MeshError` where the daemon cannot be asked."""
        ...

    async def who(self, address: str) -> Caller | None:
        """The same, None also where the daemon cannot be asked."""
        ...


class NoMesh(MeshView):
    """For a peer that knows of none."""

    @property
    def current(self) -> MeshState:
        """That there is none."""
        return ABSENT

    def subscribe(self, listener: StateListener) -> Callable[[], None]:
        """Nothing will change."""
        del listener
        return lambda: None

    async def ask(self, address: str) -> Caller | None:
        """Nobody answers."""
        raise MeshAbsentError(f"no mesh knows {address}")

    async def who(self, address: str) -> Caller | None:
        """Nobody."""
        del address
        return None


def state_of(status: MeshStatus | MeshError) -> MeshState:
    """What a status comes to, or that there is none."""
    if isinstance(status, MeshAbsentError):
        return ABSENT
    if isinstance(status, MeshError):
        return MeshState(Mesh.STOPPED, error=status)
    if status.mesh is not Mesh.RUNNING:
        return MeshState(status.mesh)
    return MeshState(Mesh.RUNNING, status.own, {str(ip): node for node in status.peers for ip in _addresses(node)})


def is_same(before: MeshState, after: MeshState) -> bool:
    """True if nothing changed that anybody acts on. By which way packets go comes and goes."""
    return _what_matters(before) == _what_matters(after)


def is_mesh_address(host: str) -> bool:
    """Whether an address is one of those that machines of a mesh have. A hint only: providers use the same range for their customers."""
    ip = read_ip(host)
    if ip is None or ip in DNS_SERVICE:
        return False
    return any(ip in network for network in MESH_NETWORKS) and not any(ip in network for network in OTHERS_IN_THEM)


def _what_matters(state: MeshState) -> object:
    nodes = {address: _lasting(node) for address, node in state.nodes.items()}
    return state.mesh, state.own and _lasting(state.own), nodes, state.error and state.error.code


def _lasting(node: MeshNode) -> MeshNode:
    return node._replace(is_active=False, direct_address="", relay="")


def _addresses(node: MeshNode) -> Iterator[IpAddress]:
    """Those that a machine can have: a daemon may say anything."""
    for text in node.addresses:
        ip = read_ip(text)
        if ip is not None and not ip.is_unspecified and not ip.is_multicast:
            yield ip
