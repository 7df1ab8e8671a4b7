"""Annotations that change, reviews of people, values with types, machines, and who holds which bytes: what the views say of them."""

from collections.abc import Sequence
from typing import Any

import pytest

from materializer.edits import (
    AnnotationAdd,
    AnnotationEdit,
    annotation_add,
    annotation_delete,
    annotation_edit,
    group_set,
    machine_set,
    recording_set,
    review_set,
)
from materializer.queries import Projections
from materializer.receipts import blob_receipt, blob_release
from materializer.reviews import average
from peer.core.control import Role
from peer.core.encoding import encode
from peer.core.identity import BlobId, EventId, PeerId
from peer.core.run import Draft
from peer.core.views import AnnotationView, RecordingView
from tests.histories import MemoryViews, NoFollower, Story, run
from tests.samples import GROUP, key_pair

FIRST, SECOND = BlobId(b"1" * 32), BlobId(b"2" * 32)


def read(story: Story) -> Projections:
    """What the views say once all is projected, in this order and in the opposite one: the same."""
    there, back = MemoryViews(), MemoryViews()
    there.project(story.events)
    for stored in reversed(story.events):
        back.project([stored])
    assert encode(there.export()) == encode(back.export())
    return Projections(back, NoFollower())


def notes(story: Story) -> Sequence[AnnotationView]:
    return run(read(story).annotations(GROUP))


def only(story: Story) -> RecordingView:
    (view,) = run(read(story).recordings([GROUP]))
    return view


def annotate(story: Story, author: str, recording: EventId, **changes: Any) -> EventId:
    body = AnnotationAdd(recording, "slip", "left wheel", 5, 9, None, "lab", "ann")._replace(**changes)
    return story.write(author, annotation_add(body)).id


def edit(story: Story, author: str, recording: EventId, annotation: EventId, label: str, refs: Sequence[EventId] = ()) -> EventId:
    body = AnnotationEdit(recording, annotation, label, "right wheel", 6, None, "lab", "bob")
    return story.write(author, annotation_edit(body, refs)).id


def test_an_annotation_says_what_its_author_or_an_admin_changed_it_to() -> None:
    story = Story()
    recording = story.create("bob")
    note = annotate(story, "bob", recording)
    edit(story, "dave", recording, note, "by a reader")
    (view,) = notes(story)
    assert (view.label, view.edited_by) == ("slip", None)
    first = edit(story, "bob", recording, note, "dent")
    (view,) = notes(story)
    assert (view.annotation, view.author, view.label, view.text, view.start_ns, view.end_ns) == (
        *(note, key_pair("bob").peer_id, "dent", "right wheel"),
        *(6, None),
    )
    assert (view.site, view.person, view.edited_by, view.edited_person) == ("lab", "ann", key_pair("bob").peer_id, "bob")
    edit(story, "carol", recording, note, "hole", [first])
    assert notes(story)[0].label == "hole"


def test_a_writer_changes_no_annotation_of_somebody_else_of_its_own_recording_either() -> None:
    story = Story()
    recording = story.create("bob")
    note = annotate(story, "alice", recording)
    edit(story, "bob", recording, note, "dent")
    assert notes(story)[0].label == "slip"


def test_two_changes_of_an_annotation_at_once_are_a_conflict_that_the_next_change_ends() -> None:
    story = Story()
    recording = story.create("bob")
    note = annotate(story, "bob", recording)
    both = [edit(story, "bob", recording, note, "dent"), edit(story, "carol", recording, note, "hole")]
    assert notes(story)[0].label == "hole", "an admin's word counts for more"
    (conflict,) = only(story).conflicts
    assert [write.event_id for write in conflict.writes] == [both[1], both[0]]
    edit(story, "bob", recording, note, "scratch", both)
    assert (notes(story)[0].label, only(story).conflicts) == ("scratch", [])


