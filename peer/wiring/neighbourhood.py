"""What this site says of itself to members that have no link to it, and hears of others."""

import asyncio
import os
import time
from collections.abc import Callable

from gossip.site_service import Clocks, Disk, SiteService
from materializer.agreement import Agreement
from materializer.summaries import Summaries
from peer import __version__
from peer.config import Config
from peer.operations.fetching import Fetching
from peer.operations.placing import Placing, PlacingParts
from peer.operations.rules import IsUnproven
from peer.operations.sites import Seen
from peer.store.directory import DataDirectory
from peer.transport.connection import now_ms as link_time_ms
from peer.transport.links import PeerLinks
from peer.wiring.core import Core

LOOK_S = 10.0


def make_agreement(core: Core, links: Callable[[], PeerLinks]) -> Agreement:
    """`links` gives the links, which are made later."""
    return Agreement(core.database, core.store, core.store.replica, links, link_time_ms)


class RoomHere:
    """For how many bytes of recordings there is room: for none where this site takes no copies for others."""

    def __init__(self, core: Core, directory: DataDirectory, config: Config) -> None:
        """Looks once."""
        self._folder, self._blobs, self._takes_copies = directory.root, core.blobs, config.take_copies
        self.disk = self._look()

    async def run(self) -> None:
        """Look now and then, until cancelled: with a quota all files are counted."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.disk = await asyncio.to_thread(self._look)

    def _look(self) -> Disk:
        try:
            state = os.statvfs(self._folder)
            floor = self._blobs.free_floor
            free = max(0, state.f_bavail * state.f_frsize - floor.free)
            free = free if floor.most is None else min(free, floor.most)
        except OSError:
            return Disk(0, 0)  # What a disk has that does not answer; it is told of where it is written.
        return Disk(free if self._takes_copies else 0, state.f_blocks * state.f_frsize)


def make_placing(core: Core, config: Config, room: RoomHere, told: tuple[Seen, IsUnproven], fetching: Callable[[], Fetching]) -> Placing:
    """The copies that this site takes; `told` is how others are, and whose word does not count. `fetching` gives who brings them."""
    seen, is_unproven = told
    parts = PlacingParts(
        core.key.peer_id,
        core.store.replica,
        core.views,
        Summaries(core.database),
        core.blobs,
        seen,
        lambda: room.disk.free,
        is_unproven,
    )
    return Placing(parts, after_s=config.copies_after, changed=lambda touched: fetching().touched(touched))


def make_site_service(core: Core, directory: DataDirectory, config: Config, links: Callable[[], PeerLinks]) -> tuple[SiteService, RoomHere]:
    """With what it tells of the disk. `links` gives the links, which are made later."""
    clocks, room = Clocks(link_time_ms, lambda: time.time_ns() // 1_000_000), RoomHere(core, directory, config)
    return SiteService(core.key, __version__, core.store.replica, links, lambda: room.disk, clocks), room
