"""Bytes for other members, put together: what is kept here, and what passes through for those who cannot reach one another."""

from contextlib import AsyncExitStack
from functools import partial
from typing import NamedTuple

from peer.blobs.cache import PieceCache
from peer.blobs.reading import READING, BlobBytes
from peer.blobs.relay import PieceRelay
from peer.blobs.transfer import Fetcher
from peer.config import Config
from peer.core.identity import PeerId
from peer.core.interfaces import WantedBlob
from peer.core.random_access import RandomAccess
from peer.core.relaying import WantedPart
from peer.operations.fetching import Fetching
from peer.operations.provenance import Provenance
from peer.store.directory import DataDirectory
from peer.transport.bandwidth import Bandwidth, Way
from peer.transport.blob_sources import BlobSources
from peer.wiring.core import Core, report


class Serving(NamedTuple):
    """What members are given bytes by."""

    core: Core
    provenance: Provenance
    cache: PieceCache
    relay: PieceRelay | None
    """None where nothing may pass through."""
    bandwidth: Bandwidth
    reader: PieceRelay
    """What this site reads for itself of what is elsewhere; where nothing may be kept, a little of it in memory."""

    async def read(self, peer: PeerId, part: WantedPart) -> bytes | None:
        """A part of a blob of a group, for `peer`, a member of it, as a `ReadBlobCall`."""
        if not await self.core.views.has_blob(part.group, part.blob):
            return None
        left = part.size
        while left > 0:
            left -= await self.bandwidth.take(Way.UP, peer, left)
        if self.core.blobs.has(part.blob) and await self.provenance.may_give(part.group, part.blob):
            data = await self.core.blobs.read(part.blob, part.start, part.size)
            if data is not None:
                return data  # Else it turned out to be damaged: others may have it.
        return await self.relay.read(part) if self.relay is not None else None

    def open_bytes(self, file: WantedBlob) -> RandomAccess:
        """The bytes of a file of a recording, wherever they are."""
        return BlobBytes(file, self.core.blobs, self.reader)


def make_serving(
    stack: AsyncExitStack, directory: DataDirectory, config: Config, core: Core, movers: tuple[BlobSources, Fetching, Fetcher]
) -> Serving:
    """Begin to serve; ends with `stack`. What an earlier process kept for a while goes where `cache_bytes` is 0."""
    sources, fetching, fetcher = movers
    cache = PieceCache(directory.cache, config.cache_bytes, free_floor=config.disk.floor_bytes)
    fetcher.take_from(cache)
    provenance = Provenance(core.key.peer_id, core.store.replica, core.views, core.blobs)
    make = partial(PieceRelay, cache, core.blobs, core.views, may_give=provenance.may_give, report=report)
    reader = make(sources.of_group, is_coming=lambda _: False, pace=READING)
    stack.push_async_callback(reader.close)
    if not config.cache_bytes:
        return Serving(core, provenance, cache, None, sources.bandwidth, reader)
    relay = make(sources.holders, is_coming=fetching.is_coming)
    stack.push_async_callback(relay.close)
    return Serving(core, provenance, cache, relay, sources.bandwidth, reader)