def test_a_change_of_an_annotation_that_was_taken_back_does_not_bring_it_again() -> None:
    story = Story()
    recording = story.create("bob")
    note = annotate(story, "bob", recording)
    story.write("bob", annotation_delete(recording, note))
    edit(story, "bob", recording, note, "dent")
    assert notes(story) == []


def test_a_change_waits_for_its_annotation_and_counts_only_in_its_recording() -> None:
    story = Story()
    recording, other = story.create("bob"), story.create("bob", "other")
    note = annotate(story, "bob", recording)
    edit(story, "bob", other, note, "elsewhere")
    assert notes(story)[0].label == "slip"
    views = MemoryViews()
    edit(story, "bob", recording, note, "dent")
    for stored in (*story.events[:2], story.events[-1]):
        views.project([stored])
    assert views.export()["tables"]["registers"] == []
    views.project([story.events[2]])
    assert run(Projections(views, NoFollower()).annotations(GROUP))[0].label == "dent"


def test_a_change_counts_no_more_when_whoever_made_it_might_not() -> None:
    story = Story()
    recording = story.create("alice")
    note = annotate(story, "alice", recording)
    edit(story, "carol", recording, note, "hole")
    views = MemoryViews()
    views.project(story.events)
    assert run(Projections(views, NoFollower()).annotations(GROUP))[0].label == "hole"
    views.judge_people(alice=Role.OWNER, carol=Role.WRITER)
    assert run(Projections(views, NoFollower()).annotations(GROUP))[0].label == "slip"
    views.judge_people(alice=Role.NONE, carol=Role.ADMIN)
    assert views.export()["tables"]["registers"] == [], "what is said of an annotation that does not count does not either"
    views.judge_people(alice=Role.OWNER, carol=Role.ADMIN)
    assert run(Projections(views, NoFollower()).annotations(GROUP))[0].label == "hole"


def test_each_person_at_each_site_has_one_review_and_the_average_counts_numbers_only() -> None:
    story = Story()
    recording = story.create("bob")
    first = story.write("bob", review_set(recording, 5, site="lab", person="ann")).id
    story.write("bob", review_set(recording, 2, site="lab", person="bob"))
    story.write("carol", review_set(recording, 4, site="field", person="ann"))
    story.write("carol", review_set(recording, "fine"))
    view = only(story)
    assert {(each.site, each.person): each.value for each in view.reviews} == {
        ("lab", "ann"): 5,
        ("lab", "bob"): 2,
        ("field", "ann"): 4,
        ("", ""): "fine",
    }
    assert (view.review_count, view.review_average) == (3, "3.67")
    story.write("bob", review_set(recording, "", [first], site="lab", person="ann"))
    assert (only(story).review_count, only(story).review_average) == (2, "3.00")


def test_a_review_of_an_annotation_is_none_of_its_recording() -> None:
    story = Story()
    recording = story.create("bob")
    note = annotate(story, "bob", recording)
    story.write("bob", review_set(recording, 1, person="a:b", annotation=note))
    view = only(story)
    assert [(each.annotation, each.value, each.person) for each in view.reviews] == [(note, 1, "a:b")]
    assert (view.review_count, view.review_average) == (0, None)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        (["good"], None),
        ([5], "5.00"),
        ([1, 2], "1.50"),
        ([1, 1, 2], "1.33"),
        ([1, 2, 2], "1.67"),
        ([4, "x", 5], "4.50"),
        ([1] * 199 + [2], "1.01"),
    ],
)
def test_an_average_is_a_decimal_text_with_half_a_hundredth_rounded_up(values: list[Any], expected: str | None) -> None:
    assert average(values) == expected


def test_properties_hold_text_numbers_and_truth_and_false_is_a_value() -> None:
    story = Story()
    recording = story.create("bob")
    for key, value in (("runs", 0), ("wet", False), ("title", "Night"), ("gone", 3)):
        last = story.write("bob", recording_set(recording, key, value)).id
    story.write("bob", recording_set(recording, "gone", "", [last]))
    assert only(story).properties == {"runs": 0, "wet": False, "title": "Night"}
    story.write("carol", recording_set(recording, "wet", 0))
    assert [each.name for each in only(story).conflicts] == ["property:wet"], "for Python, false is 0"


