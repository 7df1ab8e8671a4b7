"""Planted bugs in what events mean: counting, arrival, rights, manifests, digests. Each must be caught by a test of the projections."""

from collections import Counter
from pathlib import Path

import pytest

from materializer import descriptions, digest, judging, page, queries, recordings, registers, rights, runner, settle
from materializer.judging import _Change
from materializer.page import Page
from materializer.projector import Projector
from materializer.rights import RIGHTS, Action, Right
from materializer.runner import Materializer
from materializer.tables import Ledger
from peer.core.control import Role
from peer.core.interfaces import StoredEvent
from tests.integration import test_materializer as following
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.property import test_judged_projections as judged
from tests.property import test_projections as orders
from tests.unit.materializer import test_blobs_of_groups as blobs_of_groups
from tests.unit.materializer import test_descriptions as said
from tests.unit.materializer import test_judging_anew as anew
from tests.unit.materializer import test_projector as projector
from tests.unit.materializer import test_rights as cells

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
    patch.setattr(page, "settle_children", lambda *_arguments: None)


def keep_to_itself_what_the_last_pages_touched(patch: pytest.MonkeyPatch) -> None:
    """Listeners hear only of what many pages have touched."""
    change(patch, Materializer.catch_up, ("self._telling.caught_up()", "pass"))


def let_anybody_add_chunks(patch: pytest.MonkeyPatch) -> None:
    """Whoever names a recording adds to it."""
    allow(patch, Action.ADD, Right(Role.WRITER, Role.WRITER))


def let_anybody_add_chunks_beforehand(patch: pytest.MonkeyPatch) -> None:
    """Whoever names a recording that is not here yet has added to it once it comes."""
    change(patch, settle.settle_children, ("counts=child_counts(table, author, Role(role), parent)", "counts=parent.counts"))


def allow(patch: pytest.MonkeyPatch, action: Action, right: Right) -> None:
    """Another line in the table of rights."""
    patch.setitem(RIGHTS, action, right)


def settings_by_writer(patch: pytest.MonkeyPatch) -> None:
    """A writer changes what holds for the whole group."""
    allow(patch, Action.SETTING, Right(Role.WRITER, Role.WRITER))


def restore_by_any_writer(patch: pytest.MonkeyPatch) -> None:
    """Whoever may write takes back what the creator deleted."""
    allow(patch, Action.DELETE, Right(Role.WRITER, Role.WRITER))


def unannotate_by_any_writer(patch: pytest.MonkeyPatch) -> None:
    """Whoever may write deletes what others said."""
    allow(patch, Action.UNANNOTATE, Right(Role.WRITER, Role.WRITER))


def let_readers_review(patch: pytest.MonkeyPatch) -> None:
    """A reader's review counts."""
    allow(patch, Action.REVIEW, Right(Role.READER, Role.READER))


def let_admins_create_only(patch: pytest.MonkeyPatch) -> None:
    """The table is off by one role."""
    change(patch, rights.may, ("role >= least", "role > least"))


def let_a_demoted_creator_go_on(patch: pytest.MonkeyPatch) -> None:
    """Whose recording it is may finalize it, whatever role is left."""
    allow(patch, Action.FINALIZE, Right(Role.NONE, Role.ADMIN))


def judge_by_todays_role(patch: pytest.MonkeyPatch) -> None:
    """All that somebody wrote has one role: the highest that it has at any event of the page."""

    def apply(self: Projector, connection: object, judgements: object, events: list[StoredEvent]) -> object:
        today = {each.author: max(other.role for other in events if other.author == each.author) for each in events}
        return original(self, connection, judgements, [each._replace(role=today[each.author]) for each in events])  # type: ignore[arg-type]

    original = Projector.apply
    patch.setattr(Projector, "apply", apply)


def project_what_was_voided(patch: pytest.MonkeyPatch) -> None:
    """A role of none is taken for that of a reader: poison that was cut is shown."""
    change(patch, Page._add_poison, ("role is not Role.NONE", "True"))


def judge_all_writers_of_a_tag_alike(patch: pytest.MonkeyPatch) -> None:
    """What was found out about the first write of a register of that name goes for others, too, whoever wrote them."""
    change(patch, settle.plan_first_writes, ("key = (register, author, rank, place, site, holder_counts)", "key = (register, place, holder_counts)"))


