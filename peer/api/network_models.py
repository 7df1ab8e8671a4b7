"""The network under the mesh, as the admin API tells of it."""

from typing import Annotated, Literal

from pydantic import Field

from peer.api.models import Answer, Request
from peer.api.status_models import StatusProblem


class MeshMachine(Answer):
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


class NetworkStatus(Answer):
    """What the daemon of the mesh on this machine says."""

    mesh: Literal["absent", "stopped", "running"]
    backend: str
    version: str
    tailnet: str
    own: MeshMachine | None
    peers: list[MeshPeer]
    problems: list[StatusProblem]


class PlannedMember(Answer):
    """A member with a machine in the mesh."""

    peer_id: str
    name: str
    machine: str
    addresses: list[str]
    port: int
    proven: bool


class MemberElsewhere(Answer):
    """A member without one."""

    peer_id: str
    name: str


class PlannedGroup(Answer):
    """Who of a group is to reach whom."""

    group_id: str
    name: str
    members: list[PlannedMember]
    missing: list[MemberElsewhere]


class NetworkPlan(Answer):
    """What the policy of the mesh is to let through, and how it differs from what it lets through now."""

    provider: Literal["tailscale", "headscale"]
    groups: list[PlannedGroup]
    grants: list[dict[str, object]]
    changes: bool
    diff: list[str]
    written: bool


class SiteKeyOrder(Request):
    """A key for one new site."""

    tags: list[Annotated[str, Field(pattern=r"^tag:[A-Za-z][A-Za-z0-9-]{0,60}$")]] = Field(default=[], max_length=16)
    expires_in_ms: int = Field(default=24 * 3600 * 1000, ge=1000, le=90 * 24 * 3600 * 1000)


class SiteKeyMade(Answer):
    """It is told this once."""

    key: str
    expires: str
    tags: list[str]
