"""What the admin API asks about how long recordings are kept."""

from typing import Protocol

Json = dict[str, object]


class RetainingService(Protocol):
    """Says what is to be kept."""

    async def show(self, reference: str) -> Json:
        """What holds a recording, and how long it is to be kept."""
        ...

    async def hold(self, reference: str, reason: str, person: str = "") -> Json:
        """Let nothing of it go."""
        ...

    async def unhold(self, reference: str, reason: str = "", person: str = "") -> Json:
        """Lift that."""
        ...

    async def retain(self, reference: str, retention: str, until_ns: int | None, reason: str, person: str = "") -> Json:
        """Say how long to keep it."""
        ...
