"""Waiting until something holds that several tasks work on."""

import asyncio
from collections.abc import Callable


class Changes:
    """Wakes everybody who waits, each to look for itself. All in one event loop, so nothing changes between looking and waiting."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        """Something changed."""
        self._event.set()
        self._event = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once `condition` holds."""
        while not condition():
            await self._event.wait()
