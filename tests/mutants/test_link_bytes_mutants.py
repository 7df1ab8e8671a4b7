"""Planted bugs in bytes over a link. Each must be caught by a test of real sessions or whole peers."""

from pathlib import Path

import pytest

from peer.blobs.store import FileBlobStore
from peer.sync.blobs import BlobSide
from tests.integration import test_dial_out_only as dial_out_only
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.sync_site import Clock, LinkEnd, SampleGroup, Site, puppet
from tests.unit.sync import test_session_bytes as session


def _attacked(group: SampleGroup) -> LinkEnd:
    return puppet("mallory", Site("bob", Clock(), group))


def _strangers_get_nothing(_folder: Path) -> None:
    session.test_nothing_is_read_for_a_group_that_the_asker_is_no_member_of(_attacked(SampleGroup("alice", "bob", "mallory")))


def _requests_are_bounded(_folder: Path) -> None:
    group = SampleGroup("alice", "bob", "mallory")
    session.test_too_many_parts_at_once_close_the_link(_attacked(group), group)


def _only_what_was_asked_for_is_taken(_folder: Path) -> None:
    group = SampleGroup("alice", "bob", "mallory")
    session.test_more_bytes_than_were_asked_for_are_a_violation(_attacked(group), group)


def read_for_anybody(patch: pytest.MonkeyPatch) -> None:
    """Whoever has a link may ask for bytes of any group."""
    change(patch, BlobSide.wanted, ("view is None or view.roster.role(self._remote) is Role.NONE", "False"))


def read_without_end(patch: pytest.MonkeyPatch) -> None:
    """As many parts are read at once as are asked for."""
    change(patch, BlobSide.wanted, ("self._reading >= limits.BLOB_READS_MAX", "False"))


def take_more_than_was_asked_for(patch: pytest.MonkeyPatch) -> None:
    """A part may have any size."""
    change(patch, BlobSide.part, (" or len(message.data) > size", ""))


def answer_with_the_start_of_the_blob(patch: pytest.MonkeyPatch) -> None:
    """Every part is the first one."""
    change(patch, FileBlobStore._read_part, ("file.seek(start)", "file.seek(0)"))


MUTANTS = (
    Mutant(read_for_anybody, _strangers_get_nothing),
    Mutant(read_without_end, _requests_are_bounded),
    Mutant(take_more_than_was_asked_for, _only_what_was_asked_for_is_taken),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_in_bytes_over_a_link_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(mutant, tmp_path, monkeypatch)


async def test_wrong_parts_are_found_out_and_never_get_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes over a link are verified like all others: with wrong ones the recording does not arrive."""
    monkeypatch.setattr("tests.integration.running_peer.DEADLINE_S", 1.5)
    answer_with_the_start_of_the_blob(monkeypatch)

    with pytest.raises(TimeoutError):
        await dial_out_only.test_bytes_of_a_site_that_nobody_can_dial_reach_the_others(tmp_path)

    office = tmp_path / "office" / "blobs"
    assert not [path for path in office.glob("??/??/*") if path.stat().st_size > 1024 * 1024]
