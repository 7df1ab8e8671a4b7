"""The network under the mesh: what the daemon of a WireGuard mesh on this machine says, and what to do about it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from peer.core.mesh import Mesh, MeshNode, MeshStatus
from peer.errors import MeshAbsentError, MeshError
from peer.operations.json_form import Json

EXPIRES_SOON = timedelta(days=7)
"""How long before its end the key of this machine is worth a word."""

FIXES: Mapping[str, tuple[str, str]] = {
    "NeedsLogin": ("this machine is logged out of its mesh", "run `tailscale up` on this machine"),
    "NeedsMachineAuth": ("this machine waits for an admin of its mesh", "let an admin of the mesh approve it"),
    "Stopped": ("the mesh is switched off on this machine", "run `tailscale up` on this machine"),
    "Starting": ("the mesh is starting", "nothing, if it runs in a minute"),
    "NoState": ("the mesh is starting", "nothing, if it runs in a minute"),
}
_NOTHING: Json = {"backend": "", "version": "", "tailnet": "", "own": None, "peers": [], "problems": []}
"""What is known where no daemon answers."""


class Daemon(Protocol):
    """What knows the mesh."""

    async def status(self) -> MeshStatus:
        """How it is. Raises a `MeshError`, `MeshAbsentError` where there is none."""
        ...


class Network:
    """The network as its operator sees it."""

    def __init__(self, daemon: Daemon, links: Callable[[], Sequence[Mapping[str, object]]], now: Callable[[], datetime]) -> None:
        """`links` are those of the status; `now` is in UTC."""
        self._daemon = daemon
        self._links = links
        self._now = now

    async def status(self) -> Json:
        """This machine and the others of its mesh, and what is wrong. Never an error: a mesh that is not there is an answer."""
        try:
            found = await self._daemon.status()
        except MeshAbsentError:
            return {**_NOTHING, "mesh": Mesh.ABSENT.value}
        except MeshError as error:
            return {**_NOTHING, "mesh": Mesh.STOPPED.value, "problems": [{"code": error.code, "text": error.text, "fix": error.fix}]}
        members = self._members()
        return {
            "mesh": found.mesh.value,
            "backend": found.backend,
            "version": found.version,
            "tailnet": found.tailnet,
            "own": None if found.own is None else _node(found.own, members),
            "peers": [_node(node, members) | {"route": node.route, "through": node.direct_address or node.relay} for node in found.peers],
            "problems": self._problems(found),
        }

    def _members(self) -> Mapping[str, Mapping[str, object]]:
        """The links that stand, by the machine at their other end."""
        found = ((link, link["node"]) for link in self._links())
        return {str(node["node_id"]): link for link, node in found if isinstance(node, dict)}

    def _problems(self, found: MeshStatus) -> list[Json]:
        problems: list[Json] = []
        own = found.own
        if found.mesh is not Mesh.RUNNING:
            text, fix = FIXES.get(found.backend, (f"the mesh's daemon says {found.backend}", "run `tailscale status` on this machine"))
            problems.append({"code": "mesh_stopped", "text": text, "fix": fix})
        if own is not None and self._ends_soon(own):
            when = "has expired" if own.is_expired or self._left(own) <= timedelta() else f"expires {own.expires}"
            problems.append(
                {"code": "mesh_key_expires", "text": f"the key of this machine in its mesh {when}", "fix": "run `tailscale up --force-reauth`"}
            )
        problems += [{"code": "mesh_complains", "text": text, "fix": "run `tailscale status` on this machine"} for text in found.complaints]
        relayed = [node.name or node.host for node in found.peers if node.route == "relayed"]
        if relayed:
            fix = "let UDP through between the two sites, or to port 41641 of one of them"
            problems.append({"code": "mesh_relayed", "text": f"only a relay leads to {', '.join(relayed)}: that is slow", "fix": fix})
        return problems

    def _ends_soon(self, own: MeshNode) -> bool:
        return own.is_expired or self._left(own) < EXPIRES_SOON

    def _left(self, own: MeshNode) -> timedelta:
        """How long the key is still good."""
        try:
            return datetime.fromisoformat(own.expires) - self._now()
        except (ValueError, TypeError):
            return timedelta.max  # It does not end, or not at a time that is one.


def utc_now() -> datetime:
    """The time that keys end by."""
    return datetime.now(UTC)


def _node(node: MeshNode, members: Mapping[str, Mapping[str, object]]) -> Json:
    link = members.get(node.node_id)
    return {
        "node_id": node.node_id,
        "name": node.name,
        "host": node.host,
        "system": node.system,
        "user": node.user,
        "addresses": list(node.addresses),
        "tags": list(node.tags),
        "online": node.is_online,
        "expires": node.expires,
        "peer_id": None if link is None else link["peer_id"],
        "peer_name": None if link is None else link["name"],
    }
