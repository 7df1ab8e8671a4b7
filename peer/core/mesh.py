"""What is known of the WireGuard mesh that this machine is in, if it is in one."""

from enum import StrEnum
from typing import NamedTuple

RUNNING = "Running"
"""What the daemon says when it carries packets."""


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
