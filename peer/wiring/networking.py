"""The network under the mesh, put together."""

from peer.config import Config
from peer.errors import MeshCredentialError
from peer.operations.network import Network, utc_now
from peer.transport.links import PeerLinks
from peer.wiring.credentials import Credential, read_credential
from resolver.tailscale_local import Daemon, LocalApi

TOKEN = Credential(
    "RECMESH_TAILSCALE_TOKEN", "tailscale.token_file", "token of the mesh's daemon", "write the one line that the daemon shows", MeshCredentialError
)


def make_network(config: Config, links: PeerLinks) -> Network:
    """What its operator sees of it. Raises `MeshCredentialError`."""
    settings = config.tailscale
    token = read_credential(TOKEN, settings.token_file) if settings.port else ""
    return Network(LocalApi(Daemon(settings.socket, settings.port, token)), links.links, utc_now)
