"""What the views say of settings, deletions, properties, annotations and reviews."""

from collections.abc import Sequence

from materializer.edits import (
    AnnotationAdd,
    annotation_add,
    annotation_delete,
    group_set,
    recording_delete,
    recording_restore,
    recording_set,
    recording_tag,
    review_set,
)
from materializer.queries import Projections
from peer.core.control import Role
from peer.core.identity import EventId
from peer.core.views import AnnotationView, RecordingView, RegisterView
from tests.histories import MemoryViews, NoFollower, Story, run
from tests.samples import GROUP, key_pair


def projections_of(story: Story) -> Projections:
    views = MemoryViews()
    views.project(story.events)
    return Projections(views, NoFollower())


def settings(story: Story) -> Sequence[RegisterView]:
    return run(projections_of(story).settings(GROUP))


def listed(story: Story, *, deleted: bool = False) -> Sequence[RecordingView]:
    return run(projections_of(story).recordings([GROUP], deleted=deleted))


def annotations(story: Story) -> Sequence[AnnotationView]:
    return run(projections_of(story).annotations(GROUP))


def test_a_setting_is_what_the_most_senior_of_concurrent_writers_says_until_somebody_has_seen_it() -> None:
    story = Story()
    story.write("alice", group_set("quota.days", "30"))
    story.write("carol", group_set("quota.days", "90"))
    (register,) = settings(story)
    assert (register.name, register.value, register.is_conflict) == ("quota.days", "30", True)
    assert [(write.value, write.role) for write in register.writes] == [("30", Role.OWNER), ("90", Role.ADMIN)]
    story.write("carol", group_set("quota.days", "60", [write.event_id for write in register.writes]))
    (register,) = settings(story)
    assert (register.value, register.is_conflict, len(register.writes)) == ("60", False, 1)
    story.write("bob", group_set("quota.days", "1", [register.writes[0].event_id]))
    assert settings(story) == [register], "a writer sets nothing, and replaces nothing"


def test_two_who_say_the_same_do_not_disagree() -> None:
    story = Story()
    story.write("alice", group_set("quota", "5"))
    story.write("carol", group_set("quota", "5"))
    (register,) = settings(story)
    assert (len(register.writes), register.is_conflict) == (2, False)


def test_a_deleted_recording_is_hidden_until_it_is_restored() -> None:
    story = Story()
    recording, other = story.create("bob"), story.create("bob", "other")
    chunk = story.add_chunk("bob", recording)
    story.finalize("bob", recording, [chunk])
    gone = story.write("carol", recording_delete(recording))
    assert [view.recording for view in listed(story)] == [other]
    assert {view.recording: view.deleted for view in listed(story, deleted=True)} == {recording: True, other: False}
    views = projections_of(story)
    assert run(views.wanted_blobs(GROUP)) == run(views.wanted_blobs(GROUP, [recording])) == []
    entry = run(views.tree_entry(GROUP, recording))
    assert entry is not None
    assert entry.manifest is None, "its folder goes"
    story.write("bob", recording_restore(recording, [gone.id]))
    assert {view.recording for view in listed(story)} == {recording, other}
    restored = next(view for view in listed(story) if view.recording == recording)
    assert (restored.deleted, restored.manifest_id is not None) == (False, True)


def test_of_a_deletion_and_a_restoral_at_the_same_time_the_one_by_the_higher_role_holds() -> None:
    for author, expected in (("alice", 0), ("carol", 1)):
        story = Story()
        recording = story.create("bob")
        gone = story.write("alice", recording_delete(recording))
        story.write("carol", recording_restore(recording, [gone.id]))
        if author == "alice":
            story.write("alice", recording_delete(recording, [gone.id]))
        assert len(listed(story)) == expected


def test_the_title_of_a_recording_is_a_property_and_its_conflicts_are_shown() -> None:
    story = Story()
    recording = story.create("bob")
    story.write("bob", recording_set(recording, "title", "Night"))
    story.write("carol", recording_set(recording, "title", "Night drive"))
    story.write("dave", recording_set(recording, "title", "by a reader"))
    weather = story.write("bob", recording_set(recording, "weather", "rain"))
    (view,) = listed(story)
    assert view.properties == {"title": "Night drive", "weather": "rain"}
    assert [(register.name, [write.value for write in register.writes]) for register in view.conflicts] == [
        ("property:title", ["Night drive", "Night"])
    ]
    story.write("bob", recording_set(recording, "weather", "", [weather.id]))
    assert listed(story)[0].properties == {"title": "Night drive"}, "an empty value takes it away"


def test_everybody_has_one_review_of_their_own() -> None:
    story = Story()
    recording = story.create("bob")
    first = story.write("bob", review_set(recording, "good"))
    story.write("carol", review_set(recording, "bad"))
    story.write("carol", review_set(recording, "stolen", [first.id]))
    (view,) = listed(story)
    assert {review.author: review.value for review in view.reviews}[key_pair("bob").peer_id] == "good", "nobody replaces somebody else's"
    story.write("bob", review_set(recording, "", [first.id]))
    assert [review.author for review in listed(story)[0].reviews] == [key_pair("carol").peer_id]


def annotate(story: Story, author: str, recording: EventId, **changes: object) -> EventId:
    body = AnnotationAdd(recording, "slip", "left wheel", 5, 9, None)._replace(**changes)  # type: ignore[arg-type]
    return story.write(author, annotation_add(body)).id


def test_an_annotation_that_was_taken_back_is_shown_no_more() -> None:
    story = Story()
    recording = story.create("bob")
    first = annotate(story, "bob", recording)
    reply = annotate(story, "carol", recording, label="why", reply_to=first, start_ns=1, end_ns=None)
    assert [(each.annotation, each.label, each.reply_to) for each in annotations(story)] == [(reply, "why", first), (first, "slip", None)]
    other = story.create("bob", "other")
    story.write("bob", annotation_delete(other, first))
    story.write("bob", annotation_delete(recording, reply))
    assert len(annotations(story)) == 2, "neither through another recording, nor by another writer"
    story.write("bob", annotation_delete(recording, first))
    assert [each.annotation for each in annotations(story)] == [reply]
    story.write("alice", annotation_delete(recording, reply))
    assert not annotations(story)


def test_a_deletion_that_comes_before_its_annotation_waits_for_it() -> None:
    story = Story()
    recording = story.create("bob")
    note = annotate(story, "bob", recording)
    story.write("carol", annotation_delete(recording, note))
    views = MemoryViews()
    for stored in reversed(story.events):
        views.project([stored])
    assert run(Projections(views, NoFollower()).annotations(GROUP)) == []
    assert len(views.export()["tables"]["registers"]) == 1


def test_a_tag_that_is_set_and_taken_away_at_once_is_a_conflict() -> None:
    story = Story()
    recording = story.create("bob")
    story.write("bob", recording_tag(recording, "good", present=True))
    story.write("alice", recording_tag(recording, "good", present=False))
    (view,) = listed(story)
    assert (view.tags, [register.name for register in view.conflicts]) == (["good"], ["tag:good"])
