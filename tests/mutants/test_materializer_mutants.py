"""Planted bugs in what events mean: counting, arrival, rights, manifests, digests. Each must be caught by a test of the projections."""

from collections import Counter
from pathlib import Path

import pytest

from materializer import digest, queries, recordings, registers, settle
from materializer.projector import _Page
from materializer.tables import Ledger
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.property import test_projections as orders
from tests.unit.materializer import test_blobs_of_groups as blobs_of_groups
from tests.unit.materializer import test_projector as projector

SEEDS = range(12)
"""A planted bug must show within so many random histories."""


def count_instead_of_compute(patch: pytest.MonkeyPatch) -> None:
    """A tag is there if it was set more often than taken away, whatever those writes had seen."""
    counted = "bool(write.preference) == (sum(1 if each.preference else -1 for each in known) > 0)]"
    change(patch, registers.resolve, ("write.event_id not in replaced]", counted))


def count_what_is_gone(patch: pytest.MonkeyPatch) -> None:
    """A digest only adds up: a row that is replaced stays in it."""
    patch.setattr(Ledger, "remove", lambda *_arguments: None)


def let_the_last_to_arrive_win(patch: pytest.MonkeyPatch) -> None:
    """Of concurrent writes the one that came here last wins."""
    change(patch, registers.resolve, ("max(live, key=_height).event_id", "live[-1].event_id"))


def drop_a_child_that_comes_before_its_parent(patch: pytest.MonkeyPatch) -> None:
    """Chunks that came before their recording never count."""
    patch.setattr("materializer.projector.settle_children", lambda *_arguments: None)


def let_anybody_add_chunks(patch: pytest.MonkeyPatch) -> None:
    """Whoever names a recording adds to it."""
    change(patch, _Page._child, ("int(parent.counts and parent.site == read.stored.author)", "int(parent.counts)"))


def let_anybody_add_chunks_beforehand(patch: pytest.MonkeyPatch) -> None:
    """Whoever names a recording that is not here yet has added to it once it comes."""
    change(patch, settle.settle_children, ("(SELECT site FROM", "(SELECT author FROM"))


def let_anybody_add_chunks_when_roles_change(patch: pytest.MonkeyPatch) -> None:
    """When a roster changes, what belongs to a recording that counts is judged to count."""
    change(patch, settle.settle_group, ("r.counts AND r.site IS child.author FROM", "r.counts FROM"))


def believe_the_manifest(patch: pytest.MonkeyPatch) -> None:
    """The manifest id that a finalize names is not computed again."""
    change(patch, recordings.judge, ("if manifest.manifest_id != finalize.body.manifest_id:", "if False:"))


def forget_a_column_in_the_digest(patch: pytest.MonkeyPatch) -> None:
    """The last column of each table is in no digest: neither in those that are kept nor in that of an export."""
    change(patch, digest.row_hash, ("*row]", "*row[:-1]]"))
    change(patch, digest.digest_of_export, ("for column in columns)", "for column in columns[:-1])"))


def find_the_blobs_of_another_group(patch: pytest.MonkeyPatch) -> None:
    """A blob that is here at all is in every group."""
    change(patch, queries._has_blob, ("AND group_id = ? LIMIT", "AND (group_id = ? OR 1) LIMIT"))


def find_the_blobs_that_anybody_names(patch: pytest.MonkeyPatch) -> None:
    """A chunk opens the bytes that it names, though it does not count."""
    change(patch, queries._has_blob, ("AND f.counts ", ""))


def in_any_order(_folder: Path) -> None:
    """Random histories give the same bytes in any order."""
    for seed in SEEDS:
        orders.check_any_order(seed, Counter())


def by_the_rules(_folder: Path) -> None:
    """What counts in random histories is what the rules say."""
    for seed in SEEDS:
        orders.check_what_counts(seed)


def every_column(_folder: Path) -> None:
    """Every column of every table is in the digest."""
    for table in digest.TABLES:
        projector.test_every_column_is_in_the_digest(table)


MUTANTS = (
    Mutant(count_instead_of_compute, by_the_rules),
    Mutant(count_what_is_gone, lambda _folder: projector.test_the_digest_changes_with_every_visible_change_and_with_no_other()),
    Mutant(let_the_last_to_arrive_win, in_any_order),
    Mutant(drop_a_child_that_comes_before_its_parent, lambda _folder: projector.test_children_before_their_parent_are_nowhere_until_it_comes()),
    Mutant(let_anybody_add_chunks, lambda _folder: projector.test_a_chunk_by_somebody_else_does_not_count_even_from_an_owner()),
    Mutant(let_anybody_add_chunks_beforehand, lambda _folder: projector.test_children_before_their_parent_are_nowhere_until_it_comes()),
    Mutant(let_anybody_add_chunks_when_roles_change, in_any_order),
    Mutant(believe_the_manifest, lambda _folder: projector.test_two_chunks_of_one_index_or_a_wrong_id_are_a_mismatch()),
    Mutant(forget_a_column_in_the_digest, every_column),
    Mutant(find_the_blobs_of_another_group, lambda _folder: blobs_of_groups.test_a_blob_is_only_in_the_groups_whose_recordings_have_it()),
    Mutant(find_the_blobs_that_anybody_names, lambda _folder: blobs_of_groups.test_naming_a_blob_in_a_chunk_that_does_not_count_opens_nothing()),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_the_projections_are_checked_for(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes without the bug and fails with it."""
    await assert_caught(mutant, tmp_path, monkeypatch)
