"""Sources that turn up while a blob is on its way, for whoever asks others at that moment."""

import asyncio
from collections.abc import Sequence

from peer.core.interfaces import BlobSource


class Offers:
    """The last that were offered and not taken up yet."""

    def __init__(self) -> None:
        """None."""
        self._sources: Sequence[BlobSource] = ()
        self.told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once there are some: to be waited for beside other things."""

    def offer(self, sources: Sequence[BlobSource]) -> None:
        """These can be asked now, those that were asked before among them."""
        self._sources = sources
        if not self.told.done():
            self.told.set_result(None)

    def take(self) -> Sequence[BlobSource]:
        """What was offered since this was called last."""
        sources, self._sources = self._sources, ()
        if self.told.done():
            self.told = asyncio.get_running_loop().create_future()
        return sources
