"""Planted bugs in what lets another process project. Each must be caught at once."""

import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from materializer import apart, page_bytes, writing
from materializer.apart import Apart
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.property import test_judged_projections as judged
from tests.unit.materializer import test_apart as deciding
from tests.unit.materializer import test_writing as pages

SEEDS = range(40)


def remember_rows_that_were_judged_anew(patch: pytest.MonkeyPatch) -> None:
    """Another process goes on with what it knew."""
    patch.setattr(Apart, "forget", lambda _apart: None)


def write_a_page_a_second_time(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks how far the file is."""
    change(patch, writing.write_page, ("read_cursor(connection) != page.before", "False"))


def write_whatever_was_judged(patch: pytest.MonkeyPatch) -> None:
    """Nor by which judgement the rows have their roles."""
    change(patch, writing.write_page, ("not in {None, digest}", "is digest"))


def swap_authors(patch: pytest.MonkeyPatch) -> None:
    """All events of a page are of the author of the first."""
    change(patch, page_bytes.decode_page, ("authors[number]", "authors[0]"))


def leave_the_one_that_began_late(patch: pytest.MonkeyPatch) -> None:
    """Of one that nobody has given a page yet nobody knows."""
    change(patch, Apart.end, ("worker = starting.result()", "pass"))


async def any_history(_folder: Path) -> None:
    """Random histories end as if all were computed in one go."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apart, "NOT_AGAIN_S", 0.0)
        for seed in SEEDS:
            await judged.check_judged_apart(seed, Counter())


MUTANTS = (
    Mutant(remember_rows_that_were_judged_anew, any_history),
    Mutant(
        write_a_page_a_second_time, lambda _folder: pages.test_a_page_is_not_written_twice(), (AssertionError, pytest.fail.Exception, sqlite3.Error)
    ),
    Mutant(write_whatever_was_judged, lambda _folder: pages.test_a_page_is_not_written_to_rows_that_were_judged_in_another_way()),
    Mutant(swap_authors, any_history),
    Mutant(leave_the_one_that_began_late, lambda _folder: deciding.test_one_that_has_begun_and_was_given_nothing_is_ended()),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes without the bug and fails with it."""
    await assert_caught(mutant, tmp_path, monkeypatch)
