"""A relay of bytes: what it asks whom for, what it believes, and what it gives to whom."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from peer.blobs import relay as relay_module
from peer.blobs.cache import cost_of
from peer.blobs.relay import AHEAD, ANSWER_TIMEOUT_S, CONCURRENCY
from peer.core.hashing import hash_bytes
from peer.core.identity import BlobId
from peer.core.interfaces import WantedBlob
from peer.core.relaying import WantedPart
from tests.blob_site import GROUP, MIB, OTHER_GROUP
from tests.relay_site import PART, Member, RelayLab, blob_of, bytes_below, relay_lab

SIZE = 5 * MIB + 1234


def bytes_of(size: int = SIZE, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[RelayLab]:
    async with relay_lab(tmp_path) as made:
        yield made


@pytest.fixture
def alice(lab: RelayLab) -> Member:
    """Who has everything."""
    member = Member("alice")
    lab.members.append(member)
    return member


def stored(lab: RelayLab, alice: Member, data: bytes) -> WantedBlob:
    """A file that alice has, and of which the group knows."""
    file = alice.gets(data)
    lab.files.append(file)
    return file


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, SIZE])
async def test_every_part_of_a_file_of_any_size_and_its_piece_list_can_be_had(lab: RelayLab, alice: Member, size: int) -> None:
    data = bytes_of(size)
    file = stored(lab, alice, data)
    pieces = alice.has[file.pieces]

    assert await lab.relay.size(GROUP, file.blob) == size
    assert await lab.relay.size(GROUP, file.pieces) == len(pieces)
    assert await lab.whole(file) == data
    assert await lab.part(file, max(0, size - 10), 100) == data[max(0, size - 10) :]
    assert await lab.part(file, size + 1) == b""
    assert await lab.relay.read(WantedPart(GROUP, file.pieces, 0, PART, relay=True)) == pieces


async def test_each_piece_is_got_once_however_often_its_parts_are_asked_for(lab: RelayLab, alice: Member) -> None:
    data = bytes_of()
    file = stored(lab, alice, data)

    for _ in range(3):
        assert await lab.whole(file) == data

    assert max(Counter(alice.asked).values()) == 1
    assert len(alice.asked) == 1 + 6


async def test_ten_that_ask_at_once_cause_one_request_and_who_goes_away_ends_nothing(lab: RelayLab, alice: Member) -> None:
    data = bytes_of()
    file = stored(lab, alice, data)
    alice.waits = asyncio.Event()
    askers = [asyncio.create_task(lab.part(file, 0)) for _ in range(10)]
    await lab.until(lambda: bool(alice.asked))
    for task in askers[:5]:
        task.cancel()
    alice.waits.set()

    assert await asyncio.gather(*askers[5:]) == [data[:PART]] * 5
    assert alice.asked.count((file.pieces, 0)) == 1
    assert alice.asked.count((file.blob, 0)) == 1


async def test_few_pieces_are_got_at_once_and_few_wait(lab: RelayLab, alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for more than that is told that it is not here."""
    monkeypatch.setattr(relay_module, "WAITING_MAX", 6)
    files = [stored(lab, alice, bytes_of(MIB, seed)) for seed in range(10)]
    alice.waits = asyncio.Event()
    askers = [asyncio.create_task(lab.part(file, 0)) for file in files]
    await lab.until(lambda: sum(task.done() for task in askers) == 4)

    assert [task.result() for task in askers if task.done()] == [None] * 4
    await lab.until(lambda: len(alice.asked) >= CONCURRENCY)
    await asyncio.sleep(0)
    assert len(alice.asked) == CONCURRENCY
    alice.waits.set()
    assert sum(each is not None for each in await asyncio.gather(*askers)) == 6


async def test_what_others_ask_for_somebody_else_is_answered_from_what_is_here(lab: RelayLab, alice: Member) -> None:
    """Nobody is asked for it, so no request goes further than one hop."""
    data = bytes_of()
    file = stored(lab, alice, data)
    assert await lab.part(file, 0, relay=False) is None
    assert alice.asked == []

    await lab.part(file, 0)
    await lab.rests()
    assert await lab.part(file, 0, relay=False) == data[:PART]
    asked = list(alice.asked)
    assert await lab.part(file, 5 * MIB, relay=False) is None
    assert alice.asked == asked


async def test_nothing_is_got_twice_that_comes_here_for_good(lab: RelayLab, alice: Member) -> None:
    """This site fetches it for itself: it will be here soon."""
    file = stored(lab, alice, bytes_of())
    lab.coming.add(file.blob)
    assert await lab.part(file, 0) is None
    lab.coming.clear()
    assert await lab.part(file, 0) is not None


