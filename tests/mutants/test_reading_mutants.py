"""Planted bugs in the reading of messages, and of parts of blobs that are elsewhere. Each must be caught by a test of these."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from materializer import mcap_layout, mcap_messages, mcap_records
from materializer.ros_messages import NotReadableError
from materializer.ros_messages import _Message as RosMessage
from peer.blobs.reading import READING, BlobBytes
from peer.blobs.relay import PieceRelay
from peer.errors import MeshError
from tests.mcap_samples import write_mcap
from tests.mutants.planting import Check, Mutant, assert_caught, change, name_of
from tests.relay_site import RelayLab, relay_lab
from tests.unit.blobs import test_reading as reading
from tests.unit.materializer import test_mcap_messages as messages
from tests.unit.materializer import test_ros_messages as ros


def believe_damaged_chunks(patch: pytest.MonkeyPatch) -> None:
    """Checksums of chunks are passed over."""
    change(patch, mcap_records.unpack_chunk, ("if crc and zlib.crc32(data) != crc:", "if False:"))


def believe_a_summary_that_forgets_a_chunk(patch: pytest.MonkeyPatch) -> None:
    """Its checksum is right, so all is thought to be in it."""
    change(patch, mcap_layout._check_gaps, ("if opcode in (Opcode.MESSAGE, Opcode.CHUNK):", "if False:"))


def give_the_end_too(patch: pytest.MonkeyPatch) -> None:
    """Of two neighbouring ranges both have the message in between."""
    change(patch, mcap_records.find_messages, ("span.start_ns <= log_ns < span.stop_ns", "span.start_ns <= log_ns <= span.stop_ns"))


def give_a_chunk_to_its_end(patch: pytest.MonkeyPatch) -> None:
    """Messages of the next chunk that are earlier come too late."""
    change(patch, mcap_messages._Merge._take, ("(stop is None or cursor.key() < stop)", "True"), ("message.log_ns < self._last_ns", "False"))


def read_chunks_without_what_is_wanted(patch: pytest.MonkeyPatch) -> None:
    """The channels that the index names are not looked at."""
    change(patch, mcap_messages.sections_wanted, ("section.channels is None or", "True or"))


def hold_without_end(patch: pytest.MonkeyPatch) -> None:
    """What overlaps is gathered, however much it is."""
    change(patch, mcap_messages._Merge._charge, ("self._held > HELD_BYTES_MAX", "False"))


def say_nothing_of_what_is_cut_off(patch: pytest.MonkeyPatch) -> None:
    """The end of a file that has none looks like its end."""
    change(patch, mcap_messages._Merge._push_next, ("elif file.damage:", "elif False:"))


def count_places_from_the_first_byte(patch: pytest.MonkeyPatch) -> None:
    """Numbers of eight bytes are looked for at a place that is a multiple of eight in the message, not behind its head."""
    change(patch, RosMessage._take, ("(HEADER_SIZE - self._position) % size", "-self._position % size"))


def expect_all_of_it(patch: pytest.MonkeyPatch) -> None:
    """What will be read is got ahead of time to its end."""
    change(patch, PieceRelay.get_ahead, ("min(last + 1, first + pieces_max)", "last + 1"))


def give_up_at_once(patch: pytest.MonkeyPatch) -> None:
    """Nobody is waited for."""
    change(patch, BlobBytes._read_elsewhere, ("if loop.time() + pause_s > end:", "if True:"))


def ask_elsewhere_for_what_is_here(patch: pytest.MonkeyPatch) -> None:
    """What arrived meanwhile is not looked for."""
    change(patch, BlobBytes.read, ("data = await self._store.read(self._file.blob, start, size)", "data = None"))


def in_lab(test: Callable[[RelayLab, bytes], Awaitable[None]]) -> Check:
    """`test` with what it asks for."""

    async def check(folder: Path) -> None:
        async with relay_lab(folder, pace=READING) as lab:
            await test(lab, reading.made_data())

    return check


async def _damaged(folder: Path) -> None:
    await messages.test_a_damaged_chunk_is_one_error_after_what_was_good_before_it(folder, summary=True)


async def _selected(folder: Path) -> None:
    await messages.test_a_topic_and_a_time_are_selected_as_another_reader_does(write_mcap(folder / "sample.mcap", messages=200, topics=4))


async def _overlapping(folder: Path) -> None:
    await messages.test_messages_of_chunks_that_overlap_come_in_order(folder, 1, summary=True)


async def _held(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        await messages.test_no_more_messages_wait_than_there_is_memory_for(folder, patch)


def _ros(_: Path) -> None:
    ros.test_a_message_is_read_as_another_reader_reads_it(little=True)


MUTANTS = (
    Mutant(believe_damaged_chunks, _damaged),
    Mutant(believe_a_summary_that_forgets_a_chunk, messages.test_messages_beside_the_chunks_that_a_summary_names_are_not_passed_over),
    Mutant(give_the_end_too, _selected),
    Mutant(give_a_chunk_to_its_end, _overlapping),
    Mutant(read_chunks_without_what_is_wanted, messages.test_only_chunks_that_hold_what_is_wanted_are_read),
    Mutant(hold_without_end, _held),
    Mutant(say_nothing_of_what_is_cut_off, messages.test_a_file_that_ends_in_the_middle_gives_what_it_has_and_says_so),
    Mutant(count_places_from_the_first_byte, _ros, (AssertionError, NotReadableError)),
    Mutant(expect_all_of_it, in_lab(reading.test_what_is_expected_is_got_ahead_of_time_and_not_more_than_a_few_pieces_of_it)),
    Mutant(give_up_at_once, in_lab(reading.test_who_comes_back_in_time_is_asked_again), (AssertionError, MeshError)),
    Mutant(ask_elsewhere_for_what_is_here, in_lab(reading.test_the_whole_is_read_where_it_is_and_may_come_and_go)),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_in_reading_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(mutant, tmp_path, monkeypatch)
