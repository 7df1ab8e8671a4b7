"""How bytes come here and become folders that people see, put together."""

from contextlib import AsyncExitStack
from typing import NamedTuple

from materializer.files import RecordingTree
from peer.blobs.transfer import Fetcher
from peer.config import Config
from peer.core.wishes import Wishing
from peer.logs import get_log
from peer.operations.fetching import Fetching
from peer.operations.showing import Showing
from peer.operations.wishing import Asked, Everything
from peer.store.directory import DataDirectory
from peer.store.transfers import TransferStore
from peer.transport.blob_sources import BlobSources
from peer.wiring.bytes_database import BytesDatabase
from peer.wiring.core import Core

_log = get_log("node")


class Movers(NamedTuple):
    """What brings bytes and shows them."""

    fetcher: Fetcher
    fetching: Fetching
    asked: Asked
    showing: Showing


async def make_movers(
    stack: AsyncExitStack, directory: DataDirectory, config: Config, core: Core, local: tuple[BytesDatabase, BlobSources]
) -> Movers:
    """`local` is what this site remembers of its own, and where bytes may be had."""
    (bytes_database, sources) = local
    replica = core.store.replica
    tree = RecordingTree(directory.recordings, core.blobs, core.views, replica.whole)
    showing = Showing(tree, replica, lambda event, fields: _log.warning(event, **fields))
    fetcher = Fetcher(core.blobs)
    stack.callback(fetcher.close)
    kept = TransferStore(bytes_database.database)
    asked = Asked(core.views, kept, await kept.asked())
    wishings: list[Wishing] = [asked, *([Everything(core.views)] if config.fetch == "all" else [])]
    fetching = Fetching(
        fetcher,
        core.blobs,
        replica,
        wishings,
        sources.of_group,
        arrived=lambda group, recording: showing.touched({(group, recording)}),
        report=lambda event, fields: _log.debug(event, **fields),
    )
    return Movers(fetcher, fetching, asked, showing)
