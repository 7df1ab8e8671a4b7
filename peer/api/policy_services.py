"""What the admin API asks of the rest of the peer about which bytes it wants."""

from collections.abc import Sequence
from typing import Protocol

from peer.errors import MeshError

Json = dict[str, object]


class PolicyService(Protocol):
    """Which bytes this site wants by rules."""

    def all(self) -> list[Json]:
        """The policies of all groups."""
        ...

    def show(self, reference: str) -> Json:
        """That of one."""
        ...

    async def set(self, reference: str, texts: Sequence[str]) -> Json:
        """Give one another."""
        ...

    async def dry_run(self, reference: str, texts: Sequence[str], limit: int) -> Json:
        """What rules would bring here, those that hold if none are given."""
        ...

    def problems(self) -> list[MeshError]:
        """What an operator should do about them."""
        ...
