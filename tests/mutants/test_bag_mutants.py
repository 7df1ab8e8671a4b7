"""Planted bugs in what is recovered, what is told of it, and what players are given. Each must be caught by a test of these."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from mcap.writer import CompressionType

from materializer import layout, mcap_pieces, rosbag
from materializer.mcap_taking import Losses, Taking
from peer.errors import McapUnrecoverableError, RecoveryUnverifiedError
from peer.operations.exporting import Exporting
from tests.integration import test_bag_folders as folders
from tests.integration import test_exporting as exporting
from tests.integration.running_peer import RunningPeer, running_peer
from tests.mutants.planting import Check, Mutant, assert_caught, change, name_of
from tests.unit.materializer import test_mcap_recovery as recovery
from tests.unit.materializer import test_rosbag as bags


def believe_a_damaged_chunk(patch: pytest.MonkeyPatch) -> None:
    """What can be decompressed is right."""
    change(patch, mcap_pieces._chunk, (" and facts.crc in (0, zlib.crc32(records))", ""))


def give_up_at_the_first_damage(patch: pytest.MonkeyPatch) -> None:
    """Nothing is looked for behind it."""
    patch.setattr(mcap_pieces, "find_chunk", lambda *_arguments: None)


def leave_out_the_chunk_that_is_cut(patch: pytest.MonkeyPatch) -> None:
    """A chunk is there or it is not."""
    change(patch, mcap_pieces._chunk, ("facts, records[:whole], is_right", 'facts, b"", is_right'))


def count_no_messages_of_lost_chunks(patch: pytest.MonkeyPatch) -> None:
    """The indexes behind a chunk that is lost say nothing."""
    change(patch, Taking._index, ("(self._lost_count or 0) + len(", "0 * len("))


def tell_less_than_was_lost(patch: pytest.MonkeyPatch) -> None:
    """Bytes are not summed up."""
    change(patch, Losses.add, ("self.bytes += gap.size", "self.bytes = gap.size"))


def keep_metadata_that_name_other_files(patch: pytest.MonkeyPatch) -> None:
    """What came with a bag is right."""
    changes = ('information.get("relative_file_paths") == list(names)', "True"), ("listed in ([], list(names))", "True")
    change(patch, rosbag.fits, *changes)


def show_metadata_that_do_not_fit(patch: pytest.MonkeyPatch) -> None:
    """The tree shows what came, and nothing else."""
    patch.setattr(layout, "fits", lambda *_arguments: True)


def forget_the_files_after_the_first(patch: pytest.MonkeyPatch) -> None:
    """Topics have the messages of one file."""
    change(patch, rosbag._topics, ("counts.get(topic, 0) + each.message_count", "counts.get(topic, each.message_count)"))


def export_what_is_damaged(patch: pytest.MonkeyPatch) -> None:
    """Bytes are copied and not looked at."""
    change(patch, Exporting._copy, ("hasher.digest() != blob", "False"))


def export_over_what_is_there(patch: pytest.MonkeyPatch) -> None:
    """A folder that is empty is nobody's."""
    change(patch, Exporting._check, ("os.path.lexists(target)", "target.is_file()"))
    change(patch, Exporting._write, ("target.mkdir()", "target.mkdir(exist_ok=True)"))


def exported(test: Callable[[RunningPeer, Path, list[Path]], Awaitable[None]]) -> Check:
    """A test that needs a running peer and a bag."""

    async def check(folder: Path) -> None:
        bag = bags.write_bag(folder / "drive", {"/a": {}, "/b": {}})
        async with running_peer(folder / "data", "alpha") as peer:
            await peer.post("/api/v1/sync/groups", {"name": "lab"}, status=201)
            await test(peer, folder, bag)

    return check


def cut_anywhere(folder: Path) -> None:
    """A file without compression, cut at twenty places."""
    recovery.test_a_recording_cut_anywhere_is_recovered_as_far_as_it_goes(folder, CompressionType.NONE, chunked=True)


async def called_otherwise(folder: Path) -> None:
    """A bag whose files have other names here."""
    bag = bags.write_bag(folder / "bag", {"/a": {}, "/b": {}})
    await folders.test_metadata_of_files_that_are_called_otherwise_here_lie_beside_some_that_fit(folder, bag)


async def without_metadata(folder: Path) -> None:
    """What is written for a split bag."""
    paths = bags.write_bag(folder / "bag", {"/a": {}, "/b": {}})
    bags.check_bag(folder / "bag", paths)


MUTANTS = [
    Mutant(
        believe_a_damaged_chunk,
        recovery.test_of_a_damaged_chunk_nothing_is_taken_for_a_message_and_its_messages_are_counted,
        (AssertionError, RecoveryUnverifiedError),  # Who reads the result back looks at checksums, too.
    ),
    Mutant(give_up_at_the_first_damage, recovery.test_a_damaged_length_loses_no_more_than_up_to_the_next_chunk),
    Mutant(leave_out_the_chunk_that_is_cut, cut_anywhere, (AssertionError, McapUnrecoverableError)),
    Mutant(count_no_messages_of_lost_chunks, recovery.test_of_a_damaged_chunk_nothing_is_taken_for_a_message_and_its_messages_are_counted),
    Mutant(tell_less_than_was_lost, recovery.test_places_are_told_up_to_a_number_and_counted_beyond),
    Mutant(keep_metadata_that_name_other_files, bags.test_a_kept_file_fits_only_if_it_names_the_files_and_counts_that_there_are),
    Mutant(show_metadata_that_do_not_fit, called_otherwise, (AssertionError, FileNotFoundError)),
    Mutant(forget_the_files_after_the_first, without_metadata),
    Mutant(export_what_is_damaged, exported(exporting.test_damaged_bytes_are_found_on_the_way_and_nothing_appears)),
    Mutant(export_over_what_is_there, exported(exporting.test_nothing_is_overwritten)),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(mutant, tmp_path, monkeypatch)
