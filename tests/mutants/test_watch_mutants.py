"""Planted bugs in watched folders, open recordings and names. Each must be caught by the test of that promise."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from peer.operations import opening, watch_folder
from peer.operations.naming import Naming
from peer.operations.opening import Opening
from peer.operations.watch_taking import Known, Taking
from peer.operations.watching import Watching
from tests.integration import test_opening as openings
from tests.integration import test_watch as watches
from tests.integration import test_watch_troubles as troubles
from tests.integration.running_peer import RunningPeer, running_peer
from tests.mutants.planting import Check, Mutant, assert_caught, change, name_of


def add_what_is_there_already(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether the group has the bytes."""
    change(patch, Taking._is_known, ("return bool(", "return False and bool("))


def forget_who_was_read(patch: pytest.MonkeyPatch) -> None:
    """A file that was looked into is looked into again; what it became is forgotten."""
    change(patch, Known.is_done, ("return file is not None and", "return False and"))


def take_what_is_not_closed(patch: pytest.MonkeyPatch) -> None:
    """A file without its closing magic counts as closed: what is being written is moved away as broken."""
    change(patch, watch_folder.readiness, ("if end == MAGIC else Readiness.OPEN", "if end else Readiness.OPEN"))


def take_what_changed_a_moment_ago(patch: pytest.MonkeyPatch) -> None:
    """Nothing settles."""
    change(patch, Watching._is_settled, ("return age_s >= settle or", "return True or"))


def believe_times_in_the_future(patch: pytest.MonkeyPatch) -> None:
    """A file from the future has been left alone for long."""
    change(patch, Watching._is_settled, ("age_s >= settle", "abs(age_s) >= settle"))


def follow_links(patch: pytest.MonkeyPatch) -> None:
    """A link in a watched folder shares what is elsewhere."""
    change(
        patch, watch_folder._file, ("entry.is_file(follow_symlinks=False)", "entry.is_file()"), ("entry.stat(follow_symlinks=False)", "entry.stat()")
    )


def end_a_bag_too_early(patch: pytest.MonkeyPatch) -> None:
    """A bag without metadata is complete."""
    change(patch, Watching._take_bag, ("ended = bag.metadata is not None or self._is_quiet(bag)", "ended = True"))


def skip_over_an_open_file(patch: pytest.MonkeyPatch) -> None:
    """The metadata ends a bag though a file of it is being written."""
    change(patch, Watching._take_bag, ("is_complete = False\n            state", "state"))


def watch_the_keys(patch: pytest.MonkeyPatch) -> None:
    """The data directory may be watched."""
    change(patch, Watching._check_place, ("if path.is_relative_to(self._data_directory):", "if False:"))


def compare_names_as_they_are(patch: pytest.MonkeyPatch) -> None:
    """A name in other case is another one."""
    change(patch, Naming.check_free, ("if taken is not None:", "if taken is not None and name.islower():"))


def add_a_chunk_twice(patch: pytest.MonkeyPatch) -> None:
    """What was interrupted and is done again stands twice in the recording."""
    patch.setattr(opening, "_is_new", lambda *_: True)


def let_anybody_append(patch: pytest.MonkeyPatch) -> None:
    """The role alone decides who adds to a recording: what is written counts nowhere."""
    change(patch, Opening._check, ("own=own)", "own=True)"))


def append_after_the_end(patch: pytest.MonkeyPatch) -> None:
    """A finalized recording is added to."""
    patch.setattr(opening, "_check_open", lambda *_: None)


@asynccontextmanager
async def watching_peer(folder: Path) -> AsyncIterator[RunningPeer]:
    (folder / "robots").mkdir()
    async with running_peer(folder / "data", "alpha", **watches.BY_HAND) as peer:
        await peer.post("/api/v1/sync/groups", {"name": "lab"}, status=201)
        await peer.post(watches.WATCH, {"folder": str(folder / "robots"), "tags": ["night"], "machine": "rover"}, status=201)
        yield peer


def watched(test: Callable[[RunningPeer, Path], Awaitable[None]]) -> Check:
    """The check that is a test of a peer with a watched folder."""

    async def check(folder: Path) -> None:
        async with watching_peer(folder) as peer:
            await test(peer, folder / "robots")

    return check


def opened(test: Callable[[RunningPeer, Path], Awaitable[None]]) -> Check:
    """The check that is a test of open recordings."""

    async def check(folder: Path) -> None:
        async with running_peer(folder / "data", "alpha") as peer:
            await peer.post(openings.GROUPS, {"name": "lab"}, status=201)
            await test(peer, folder)

    return check


async def check_settling(folder: Path) -> None:
    """What changed a moment ago."""
    (folder / "robots").mkdir()
    await watches.test_a_file_that_changed_a_moment_ago_waits(folder, folder / "robots")


async def check_reading(folder: Path) -> None:
    """What is not read again."""
    with pytest.MonkeyPatch.context() as patch:
        async with watching_peer(folder) as peer:
            await troubles.test_in_a_folder_that_may_not_be_written_nothing_is_moved(peer, folder / "robots", patch)


async def check_links(folder: Path) -> None:
    """Links in a watched folder."""
    async with watching_peer(folder) as peer:
        await troubles.test_links_are_not_followed(peer, folder / "robots", folder)


MUTANTS = [
    Mutant(add_what_is_there_already, watched(watches.test_a_hundred_files_are_each_counted_once_and_rightly)),
    Mutant(forget_who_was_read, check_reading),
    Mutant(take_what_is_not_closed, watched(watches.test_a_bag_is_open_until_its_metadata_is_there_and_its_last_file_waits)),
    Mutant(take_what_changed_a_moment_ago, check_settling),
    Mutant(believe_times_in_the_future, check_settling),
    Mutant(follow_links, check_links),
    Mutant(end_a_bag_too_early, watched(watches.test_a_bag_is_open_until_its_metadata_is_there_and_its_last_file_waits)),
    Mutant(skip_over_an_open_file, watched(watches.test_metadata_ends_no_bag_of_which_a_file_is_being_written)),
    Mutant(watch_the_keys, watched(troubles.test_folders_that_cannot_be_watched_are_refused)),
    Mutant(compare_names_as_they_are, opened(openings.test_a_name_that_was_used_here_is_refused_and_nothing_is_overwritten)),
    Mutant(add_a_chunk_twice, opened(openings.test_what_is_given_again_is_passed_over_and_the_order_stays)),
    Mutant(let_anybody_append, opened(openings.test_two_sites_see_chunk_after_chunk_and_the_end)),
    Mutant(append_after_the_end, opened(openings.test_nothing_is_added_after_the_end_or_to_what_is_gone)),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(mutant, tmp_path, monkeypatch)
