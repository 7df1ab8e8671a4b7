"""What counts, step by step: the rows after each event, with the digests that belong to them."""

from collections.abc import Callable
from typing import Any

import pytest

from materializer import projector
from materializer.bodies import CHUNK_IDS_MAX, attachment_add, chunk_add, chunk_topics, recording_finalize
from materializer.digest import TABLES, digest_of_export, row_hash, state_digest
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
from materializer.manifest import RecordingFacts, make_manifest, merge_topics
from materializer.queries import check_views
from materializer.tables import read_digests
from peer.core.certificate import LogKind
from peer.core.control import Role
from peer.core.encoding import encode
from peer.core.identity import EventId
from peer.core.interfaces import StoredEvent
from peer.core.run import Draft
from tests.histories import PEOPLE, MemoryViews, Story, chunk_body, create_body, facts_of
from tests.samples import GROUP, key_pair


def views_of(story: Story) -> MemoryViews:
    views = MemoryViews()
    views.project(story.events)
    return views


def rows(views: MemoryViews, table: str) -> list[dict[str, Any]]:
    return list(views.export()["tables"][table])


def digest(views: MemoryViews) -> bytes:
    kept = state_digest(GROUP, read_digests(views.connection, 1))
    assert kept == digest_of_export(views.export())
    assert not check_views(views.connection).problems
    return kept


def states(views: MemoryViews) -> list[str]:
    return [row["state"] for row in rows(views, "manifests")]


def steps(story: Story) -> Callable[..., None]:
    """What projects the newest event of a story, and says whether the digest is one that was not there before."""
    views = MemoryViews()
    seen = []

    def step(*, visible: bool) -> None:
        views.project(story.events[-1:])
        new = digest(views)
        assert (new not in seen) == visible
        seen.append(new)

    return step


def test_the_digest_changes_with_every_visible_change_and_with_no_other() -> None:
    story = Story()
    step = steps(story)
    recording = story.create("bob")
    step(visible=True)
    chunk = story.add_chunk("bob", recording)
    step(visible=True)
    story.add_chunk("alice", recording, 1)
    step(visible=False)
    story.write("bob", attachment_add(recording, "metadata.yaml", facts_of(b"x")))
    step(visible=True)
    tag = story.write("carol", recording_tag(recording, "good", present=True))
    step(visible=True)
    story.write("dave", recording_tag(recording, "bad", present=True))
    step(visible=False)
    story.write("alice", recording_tag(recording, "good", present=False))
    step(visible=True)
    story.write("bob", recording_tag(recording, "good", present=False, replaces=[tag.id]))
    step(visible=True)
    story.write("bob", recording_finalize(recording, bytes(32), [chunk.id]))
    step(visible=True)
    story.write("mallory", recording_finalize(recording, bytes(32), []))
    step(visible=False)
    story.write("bob", Draft("chunk.add", b"\xff"))
    step(visible=True)
    story.write("bob", Draft("some.day", encode({})))
    step(visible=False)
    story.create("mallory")
    step(visible=False)


def test_the_digest_changes_with_every_edit_that_counts_and_with_no_other() -> None:
    story = Story()
    step = steps(story)
    recording = story.create("bob")
    step(visible=True)
    for author, visible in (("bob", False), ("carol", True)):
        story.write(author, group_set("retention", "raw"))
        step(visible=visible)
    for author, visible in (("dave", False), ("alice", True)):
        story.write(author, recording_set(recording, "title", "Night"))
        step(visible=visible)
        story.write(author, review_set(recording, "good"))
        step(visible=visible)
    note = story.write("bob", annotation_add(AnnotationAdd(recording, "slip", "", None, None, None))).id
    step(visible=True)
    story.write("dave", annotation_delete(recording, note))
    step(visible=False)
    story.write("bob", annotation_delete(recording, note))
    step(visible=True)
    story.write("dave", recording_delete(recording))
    step(visible=False)
    gone = story.write("bob", recording_delete(recording)).id
    step(visible=True)
    story.write("carol", recording_restore(recording, [gone]))
    step(visible=True)


@pytest.mark.parametrize("table", list(TABLES))
def test_every_column_is_in_the_digest(table: str) -> None:
    row: list[Any] = [number.to_bytes(32, "big") for number in range(len(TABLES[table]))]
    before = row_hash(table, GROUP, row)
    for column in range(len(row)):
        assert row_hash(table, GROUP, [*row[:column], None, *row[column + 1 :]]) != before


