"""Where the bytes of recordings are, remembered no longer than it is true."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from peer.blobs.store import FileBlobStore
from peer.core.finding import Finder, Found, PlaceInOrder, RecordingSummary, SummaryFile
from peer.core.hashing import hash_bytes
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.operations.holdings import Held, Holdings

ME, OTHER = PeerId(b"m" * 32), PeerId(b"o" * 32)
GROUP, RECORDING = GroupId(b"g" * 32), EventId(b"r" * 32)
FIRST, SECOND, ATTACHED = b"first chunk", b"second one", b"attached"


class Files:
    """A finder that knows the files of one recording, and counts how often it is asked for them."""

    def __init__(self) -> None:
        self.asked = 0
        self.counts = True

    async def files(self, _groups: Sequence[GroupId], recordings: Sequence[EventId]) -> Mapping[EventId, Sequence[SummaryFile]]:
        self.asked += 1
        contents = ((FIRST, True), (SECOND, True), (ATTACHED, False))
        files = [SummaryFile(BlobId(hash_bytes(data)), len(data), is_chunk) for data, is_chunk in contents]
        return dict.fromkeys(recordings, files) if self.counts else {}


def found(*, site: PeerId = OTHER, finalized: bool = True, manifest_id: bytes | None = b"m", content: bytes = b"1") -> Found:
    nothing = dict.fromkeys(RecordingSummary._fields)
    changes = {"recording": RECORDING, "group": GROUP, "site": site, "finalized": finalized, "manifest_id": manifest_id}
    return Found(RecordingSummary(**{**nothing, **changes}), PlaceInOrder(0, RECORDING), content)  # type: ignore[arg-type]


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[FileBlobStore]:
    store = FileBlobStore(tmp_path / "blobs")
    yield store
    store.close()


async def test_what_is_here_is_looked_for_again_after_bytes_came_or_went(blobs: FileBlobStore) -> None:
    files = Files()
    holdings = Holdings(ME, blobs, cast("Finder", files))

    async def held() -> Held:
        return (await holdings.of([GROUP], [found()]))[RECORDING]

    assert await held() == Held("remote", 0)
    for data, expected in ((FIRST, Held("partial", 11)), (SECOND, Held("partial", 21)), (ATTACHED, Held("local", 21))):
        await blobs.ingest_bytes(data)
        assert await held() == expected
    asked = files.asked
    await blobs.ingest_bytes(b"of another recording")
    assert [await held() for _ in range(3)] == [Held("local", 21)] * 3
    assert files.asked == asked, "all of it is here: nothing more can come"
    await blobs.remove(BlobId(hash_bytes(SECOND)))
    assert await held() == Held("partial", 11)
    await blobs.remove(BlobId(hash_bytes(FIRST)))
    await blobs.remove(BlobId(hash_bytes(ATTACHED)))
    assert await held() == Held("remote", 0)


async def test_what_the_recording_says_now_decides_the_word(blobs: FileBlobStore) -> None:
    files = Files()
    holdings = Holdings(ME, blobs, cast("Finder", files))
    for data in (FIRST, SECOND, ATTACHED):
        await blobs.ingest_bytes(data)

    cases = (
        (found(finalized=False, content=b"2"), "open"),
        (found(content=b"3"), "local"),
        (found(manifest_id=None, content=b"4"), "partial"),
    )
    for each, state in cases:
        assert (await holdings.of([GROUP], [each]))[RECORDING].state == state
    for data in (FIRST, SECOND, ATTACHED):
        await blobs.remove(BlobId(hash_bytes(data)))
    assert (await holdings.of([GROUP], [found(site=ME, content=b"5")]))[RECORDING].state == "missing"
    files.counts = False
    assert await holdings.of([GROUP], [found(content=b"6")]) == {}, "it counts no more"


async def test_damage_that_was_found_is_told_until_it_is_mended(blobs: FileBlobStore) -> None:
    holdings = Holdings(ME, blobs, cast("Finder", Files()))
    for data in (FIRST, SECOND, ATTACHED):
        await blobs.ingest_bytes(data)
    path = blobs.path(BlobId(hash_bytes(FIRST)))

    async def verified() -> Held:
        assert len([each async for each in blobs.verify()]) == 6, "each has a list of its pieces, too"
        return (await holdings.of([GROUP], [found()]))[RECORDING]

    assert await verified() == Held("local", 21)
    path.chmod(0o644)
    path.write_bytes(b"other bytes")
    assert [await verified() for _ in range(2)] == [Held("corrupt", 10)] * 2
    path.write_bytes(FIRST)
    assert await verified() == Held("local", 21)
