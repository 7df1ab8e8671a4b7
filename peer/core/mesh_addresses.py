"""Which addresses in a mesh a peer listens at, tells of, and dials first. Pure.

What the daemon says of addresses is the word of a coordination server somewhere else: it is taken for addresses that machines of a mesh have, and for
those of loopback where this machine itself has one there. So nobody makes a peer listen on all interfaces, or dial into its own networks.
"""

from collections import OrderedDict
from collections.abc import Sequence
from ipaddress import ip_network

from peer.core.endpoint import Endpoint, IpNetwork, is_loopback, read_endpoint, read_ip
from peer.core.mesh import ABSENT, Mesh, MeshState, is_mesh_address

OWN_ADDRESSES_MAX = 4
"""Addresses of this machine that are listened at, and told of. A machine has one of each IP version."""

MOVED_MAX = 4096
"""Former addresses of machines that are remembered."""


def own_hosts(state: MeshState) -> tuple[str, ...]:
    """Where a peer may listen in the mesh: this machine's addresses, as the daemon orders them. None while the mesh does not run."""
    if state.mesh is not Mesh.RUNNING:
        return ()
    return tuple(dict.fromkeys(host for host in state.addresses if is_mesh_address(host) or is_loopback(host)))[:OWN_ADDRESSES_MAX]


def named_endpoint(name: str, port: int) -> str | None:
    """Where a machine with this name in the mesh's DNS is dialled; None without a name. A name could lead anywhere, so it goes with TLS alone."""
    endpoint = str(Endpoint("https", name.lower(), port))
    try:
        found = read_endpoint(endpoint)
    except ValueError:
        return None
    return endpoint if "." in name and found.host == name.lower() and found.pin is None else None


def machine_networks(to: str, state: MeshState) -> tuple[IpNetwork, ...]:
    """The one address `to`, if the mesh runs and a machine has it there: a hint may lead to that."""
    address = read_ip(to)
    if address is None or state.node_at(to) is None:
        return ()
    if is_mesh_address(to) or (address.is_loopback and any(map(is_loopback, own_hosts(state)))):
        return (ip_network(address),)
    return ()


class MeshFirst:
    """The order in which the addresses of a peer are dialled: those first that lead to machines that are in the mesh now."""

    def __init__(self, state: MeshState = ABSENT) -> None:
        self._state = state
        self._by_name = {node.name.lower(): node for node in state.nodes.values()}

    def sorted(self, endpoints: Sequence[str]) -> tuple[str, ...]:
        """`endpoints` in that order, else as they were. Those that lead nowhere as far as the mesh knows come last."""
        return tuple(endpoints) if self._state.mesh is Mesh.ABSENT else tuple(sorted(endpoints, key=self._rank))

    def _rank(self, endpoint: str) -> int:
        host = read_endpoint(endpoint).host
        node = self._state.node_at(host) or self._by_name.get(host)
        if node is not None:
            return 0 if node.is_online else 2
        return 2 if is_mesh_address(host) else 1


class Moved:
    """Where machines are now that had another address before: what is known of a peer there holds at the new one, as a hint."""

    def __init__(self) -> None:
        self._state = ABSENT
        self._former: OrderedDict[str, str] = OrderedDict()
        """The ids of machines by addresses that they had and that are nobody's now, the latest last."""
        self._now: dict[str, list[str]] = {}
        """The addresses of those machines, by their ids."""

    def see(self, state: MeshState) -> None:
        """This is the mesh now. While it does not run nothing has moved."""
        if state.mesh is not Mesh.RUNNING:
            return
        for address in self._state.nodes.keys() - state.nodes.keys():
            self._former[address] = self._state.nodes[address].node_id
            self._former.move_to_end(address)
        for address in self._former.keys() & state.nodes.keys():
            del self._former[address]
        while len(self._former) > MOVED_MAX:
            self._former.popitem(last=False)
        self._state, moved, self._now = state, set(self._former.values()), {}
        for address, node in state.nodes.items() if moved else ():
            if node.node_id in moved and machine_networks(address, state):
                self._now.setdefault(node.node_id, []).append(address)

    def is_left(self, host: str) -> bool:
        """Whether a machine had that address before, and none has it now."""
        return str(read_ip(host)) in self._former

    def followed(self, endpoints: Sequence[str]) -> tuple[str, ...]:
        """Where those of `endpoints` lead to that were at a machine which is elsewhere now, at the same port."""
        return tuple(str(endpoint._replace(host=host)) for endpoint in map(read_endpoint, endpoints) for host in self._hosts_now(endpoint.host))

    def _hosts_now(self, host: str) -> list[str]:
        """Addresses of the same IP version that the machine has which was at `host`."""
        place = self._former.get(str(read_ip(host)), "")
        return [address for address in self._now.get(place, ()) if (":" in address) == (":" in host)]
