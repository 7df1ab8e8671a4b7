"""What the admin API asks of the rest of the peer where recordings come in bit by bit: open ones, and watched folders."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from peer.core.identity import EventId

Json = dict[str, object]


class OpeningService(Protocol):
    """Recordings that are still open."""

    async def append(self, reference: str, paths: Sequence[Path]) -> EventId:
        """Add files to one."""
        ...

    async def finalize(self, reference: str) -> EventId:
        """Say that one is complete."""
        ...


class WatchService(Protocol):
    """Watched folders."""

    async def add(self, folder: str, group: str | None, tags: Sequence[str], machine: str) -> Json:
        """Watch one more."""
        ...

    async def all(self) -> list[Json]:
        """All of them."""
        ...

    async def remove(self, folder: str) -> Json:
        """Watch one no more."""
        ...

    async def scan(self) -> list[Json]:
        """Look into all of them now."""
        ...

    def problems(self) -> list[Json]:
        """What an operator should do about them."""
        ...

    async def run(self) -> None:
        """Look into all of them now and then, until cancelled."""
        ...