def keep_old_roles(patch: pytest.MonkeyPatch) -> None:
    """A change of the judgement changes nothing that is here already."""
    patch.setattr(runner, "apply_roles", lambda *_arguments, **_named: None)


def forget_single_events(patch: pytest.MonkeyPatch) -> None:
    """Only whole authors are judged anew: what was voided stays."""
    patch.setattr(runner, "find_rows", lambda *_arguments, **_named: [])


def keep_the_rank(patch: pytest.MonkeyPatch) -> None:
    """Who wins a register is decided by the roles that the writers had when their events came here."""
    change(patch, settle.set_rank, ("UPDATE registers SET rank = ?", "UPDATE registers SET rank = rank + 0 * ?"))


def leave_the_children(patch: pytest.MonkeyPatch) -> None:
    """A recording that counts no more leaves its chunks behind."""
    patch.setattr(judging, "settle_recording", lambda *_arguments: None)


def leave_the_manifest(patch: pytest.MonkeyPatch) -> None:
    """A finalize goes on to hold though a chunk that it lists counts no more."""
    change(patch, _Change._touch_child, ("self._manifests.add(recording_no)", "pass"))


def leave_the_deletion_of_an_annotation(patch: pytest.MonkeyPatch) -> None:
    """An annotation that counts again is not asked whether it was taken back."""
    change(patch, _Change._touch_child, ("for register in (annotation_register, edit_register))", "for register in (edit_register,))"))


def believe_in_one_judgement(patch: pytest.MonkeyPatch) -> None:
    """Events are projected by the roles that they were read with, though the judgement changed meanwhile."""
    patch.setattr(Materializer, "_are_current", lambda *_arguments: True)


def believe_roles_that_were_told_meanwhile(patch: pytest.MonkeyPatch) -> None:
    """The judgement that changes while roles are told is not noticed."""
    change(patch, Materializer._judge_group, ("if self._replica.groups[group].judgement is not judgement:", "if False:"))


def forget_what_was_begun(patch: pytest.MonkeyPatch) -> None:
    """When the judgement changes while rows are judged, only what changed since is looked at again, and the roles in between stay."""
    change(patch, Materializer._judge_group, ("self._begun.get(group, NO_CHANGES)", "NO_CHANGES"))


def trust_half_a_judgement(patch: pytest.MonkeyPatch) -> None:
    """The digest of a judgement is noted while rows are judged, not when all are."""
    change(patch, judging.apply_roles, ("SET judgement = x''", "SET judgement = judgement"))
    change(patch, Materializer._judge_group, ("in (None, judgement.digest)", "is not False"))


def show_what_was_deleted(patch: pytest.MonkeyPatch) -> None:
    """A deleted recording stays in the list."""
    patch.setattr(queries, "is_deleted", lambda *_arguments: False)


def show_what_was_taken_back(patch: pytest.MonkeyPatch) -> None:
    """A deleted annotation is shown."""
    change(patch, descriptions.read_annotations, ("if not _holds(", "if True or not _holds("))


def believe_the_manifest(patch: pytest.MonkeyPatch) -> None:
    """The manifest id that a finalize names is not computed again."""
    change(patch, recordings.judge, ("if manifest.manifest_id != finalize.body.manifest_id:", "if False:"))


def forget_a_column_in_the_digest(patch: pytest.MonkeyPatch) -> None:
    """The last column of each table is in no digest: neither in those that are kept nor in that of an export."""
    change(patch, digest.row_hash, ("*row]", "*row[:-1]]"))
    change(patch, digest.digest_of_export, ("for column in columns)", "for column in columns[:-1])"))


def find_the_blobs_of_another_group(patch: pytest.MonkeyPatch) -> None:
    """A blob that is here at all is in every group."""
    change(patch, queries._files_with, ("AND group_id = ? ORDER", "AND (group_id = ? OR 1) ORDER"))


def find_the_blobs_that_anybody_names(patch: pytest.MonkeyPatch) -> None:
    """A chunk opens the bytes that it names, though it does not count."""
    change(patch, queries._files_with, ("AND f.counts ", ""))