async def test_nobody_who_has_it_is_an_answer_at_once(lab: RelayLab) -> None:
    file = blob_of(bytes_of())
    lab.files.append(file)
    others = [Member(name) for name in ("bob", "carol", "dave")]
    lab.members += others

    assert await asyncio.wait_for(lab.part(file, 0), ANSWER_TIMEOUT_S / 2) is None
    assert [each.asked for each in others] == [[(file.pieces, 0)]] * 3


async def test_what_the_group_does_not_know_is_not_asked_for(lab: RelayLab, alice: Member) -> None:
    file = alice.gets(bytes_of())

    assert await lab.part(file, 0) is None
    assert await lab.relay.size(GROUP, file.blob) is None
    assert alice.asked == []


async def test_what_came_in_one_group_is_not_there_in_another(lab: RelayLab, alice: Member) -> None:
    """Even where an event of the other group names the same bytes: there they have to come anew."""
    file = stored(lab, alice, bytes_of())
    assert await lab.whole(file) is not None
    lab.members.clear()

    assert await lab.part(file._replace(group=OTHER_GROUP), 0) is None
    lab.files.append(file._replace(group=OTHER_GROUP))
    assert await lab.part(file._replace(group=OTHER_GROUP), 0) is None
    assert await lab.part(file, 0) is not None


async def test_wrong_pieces_are_neither_kept_nor_given_and_who_sent_one_is_not_asked_for_that_blob_again(lab: RelayLab, alice: Member) -> None:
    data = bytes_of()
    file = stored(lab, alice, data)
    liar = Member("bob")
    liar.gets(data)
    liar.has[file.blob] = data[: MIB + 5] + b"\x00\x01" + data[MIB + 7 :]
    other = liar.gets(bytes_of(seed=1))
    lab.files.append(other)
    lab.members.insert(0, liar)

    assert await lab.whole(file) == data
    asked_of_liar = [start for blob, start in liar.asked if blob == file.blob]
    assert MIB in asked_of_liar
    assert len(asked_of_liar) <= 1 + CONCURRENCY
    assert all(hash_bytes(path.read_bytes()).hex() == path.name.partition("-")[2] for path in lab.cache._folder.iterdir())
    before = len(liar.asked)
    assert await lab.part(file, 0) is not None
    assert len(liar.asked) == before
    assert await lab.part(other, 0) is not None, "of other blobs it is asked"


async def test_a_source_that_sends_less_or_more_than_it_should_is_a_liar(lab: RelayLab, alice: Member) -> None:
    data = bytes_of(MIB)
    file = stored(lab, alice, data)
    for name, wrong in (("bob", data[:-1]), ("carol", b"")):
        lab.members.insert(0, Member(name, {file.blob: wrong}))

    assert await lab.part(file, 0) == data[:PART]


async def test_a_lie_about_a_blob_in_another_recording_does_not_keep_it_from_passing(lab: RelayLab, alice: Member) -> None:
    """Its piece list is nowhere to be had, or fits nothing that honest members have; they are believed all the same."""
    data, lie = bytes_of(), bytes_of(seed=1)
    file = stored(lab, alice, data)
    lies = [
        file._replace(pieces=blob_of(lie).pieces),
        file._replace(size=SIZE + 1, pieces=BlobId(bytes(32))),
        file._replace(size=SIZE + 1),
        file._replace(size=SIZE - 1),
        file._replace(piece_size=3),
        file._replace(size=2**60),
    ]
    mallory = Member("mallory")
    mallory.has[lies[0].pieces] = alice.has[file.pieces][::-1]
    mallory.gets(lie)
    lab.members.append(mallory)
    lab.files[:0] = lies

    assert await lab.whole(file) == data


async def test_a_question_that_nobody_can_answer_keeps_nobody_from_asking_the_right_one(lab: RelayLab, alice: Member) -> None:
    """Another file is said to have the same pieces; whoever has no such file says so late."""
    data = bytes_of(MIB + 1)
    file = stored(lab, alice, data)
    lie = file._replace(blob=BlobId(b"l" * 32))
    lab.files.append(lie)
    await lab.relay.read(WantedPart(GROUP, file.pieces, 0, PART, relay=True))
    alice.waits = asyncio.Event()
    wrong = asyncio.create_task(lab.part(lie, 0))
    await lab.until(lambda: (lie.blob, 0) in alice.asked)
    right = asyncio.create_task(lab.part(file, 0))
    await lab.until(lambda: (file.blob, 0) in alice.asked)
    alice.waits.set()

    assert await right == data[:PART]
    await wrong