def test_a_setting_of_another_type_than_its_key_has_is_poison_and_changes_nothing() -> None:
    story = Story()
    story.write("alice", group_set("min_copies", 2))
    for key, value in (("min_copies", "3"), ("min_copies", 0), ("retention", "90d"), ("required_properties", ["a b"]), ("description", 1)):
        story.write("alice", Draft("group.set", encode({"key": key, "value": value})))
    views = read(story)
    assert [(each.name, each.value) for each in run(views.settings(GROUP))] == [("min_copies", 2)]
    assert run(views.group_state(GROUP)).poison == 5


def test_machines_are_those_that_were_described_and_those_that_recordings_name() -> None:
    story = Story()
    story.create("bob")
    story.create("bob", "other")
    story.write("bob", machine_set("arm: 1", "model", "x7"))
    story.write("carol", machine_set("arm: 1", "axes", 6))
    story.write("dave", machine_set("arm: 1", "axes", 7))
    machines = run(read(story).machines(GROUP))
    assert [(each.machine, {register.name: register.value for register in each.registers}, each.recordings) for each in machines] == [
        ("arm: 1", {"axes": 6, "model": "x7"}, 0),
        ("robot-1", {}, 2),
    ]
    assert run(read(story).settings(GROUP)) == [], "what is said of machines is no setting"


def holders(story: Story) -> dict[BlobId, set[PeerId]]:
    return {blob: set(sites) for blob, sites in run(read(story).holders(GROUP, [FIRST, SECOND])).items()}


def test_a_receipt_stands_until_a_release_of_its_author_that_names_it() -> None:
    story = Story()
    bob, dave = key_pair("bob").peer_id, key_pair("dave").peer_id
    receipt = story.write("bob", blob_receipt([FIRST, SECOND])).id
    story.write("dave", blob_receipt([FIRST]))
    assert holders(story) == {FIRST: {bob, dave}, SECOND: {bob}}, "readers say so, too"
    story.write("dave", blob_release([FIRST], [receipt]))
    story.write("bob", blob_release([FIRST], []))
    assert holders(story) == {FIRST: {bob, dave}, SECOND: {bob}}, "neither that of somebody else, nor one that was not seen"
    story.write("bob", blob_release([FIRST], [receipt]))
    assert holders(story) == {FIRST: {dave}, SECOND: {bob}}, "of the blobs that it lists"
    story.write("bob", blob_receipt([FIRST]))
    assert holders(story) == {FIRST: {bob, dave}, SECOND: {bob}}


def test_whoever_has_no_role_holds_nothing() -> None:
    story = Story()
    story.write("dave", blob_receipt([FIRST]))
    story.write("mallory", blob_receipt([FIRST]))
    views = MemoryViews()
    views.project(story.events)
    projections = Projections(views, NoFollower())
    assert run(projections.holders(GROUP, [FIRST])) == {FIRST: {key_pair("dave").peer_id}}
    views.judge_people(mallory=Role.READER)
    assert run(projections.holders(GROUP, [FIRST])) == {FIRST: {key_pair("mallory").peer_id}}
    views.judge_people()
    assert run(projections.holders(GROUP, [FIRST])) == {}


def test_a_release_of_somebody_who_had_no_role_then_takes_nothing_back() -> None:
    story = Story()
    receipt = story.write("bob", blob_receipt([FIRST])).id
    release = story.write("bob", blob_release([FIRST], [receipt])).id
    views = MemoryViews()
    views.project(story.events)
    projections = Projections(views, NoFollower())
    assert run(projections.holders(GROUP, [FIRST])) == {}
    views.judge(lambda row: Role.NONE if row.event_id == release else Role.WRITER)
    assert run(projections.holders(GROUP, [FIRST])) == {FIRST: {key_pair("bob").peer_id}}
