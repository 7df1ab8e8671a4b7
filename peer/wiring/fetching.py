"""How bytes come here and become folders that people see, put together."""

from contextlib import AsyncExitStack
from typing import NamedTuple

from materializer.files import RecordingTree
from peer.blobs.transfer import Fetcher
from peer.config import Config
from peer.logs import get_log
from peer.operations.fetching import Fetching
from peer.operations.showing import Showing
from peer.store.directory import DataDirectory
from peer.transport.blob_sources import BlobSources
from peer.wiring.core import Core

_log = get_log("node")


class Movers(NamedTuple):
    """What brings bytes and shows them."""

    fetcher: Fetcher
    fetching: Fetching
    showing: Showing


def make_movers(stack: AsyncExitStack, directory: DataDirectory, config: Config, core: Core, sources: BlobSources) -> Movers:
    """`sources` tells where bytes may be had."""
    replica = core.store.replica
    tree = RecordingTree(directory.recordings, core.blobs, core.views, replica.whole)
    showing = Showing(tree, replica, lambda event, fields: _log.warning(event, **fields))
    fetcher = Fetcher(core.blobs)
    stack.callback(fetcher.close)
    fetching = Fetching(
        fetcher,
        core.blobs,
        replica,
        core.views,
        sources.of_group,
        everything=config.fetch == "all",
        arrived=lambda group, recording: showing.touched({(group, recording)}),
        report=lambda event, fields: _log.debug(event, **fields),
    )
    return Movers(fetcher, fetching, showing)
