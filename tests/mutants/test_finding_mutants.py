"""Planted bugs in lists, where bytes are, and message rates. Each must be caught by a test of these."""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from materializer import summaries
from materializer.projector import Projector
from peer.blobs.store import FileBlobStore
from peer.core import finding
from peer.core.identity import EventId, GroupId
from peer.core.interfaces import BlobStore, StoredEvent
from peer.core.views import Views
from peer.operations import copies, holdings, rates
from peer.operations.finding import Finding
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.property.test_finding import check_history
from tests.unit.operations import test_copies, test_holdings, test_rates

SEEDS = range(20)
"""A planted bug must show within so many random histories."""


def without(patch: pytest.MonkeyPatch, *triggers: str) -> None:
    """Let views have no such triggers."""
    apply = Projector.apply

    def planted(
        self: Projector, connection: sqlite3.Connection, judgements: Mapping[GroupId, bytes], events: Sequence[StoredEvent]
    ) -> set[tuple[GroupId, EventId]]:
        for trigger in triggers:
            connection.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        return apply(self, connection, judgements, events)

    patch.setattr(Projector, "apply", planted)


def keep_a_summary_when_a_chunk_comes(patch: pytest.MonkeyPatch) -> None:
    """A list goes on to say how many messages there were before."""
    without(patch, "chunk_added")


def keep_a_summary_when_roles_change(patch: pytest.MonkeyPatch) -> None:
    """What a removed member wrote stays in lists."""
    without(patch, *(f"{what}_changed" for what in ("recording", "chunk", "topics", "attachment", "annotation", "register")))


def keep_a_summary_when_somebody_edits(patch: pytest.MonkeyPatch) -> None:
    """A deleted recording stays in lists, and one that was finalized is still open there."""
    without(patch, "register_added")


def keep_the_terms_of_a_summary_that_is_gone(patch: pytest.MonkeyPatch) -> None:
    """A tag that was taken away is still found."""
    change(patch, summaries._terms, ('*(("tag", tag) for tag in view.tags),', '*(("tag", tag) for tag in ("good", "bad", "ugly")),'))


def show_deleted_recordings(patch: pytest.MonkeyPatch) -> None:
    """A deleted recording is listed as before."""
    change(patch, summaries._conditions, ("if not query.deleted:", "if False:"))


def take_since_for_the_start(patch: pytest.MonkeyPatch) -> None:
    """Only what begins after a time is found, not what overlaps it."""
    change(patch, summaries._conditions, ("end_ns >= ?", "start_ns >= ?"))


def let_question_marks_be_wildcards(patch: pytest.MonkeyPatch) -> None:
    """A topic is looked for as a pattern, whatever is in it."""
    change(patch, summaries._conditions, ("is not None and WILDCARD in query.topic", "is not None"), ("_glob(query.topic)", "query.topic"))


def forget_ties(patch: pytest.MonkeyPatch) -> None:
    """Recordings that are equal in what is sorted by come in any order: a page skips some of them."""
    change(patch, summaries.find, (", id {direction} LIMIT", " LIMIT"))


def sum_up_what_is_attached(patch: pytest.MonkeyPatch) -> None:
    """The start of a recording is that of its last file."""
    change(patch, finding.summarize, ("min(starts, default=None)", "max(starts, default=None)"))


def remember_for_ever_what_is_here(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks again whether bytes came."""
    change(patch, holdings.Holdings._is_known, ("note.added in {None, self._blobs.added}", "True"))


def remember_for_ever_what_was_here(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks again whether bytes went."""
    change(patch, FileBlobStore._remove, ("self.removed += 1", "pass"))


def call_what_is_damaged_local(patch: pytest.MonkeyPatch) -> None:
    """Bytes that verify found damaged are shown as if nothing were."""
    change(patch, FileBlobStore.is_damaged, ("blob in self.soundness.damaged and", "False and"))


def count_copies_once(patch: pytest.MonkeyPatch) -> None:
    """Recordings with too few copies are never counted again."""
    change(patch, copies.Copies.too_few, ("note[:-1] == now", "True"))


def lose_the_last_message(patch: pytest.MonkeyPatch) -> None:
    """What lies at the very end of a recording is counted one part too early."""
    change(patch, rates._count, ("bins // span_ns", "(bins - 1) // span_ns"))


def check_histories(_folder: Path) -> None:
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        check_history(seed, seen)


async def check_holdings(folder: Path) -> None:
    with closing(FileBlobStore(folder / "blobs")) as blobs:
        await test_holdings.test_what_is_here_is_looked_for_again_after_bytes_came_or_went(blobs)


async def check_damage(folder: Path) -> None:
    with closing(FileBlobStore(folder / "blobs")) as blobs:
        await test_holdings.test_damage_that_was_found_is_told_until_it_is_mended(blobs)


async def check_copies(_folder: Path) -> None:
    group = test_copies.Group()
    counter = copies.Copies(cast("Finding", group), cast("Views", group), cast("BlobStore", group))
    await test_copies.test_nobody_counts_again_until_something_changed(counter, group)


def check_rates(_folder: Path) -> None:
    test_rates.test_each_message_is_in_one_part_and_those_outside_are_at_the_edge()


MUTANTS = [
    *(
        Mutant(plant, check_histories)
        for plant in (
            keep_a_summary_when_a_chunk_comes,
            keep_a_summary_when_roles_change,
            keep_a_summary_when_somebody_edits,
            keep_the_terms_of_a_summary_that_is_gone,
            show_deleted_recordings,
            take_since_for_the_start,
            let_question_marks_be_wildcards,
            forget_ties,
            sum_up_what_is_attached,
        )
    ),
    Mutant(remember_for_ever_what_is_here, check_holdings),
    Mutant(remember_for_ever_what_was_here, check_holdings),
    Mutant(call_what_is_damaged_local, check_damage),
    Mutant(count_copies_once, check_copies),
    Mutant(lose_the_last_message, check_rates),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_in_finding_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(mutant, tmp_path, monkeypatch)
