from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from materializer.bodies import (
    CHUNK_IDS_MAX,
    MARKED_CHUNKS_MAX,
    ChunkAdd,
    ChunkTopics,
    RecordingCreate,
    RecordingFinalize,
    attachment_add,
    chunk_add,
    chunk_topics,
    chunks_hash,
    read_body,
    recording_create,
    recording_finalize,
)
from materializer.edits import (
    AnnotationAdd,
    AnnotationEdit,
    ReviewSet,
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
from materializer.fields import PoisonError
from materializer.keeping import RecordingHold, RecordingRetain, recording_hold, recording_retain
from materializer.manifest import merge_topics
from materializer.receipts import blob_receipt, blob_release
from peer.core.encoding import encode
from peer.core.event import BODY_SIZE_MAX
from peer.core.identity import BlobId, EventId
from peer.core.run import Draft
from peer.errors import RequestError
from tests.histories import chunk_body, create_body, facts_of

RECORDING = EventId(b"r" * 32)
MAY_BE_NULL = ("reply_to", "dropped", "annotation")
DRAFTS = [
    recording_create(create_body("run-1")),
    chunk_add(chunk_body(RECORDING)),
    chunk_add(chunk_body(RECORDING, start_ns=None, end_ns=None, message_count=0, topics=[])),
    attachment_add(RECORDING, "metadata.yaml", facts_of(b"yaml")),
    recording_finalize(RECORDING, bytes(32), [EventId(b"c" * 32)]),
    recording_finalize(RECORDING, bytes(32), [EventId(number.to_bytes(32, "big")) for number in range(CHUNK_IDS_MAX + 1)]),
    recording_tag(RECORDING, "good run", present=True),
    recording_set(RECORDING, "title", "Night run"),
    recording_delete(RECORDING),
    recording_restore(RECORDING),
    annotation_add(AnnotationAdd(RECORDING, "slip", "left wheel\n\ton ice", 5, 9, EventId(b"a" * 32))),
    annotation_add(AnnotationAdd(RECORDING, "slip", "", None, None, None)),
    annotation_delete(RECORDING, EventId(b"a" * 32)),
    review_set(RECORDING, 4, site="lab", person="ann"),
    group_set("retention.days", "30"),
    annotation_edit(AnnotationEdit(RECORDING, EventId(b"a" * 32), "slip", "of the left wheel", 5, None, "lab", "ann")),
    machine_set("arm: 1", "axes", 6),
    blob_receipt([BlobId(b"b" * 32), BlobId(b"c" * 32)]),
    blob_release([BlobId(b"b" * 32)], [EventId(b"a" * 32)]),
    group_set("min_copies", 3),
    group_set("required_properties", ["robot", "task"]),
    group_set("retention", "raw"),
    recording_hold(RecordingHold(RECORDING, held=True, reason="crash on the stairs", site="lab", person="ann")),
    recording_hold(RecordingHold(RECORDING, held=False, reason="")),
    recording_retain(RecordingRetain(RECORDING, "raw", 2**62, "law", "lab", "ann")),
    recording_retain(RecordingRetain(RECORDING, "", None, "as the others")),
    recording_retain(RecordingRetain(RECORDING, "permanent", None, "museum")),
]


@pytest.mark.parametrize("draft", DRAFTS, ids=lambda draft: draft.type)
def test_what_a_builder_makes_a_reader_reads(draft: Draft) -> None:
    body = read_body(draft.type, draft.body)
    assert body is not None
    fields = {key: value for key, value in body._asdict().items() if value is not None or key.endswith("_ns") or key in MAY_BE_NULL}
    for key in ("topics", "chunks", "embedded"):
        fields[key] = [list(item) if isinstance(item, tuple) else item for item in fields.get(key, [])]
    assert encode({key: value for key, value in fields.items() if value != [] or key in _keys(draft)}) == draft.body


LATER = {
    "recording.create": {"tool", "tool_version", "host", "source_path", "operator"},
    "chunk.add": {"dropped", "embedded"},
    "recording.finalize": {"manifest_version", "chunk_marks"},
    "annotation.add": {"site", "person"},
    "review.set": {"site", "person", "annotation"},
}
"""Fields that bodies of earlier versions do not have."""


def test_a_body_without_a_field_that_it_always_had_is_poison() -> None:
    checked = 0
    for draft in DRAFTS:
        fields = fields_of(draft)
        for name in set(fields) - LATER.get(draft.type, set()):
            check_poison(draft.type, {key: value for key, value in fields.items() if key != name})
            checked += 1
    assert checked > 30


@pytest.mark.parametrize("draft", DRAFTS, ids=lambda draft: draft.type)
def test_a_field_of_a_later_version_is_ignored_and_one_that_is_no_canonical_cbor_is_poison(draft: Draft) -> None:
    fields = fields_of(draft)
    for value in (1, "text", [None, {"a": b"b"}], {}):
        assert read_body(draft.type, encode({**fields, "extra": value})) == read_body(draft.type, draft.body)
    unsorted = {"a" * 40: 1, **fields}
    assert (cbor2.dumps(unsorted) == encode(unsorted)) is False
    for data in (cbor2.dumps(unsorted), encode({**fields, "extra": 1.5}), encode({**fields, "extra": {1: 2}}), encode({**fields, "z" * 40: [0.5]})):
        with pytest.raises(PoisonError):
            read_body(draft.type, data)


def test_bodies_of_earlier_versions_are_read() -> None:
    for draft in DRAFTS:
        fields = fields_of(draft)
        older = {key: value for key, value in fields.items() if key not in LATER.get(draft.type, ())}
        if draft.type == "chunk.add":
            older["topics"] = [topic[:5] for topic in older["topics"]]
        body = read_body(draft.type, encode(older))
        assert body is not None
        match body:
            case RecordingCreate():
                assert body[4:] == ("",) * 5
            case ChunkAdd():
                assert (body.dropped, body.embedded) == (None, [])
                assert all(topic[5] == b"" for topic in body.topics)
            case RecordingFinalize():
                assert body.manifest_version == 1
            case AnnotationAdd() | ReviewSet():
                assert (body.site, body.person) == ("", "")


def test_a_finalize_says_in_one_way_which_chunks_it_lists() -> None:
    fields = fields_of(DRAFTS[4])
    check_poison("recording.finalize", {**fields, "chunks_hash": bytes(32)})
    check_poison("recording.finalize", {**fields, "chunk_marks": bytes(6)})
    check_poison("recording.finalize", {key: value for key, value in fields.items() if key != "chunks"})


WRONG: list[tuple[int, str, list[Any]]] = [
    (0, "name", ["", ".x", "../x", "a/b", "a" * 129, "é", 1, b"run"]),
    (0, "machine", ["\x1b[2J", "a\nb", "a" * 257, None]),
    (0, "created_ns", [-1, 2**63, True, "1"]),
    (1, "recording", [b"", b"x" * 31, b"x" * 33, "x" * 32]),
    (1, "index", [-1, 1_000_000, True, None]),
    (1, "source_name", ["", "a" * 256, "a\0b", 3]),
    (1, "blob", [b"x" * 31, None]),
    (1, "sha256", [b"x" * 64]),
    (1, "size", [-1, 2**64 - 1, False]),
    (1, "piece_size", [0, 1000, 1 << 19, 1 << 23, True]),
    (1, "message_count", [-1, 2**63]),
    (1, "start_ns", [None, 10_000, -1]),
    (1, "library", ["x" * 1025, "\x80"]),
    (1, "topics", [None, [[]], [["/a", "s", "e", "m", -1]], [["/a", "s", "e", "m", True]], [["/a", "s", "e", 1, 1]], [["x" * 5000, "", "", "", 0]]]),
    (0, "tool", ["a\nb", "a" * 257, None]),
    (0, "source_path", ["a\nb", "a" * 4097, 3]),
    (0, "operator", ["\x1b", None]),
    (1, "topics", [[["/a", "s", "e", "m", 1, b"x" * 31]], [["/a", "s", "e", "m", 1, None]], [["/a", "s", "e", "m", 1, ""]], [["/a"] * 7]]),
    (1, "dropped", [-1, True, "3", 2**63]),
    (
        1,
        "embedded",
        [None, [[]], [["file", "n", "", 0]], [["metadata", "n", "", -1]], [["metadata", "a\nb", "", 0]], [["metadata", "n", "", 0]] * 65],
    ),
    (1, "embedded", [[["attachment", "n" * 200, "m" * 100, 0]] * 20]),
    (4, "manifest_version", [-1, 2**16, None, "2"]),
    (4, "chunks", [None, [b"x"], [b"x" * 32, b"x" * 32], {}]),
    (6, "tag", ["", " a", "a ", "a\tb", "x" * 129, 1]),
    (6, "present", [0, 1, None, "true"]),
    (7, "key", ["", ".a", "a b", "a" * 65, "\u00e9", None]),
    (7, "value", [None, 1, True, "x" * 4097, "\u00e9" * 2049, "a\nb", "\x1b[2J"]),
    (8, "recording", [None, b"r" * 31]),
    (10, "label", ["", "  ", "a\nb", "x" * 257, None]),
    (10, "text", [None, "x" * (16 * 1024 + 1), "a\rb", "\x1b[2J", "a\0b", "\n" * (16 * 1024 + 1)]),
    (10, "start_ns", [None, 10, -1, True]),
    (10, "end_ns", [4, -1, 2**63, "9"]),
    (10, "reply_to", [b"", b"a" * 31, "a" * 32]),
    (12, "annotation", [None, b"a" * 33]),
    (13, "value", [None, True, 0, 6, -1, [5], "x" * 257, "a\tb"]),
    (13, "person", [None, 1, "x" * 129, "a\nb"]),
    (13, "site", [None, 1, "x" * 257, "\x1b"]),
    (13, "annotation", [b"", 1, "a" * 64]),
    (14, "key", ["", "..", "a/b", "a" * 65, None]),
    (14, "value", [None, 2**53, -(2**53), ["a"], "x" * 4097, "\x85"]),
    (15, "label", ["", "a\nb"]),
    (15, "end_ns", [4, -1]),
    (15, "annotation", [None, b"a" * 31]),
    (15, "person", [None, "x" * 129]),
    (16, "machine", ["", " ", "a\nb", "x" * 257, None, 1]),
    (16, "key", ["", "a:b", None]),
    (16, "value", [None, [1], 2**53, "a\nb"]),
    (17, "blobs", [[], [b"b" * 31], [b"b" * 32] * 2, b"b" * 32, [number.to_bytes(32, "big") for number in range(1001)]]),
    (18, "blobs", [[], [None], {}]),
    (19, "value", [0, 101, True, "3", [3], None]),
    (20, "value", [["a b"], ["a", "a"], "robot", 1, [1], [str(number) for number in range(33)]]),
    (21, "value", ["30", "Raw", 1, True, []]),
    (22, "recording", [None, b"r" * 31]),
    (22, "held", [0, 1, None, "true"]),
    (22, "reason", ["", "  ", "a\nb", "x" * 4097, None]),
    (22, "person", [None, 1, "x" * 129, "a\nb"]),
    (23, "reason", ["a\nb", None]),
    (24, "retention", ["Raw", "30d", None, "", "permanent", 1]),
    (24, "until_ns", [-1, 2**63, True, "9"]),
    (24, "reason", ["", " ", "a\nb", None]),
    (26, "until_ns", [0, 2**62]),
]


@pytest.mark.parametrize(("number", "field", "values"), WRONG, ids=lambda value: str(value) if isinstance(value, str) else "")
def test_a_field_beyond_its_type_or_limit_is_poison(number: int, field: str, values: list[Any]) -> None:
    draft = DRAFTS[number]
    for value in values:
        check_poison(draft.type, {**fields_of(draft), field: value})


def test_a_builder_refuses_what_a_reader_would_not_read() -> None:
    with pytest.raises(RequestError):
        recording_create(create_body("../x"))
    with pytest.raises(RequestError):
        recording_tag(RECORDING, "\x1b[31m", present=True)
    with pytest.raises(RequestError):
        chunk_add(chunk_body(RECORDING, source_name="a" * 300))


def test_an_unknown_type_is_no_poison() -> None:
    assert read_body("recording.dance", b"\xff") is None


@given(st.binary(max_size=200), st.sampled_from([draft.type for draft in DRAFTS]))
def test_any_bytes_are_read_or_poison(data: bytes, type_: str) -> None:
    try:
        assert read_body(type_, data) is not None
    except PoisonError as error:
        assert str(error)  # noqa: PT017  (either is fine)


def test_topics_that_do_not_fit_an_event_follow_in_others() -> None:
    topics = [(f"/{'x' * 300}/{number}", "package/msg/Type", "ros2msg", "cdr", number, b"h" * 32) for number in range(1000)]
    body = chunk_body(RECORDING, topics=topics)
    chunk = EventId(b"c" * 32)
    drafts = [chunk_add(body), *chunk_topics(body, chunk)]
    assert len(drafts) > 4
    assert all(len(draft.body) <= BODY_SIZE_MAX for draft in drafts)
    bodies = [read_body(draft.type, draft.body) for draft in drafts]
    assert all(isinstance(each, ChunkTopics) and each.chunk == chunk for each in bodies[1:])
    assert merge_topics(each.topics for each in bodies if isinstance(each, ChunkAdd | ChunkTopics)) == sorted(topics)


def test_chunks_that_do_not_fit_an_event_are_named_by_a_hash() -> None:
    ids = [EventId(number.to_bytes(32, "big")) for number in range(CHUNK_IDS_MAX + 1)]
    body = read_body("recording.finalize", recording_finalize(RECORDING, bytes(32), ids).body)
    assert isinstance(body, RecordingFinalize)
    assert (body.chunks, body.chunks_hash) == (None, chunks_hash(ids))
    assert body.chunk_marks == b"".join(each[:6] for each in ids)
    most_marked = recording_finalize(RECORDING, bytes(32), [EventId(number.to_bytes(32, "big")) for number in range(MARKED_CHUNKS_MAX)], others=[])
    assert len(most_marked.body) <= BODY_SIZE_MAX
    most = recording_finalize(RECORDING, bytes(32), ids[:-1])
    assert len(most.body) <= BODY_SIZE_MAX
    listed = read_body(most.type, most.body)
    assert isinstance(listed, RecordingFinalize)
    assert listed.chunks == ids[:-1]


def test_names_of_recordings_follow_the_rule_for_paths() -> None:
    assert read_body("recording.create", recording_create(RecordingCreate("a" * 128, "", 0, "")).body)


def check_poison(type_: str, fields: dict[str, Any]) -> None:
    with pytest.raises(PoisonError):
        read_body(type_, encode(fields))


def fields_of(draft: Draft) -> dict[str, Any]:
    body = read_body(draft.type, draft.body)
    assert body is not None
    return {key: value for key, value in body._asdict().items() if key in _keys(draft)}


def _keys(draft: Draft) -> set[str]:
    body = read_body(draft.type, draft.body)
    assert body is not None
    return {key for key, value in body._asdict().items() if value is not None or key.endswith("_ns") or key in MAY_BE_NULL}