def under_changing_roles(_folder: Path) -> None:
    """Histories in which roles change under way end as from scratch."""
    for seed in range(80):
        judged.check_judged(seed, Counter())


def half_judged(_folder: Path) -> None:
    """Rows that were judged in between are judged again."""
    with pytest.MonkeyPatch.context() as patch:
        anew.test_roles_that_change_back_after_half_of_the_rows_were_judged_are_as_they_were(patch)


def by_the_table(_folder: Path) -> None:
    """Every cell of the table of rights."""
    for action in cells.TABLE:
        for role in Role:
            for whose in ("own", "other"):
                cells.test_an_event_leaves_a_row_if_its_author_might_write_it_then(action, role, whose)


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
    Mutant(keep_to_itself_what_the_last_pages_touched, following.test_what_is_stored_can_be_read_once_it_is_reached),
    Mutant(count_instead_of_compute, by_the_rules),
    Mutant(count_what_is_gone, lambda _folder: projector.test_the_digest_changes_with_every_visible_change_and_with_no_other()),
    Mutant(let_the_last_to_arrive_win, in_any_order),
    Mutant(drop_a_child_that_comes_before_its_parent, lambda _folder: projector.test_children_before_their_parent_are_nowhere_until_it_comes()),
    Mutant(let_anybody_add_chunks, lambda _folder: projector.test_a_chunk_by_somebody_else_does_not_count_even_from_an_owner()),
    Mutant(let_anybody_add_chunks_beforehand, lambda _folder: projector.test_children_before_their_parent_are_nowhere_until_it_comes()),
    Mutant(settings_by_writer, by_the_table),
    Mutant(settings_by_writer, by_the_rules),
    Mutant(restore_by_any_writer, by_the_table),
    Mutant(restore_by_any_writer, by_the_rules),
    Mutant(unannotate_by_any_writer, by_the_table),
    Mutant(let_readers_review, by_the_table),
    Mutant(let_admins_create_only, by_the_table),
    Mutant(let_a_demoted_creator_go_on, by_the_table),
    Mutant(judge_by_todays_role, under_changing_roles),
    Mutant(project_what_was_voided, by_the_rules),
    Mutant(judge_all_writers_of_a_tag_alike, by_the_rules),
    Mutant(keep_old_roles, under_changing_roles),
    Mutant(forget_single_events, under_changing_roles),
    Mutant(keep_the_rank, in_any_order),
    Mutant(leave_the_children, lambda _folder: projector.test_one_event_that_counts_no_more_takes_what_hangs_on_it_along()),
    Mutant(leave_the_manifest, lambda _folder: projector.test_one_event_that_counts_no_more_takes_what_hangs_on_it_along()),
    Mutant(leave_the_deletion_of_an_annotation, lambda _folder: projector.test_an_annotation_that_counts_again_is_still_taken_back()),
    Mutant(believe_in_one_judgement, lambda _folder: anew.test_events_that_are_read_while_roles_change_are_read_again()),
    Mutant(believe_roles_that_were_told_meanwhile, lambda _folder: anew.test_roles_that_change_while_they_are_told_are_asked_for_again()),
    Mutant(forget_what_was_begun, half_judged),
    Mutant(trust_half_a_judgement, under_changing_roles),
    Mutant(show_what_was_deleted, lambda _folder: said.test_a_deleted_recording_is_hidden_until_it_is_restored()),
    Mutant(show_what_was_taken_back, lambda _folder: said.test_an_annotation_that_was_taken_back_is_shown_no_more()),
    Mutant(believe_the_manifest, lambda _folder: projector.test_two_chunks_of_one_index_or_a_wrong_id_are_a_mismatch()),
    Mutant(forget_a_column_in_the_digest, every_column),
    Mutant(find_the_blobs_of_another_group, lambda _folder: blobs_of_groups.test_a_blob_is_only_in_the_groups_whose_recordings_have_it()),
    Mutant(find_the_blobs_that_anybody_names, lambda _folder: blobs_of_groups.test_naming_a_blob_in_a_chunk_that_does_not_count_opens_nothing()),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_the_projections_are_checked_for(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes without the bug and fails with it."""
    await assert_caught(mutant, tmp_path, monkeypatch)
