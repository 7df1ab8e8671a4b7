"""How bytes come here and become folders that people see, put together."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import NamedTuple

from materializer.files import RecordingTree
from materializer.summaries import Summaries
from peer.blobs.transfer import Fetcher
from peer.config import Config
from peer.core.identity import EventId, GroupId, PeerId
from peer.core.interfaces import WantedBlob
from peer.core.transfer_queue import SLOW_MAX
from peer.core.wishes import Wishing
from peer.logs import get_log
from peer.operations.fetching import RUNNING_MAX, Around, Fetching
from peer.operations.placing import Placing
from peer.operations.policies import Policies
from peer.operations.reconciling import Surroundings
from peer.operations.repairing import Repairing
from peer.operations.room import Roomy
from peer.operations.rules_applied import RulesApplied
from peer.operations.showing import Showing
from peer.operations.wishing import Asked
from peer.store.directory import DataDirectory
from peer.store.policies import PolicyStore
from peer.store.transfers import TransferStore
from peer.transport.blob_sources import BlobSources
from peer.wiring.bytes_database import BytesDatabase
from peer.wiring.copies import CopyKeeping
from peer.wiring.core import Core, now_ms
from peer.wiring.reconciling import make_surroundings

TELLING_MAX = 16
"""Peers that are told at once that they sent wrong bytes. Others are told by whoever notices it next."""

_log = get_log("node")


class Movers(NamedTuple):
    """What brings bytes and shows them."""

    fetcher: Fetcher
    fetching: Fetching
    asked: Asked
    policies: Policies
    showing: Showing
    surroundings: Surroundings
    """Of reconciling."""


async def make_movers(
    stack: AsyncExitStack, directory: DataDirectory, config: Config, core: Core, local: tuple[BytesDatabase, BlobSources, Placing, CopyKeeping]
) -> Movers:
    """`local` is what this site remembers of its own, where bytes may be had, the copies that it takes, and those that it keeps."""
    (bytes_database, sources, placing, copies) = local
    replica = core.store.replica
    tree = RecordingTree(directory.recordings, core.blobs, core.views, replica.whole)
    showing = Showing(tree, replica, lambda event, fields: _log.warning(event, **fields))
    fetcher = Fetcher(core.blobs, concurrency=RUNNING_MAX + SLOW_MAX, report=Doubts(stack, sources).sent_wrong_bytes)
    fetcher.is_limited = lambda: sources.bandwidth.now.down is not None
    stack.callback(fetcher.close)
    kept = TransferStore(bytes_database.database, bytes_database.unread)
    asked = Asked(core.views, core.blobs.has, kept, await kept.asked())
    policies = await _policies(bytes_database, config, core, copies, lambda: fetching.touched(frozenset()))
    repairing = Repairing(core.blobs)
    wishings: list[Wishing] = [repairing, asked, placing, policies]

    def arrived(group: GroupId, recording: EventId) -> None:
        showing.touched({(group, recording)})
        copies.arrived(group, recording)

    async def dropped(group: GroupId, recording: EventId) -> None:
        await asked.forget(group, [recording])
        fetching.touched(frozenset())
        await showing.now(group, recording)

    copies.dropping.dropped = dropped
    around = Around(
        sources.of_group,
        arrived,
        core.blobs.discard,
        lambda event, fields: _log.debug(event, **fields),
    )
    fetching = Fetching(Roomy(fetcher, copies.room), (core.blobs, replica, kept), wishings, around)
    await fetching.load()
    for listener in (fetching.touched, showing.touched):
        stack.callback(core.materializer.subscribe(listener))
    surroundings = make_surroundings(core, tree, sources, repairing, (fetching, showing, copies))
    return Movers(fetcher, fetching, asked, policies, showing, surroundings)


async def _policies(local: BytesDatabase, config: Config, core: Core, copies: CopyKeeping, changed: Callable[[], None]) -> Policies:
    replica, kept = core.store.replica, PolicyStore(local.database, local.unread)
    return Policies(
        (replica, core.views, core.blobs),
        RulesApplied(replica, core.views, Summaries(core.database)),
        kept,
        await kept.all(),
        default=config.fetch,
        is_held_back=copies.dropping.is_held_back,
        now_ms=now_ms,
        changed=changed,
    )


class Doubts:
    """Who sent wrong bytes is named in the log, and told to look at its own."""

    def __init__(self, stack: AsyncExitStack, sources: BlobSources) -> None:
        """Tells nobody any more once `stack` ends."""
        self._sources = sources
        self._telling: set[asyncio.Task[None]] = set()
        stack.push_async_callback(self._stop)

    def sent_wrong_bytes(self, wanted: WantedBlob, peer: PeerId) -> None:
        """`peer` did."""
        _log.warning("a peer sent wrong bytes", peer=peer.hex(), blob=wanted.blob.hex(), recording=wanted.recording.hex())
        if len(self._telling) < TELLING_MAX:
            telling = asyncio.create_task(self._sources.doubt(peer, wanted.group, wanted.blob))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)

    async def _stop(self) -> None:
        for telling in self._telling:
            telling.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)
