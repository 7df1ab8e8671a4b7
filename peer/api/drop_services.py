"""What the admin API asks of the rest of the peer where copies are dropped."""

from typing import Protocol

Json = dict[str, object]


class DroppingService(Protocol):
    """Drops copies that are here."""

    async def drop(self, reference: str, *, dry_run: bool) -> Json:
        """Drop the bytes of a recording, or say what would go."""
        ...
