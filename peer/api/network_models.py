"""The network under the mesh, as the admin API tells of it."""

from typing import Literal

from pydantic import BaseModel

from peer.api.status_models import StatusProblem


class MeshMachine(BaseModel):
    """A machine in the mesh."""

    node_id: str
    name: str
    host: str
    system: str
    user: str
    addresses: list[str]
    tags: list[str]
    online: bool
    expires: str
    peer_id: str | None
    peer_name: str | None


class MeshPeer(MeshMachine):
    """Another machine in the mesh."""

    route: Literal["direct", "relayed", "idle", "offline"]
    through: str


class NetworkStatus(BaseModel):
    """What the daemon of the mesh on this machine says."""

    mesh: Literal["absent", "stopped", "running"]
    backend: str
    version: str
    tailnet: str
    own: MeshMachine | None
    peers: list[MeshPeer]
    problems: list[StatusProblem]
