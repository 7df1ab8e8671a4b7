"""What the admin API asks of the rest of the peer where recordings are exported, and recovered."""

from typing import Protocol

from peer.core.identity import EventId

Json = dict[str, object]


class ExportingService(Protocol):
    """Folders that other programs work with."""

    async def export(self, reference: str, to: str, *, dry_run: bool) -> Json:
        """Write one, or say what would be written."""
        ...


class RecoveringService(Protocol):
    """Recordings that did not end well."""

    async def add(self, order: Json) -> tuple[EventId, list[Json]]:
        """Add one; the members of `order` are those of the request. Also what was recovered of each file that is not whole."""
        ...
