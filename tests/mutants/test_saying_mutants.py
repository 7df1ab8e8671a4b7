"""Planted bugs in what people say: annotations, reviews, values, receipts, fields of later versions. Each must be caught by a test of its rule."""

from pathlib import Path

import pytest

from materializer import descriptions, edits, fields, holding, receipts, registers, reviews, settle, values
from materializer.page import Page
from materializer.rights import RIGHTS, Action, Right
from peer.core import views
from peer.core.control import Role
from peer.operations import said as threads
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.property import test_schemas as schemas
from tests.unit.materializer import test_bodies as bodies
from tests.unit.materializer import test_what_people_say as people
from tests.unit.operations import test_said as said


def edit_by_any_writer(patch: pytest.MonkeyPatch) -> None:
    """Whoever may write changes what others said."""
    patch.setitem(RIGHTS, Action.CHANGE_ANNOTATION, Right(Role.WRITER, Role.WRITER))


def edit_by_the_site_of_the_recording(patch: pytest.MonkeyPatch) -> None:
    """An annotation belongs to whoever made its recording, not to whoever wrote it."""
    change(patch, settle.write_counts, ("if kind in KINDS_ABOUT_ANNOTATIONS:", "if kind == 'annotation':"))


def forget_changes_that_came_first(patch: pytest.MonkeyPatch) -> None:
    """A change that came before its annotation never counts."""
    change(patch, Page._annotated, ("(annotation_register(annotation), edit_register(annotation))", "()"))


def show_the_first_version(patch: pytest.MonkeyPatch) -> None:
    """Changes are stored, and not shown."""
    patch.setattr(descriptions, "_edited", lambda _connection, _recording, view: view)


def one_review_for_each_site(patch: pytest.MonkeyPatch) -> None:
    """A second person at a site writes over the review of the first."""
    change(patch, registers.review_register, ("{author.hex()}:{person}", "{author.hex()}:"))


def count_reviews_of_annotations(patch: pytest.MonkeyPatch) -> None:
    """What is thought of an annotation counts for its recording."""
    change(patch, descriptions.read_description, ("if review.annotation is None and is_value(review.value)]", "if is_value(review.value)]"))


def cut_the_average(patch: pytest.MonkeyPatch) -> None:
    """The third decimal place is cut off."""
    change(patch, reviews.average, ("(200 * sum(counted) + len(counted))", "(200 * sum(counted))"))


def release_whatever_there_is(patch: pytest.MonkeyPatch) -> None:
    """A release takes back all receipts of its author, seen or not."""
    change(patch, receipts.holders, ("(each.author, each.event_id) not in released", "each.author not in {author for author, _ in released}"))


def release_for_others(patch: pytest.MonkeyPatch) -> None:
    """Whoever names a receipt takes it back."""
    change(patch, receipts.holders, ("(each.author, each.event_id) not in released", "each.event_id not in {ref for _, ref in released}"))


def believe_receipts_of_nobody(patch: pytest.MonkeyPatch) -> None:
    """A receipt counts whoever wrote it."""
    change(patch, holding.write_receipt, ("counts = may(Action.HOLD, event.role, own=True)", "counts = True"))


def take_any_value_of_a_setting(patch: pytest.MonkeyPatch) -> None:
    """Known keys have no types."""
    patch.setattr(edits, "setting_field", lambda _key, value: value)


def take_numbers_for_titles(patch: pytest.MonkeyPatch) -> None:
    """Known properties have no types."""
    patch.setattr(values, "TEXT_PROPERTIES", ())


def take_zero_for_false(patch: pytest.MonkeyPatch) -> None:
    """Sites that say 0 and false agree."""
    patch.setattr(views, "same", lambda one, other: one == other)


def poison_by_a_later_version(patch: pytest.MonkeyPatch) -> None:
    """A field that is not known makes a body poison."""
    change(patch, fields.need_fields, ("if tuple(fields) == names:", "need(set(fields) <= set(names), what)\n    if tuple(fields) == names:"))


def pass_over_what_is_no_cbor(patch: pytest.MonkeyPatch) -> None:
    """What is in a field that is not known is not looked at."""
    change(patch, fields.need_fields, ("check_types(fields)", "pass"))


def lose_answers(patch: pytest.MonkeyPatch) -> None:
    """An answer to what is not here is shown nowhere."""
    change(patch, threads.in_threads, ("if each.reply_to not in here]", "if each.reply_to is None]"))


def of_later_versions(_folder: Path) -> None:
    """Fields that nobody knows."""
    for draft in bodies.DRAFTS:
        bodies.test_a_field_of_a_later_version_is_ignored_and_one_that_is_no_canonical_cbor_is_poison(draft)


def own_recording(_folder: Path) -> None:
    """A writer, its own recording, and somebody else's annotation of it."""
    people.test_a_writer_changes_no_annotation_of_somebody_else_of_its_own_recording_either()


def averages(_folder: Path) -> None:
    """Three numbers whose average has more places."""
    people.test_an_average_is_a_decimal_text_with_half_a_hundredth_rounded_up([1, 2, 2], "1.67")


MUTANTS = (
    Mutant(edit_by_any_writer, own_recording),
    Mutant(edit_by_the_site_of_the_recording, own_recording),
    Mutant(forget_changes_that_came_first, lambda _folder: people.test_a_change_waits_for_its_annotation_and_counts_only_in_its_recording()),
    Mutant(show_the_first_version, lambda _folder: people.test_an_annotation_says_what_its_author_or_an_admin_changed_it_to()),
    Mutant(one_review_for_each_site, lambda _folder: people.test_each_person_at_each_site_has_one_review_and_the_average_counts_numbers_only()),
    Mutant(count_reviews_of_annotations, lambda _folder: people.test_a_review_of_an_annotation_is_none_of_its_recording()),
    Mutant(cut_the_average, averages),
    Mutant(release_whatever_there_is, lambda _folder: people.test_a_receipt_stands_until_a_release_of_its_author_that_names_it()),
    Mutant(release_for_others, lambda _folder: people.test_a_receipt_stands_until_a_release_of_its_author_that_names_it()),
    Mutant(believe_receipts_of_nobody, lambda _folder: people.test_whoever_has_no_role_holds_nothing()),
    Mutant(take_any_value_of_a_setting, lambda _folder: people.test_a_setting_of_another_type_than_its_key_has_is_poison_and_changes_nothing()),
    Mutant(take_any_value_of_a_setting, lambda _folder: schemas.test_readers_and_schemas_take_the_same_bodies()),
    Mutant(take_numbers_for_titles, lambda _folder: bodies.test_a_field_beyond_its_type_or_limit_is_poison(7, "value", [1])),
    Mutant(take_zero_for_false, lambda _folder: people.test_properties_hold_text_numbers_and_truth_and_false_is_a_value()),
    Mutant(poison_by_a_later_version, of_later_versions, (fields.PoisonError,)),
    Mutant(pass_over_what_is_no_cbor, of_later_versions),
    Mutant(lose_answers, lambda _folder: said.test_an_answer_to_what_is_not_here_stands_on_its_own_with_its_own_answers()),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_what_people_say_is_checked_for(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes without the bug and fails with it."""
    await assert_caught(mutant, tmp_path, monkeypatch)