def test_children_before_their_parent_are_nowhere_until_it_comes() -> None:
    story = Story()
    recording = story.create("bob")
    chunk = story.add_chunk("bob", recording)
    story.add_chunk("carol", recording, 1)
    story.write("carol", recording_tag(recording, "good", present=True))
    story.finalize("bob", recording, [chunk])
    views = MemoryViews()
    for stored in reversed(story.events[1:]):
        views.project([stored])
    assert all(not rows(views, table) for table in TABLES)
    touched = views.project(story.events[:1])
    assert touched == {(GROUP, recording)}
    assert [row["id"] for row in rows(views, "chunks")] == [chunk.id]
    assert len(rows(views, "registers")) == 2
    assert states(views) == ["complete"]
    digest(views)


def test_a_chunk_by_somebody_else_does_not_count_even_from_an_owner() -> None:
    story = Story()
    recording = story.create("bob")
    story.add_chunk("alice", recording)
    assert not rows(views_of(story), "chunks")


def test_a_finalize_by_an_admin_counts_and_one_by_another_writer_does_not() -> None:
    for author, expected in (("carol", ["complete"]), ("alice", ["complete"]), ("dave", []), ("mallory", [])):
        story = Story()
        recording = story.create("bob")
        chunk = story.add_chunk("bob", recording)
        story.finalize(author, recording, [chunk], site="bob")
        assert states(views_of(story)) == expected


def test_late_chunks_and_attachments_stand_in_no_manifest() -> None:
    story = Story()
    recording = story.create("bob")
    chunk = story.add_chunk("bob", recording)
    story.finalize("bob", recording, [chunk])
    story.add_chunk("bob", recording, 1)
    story.write("bob", attachment_add(recording, "metadata.yaml", facts_of(b"x")))
    story.write("bob", chunk_topics(chunk_body(recording, topics=[("/x" * 2000, "", "", "", 1, b"")] * 30), chunk.id)[0])
    views = views_of(story)
    assert states(views) == ["complete"]
    assert len(rows(views, "chunks")) == 2


def test_a_finalize_waits_for_chunks_that_it_lists() -> None:
    story = Story()
    recording = story.create("bob")
    chunks = [story.add_chunk("bob", recording, index) for index in range(3)]
    story.finalize("bob", recording, chunks)
    views = MemoryViews()
    views.project([story.events[0], story.events[-1]])
    assert states(views) == ["waiting"]
    views.project(story.events[1:-1])
    assert states(views) == ["complete"]


def test_two_chunks_of_one_index_or_a_wrong_id_are_a_mismatch() -> None:
    story = Story()
    recording = story.create("bob")
    chunks = [story.add_chunk("bob", recording, 0), story.add_chunk("bob", recording, 0, source_name="b.mcap")]
    story.finalize("bob", recording, chunks)
    assert states(views_of(story)) == ["mismatch"]
    story.write("bob", recording_finalize(recording, b"x" * 32, [chunks[0].id]))
    assert states(views_of(story)) == ["mismatch"]


def test_topics_and_chunks_that_take_several_events_give_the_same_manifest() -> None:
    story = Story()
    recording = story.create("bob")
    topics = [(f"/{'x' * 300}/{number}", "S", "ros2msg", "cdr", 1, b"s" * 32) for number in range(500)]
    body = chunk_body(recording, 0, topics=topics)
    ids = [story.write("bob", chunk_add(body)).id]
    for draft in chunk_topics(body, ids[0]):
        story.write("bob", draft)
    bodies = [body._replace(topics=merge_topics([topics]))]
    for index in range(1, CHUNK_IDS_MAX + 2):
        bodies.append(chunk_body(recording, index))
        ids.append(story.write("bob", chunk_add(bodies[-1])).id)
    manifest = make_manifest(RecordingFacts(GROUP, recording, key_pair("bob").peer_id, create_body("run")), bodies)
    story.write("bob", recording_finalize(recording, manifest.manifest_id, ids))
    story.add_chunk("bob", recording, 9999)
    views = views_of(story)
    assert states(views) == ["complete"]
    assert rows(views, "manifests")[0]["manifest_id"] == manifest.manifest_id


