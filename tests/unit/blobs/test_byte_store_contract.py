"""The contract of a place for blobs, kept by the one on disk and by the one in memory."""

import hashlib
import random
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from blake3 import blake3

from peer.blobs.store import FileBlobStore
from peer.core.byte_store import ByteStore, Usage
from peer.core.identity import BlobId
from peer.errors import DiskFullError, RequestError
from tests.blob_site import MIB
from tests.memory_bytes import MemoryByteStore
from tests.small_damage import flip_byte

NOWHERE = BlobId(b"\x07" * 32)


class Place(NamedTuple):
    """One that keeps the contract, and how it is spoilt."""

    store: ByteStore
    spoil: Callable[[BlobId], None]


@pytest.fixture(params=["on disk", "in memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "in memory":
        memory = MemoryByteStore()
        yield Place(memory, memory.spoil)
        return
    store = FileBlobStore(tmp_path / "blobs")
    yield Place(store, lambda blob: flip_byte(store.path(blob)))
    store.close()


@pytest.fixture(params=["on disk", "in memory"])
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ByteStore]:
    """A place that has no room left."""
    if request.param == "in memory":
        yield MemoryByteStore(room=0)
        return
    store = FileBlobStore(tmp_path / "blobs", free_floor=2**60)
    yield store
    store.close()


async def stream(data: bytes, *sizes: int) -> AsyncIterator[bytes]:
    """`data` in parts of these sizes, then the rest."""
    start = 0
    for size in (*sizes, len(data)):
        yield data[start : start + size]
        start += size


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 17])
async def test_what_was_put_is_had_under_its_hash_with_its_piece_list(place: Place, size: int) -> None:
    data = random.Random(size).randbytes(size)

    facts = await place.store.put_stream(stream(data, 1, MIB // 2, 0, 5), size)

    hashes = b"".join(blake3(data[start : start + MIB]).digest() for start in range(0, size, MIB))
    assert facts == (blake3(data).digest(), hashlib.sha256(data).digest(), size, MIB, blake3(hashes).digest())
    assert place.store.has(facts.blob)
    assert await place.store.read(facts.blob, 0, size + 1) == data
    assert await place.store.read(facts.pieces, 0, len(hashes) + 1) == hashes
    assert await place.store.usage() == (Usage(2, size + len(hashes)) if hashes else Usage(1, 0))


async def test_any_range_is_read_and_nothing_lies_behind_the_end(place: Place) -> None:
    data = random.Random(1).randbytes(100_000)
    facts = await place.store.put_stream(stream(data), len(data))

    for start, size in ((0, 0), (0, 1), (99_999, 1), (99_999, 5), (40_000, 20_000), (100_000, 5), (2**62, 1)):
        assert await place.store.read(facts.blob, start, size) == data[start : start + size]


async def test_the_same_bytes_are_kept_once_however_they_came(place: Place) -> None:
    first = await place.store.put_stream(stream(b"abcdef", 2), 6)

    assert await place.store.put_stream(stream(b"abcdef"), 6) == first
    assert (await place.store.usage()).blobs == 2


@pytest.mark.parametrize("said", [5, 7])
async def test_another_size_than_was_announced_leaves_nothing(place: Place, said: int) -> None:
    with pytest.raises(RequestError, match="announced"):
        await place.store.put_stream(stream(b"abcdef", 3), said)

    assert await place.store.usage() == Usage(0, 0)


async def test_a_stream_that_breaks_off_leaves_nothing(place: Place) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield b"abc"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await place.store.put_stream(breaks(), 6)

    assert await place.store.usage() == Usage(0, 0)


async def test_where_there_is_no_room_it_says_so_and_keeps_nothing(full: ByteStore) -> None:
    with pytest.raises(DiskFullError):
        await full.put_stream(stream(b"abcdef"), 6)

    assert await full.usage() == Usage(0, 0)


async def test_what_was_removed_is_gone_and_removing_is_no_error(place: Place) -> None:
    facts = await place.store.put_stream(stream(b"abcdef"), 6)

    await place.store.remove(facts.blob)
    await place.store.remove(facts.blob)
    await place.store.remove(NOWHERE)

    assert not place.store.has(facts.blob)
    assert await place.store.read(facts.blob, 0, 1) is None
    assert await place.store.usage() == Usage(1, 32)


async def test_what_was_never_there_is_not_there(place: Place) -> None:
    assert not place.store.has(NOWHERE)
    assert await place.store.read(NOWHERE, 0, 1) is None


async def test_damaged_bytes_are_not_given_and_may_be_put_again(place: Place) -> None:
    facts = await place.store.put_stream(stream(b"abcdef"), 6)

    place.spoil(facts.blob)

    assert await place.store.read(facts.blob, 0, 6) is None
    assert not place.store.has(facts.blob)
    assert await place.store.put_stream(stream(b"abcdef"), 6) == facts
    assert await place.store.read(facts.blob, 0, 6) == b"abcdef"