async def test_little_is_got_before_it_is_asked_for(lab: RelayLab, alice: Member) -> None:
    data = bytes_of(20 * MIB)
    file = stored(lab, alice, data)
    await lab.part(file, 0)
    await lab.rests()

    assert len(alice.asked) == 1 + 1 + AHEAD


async def test_a_recording_passes_through_a_cache_that_is_smaller_than_it(tmp_path: Path) -> None:
    data, limit = bytes_of(12 * MIB), 3 * cost_of(MIB)
    async with relay_lab(tmp_path, limit) as lab:
        alice = Member("alice")
        lab.members.append(alice)
        file = stored(lab, alice, data)
        found = []
        for start in range(0, len(data), PART):
            found.append(await lab.part(file, start))
            assert bytes_below(lab.cache._folder) <= limit
            assert lab.cache.used <= limit
        assert b"".join(each or b"" for each in found) == data
        assert max(Counter(alice.asked).values()) == 1


async def test_memory_holds_few_pieces(lab: RelayLab, alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "HELD_BYTES_MAX", 3 * MIB)
    data = bytes_of(10 * MIB)
    file = stored(lab, alice, data)
    assert await lab.whole(file) == data

    assert sum(map(len, lab.relay._held._pieces.values())) == lab.relay._held._size <= 3 * MIB
    assert await lab.whole(file) == data, "the rest comes from the disk"
    assert max(Counter(alice.asked).values()) == 1


async def test_a_piece_that_rots_on_the_disk_is_got_again(lab: RelayLab, alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "HELD_BYTES_MAX", 0)
    data = bytes_of(MIB)
    file = stored(lab, alice, data)
    await lab.part(file, 0)
    (path,) = lab.cache._folder.iterdir()
    path.write_bytes(data[:-1] + b"x")

    assert await lab.part(file, MIB - 10) == data[-10:]
    assert len(alice.asked) == 2


async def test_a_cache_that_cannot_be_written_is_reported_once_and_bytes_pass_all_the_same(
    lab: RelayLab, alice: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(lab.cache), "_free", lambda _: 0)
    data = bytes_of()
    file = stored(lab, alice, data)

    assert await lab.whole(file) == data
    assert [error.code for error in lab.reports] == ["disk_full"]


async def test_a_piece_that_takes_long_is_there_when_it_is_asked_for_again(lab: RelayLab, alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "ANSWER_TIMEOUT_S", 0.01)
    data = bytes_of(MIB)
    file = stored(lab, alice, data)
    alice.waits = asyncio.Event()
    assert await lab.part(file, 0) is None
    alice.waits.set()
    await lab.rests()
    assert await lab.part(file, 0, relay=False) == data[:PART]
    assert alice.asked == [(file.blob, 0)]


async def test_a_source_that_never_answers_is_given_up_for_the_next(lab: RelayLab, alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "SOURCE_TIMEOUT_S", 0.01)
    monkeypatch.setattr(relay_module, "SLOWEST_RATE", 1 << 40)
    data = bytes_of(MIB)
    file = stored(lab, alice, data)
    silent = Member("bob", waits=asyncio.Event())
    lab.members.insert(0, silent)

    assert await lab.part(file, 0) == data[:PART]
    assert await lab.part(stored(lab, alice, bytes_of(seed=1)), 0) is not None
    await lab.rests()
    assert len(silent.asked) == 1, "from then on others are asked first"


async def test_what_comes_back_after_its_source_was_gone_goes_on_where_it_was(lab: RelayLab, alice: Member) -> None:
    data = bytes_of()
    file = stored(lab, alice, data)
    assert await lab.part(file, 0) is not None
    await lab.rests()
    lab.members.clear()
    assert await lab.part(file, 5 * MIB) is None
    lab.members.append(alice)

    assert await lab.whole(file) == data
    assert max(Counter(alice.asked).values()) == 1


async def test_a_piece_list_that_is_here_for_good_is_asked_of_nobody(lab: RelayLab, alice: Member) -> None:
    data = bytes_of()
    file = stored(lab, alice, data)
    lab.store.put(alice.has[file.pieces])

    assert await lab.whole(file) == data
    assert (file.pieces, 0) not in alice.asked


async def test_a_list_too_long_to_be_worked_with_does_not_pass(lab: RelayLab, alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "LIST_SIZE_MAX", 5 * 32)
    file = stored(lab, alice, bytes_of())

    assert await lab.part(file, 0) is None
    assert alice.asked == []
