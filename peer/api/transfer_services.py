"""What the admin API asks of the rest of the peer about bytes on their way, and about all that it counts."""

from collections.abc import Sequence
from typing import Protocol

from peer.core.counts import Count

Json = dict[str, object]


class TransferService(Protocol):
    """Bytes on their way here."""

    def shown(self) -> list[Json]:
        """What is on its way, what waits, what is held back."""
        ...

    def limits(self) -> Json:
        """How fast bytes may travel."""
        ...

    async def pause(self, reference: str | None) -> Json:
        """Fetch nothing for now, or not these."""
        ...

    async def resume(self, reference: str | None) -> Json:
        """Go on."""
        ...

    async def cancel(self, reference: str | None) -> Json:
        """Do not fetch what is wanted now, or not these."""
        ...

    async def retry(self, reference: str | None) -> Json:
        """Try again what was given up, or these."""
        ...

    async def limit(self, text: str | None, reference: str | None) -> Json:
        """Let bytes travel no faster, to and from all peers together or one."""
        ...


class CountingService(Protocol):
    """Numbers for those who watch."""

    async def counts(self) -> Sequence[Count]:
        """All of them, now."""
        ...