def test_what_is_remembered_of_registers_is_bounded_and_nothing_hangs_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story()
    recording = story.create("bob")
    seen: list[EventId] = []
    for number in range(60):
        tag = recording_tag(recording, f"tag {number % 30}", present=number < 30, replaces=seen[-30:-29])
        seen.append(story.write("bob", tag).id)
    expected = encode(views_of(story).export())
    monkeypatch.setattr(projector, "CACHED_REGISTERS_MAX", 5)
    views, most = MemoryViews(), 0
    for stored in story.events:
        views.project([stored])
        most = max(most, sum(len(known.registers or ()) for known in views.projector._recordings.values()))
    assert encode(views.export()) == expected
    assert most == 5


def test_a_change_of_role_judges_the_events_of_a_member_anew() -> None:
    story = Story()
    recording = story.create("bob")
    chunk = story.add_chunk("bob", recording)
    story.write("carol", recording_tag(recording, "good", present=True))
    story.finalize("bob", recording, [chunk])
    views = views_of(story)
    before = encode(views.export())
    assert views.judge_people(alice=Role.OWNER, bob=Role.READER, carol=Role.WRITER) == 4
    assert all(not rows(views, table) for table in TABLES)
    digest(views)
    views.judge_people(**PEOPLE)
    assert encode(views.export()) == before
    views.judge_people(alice=Role.OWNER, bob=Role.WRITER, carol=Role.WRITER)
    assert encode(views.export()) != before, "the rank of a write is a column"
    digest(views)


def test_one_event_that_counts_no_more_takes_what_hangs_on_it_along() -> None:
    """A chunk that is voided leaves the finalize waiting, a recording that is voided takes all of its parts along; both come back as they were."""
    story = Story()
    recording = story.create("bob")
    chunk = story.add_chunk("bob", recording)
    story.write("carol", recording_tag(recording, "good", present=True))
    story.finalize("bob", recording, [chunk])
    views = views_of(story)
    before = encode(views.export())
    for event, left in ((chunk.id, {"recordings": 1, "registers": 2, "manifests": 1}), (recording, {})):
        views.judge(lambda row, event=event: Role.NONE if row.event_id == event else row.role)  # type: ignore[misc]
        assert {table: len(rows(views, table)) for table in TABLES if rows(views, table)} == left
        assert not left or states(views) == ["waiting"]
        digest(views)
        views.judge_people(**PEOPLE)
        assert encode(views.export()) == before
        digest(views)


def test_an_annotation_that_counts_again_is_still_taken_back() -> None:
    story = Story()
    recording = story.create("bob")
    note = story.write("bob", annotation_add(AnnotationAdd(recording, "slip", "", None, None, None))).id
    story.write("bob", annotation_delete(recording, note))
    views = views_of(story)
    before = encode(views.export())
    assert views.judge(lambda row: Role.NONE if row.event_id == note else row.role) == 1
    assert not rows(views, "annotations")
    assert not rows(views, "registers")
    digest(views)
    assert views.judge(lambda row: Role.WRITER if row.event_id == note else row.role) == 1
    assert encode(views.export()) == before
    digest(views)


def test_events_of_control_logs_are_seen_and_not_projected() -> None:
    story = Story()
    story.create("bob")
    control = [stored._replace(kind=LogKind.CONTROL) for stored in story.events]
    views = MemoryViews()
    views.project(control)
    assert all(not rows(views, table) for table in TABLES)
    assert views.connection.execute("SELECT events FROM groups").fetchall() == [(1,)]


def test_a_later_namesake_is_told_when_an_older_one_arrives() -> None:
    """Its folder gets another name."""
    story = Story()
    first, second = story.create("alice", "run"), story.create("bob", "RUN")
    by_id: dict[EventId, StoredEvent] = {stored.event.id: stored for stored in story.events}
    older, later = sorted((first, second), key=_clock(by_id))
    views = MemoryViews()
    views.project([by_id[later]])
    assert (GROUP, later) in views.project([by_id[older]])


def test_damage_in_a_row_shows_in_the_check() -> None:
    story = Story()
    story.create("bob")
    views = views_of(story)
    views.connection.execute("UPDATE recordings SET machine = 'other'")
    problems = check_views(views.connection).problems
    assert [(problem.code, "recordings" in problem.what) for problem in problems] == [("digest_mismatch", True)]


def _clock(by_id: dict[EventId, StoredEvent]) -> Callable[[EventId], tuple[int, EventId]]:
    return lambda event_id: (by_id[event_id].event.header.hlc, event_id)
