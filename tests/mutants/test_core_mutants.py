"""Planted bugs in what is read from others before anything is stored. Each must be caught by a test of the core."""

from pathlib import Path

import pytest

from peer.core import chain, encoding, event, group
from peer.sync import run_frames
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.unit.core import test_chain as chains
from tests.unit.core import test_encoding as encodings
from tests.unit.core import test_event as events
from tests.unit.core import test_group as groups
from tests.unit.core import test_run as runs
from tests.unit.sync import test_run_frames as frames


def ignore_the_checksum_of_an_invitation(patch: pytest.MonkeyPatch) -> None:
    """Whatever decodes is an invitation: one with a wrong character in its key, too."""
    checks = ("if hash_bytes(data)[:CHECKSUM_SIZE] != checksum:", "if False:"), ("or invitation.to_text() != line", "")
    change(patch, group.read_invitation, *checks)


def take_any_encoding(patch: pytest.MonkeyPatch) -> None:
    """One value may have several encodings, and so one event several ids."""
    change(patch, encoding._decode, ("if again != data:", "if False:"))


def take_any_encoding_of_a_header(patch: pytest.MonkeyPatch) -> None:
    """A header may be longer than its fields make it."""
    change(patch, event.read_header, ("if len(data) != _encoded_size(header):", "if False:"))


def trust_the_middle_of_a_run(patch: pytest.MonkeyPatch) -> None:
    """The signature of the last event is enough: those before it need not be the ones that it follows."""
    patch.setattr(event.Event, "check_follows", lambda *_arguments: None)


def take_a_body_for_its_header(patch: pytest.MonkeyPatch) -> None:
    """A body is not compared with the hash in its header, which alone is signed."""
    change(patch, event.read_event, ("or hash_bytes(body) != header.body_hash", ""))


def let_headers_take_of_the_next(patch: pytest.MonkeyPatch) -> None:
    """Headers that are decoded in one row need not end where each was said to."""
    change(patch, chain._read_together, (" and _sizes(columns) == list(map(len, headers))", ""))


def leave_out_the_links_of_a_row(patch: pytest.MonkeyPatch) -> None:
    """Events that are read together need not name the one before."""
    change(patch, chain._are_linked, ("list(columns.previous[1:]) == ids[:-1]", "True"))


def take_bodies_for_those_of_a_row(patch: pytest.MonkeyPatch) -> None:
    """Bodies of events that are read together are not hashed."""
    change(patch, chain._are_linked, ("list(columns.body_hashes) == hash_each(bodies)", "True"))


def take_any_ref_in_a_row(patch: pytest.MonkeyPatch) -> None:
    """What stands for a ref need not be bytes."""
    change(patch, chain._are_in_range, ("set(map(type, refs)) <= {bytes}", "True"))


def take_frames_with_something_behind(patch: pytest.MonkeyPatch) -> None:
    """A frame with a run may be longer than what it says."""
    change(patch, run_frames.read_run_frame, ("    if len(frame) != len(_BEGIN)", "    if False and len(frame) != len(_BEGIN)"))


def encodings_are_the_only_ones(_folder: Path) -> None:
    """Other encodings of good values are refused."""
    for what in ("an integer in more bytes than needed", "a length in more bytes than needed", "a trailing byte", "true in two bytes"):
        encodings.test_hostile_bytes_are_refused_in_no_time(what)


def headers_are_the_shortest(_folder: Path) -> None:
    """Other encodings of a good header are refused."""
    good = encoding.encode(events.fields())
    for data in (good + b"\0", b"\x98\x0a" + good[1:]):
        events.test_header_bytes_that_are_not_deterministic_are_refused(data)


def chains_are_whole(_folder: Path) -> None:
    """A run with something missing or exchanged in its middle is refused."""
    for what in ("an event in the middle is missing", "two events have changed places"):
        runs.test_a_run_is_refused_as_a_whole_where(what)


MUTANTS = (
    Mutant(ignore_the_checksum_of_an_invitation, lambda _folder: groups.test_every_wrong_character_is_noticed()),
    Mutant(take_any_encoding, encodings_are_the_only_ones),
    Mutant(take_any_encoding_of_a_header, headers_are_the_shortest),
    Mutant(trust_the_middle_of_a_run, chains_are_whole),
    Mutant(let_headers_take_of_the_next, lambda _folder: chains.test_bytes_that_one_header_leaves_to_the_next_are_refused()),
    Mutant(leave_out_the_links_of_a_row, lambda _folder: chains.test_an_event_that_does_not_follow_is_refused({"previous": chains.ID})),
    Mutant(take_bodies_for_those_of_a_row, lambda _folder: chains.test_bodies_that_have_changed_places_are_refused()),
    Mutant(take_any_ref_in_a_row, lambda _folder: chains.test_a_wrong_field_in_a_chain_that_is_linked_well_is_refused(2, "refs", ["x" * 32])),
    Mutant(take_frames_with_something_behind, lambda _folder: frames.test_another_encoding_of_a_good_frame_is_refused(frames.GOOD + b"\0")),
    Mutant(take_a_body_for_its_header, lambda _folder: runs.test_a_run_is_refused_as_a_whole_where("two bodies have changed places")),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_the_core_is_checked_for(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes without the bug and fails with it."""
    await assert_caught(mutant, tmp_path, monkeypatch)
