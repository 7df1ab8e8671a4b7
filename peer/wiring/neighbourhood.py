"""What this site says of itself to members that have no link to it, and hears of others."""

import os
import time
from collections.abc import Callable

from gossip.site_service import Clocks, Disk, SiteService
from materializer.agreement import Agreement
from peer import __version__
from peer.store.directory import DataDirectory
from peer.transport.connection import now_ms as link_time_ms
from peer.transport.links import PeerLinks
from peer.wiring.core import Core


def make_agreement(core: Core, links: Callable[[], PeerLinks]) -> Agreement:
    """`links` gives the links, which are made later."""
    return Agreement(core.database, core.store, core.store.replica, links, link_time_ms)


def make_site_service(core: Core, directory: DataDirectory, links: Callable[[], PeerLinks]) -> SiteService:
    """`links` gives the links, which are made later."""

    def disk() -> Disk:
        try:
            state = os.statvfs(directory.root)
        except OSError:
            return Disk(0, 0)  # What a disk has that does not answer; it is told of where it is written.
        return Disk(state.f_bavail * state.f_frsize, state.f_blocks * state.f_frsize)

    clocks = Clocks(link_time_ms, lambda: time.time_ns() // 1_000_000)
    return SiteService(core.key, __version__, core.store.replica, links, disk, clocks)
