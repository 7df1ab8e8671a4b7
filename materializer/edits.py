"""The bodies of what changes: tags, properties, deletions, annotations, reviews, settings of the group.

All but an annotation itself are writes of registers: `replaces` names the writes of the same register that the author has seen.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from materializer.fields import (
    LABEL_BYTES_MAX,
    NOTE_BYTES_MAX,
    TIME_MAX_NS,
    VALUE_BYTES_MAX,
    Fields,
    Reader,
    event_field,
    key_field,
    line_field,
    make_draft,
    need,
    number_field,
    span_fields,
    tag_field,
    text_field,
    truth_field,
)
from peer.core.encoding import sorted_keys
from peer.core.identity import EventId
from peer.core.run import Draft

RECORDING_TAG = "recording.tag"
RECORDING_SET = "recording.set"
RECORDING_DELETE = "recording.delete"
RECORDING_RESTORE = "recording.restore"
ANNOTATION_ADD = "annotation.add"
ANNOTATION_DELETE = "annotation.delete"
REVIEW_SET = "review.set"
GROUP_SET = "group.set"


class RecordingTag(NamedTuple):
    """A tag of a recording is set or taken away."""

    recording: EventId
    tag: str
    present: bool


class RecordingSet(NamedTuple):
    """A property of a recording, its title for one, gets a value; the empty one takes it away."""

    recording: EventId
    key: str
    value: str


class RecordingDelete(NamedTuple):
    """A recording is not wanted any more. Its bytes may go after a time of grace."""

    recording: EventId


class RecordingRestore(NamedTuple):
    """A recording is wanted again."""

    recording: EventId


class AnnotationAdd(NamedTuple):
    """Something is said about a recording, at a time in it, over a span, or as a whole. Its id is that of this event."""

    recording: EventId
    label: str
    text: str
    start_ns: int | None
    end_ns: int | None
    """None for a point in time."""
    reply_to: EventId | None
    """Another annotation of the recording."""


class AnnotationDelete(NamedTuple):
    """An annotation is taken back, for good."""

    recording: EventId
    annotation: EventId


class ReviewSet(NamedTuple):
    """What its author thinks of a recording; the empty value takes it back."""

    recording: EventId
    value: str


class GroupSet(NamedTuple):
    """A setting of the group gets a value; the empty one takes it away."""

    key: str
    value: str


Edit = RecordingTag | RecordingSet | RecordingDelete | RecordingRestore | AnnotationAdd | AnnotationDelete | ReviewSet | GroupSet


def recording_tag(recording: EventId, tag: str, *, present: bool, replaces: Sequence[EventId] = ()) -> Draft:
    """The event that sets or takes away a tag."""
    return _draft(RECORDING_TAG, RecordingTag(recording, tag, present), replaces)


def recording_set(recording: EventId, key: str, value: str, replaces: Sequence[EventId] = ()) -> Draft:
    """The event that gives a property of a recording a value."""
    return _draft(RECORDING_SET, RecordingSet(recording, key, value), replaces)


def recording_delete(recording: EventId, replaces: Sequence[EventId] = ()) -> Draft:
    """The event that deletes a recording; `replaces` are deletions and restorals."""
    return _draft(RECORDING_DELETE, RecordingDelete(recording), replaces)


def recording_restore(recording: EventId, replaces: Sequence[EventId] = ()) -> Draft:
    """The event that takes a deletion back; `replaces` are deletions and restorals."""
    return _draft(RECORDING_RESTORE, RecordingRestore(recording), replaces)


def annotation_add(body: AnnotationAdd) -> Draft:
    """The event that annotates a recording."""
    return _draft(ANNOTATION_ADD, body)


def annotation_delete(recording: EventId, annotation: EventId, replaces: Sequence[EventId] = ()) -> Draft:
    """The event that takes an annotation back."""
    return _draft(ANNOTATION_DELETE, AnnotationDelete(recording, annotation), replaces)


def review_set(recording: EventId, value: str, replaces: Sequence[EventId] = ()) -> Draft:
    """The event by which its author reviews a recording."""
    return _draft(REVIEW_SET, ReviewSet(recording, value), replaces)


def group_set(key: str, value: str, replaces: Sequence[EventId] = ()) -> Draft:
    """The event that gives a setting of the group a value."""
    return _draft(GROUP_SET, GroupSet(key, value), replaces)


def _draft(type_: str, body: Edit, replaces: Sequence[EventId] = ()) -> Draft:
    return make_draft(type_, body._asdict(), EDIT_READERS[type_], replaces)


_TAG_FIELDS = sorted_keys(RecordingTag._fields)
_SET_FIELDS = sorted_keys(RecordingSet._fields)
_ONE_FIELD = ("recording",)
_ANNOTATION_FIELDS = sorted_keys(AnnotationAdd._fields)
_ANNOTATION_DELETE_FIELDS = sorted_keys(AnnotationDelete._fields)
_REVIEW_FIELDS = sorted_keys(ReviewSet._fields)
_SETTING_FIELDS = sorted_keys(GroupSet._fields)


def _read_tag(fields: Fields) -> RecordingTag:
    need(tuple(fields) == _TAG_FIELDS, "not the fields of a tag")
    return RecordingTag(event_field(fields["recording"]), tag_field(fields["tag"]), truth_field(fields["present"]))


def _read_set(fields: Fields) -> RecordingSet:
    need(tuple(fields) == _SET_FIELDS, "not the fields of a property")
    return RecordingSet(event_field(fields["recording"]), key_field(fields["key"]), line_field(fields["value"], VALUE_BYTES_MAX))


def _read_delete(fields: Fields) -> RecordingDelete:
    need(tuple(fields) == _ONE_FIELD, "not the fields of a deletion")
    return RecordingDelete(event_field(fields["recording"]))


def _read_restore(fields: Fields) -> RecordingRestore:
    need(tuple(fields) == _ONE_FIELD, "not the fields of a restoral")
    return RecordingRestore(event_field(fields["recording"]))


def _read_annotation(fields: Fields) -> AnnotationAdd:
    need(tuple(fields) == _ANNOTATION_FIELDS, "not the fields of an annotation")
    label, start_ns, end_ns, reply_to = fields["label"], fields["start_ns"], fields["end_ns"], fields["reply_to"]
    if end_ns is not None:
        start_ns, end_ns = span_fields(start_ns, end_ns)
    elif start_ns is not None:
        start_ns = number_field(start_ns, TIME_MAX_NS)
    label = line_field(label, LABEL_BYTES_MAX)
    need(bool(label.strip(" ")), "an annotation without a label")
    text = text_field(fields["text"], NOTE_BYTES_MAX)
    return AnnotationAdd(event_field(fields["recording"]), label, text, start_ns, end_ns, None if reply_to is None else event_field(reply_to))


def _read_annotation_delete(fields: Fields) -> AnnotationDelete:
    need(tuple(fields) == _ANNOTATION_DELETE_FIELDS, "not the fields of an annotation's deletion")
    return AnnotationDelete(event_field(fields["recording"]), event_field(fields["annotation"]))


def _read_review(fields: Fields) -> ReviewSet:
    need(tuple(fields) == _REVIEW_FIELDS, "not the fields of a review")
    return ReviewSet(event_field(fields["recording"]), line_field(fields["value"], LABEL_BYTES_MAX))


def _read_setting(fields: Fields) -> GroupSet:
    need(tuple(fields) == _SETTING_FIELDS, "not the fields of a setting")
    return GroupSet(key_field(fields["key"]), line_field(fields["value"], VALUE_BYTES_MAX))


EDIT_READERS: Mapping[str, Reader[Edit]] = {
    RECORDING_TAG: _read_tag,
    RECORDING_SET: _read_set,
    RECORDING_DELETE: _read_delete,
    RECORDING_RESTORE: _read_restore,
    ANNOTATION_ADD: _read_annotation,
    ANNOTATION_DELETE: _read_annotation_delete,
    REVIEW_SET: _read_review,
    GROUP_SET: _read_setting,
}
