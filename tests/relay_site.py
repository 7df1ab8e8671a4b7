"""What a relay of bytes works with, in memory: what groups say, and members that have something, lie, are slow or go away."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from peer.blobs.cache import PieceCache
from peer.blobs.digest import Digests, StreamDigest
from peer.blobs.relay import PASSING, Pace, PieceRelay
from peer.blobs.store import FileBlobStore
from peer.core.hashing import hash_bytes
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import BlobSource, WantedBlob
from peer.core.relaying import WantedPart
from peer.errors import StoreError, TransportError
from tests.blob_site import GROUP, MIB
from tests.samples import key_pair

SITE = key_pair("alice").peer_id
RECORDING = EventId(b"r" * 32)
PART = 256 * 1024
DEADLINE_S = 20.0


def digest_bytes(data: bytes) -> Digests:
    """The digests of a few bytes."""
    digest = StreamDigest(len(data))
    digest.update(memoryview(data))
    return digest.finish()


def blob_of(data: bytes, group: GroupId = GROUP) -> WantedBlob:
    """What an event says of a file with these bytes."""
    facts = digest_bytes(data)
    pieces = BlobId(hash_bytes(facts.piece_list))
    return WantedBlob(group, RECORDING, BlobId(facts.blake3), len(data), facts.layout.piece_size, pieces, facts.sha256, SITE)


@dataclass
class Member:
    """A `BlobSource` that has files, or says that it does."""

    name: str
    has: dict[BlobId, bytes] = field(default_factory=dict)
    asked: list[tuple[BlobId, int]] = field(default_factory=list)
    waits: asyncio.Event | None = None
    """Says nothing before that."""
    asks_others: bool = False

    @property
    def peer_id(self) -> PeerId:
        return key_pair(self.name).peer_id

    def gets(self, data: bytes) -> WantedBlob:
        """Have a file and its piece list."""
        facts, file = digest_bytes(data), blob_of(data)
        self.has |= {file.blob: data, file.pieces: facts.piece_list}
        return file

    async def read(self, group: GroupId, blob: BlobId, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        self.asked.append((blob, start))
        if self.waits is not None:
            await self.waits.wait()
        if blob not in self.has:
            raise TransportError(f"{self.name} has no such blob in {group.hex()}")
        for position in range(start, stop, PART):
            yield self.has[blob][position : min(stop, position + PART)]


@dataclass
class RelayLab:
    """A relay and all around it."""

    relay: PieceRelay
    cache: PieceCache
    store: FileBlobStore
    files: list[WantedBlob] = field(default_factory=list)
    """What the events of its groups say."""
    members: list[BlobSource] = field(default_factory=list)
    coming: set[BlobId] = field(default_factory=set)
    reports: list[StoreError] = field(default_factory=list)

    async def files_with(self, group: GroupId, blob: BlobId) -> Sequence[WantedBlob]:
        return [file for file in self.files if file.group == group and blob in (file.blob, file.pieces)]

    async def part(self, file: WantedBlob, start: int, size: int = PART, *, relay: bool = True) -> bytes | None:
        return await self.relay.read(WantedPart(file.group, file.blob, start, size, relay))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Until `condition` holds."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110  (what is waited for has no event of its own)
                await asyncio.sleep(0)

    async def rests(self) -> None:
        """Until nothing is got any more."""
        await self.until(lambda: not self.relay._getting)

    async def whole(self, file: WantedBlob) -> bytes | None:
        """All of it, part by part."""
        found = [await self.part(file, start) for start in range(0, file.size, PART)]
        return None if None in found else b"".join(each for each in found if each is not None)


@asynccontextmanager
async def relay_lab(folder: Path, limit: int = 64 * MIB, pace: Pace = PASSING) -> AsyncIterator[RelayLab]:
    """An empty one."""
    store = FileBlobStore(folder / "blobs")
    cache = PieceCache(folder / "cache", limit)
    lab: RelayLab

    class Files:
        async def files_with(self, group: GroupId, blob: BlobId) -> Sequence[WantedBlob]:
            return await lab.files_with(group, blob)

    relay = PieceRelay(
        cache,
        store,
        Files(),
        lambda _group, _site: lab.members,
        is_coming=lambda blob: blob in lab.coming,
        may_give=_may,
        report=lambda _, error: lab.reports.append(error),
        pace=pace,
    )
    lab = RelayLab(relay, cache, store)
    try:
        yield lab
    finally:
        await relay.close()
        store.close()


async def _may(_group: GroupId, _blob: BlobId) -> bool:
    return True


def bytes_below(folder: Path) -> int:
    """Bytes of the disk that the files of a folder take, by the operating system; files come and go meanwhile."""
    total = 0
    for path in list(folder.iterdir()):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_blocks * 512
    return total
