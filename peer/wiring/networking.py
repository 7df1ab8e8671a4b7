"""The network under the mesh, put together."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from peer.config import Config
from peer.core.endpoint import read_endpoint
from peer.core.identity import PeerId
from peer.core.interfaces import Replica
from peer.core.mesh import Mesh
from peer.core.mesh_provider import NetworkProvider
from peer.errors import MeshCredentialError, MeshError, NetworkCredentialError
from peer.operations.network import Network, utc_now
from peer.operations.network_policy import NetworkPolicy, Place
from peer.transport.links import PeerLinks
from peer.wiring.credentials import Credential, read_credential
from resolver.base import PeerResolver
from resolver.headscale_control import HeadscaleControl
from resolver.mesh_watch import MeshWatch
from resolver.tailscale_control import TailscaleControl
from resolver.tailscale_local import Daemon, LocalApi

TOKEN = Credential(
    "RECMESH_TAILSCALE_TOKEN", "tailscale.token_file", "token of the mesh's daemon", "write the one line that the daemon shows", MeshCredentialError
)
KEY = Credential(
    "RECMESH_NETWORK_KEY", "network.credential_file", "key of a coordination server", "write the one line that it gave you", NetworkCredentialError
)
SCHEME_PORTS = {"https": 443, "http": 80}
LISTEN_PORT = 7850
"""Where peers listen that do not say."""

PROVEN_PHASES = ("backfill", "push")
"""Those of links at whose other end somebody has shown a key."""


def make_mesh_watch(config: Config) -> MeshWatch:
    """What knows of the mesh; it has to be run. Raises `MeshCredentialError`."""
    settings = config.tailscale
    token = read_credential(TOKEN, settings.token_file) if settings.port else ""
    return MeshWatch(LocalApi(Daemon(settings.socket, settings.port, token)), poll_s=settings.poll_s)


def make_network(
    config: Config, me: PeerId, replica: Replica, mesh: MeshWatch, places: tuple[PeerLinks, PeerResolver]
) -> tuple[Network, NetworkPolicy]:
    """What its operator sees of it, and does about it; `places` are where others are. Raises `NetworkCredentialError`."""
    links, resolver = places

    async def all_places() -> Mapping[PeerId, Sequence[Place]]:
        return {me: await _own_places(mesh, config), **places_of(links.links(), resolver)}

    return Network(mesh, links.links, utc_now), NetworkPolicy(replica, all_places, _provider(config))


def _provider(config: Config) -> Callable[[], NetworkProvider | None]:
    """Makes a client of the coordination server each time; none where the operator named none."""
    settings = config.network
    secret = read_credential(KEY, settings.credential_file) if settings.provider else ""
    match settings.provider:
        case "tailscale":
            return lambda: TailscaleControl(settings.url, settings.tailnet, secret, settings.client_id)
        case "headscale":
            return lambda: HeadscaleControl(settings.url, secret)
        case _:
            return lambda: None


async def _own_places(mesh: MeshWatch, config: Config) -> Sequence[Place]:
    """Where this peer listens in the mesh; nowhere if it does not listen, or the mesh does not run."""
    if config.listen_address is None:
        return ()
    try:
        found = await mesh.status()
    except MeshError:
        return ()  # `network status` says why.
    addresses = found.own.addresses if found.own is not None and found.mesh is Mesh.RUNNING else ()
    return [Place(address, config.listen_address.port, is_proven=True) for address in addresses]


def places_of(links: Sequence[Mapping[str, object]], resolver: PeerResolver) -> Mapping[PeerId, Sequence[Place]]:
    """Where other peers may be found: at the other end of the links to them, and where they are said to be."""
    said: dict[PeerId, list[Place]] = defaultdict(list)
    for known in resolver.peers():
        said[known.peer] += [_place(url, is_proven=False) for url in known.endpoints]
    proven: dict[PeerId, list[Place]] = defaultdict(list)
    for link in links:
        peer, address = PeerId(bytes.fromhex(str(link["peer_id"]))), link["address"]
        if isinstance(address, str) and link["phase"] in PROVEN_PHASES:
            place = _place(address, is_proven=True)
            # Of a link that they dialled the port is that of one connection: where they listen is what they say.
            listens = place.port if link["dialled_by_us"] else next((each.port for each in said[peer] if each.host == place.host), LISTEN_PORT)
            proven[peer].append(place._replace(port=listens))
    return {peer: [*proven[peer], *said[peer]] for peer in {*proven, *said}}


def _place(url: str, *, is_proven: bool) -> Place:
    endpoint = read_endpoint(url)
    return Place(endpoint.host, endpoint.port or SCHEME_PORTS[endpoint.scheme], is_proven)
