"""Planted bugs in what comes out the same in any order: deletions, tags, finalizes, shadows, digests, rebuilds. Each must be caught at once."""

from collections import Counter
from pathlib import Path

import pytest

from materializer import descriptions, digest, recordings, registers, runner, tables
from materializer.files import RecordingTree
from materializer.page import Page
from tests.integration import test_poison as poison
from tests.integration import test_recording_tree as tree
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.property import test_converging_views as converging
from tests.property import test_projections as orders
from tests.unit.materializer import test_projector as projector
from tests.unit.materializer import test_wrong_clocks as clocks

SEEDS = range(12)
MORE_SEEDS = range(60)
"""Of checks that take little: what was deleted and restored at once is rare."""
WHOLE = range(2)


def resurrect_after_delete(patch: pytest.MonkeyPatch) -> None:
    """Whoever restores wins over whoever deletes at the same time, whatever they are."""
    change(patch, registers.claim, ("return DELETED, FALSE, 0", "return DELETED, FALSE, 1"))


def let_what_was_replaced_come_back(patch: pytest.MonkeyPatch) -> None:
    """A write with a later clock wins over one that has seen it: a deletion with the clock ahead cannot be taken back."""
    change(patch, registers.resolve, ("if write.event_id not in replaced]", "]"))


def let_absent_tags_beat_present_ones(patch: pytest.MonkeyPatch) -> None:
    """Who takes a tag away wins."""
    change(patch, registers.claim, ("int(body.present)", "int(not body.present)"))


def let_late_files_into_the_manifest(patch: pytest.MonkeyPatch) -> None:
    """All attachments that are here are in the manifest."""
    change(patch, recordings.final_parts, ("set(others)", "{each.event_id for each in extra}"))


def let_late_chunks_into_the_manifest(patch: pytest.MonkeyPatch) -> None:
    """So are all chunks."""
    change(patch, recordings.listed_chunks, ("return [known[chunk] for chunk in finalize.body.chunks]", "return list(known.values())"))


def let_clocks_decide_what_a_finalize_had_seen(patch: pytest.MonkeyPatch) -> None:
    """What it names is not looked at."""
    change(patch, recordings.final_parts, ("if others is None else set(others)", "if others is None or others else set()"))


def let_clocks_decide_which_of_thousands_of_chunks_are_meant(patch: pytest.MonkeyPatch) -> None:
    """How their ids begin is not looked at."""
    change(patch, recordings.listed_chunks, ("marks = finalize.body.chunk_marks", "marks = None"))


def complete_what_is_not_there(patch: pytest.MonkeyPatch) -> None:
    """A finalize does not wait for attachments that it names."""
    change(patch, recordings.final_parts, ("if not named <= {each.event_id for each in extra}:", "if False:"))


def forget_what_was_written_about_a_shadow(patch: pytest.MonkeyPatch) -> None:
    """Tags that came before their recording are no tags."""
    change(patch, Page._fill, ("for register in registers_of(self._connection, holder.no):", "for register in list[str]():"))


def lose_replies(patch: pytest.MonkeyPatch) -> None:
    """An annotation that answers another is not shown."""
    change(patch, descriptions.read_annotations, ("found.append(_edited(", "None if view.reply_to else found.append(_edited("))


def let_the_first_finalize_to_arrive_win(patch: pytest.MonkeyPatch) -> None:
    """Of two finalizes the one that came here first is judged."""
    change(patch, tables.read_finalize, ("AND wins", "AND counts ORDER BY write_no LIMIT 1"))


def leave_a_column_out_of_the_digest(patch: pytest.MonkeyPatch) -> None:
    """The last column of each table is in no digest of ours: neither in those that are kept nor in that of an export."""
    change(patch, digest.row_hash, ("*row]", "*row[:-1]]"))
    change(patch, digest.digest_of_export, ("for column in columns)", "for column in columns[:-1])"))


def forget_digests_in_a_rebuild(patch: pytest.MonkeyPatch) -> None:
    """The rows go, the digests stay."""
    _forget(patch, "digests")


def forget_poison_in_a_rebuild(patch: pytest.MonkeyPatch) -> None:
    """It is there twice."""
    _forget(patch, "poison")


def _forget(patch: pytest.MonkeyPatch, table: str) -> None:
    assert table in runner.TABLES_TO_CLEAR
    patch.setattr(runner, "TABLES_TO_CLEAR", tuple(each for each in runner.TABLES_TO_CLEAR if each != table))


def leave_the_folder_of_another_name(patch: pytest.MonkeyPatch) -> None:
    """A recording whose folder gets another name has two."""
    patch.setattr(RecordingTree, "_remove_former", lambda *_arguments: None)


def by_the_rules(_folder: Path) -> None:
    """What counts in random histories is what the rules say."""
    for seed in MORE_SEEDS:
        orders.check_what_counts(seed)


def in_any_order(_folder: Path) -> None:
    """Random histories give the same bytes in any order."""
    for seed in SEEDS:
        orders.check_any_order(seed, Counter())


def whole_histories(_folder: Path) -> None:
    """Whole histories come out the same 25 times, with the digest that other code computes."""
    for seed in WHOLE:
        converging.check_history(seed, Counter(), on_disk=0)


def by_any_clock(_folder: Path) -> None:
    """A manifest holds what its finalize had seen, whatever the clocks say."""
    for bob in clocks.WRONG_BY:
        for carol in clocks.WRONG_BY:
            clocks.test_a_manifest_holds_what_its_finalize_had_seen_and_nothing_that_came_later(bob, carol)


def thousands_by_any_clock(_folder: Path) -> None:
    """The same where there is no room for ids."""
    for bob in clocks.WRONG_BY:
        for carol in clocks.WRONG_BY:
            with pytest.MonkeyPatch.context() as patch:
                clocks.test_a_finalize_without_room_for_ids_means_the_same_chunks_whatever_the_clocks(patch, bob, carol)


def whoever_has_seen_it(_folder: Path) -> None:
    """Who has seen a write replaces it."""
    clocks.test_who_has_seen_a_write_replaces_it_whatever_the_clocks_say("deletion")


MUTANTS = (
    Mutant(resurrect_after_delete, by_the_rules),
    Mutant(let_what_was_replaced_come_back, whoever_has_seen_it),
    Mutant(let_absent_tags_beat_present_ones, by_the_rules),
    Mutant(let_late_files_into_the_manifest, by_any_clock),
    Mutant(let_late_chunks_into_the_manifest, by_any_clock),
    Mutant(let_clocks_decide_what_a_finalize_had_seen, by_any_clock),
    Mutant(let_clocks_decide_which_of_thousands_of_chunks_are_meant, thousands_by_any_clock),
    Mutant(complete_what_is_not_there, lambda _folder: clocks.test_a_finalize_waits_for_all_that_it_names()),
    Mutant(forget_what_was_written_about_a_shadow, lambda _folder: projector.test_children_before_their_parent_are_nowhere_until_it_comes()),
    Mutant(lose_replies, poison.test_annotations_that_answer_each_other_and_their_own_recording_end_in_no_loop),
    Mutant(let_the_first_finalize_to_arrive_win, in_any_order),
    Mutant(leave_a_column_out_of_the_digest, whole_histories),
    Mutant(forget_digests_in_a_rebuild, whole_histories),
    Mutant(forget_poison_in_a_rebuild, whole_histories),
    Mutant(leave_the_folder_of_another_name, tree.test_two_recordings_of_one_name_have_two_folders),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_the_views_are_checked_for(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes without the bug and fails with it."""
    await assert_caught(mutant, tmp_path, monkeypatch)
