"""Planted bugs in backups and in the repair of a damaged log. Each must be caught by a test of these."""

import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from peer.core.certificate import Certificate
from peer.core.event import read_event
from peer.core.identity import EventId
from peer.core.run import Run
from peer.errors import BackupTargetError
from peer.store import backup as store_backup
from peer.store import backup_verification, recovery
from peer.store.directory import DataDirectory
from peer.store.known import Known
from peer.store.manifest import BackupFile
from peer.store.recovery import Salvaged
from peer.store.salvage import Debris, _Row
from tests.integration import test_backup as backups
from tests.integration import test_recovery as repairs
from tests.integration import test_recovery_crash as crashes
from tests.mutants.planting import Mutant, assert_caught, name_of


def take_over_what_nobody_signed(patch: pytest.MonkeyPatch) -> None:
    """What follows well is believed, also without a signature that is good."""

    def trusting(self: Debris, certificate: Certificate, event_id: EventId, rows: Sequence[_Row]) -> Run:
        del self, certificate, event_id
        return Run([read_event(row.header, row.body) for row in rows], bytes(64))

    patch.setattr(Debris, "_read_run", trusting)


def delete_what_is_damaged(patch: pytest.MonkeyPatch) -> None:
    """The file is in the way, and of no use any more."""
    patch.setattr(recovery, "_move_aside", lambda path, _: path.unlink())


def give_up_a_swap_that_was_broken_off(patch: pytest.MonkeyPatch) -> None:
    """What a crash leaves is swept away, the new log as well, while the old one has been moved."""
    original = recovery._end_swap

    def sweep(directory: DataDirectory) -> None:
        directory.log_database.with_name("log.db.salvaged").unlink(missing_ok=True)
        original(directory)

    patch.setattr(recovery, "_end_swap", sweep)


def forget_what_waits(patch: pytest.MonkeyPatch) -> None:
    """What stands above a hole is dropped, though nobody else may have it."""
    original = recovery._swap

    def forgetful(directory: DataDirectory, salvaged: Salvaged, moved_to: Path) -> None:
        original(directory, salvaged._replace(waiting=0), moved_to)

    patch.setattr(recovery, "_swap", forgetful)


def believe_old_pages(patch: pytest.MonkeyPatch) -> None:
    """All groups that lie in the file are taken up again, left ones too."""

    def nothing(_: Path) -> Known | None:
        return None

    patch.setattr(recovery, "read_known", nothing)


def read_through_sqlite_alone(patch: pytest.MonkeyPatch) -> None:
    """Of a file that SQLite does not open nothing is taken over."""
    patch.setattr(Debris, "collect", lambda _self, _path: None)


def copy_the_file_beside_its_log(patch: pytest.MonkeyPatch) -> None:
    """The database file is copied like any other: what is in the write-ahead log is not in it."""

    def copy(source: Path, folder: Path, stop: threading.Event) -> BackupFile:
        del stop
        shutil.copyfile(source, folder / source.name)
        return BackupFile(source.name, *store_backup.hash_file(folder / source.name))

    patch.setattr(store_backup, "_copy_log", copy)


def leave_what_was_begun(patch: pytest.MonkeyPatch) -> None:
    """A backup that fails stays where it is."""
    patch.setattr(store_backup, "_clear", lambda *_args, **_names: None)


def compare_sizes_alone(patch: pytest.MonkeyPatch) -> None:
    """A file of the right size is the right file."""

    def lazy(path: Path) -> tuple[int, object]:
        return path.stat().st_size, _Anything()

    patch.setattr(backup_verification, "hash_file", lazy)


class _Anything:
    def __eq__(self, _: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


async def _damaged(folder: Path) -> None:
    await repairs.test_what_can_be_read_is_taken_over(folder, lambda path: repairs.flip(path, 0), repairs.EVENTS, known=True)


async def _killed(folder: Path) -> None:
    await crashes.test_a_repair_that_was_killed_is_done_again_or_ended(folder, "salvage.after_move", 1)


async def _flipped(folder: Path) -> None:
    await backups.test_whatever_changed_in_a_backup_is_found(folder, "backup_file_changed", lambda copy: backups._flip(copy / "config.toml", 3))


MUTANTS = (
    Mutant(take_over_what_nobody_signed, repairs.test_a_row_that_was_forged_into_the_file_is_not_taken_over),
    Mutant(delete_what_is_damaged, _damaged, shows=(AssertionError, FileNotFoundError)),
    Mutant(give_up_a_swap_that_was_broken_off, _killed),
    Mutant(forget_what_waits, repairs.test_what_stands_above_a_hole_waits_and_comes_in_when_the_hole_is_filled),
    Mutant(believe_old_pages, repairs.test_a_group_that_this_site_has_left_does_not_come_back_out_of_old_pages),
    Mutant(read_through_sqlite_alone, _damaged),
    Mutant(copy_the_file_beside_its_log, backups.test_what_is_committed_when_it_begins_is_in_it_and_what_comes_meanwhile_whole_or_not),
    Mutant(leave_what_was_begun, backups.test_of_a_damaged_or_missing_log_no_backup_is_made, shows=(BackupTargetError,)),
    Mutant(compare_sizes_alone, _flipped),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_backup_and_repair_are_checked_for(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes without the bug and fails with it."""
    await assert_caught(mutant, tmp_path, monkeypatch)
