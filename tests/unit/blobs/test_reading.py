"""Parts of blobs that are elsewhere, for who reads them here."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from peer.blobs.plan import PIECE_SIZE_MIN
from peer.blobs.reading import PIECES_AHEAD_MAX, READING, BlobBytes
from peer.core.identity import BlobId
from peer.core.interfaces import WantedBlob
from peer.errors import BlobMismatchError, BytesDamagedError, BytesUnreachableError, FileUnreadableError
from tests.blob_site import MIB, OTHER_GROUP
from tests.patience import PATIENCE_S
from tests.relay_site import Member, RelayLab, blob_of, relay_lab

SIZE = 20 * MIB + 1234


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[RelayLab]:
    async with asyncio.timeout(PATIENCE_S), relay_lab(tmp_path, pace=READING) as made:
        yield made


@pytest.fixture(scope="module")
def data() -> bytes:
    return made_data()


def made_data() -> bytes:
    """What is in the file that is read."""
    return random.Random(1).randbytes(SIZE)


def opened(lab: RelayLab, file: WantedBlob, give_up_s: float = 0.3) -> BlobBytes:
    return BlobBytes(file, lab.store, lab.relay, give_up_s=give_up_s)


def holder(lab: RelayLab, data: bytes, name: str = "alice") -> tuple[Member, WantedBlob]:
    member = Member(name)
    lab.members.append(member)
    return member, member.gets(data)


def pieces_asked(member: Member, file: WantedBlob) -> list[int]:
    return [start // PIECE_SIZE_MIN for blob, start in member.asked if blob == file.blob]


async def test_only_pieces_that_hold_what_is_read_are_asked_for_and_once(lab: RelayLab, data: bytes) -> None:
    alice, file = holder(lab, data)
    source = opened(lab, file)

    for start, size in ((5 * MIB - 10, 20), (5 * MIB, MIB), (SIZE - 5, 5), (0, 0), (5 * MIB + 7, 1)):
        assert await source.read(start, size) == data[start : start + size]

    await source.close()
    assert sorted(pieces_asked(alice, file)) == [4, 5, 20]
    assert source.size == SIZE


async def test_many_that_read_the_same_get_it_once(lab: RelayLab, data: bytes) -> None:
    alice, file = holder(lab, data)
    sources = [opened(lab, file) for _ in range(10)]

    found = await asyncio.gather(*(source.read(MIB + 5, 3 * MIB) for source in sources))

    assert set(found) == {data[MIB + 5 : 4 * MIB + 5]}
    assert sorted(pieces_asked(alice, file)) == [1, 2, 3, 4]


async def test_what_is_expected_is_got_ahead_of_time_and_not_more_than_a_few_pieces_of_it(lab: RelayLab, data: bytes) -> None:
    alice, file = holder(lab, data)
    source = opened(lab, file)

    source.expect(2 * MIB, 15 * MIB)
    await lab.until(lambda: len(pieces_asked(alice, file)) >= PIECES_AHEAD_MAX)
    await lab.rests()

    assert sorted(pieces_asked(alice, file)) == list(range(2, 2 + PIECES_AHEAD_MAX))
    assert await source.read(2 * MIB, 2 * MIB) == data[2 * MIB : 4 * MIB]
    assert len(pieces_asked(alice, file)) == PIECES_AHEAD_MAX
    await source.close()


async def test_who_is_wrong_or_gone_is_left_for_somebody_else(lab: RelayLab, data: bytes) -> None:
    mallory, file = holder(lab, data, "mallory")
    mallory.has[file.blob] = data[: 3 * MIB] + bytes([data[3 * MIB] ^ 1]) + data[3 * MIB + 1 :]
    gone, _ = holder(lab, data, "bob")
    gone.has = {}
    alice, _ = holder(lab, data)

    assert await opened(lab, file).read(2 * MIB, 4 * MIB) == data[2 * MIB : 6 * MIB]

    assert 3 in pieces_asked(alice, file)
    assert pieces_asked(mallory, file).count(3) == 1


async def test_where_only_wrong_bytes_are_to_be_had_there_are_none(lab: RelayLab, data: bytes) -> None:
    mallory, file = holder(lab, data, "mallory")
    mallory.has[file.blob] = bytes(SIZE)

    with pytest.raises(BytesUnreachableError) as caught:
        await opened(lab, file).read(0, 10)
    assert caught.value.code == "bytes_unreachable"
    assert len(pieces_asked(mallory, file)) == 1, "a liar is not asked again"


async def test_who_comes_back_in_time_is_asked_again(lab: RelayLab, data: bytes) -> None:
    gone, _ = holder(lab, data, "bob")
    gone.has = {}
    alice = Member("alice")
    file = alice.gets(data)
    reading = asyncio.create_task(opened(lab, file, give_up_s=PATIENCE_S).read(7, 70))
    await lab.until(lambda: len(gone.asked) > 1)
    assert not reading.done()

    lab.members.append(alice)

    assert await reading == data[7:77]


async def test_who_says_nothing_is_left_for_somebody_else(tmp_path: Path, data: bytes) -> None:
    async with asyncio.timeout(PATIENCE_S), relay_lab(tmp_path, pace=READING._replace(silence_s=0.05)) as lab:
        silent, file = holder(lab, data, "bob")
        silent.waits = asyncio.Event()
        alice, _ = holder(lab, data)

        assert await opened(lab, file).read(0, 10) == data[:10]
        assert pieces_asked(alice, file) == [0]


async def test_bytes_are_asked_for_within_the_group_in_which_they_are_read(lab: RelayLab, data: bytes) -> None:
    """What came in one group is not given out in another because somebody there names it."""
    alice, file = holder(lab, data)
    await opened(lab, file).read(0, 10)
    alice.has = {}

    with pytest.raises(BytesUnreachableError):
        await opened(lab, file._replace(group=OTHER_GROUP)).read(0, 10)
    assert await opened(lab, file).read(0, 10) == data[:10]


async def test_without_a_cache_a_little_is_kept_in_memory(tmp_path: Path, data: bytes) -> None:
    async with asyncio.timeout(PATIENCE_S), relay_lab(tmp_path, 0, READING) as lab:
        alice, file = holder(lab, data)
        source = opened(lab, file)

        assert await source.read(MIB, 100) == data[MIB : MIB + 100]
        assert await source.read(MIB + 100, 100) == data[MIB + 100 : MIB + 200]

        assert pieces_asked(alice, file) == [1]
        assert lab.cache.used == 0


async def test_the_whole_is_read_where_it_is_and_may_come_and_go(lab: RelayLab, data: bytes) -> None:
    alice, file = holder(lab, data)
    source = opened(lab, file)
    assert await source.read(0, 9) == data[:9]
    asked = len(alice.asked)

    await lab.store.ingest_bytes(data)
    assert await source.read(10 * MIB, 9) == data[10 * MIB : 10 * MIB + 9]
    assert len(alice.asked) == asked
    await lab.store.remove(file.blob)

    assert await source.read(11 * MIB, 9) == data[11 * MIB : 11 * MIB + 9]
    assert len(alice.asked) > asked


async def test_a_file_that_was_cut_short_is_read_from_others(lab: RelayLab, data: bytes) -> None:
    """What is here is not what was recorded any more: none of it is given, not even what may be right."""
    facts = await lab.store.ingest_bytes(data)
    alice, file = holder(lab, data)
    lab.store.path(facts.blob).chmod(0o600)
    lab.store.path(facts.blob).write_bytes(data[: 2 * MIB])

    assert await opened(lab, file).read(5 * MIB, 10) == data[5 * MIB : 5 * MIB + 10]
    assert await opened(lab, file).read(0, 10) == data[:10]
    assert {start for blob, start in alice.asked if blob == file.blob} >= {0, 5 * MIB}


async def test_damage_that_nobody_can_make_good_is_told_as_damage(lab: RelayLab, data: bytes) -> None:
    facts = await lab.store.ingest_bytes(data)
    file = blob_of(data)
    lab.store.path(facts.blob).chmod(0o600)
    lab.store.path(facts.blob).write_bytes(data[:100])

    with pytest.raises(BytesDamagedError, match="damaged here"):
        await opened(lab, file).read(0, 10)


async def test_an_event_that_says_more_than_the_file_has_is_an_error(lab: RelayLab, data: bytes) -> None:
    await lab.store.ingest_bytes(data)
    _, file = holder(lab, data)

    with pytest.raises(FileUnreadableError):
        await opened(lab, file._replace(size=len(data) + 10)).read(len(data), 10)


async def test_an_event_that_no_file_fits_is_refused(lab: RelayLab) -> None:
    _, file = holder(lab, b"short")

    with pytest.raises(BlobMismatchError):
        opened(lab, file._replace(piece_size=3))
    with pytest.raises(BytesUnreachableError, match="256 GiB"):
        await opened(lab, file._replace(size=2**43, piece_size=4 * MIB, blob=BlobId(bytes(32)))).read(0, 10)
