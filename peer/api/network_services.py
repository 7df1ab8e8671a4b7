"""What the admin API asks of the rest of the peer about the network under the mesh."""

from typing import Protocol


class NetworkService(Protocol):
    """The WireGuard mesh that this machine is in, if it is in one."""

    async def status(self) -> dict[str, object]:
        """This machine, the others, and what is wrong."""
        ...
