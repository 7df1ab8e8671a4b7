"""What the admin API asks of the rest of the peer about the network under the mesh."""

from collections.abc import Sequence
from typing import Protocol


class NetworkService(Protocol):
    """The WireGuard mesh that this machine is in, if it is in one."""

    async def status(self) -> dict[str, object]:
        """This machine, the others, and what is wrong."""
        ...


class NetworkPolicyService(Protocol):
    """Who may talk to whom there."""

    async def plan(self) -> dict[str, object]:
        """What would be written."""
        ...

    async def apply(self) -> dict[str, object]:
        """Write it."""
        ...

    async def site_key(self, tags: Sequence[str], expires_s: int) -> dict[str, object]:
        """A key that lets one new site in."""
        ...
