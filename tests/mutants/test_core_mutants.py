"""Planted bugs in what is read from others before anything is stored. Each must be caught by a test of the core."""

from pathlib import Path

import pytest

from peer.core import encoding, event, group
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.unit.core import test_encoding as encodings
from tests.unit.core import test_event as events
from tests.unit.core import test_group as groups
from tests.unit.core import test_run as runs


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
    Mutant(take_a_body_for_its_header, lambda _folder: runs.test_a_run_is_refused_as_a_whole_where("two bodies have changed places")),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_the_core_is_checked_for(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes without the bug and fails with it."""
    await assert_caught(mutant, tmp_path, monkeypatch)
