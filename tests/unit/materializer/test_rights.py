"""Who may write what: each cell of the design's table, by real events and the rows that they leave. What may not be written leaves none.

The recording at stake, its chunk and its annotation are bob's; somebody else is called mallory. Each has the role of the cell at that event.
"""

from collections.abc import Callable, Sequence

import pytest

from materializer.bodies import attachment_add, chunk_topics, recording_create, recording_finalize
from materializer.edits import (
    EDIT_READERS,
    AnnotationAdd,
    AnnotationEdit,
    annotation_add,
    annotation_delete,
    annotation_edit,
    group_set,
    machine_set,
    recording_delete,
    recording_restore,
    recording_set,
    recording_tag,
    review_set,
)
from materializer.keeping import KEEPING_READERS, RecordingHold, RecordingRetain, recording_hold, recording_retain
from materializer.receipts import RECEIPT_READERS, blob_receipt, blob_release
from materializer.rights import RIGHTS, Action, may
from peer.core.control import Role
from peer.core.identity import BlobId, EventId
from peer.core.run import Draft
from tests.histories import MemoryViews, Story, chunk_body, create_body, facts_of

OWNER, ADMIN, WRITER = Role.OWNER, Role.ADMIN, Role.WRITER
MEMBERS, WRITERS, ADMINS, NOBODY = (OWNER, ADMIN, WRITER, Role.READER), (OWNER, ADMIN, WRITER), (OWNER, ADMIN), ()
FACTS = ("recording.create", "chunk.add", "chunk.topics", "attachment.add", "recording.finalize")
BLOB = BlobId(b"b" * 32)
NOTE = AnnotationAdd(EventId(bytes(32)), "note", "", None, None, None)

Write = Callable[[Story, str, EventId, EventId, EventId], Draft]
"""What somebody writes: about a recording, a chunk of it, an annotation of it, all of them bob's."""

TABLE: dict[str, tuple[Write, str, Sequence[Role], Sequence[Role]]] = {
    "recording.create": (lambda *_: recording_create(create_body("mine")), "recordings", WRITERS, WRITERS),
    "chunk.add": (lambda story, author, rec, *_: _chunk(story, author, rec), "chunks", WRITERS, NOBODY),
    "chunk.topics": (lambda _s, _a, rec, chunk, _n: _topics(rec, chunk), "chunk_topics", WRITERS, NOBODY),
    "attachment.add": (lambda _s, _a, rec, *_: attachment_add(rec, "x.yaml", facts_of(b"x")), "attachments", WRITERS, NOBODY),
    "recording.finalize": (lambda _s, _a, rec, chunk, _n: _finalize(rec, chunk), "registers", WRITERS, ADMINS),
    "recording.delete": (lambda _s, _a, rec, *_: recording_delete(rec), "registers", WRITERS, ADMINS),
    "recording.restore": (lambda _s, _a, rec, *_: recording_restore(rec), "registers", WRITERS, ADMINS),
    "recording.hold": (lambda _s, _a, rec, *_: recording_hold(RecordingHold(rec, held=True, reason="crash")), "registers", WRITERS, ADMINS),
    "recording.retain": (lambda _s, _a, rec, *_: recording_retain(RecordingRetain(rec, "raw", None, "law")), "registers", WRITERS, ADMINS),
    "recording.tag": (lambda _s, _a, rec, *_: recording_tag(rec, "good", present=True), "registers", WRITERS, WRITERS),
    "recording.set": (lambda _s, _a, rec, *_: recording_set(rec, "title", "Night"), "registers", WRITERS, WRITERS),
    "annotation.add": (lambda _s, _a, rec, *_: annotation_add(NOTE._replace(recording=rec)), "annotations", WRITERS, WRITERS),
    "annotation.delete": (lambda _s, _a, rec, _c, note: annotation_delete(rec, note), "registers", WRITERS, ADMINS),
    "annotation.edit": (
        lambda _s, _a, rec, _c, note: annotation_edit(AnnotationEdit(rec, note, "new", "", None, None, "", "")),
        *("registers", WRITERS, ADMINS),
    ),
    "review.set": (lambda _s, _a, rec, *_: review_set(rec, 4), "registers", WRITERS, WRITERS),
    "group.set": (lambda *_: group_set("retention", "raw"), "settings", ADMINS, ADMINS),
    "machine.set": (lambda *_: machine_set("arm-1", "model", "x7"), "settings", WRITERS, WRITERS),
    "blob.receipt": (lambda *_: blob_receipt([BLOB]), "receipts", MEMBERS, MEMBERS),
    "blob.release": (lambda *_: blob_release([BLOB], [EventId(bytes(32))]), "receipts", MEMBERS, MEMBERS),
}
"""Of each event that is known: how it is written, the table of its row, the roles that may write it to what is their own, and to what is not."""


def _chunk(story: Story, author: str, recording: EventId) -> Draft:
    event = story.add_chunk(author, recording, 7)
    story.events.pop()
    return Draft("chunk.add", event.body)


def _topics(recording: EventId, chunk: EventId) -> Draft:
    return chunk_topics(chunk_body(recording, topics=[("/x" * 2000, "", "", "", 1)] * 30), chunk)[0]


def _finalize(recording: EventId, chunk: EventId) -> Draft:
    return recording_finalize(recording, bytes(32), [chunk])


@pytest.mark.parametrize("whose", ["own", "other"])
@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.label)
@pytest.mark.parametrize("action", TABLE)
def test_an_event_leaves_a_row_if_its_author_might_write_it_then(action: str, role: Role, whose: str) -> None:
    write, table, own, other = TABLE[action]
    author = "bob" if whose == "own" else "mallory"
    story = Story()
    recording = story.create("bob")
    chunk = story.add_chunk("bob", recording).id
    note = story.write("bob", annotation_add(NOTE._replace(recording=recording))).id
    draft = write(story, author, recording, chunk, note)
    event = story.write(author, draft).id
    story.events[-1] = story.events[-1]._replace(role=role)
    expected = role in (own if whose == "own" else other)
    for events in (story.events, story.events[::-1]):
        views = MemoryViews()
        for stored in events:
            views.project([stored])
        assert (event in {row["id"] for row in views.export()["tables"][table]}) == expected
        everywhere = [row for name, rows in views.export()["tables"].items() for row in rows if row.get("id") == event and name != table]
        assert not everywhere


def test_every_event_that_is_known_stands_in_the_table() -> None:
    assert set(TABLE) == {*FACTS, *EDIT_READERS, *KEEPING_READERS, *RECEIPT_READERS}
    assert set(RIGHTS) == set(Action)


@pytest.mark.parametrize("action", list(Action))
def test_more_power_never_means_less_right(action: Action) -> None:
    for own in (True, False):
        allowed = [may(action, role, own=own) for role in sorted(Role)]
        assert allowed == sorted(allowed)
        assert not allowed[0], "whoever has no role writes nothing"
    assert all(may(action, role, own=True) >= may(action, role, own=False) for role in Role)
