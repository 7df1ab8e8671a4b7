"""What the admin API asks of the rest of the peer where events, bytes here and bytes elsewhere are compared."""

from typing import Protocol

Json = dict[str, object]


class ReconcilingService(Protocol):
    """Finds what is not as it should be, and mends it."""

    async def one(self, reference: str, *, restore: bool) -> Json:
        """Compare one recording."""
        ...

    async def all(self, *, restore: bool) -> Json:
        """Compare everything."""
        ...
