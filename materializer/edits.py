"""The bodies of what changes: tags, properties, deletions, annotations, reviews, settings of the group, descriptions of machines.

All but an annotation itself are writes of registers: `replaces` names the writes of the same register that the author has seen. People are snapshots:
`site` is what the author's site was called, `person` who wrote there, as that site knows them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from materializer.fields import (
    LABEL_BYTES_MAX,
    NOTE_BYTES_MAX,
    TIME_MAX_NS,
    Fields,
    PoisonError,
    Reader,
    event_field,
    key_field,
    line_field,
    make_draft,
    need,
    need_fields,
    number_field,
    span_fields,
    tag_field,
    text_field,
    truth_field,
)
from materializer.reviews import is_value
from materializer.values import PlainValue, SettingValue, plain_field, property_field, setting_field
from peer.core.encoding import Value, sorted_keys
from peer.core.identity import EventId
from peer.core.run import Draft

RECORDING_TAG = "recording.tag"
RECORDING_SET = "recording.set"
RECORDING_DELETE = "recording.delete"
RECORDING_RESTORE = "recording.restore"
ANNOTATION_ADD = "annotation.add"
ANNOTATION_EDIT = "annotation.edit"
ANNOTATION_DELETE = "annotation.delete"
REVIEW_SET = "review.set"
GROUP_SET = "group.set"
MACHINE_SET = "machine.set"
PERSON_BYTES_MAX = 128


class RecordingTag(NamedTuple):
    """A tag of a recording is set or taken away."""

    recording: EventId
    tag: str
    present: bool


class RecordingSet(NamedTuple):
    """A property of a recording, its title for one, gets a value; the empty one takes it away."""

    recording: EventId
    key: str
    value: PlainValue


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
    site: str = ""
    person: str = ""


class AnnotationEdit(NamedTuple):
    """An annotation says something else from now on, at another time perhaps."""

    recording: EventId
    annotation: EventId
    label: str
    text: str
    start_ns: int | None
    end_ns: int | None
    site: str
    person: str


class AnnotationDelete(NamedTuple):
    """An annotation is taken back, for good."""

    recording: EventId
    annotation: EventId


class ReviewSet(NamedTuple):
    """What a person thinks of a recording, or of an annotation of it: 1 to 5, or the empty text to take it back. Older ones wrote text."""

    recording: EventId
    value: int | str
    site: str = ""
    person: str = ""
    annotation: EventId | None = None


class GroupSet(NamedTuple):
    """A setting of the group gets a value; the empty one takes it away."""

    key: str
    value: SettingValue


class MachineSet(NamedTuple):
    """Something is said about a machine, as recordings name it; the empty value takes it away."""

    machine: str
    key: str
    value: PlainValue


Edit = (
    RecordingTag
    | RecordingSet
    | RecordingDelete
    | RecordingRestore
    | AnnotationAdd
    | AnnotationEdit
    | AnnotationDelete
    | ReviewSet
    | GroupSet
    | MachineSet
)


def recording_tag(recording: EventId, tag: str, *, present: bool, replaces: Sequence[EventId] = ()) -> Draft:
    """The event that sets or takes away a tag."""
    return _draft(RECORDING_TAG, RecordingTag(recording, tag, present), replaces)


def recording_set(recording: EventId, key: str, value: PlainValue, replaces: Sequence[EventId] = ()) -> Draft:
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


def annotation_edit(body: AnnotationEdit, replaces: Sequence[EventId] = ()) -> Draft:
    """The event that makes an annotation say something else."""
    return _draft(ANNOTATION_EDIT, body, replaces)


def annotation_delete(recording: EventId, annotation: EventId, replaces: Sequence[EventId] = ()) -> Draft:
    """The event that takes an annotation back."""
    return _draft(ANNOTATION_DELETE, AnnotationDelete(recording, annotation), replaces)


def review_set(
    recording: EventId,
    value: int | str,
    replaces: Sequence[EventId] = (),
    *,
    site: str = "",
    person: str = "",
    annotation: EventId | None = None,
) -> Draft:
    """The event by which a person reviews a recording, or an annotation of it."""
    return _draft(REVIEW_SET, ReviewSet(recording, value, site, person, annotation), replaces)


def group_set(key: str, value: SettingValue, replaces: Sequence[EventId] = ()) -> Draft:
    """The event that gives a setting of the group a value."""
    return _draft(GROUP_SET, GroupSet(key, value), replaces)


def machine_set(machine: str, key: str, value: PlainValue, replaces: Sequence[EventId] = ()) -> Draft:
    """The event that says something about a machine."""
    return _draft(MACHINE_SET, MachineSet(machine, key, value), replaces)


def _draft(type_: str, body: Edit, replaces: Sequence[EventId] = ()) -> Draft:
    return make_draft(type_, body._asdict(), EDIT_READERS[type_], replaces)


_TAG_FIELDS = sorted_keys(RecordingTag._fields)
_SET_FIELDS = sorted_keys(RecordingSet._fields)
_ONE_FIELD = ("recording",)
_ANNOTATION_FIELDS = sorted_keys(AnnotationAdd._fields)
_ANNOTATION_EDIT_FIELDS = sorted_keys(AnnotationEdit._fields)
_ANNOTATION_DELETE_FIELDS = sorted_keys(AnnotationDelete._fields)
_REVIEW_FIELDS = sorted_keys(ReviewSet._fields)
_SETTING_FIELDS = sorted_keys(GroupSet._fields)
_MACHINE_FIELDS = sorted_keys(MachineSet._fields)
_PERSON_FIELDS = ("site", "person")
_LATER_REVIEW_FIELDS = (*_PERSON_FIELDS, "annotation")


def _read_tag(fields: Fields) -> RecordingTag:
    need_fields(fields, _TAG_FIELDS, "a tag")
    return RecordingTag(event_field(fields["recording"]), tag_field(fields["tag"]), truth_field(fields["present"]))


def _read_set(fields: Fields) -> RecordingSet:
    need_fields(fields, _SET_FIELDS, "a property")
    key = key_field(fields["key"])
    return RecordingSet(event_field(fields["recording"]), key, property_field(key, fields["value"]))


def _read_delete(fields: Fields) -> RecordingDelete:
    need_fields(fields, _ONE_FIELD, "a deletion")
    return RecordingDelete(event_field(fields["recording"]))


def _read_restore(fields: Fields) -> RecordingRestore:
    need_fields(fields, _ONE_FIELD, "a restoral")
    return RecordingRestore(event_field(fields["recording"]))


def _read_annotation(fields: Fields) -> AnnotationAdd:
    need_fields(fields, _ANNOTATION_FIELDS, "an annotation", _PERSON_FIELDS)
    said, reply_to = _said(fields), fields["reply_to"]
    return AnnotationAdd(event_field(fields["recording"]), *said, None if reply_to is None else event_field(reply_to), *_author(fields))


def _read_annotation_edit(fields: Fields) -> AnnotationEdit:
    need_fields(fields, _ANNOTATION_EDIT_FIELDS, "an annotation's change")
    return AnnotationEdit(event_field(fields["recording"]), event_field(fields["annotation"]), *_said(fields), *_author(fields))


def _read_annotation_delete(fields: Fields) -> AnnotationDelete:
    need_fields(fields, _ANNOTATION_DELETE_FIELDS, "an annotation's deletion")
    return AnnotationDelete(event_field(fields["recording"]), event_field(fields["annotation"]))


def _read_review(fields: Fields) -> ReviewSet:
    need_fields(fields, _REVIEW_FIELDS, "a review", _LATER_REVIEW_FIELDS)
    annotation = fields.get("annotation")
    return ReviewSet(
        event_field(fields["recording"]), _opinion(fields["value"]), *_author(fields), None if annotation is None else event_field(annotation)
    )


def _read_setting(fields: Fields) -> GroupSet:
    need_fields(fields, _SETTING_FIELDS, "a setting")
    key = key_field(fields["key"])
    return GroupSet(key, setting_field(key, fields["value"]))


def _read_machine(fields: Fields) -> MachineSet:
    need_fields(fields, _MACHINE_FIELDS, "a machine's description")
    machine = line_field(fields["machine"], LABEL_BYTES_MAX)
    need(bool(machine.strip(" ")), "a machine without a name")
    return MachineSet(machine, key_field(fields["key"]), plain_field(fields["value"]))


def _said(fields: Fields) -> tuple[str, str, int | None, int | None]:
    """What an annotation says: label, text, first and last time."""
    label, start_ns, end_ns = fields["label"], fields["start_ns"], fields["end_ns"]
    if end_ns is not None:
        start_ns, end_ns = span_fields(start_ns, end_ns)
    elif start_ns is not None:
        start_ns = number_field(start_ns, TIME_MAX_NS)
    label = line_field(label, LABEL_BYTES_MAX)
    need(bool(label.strip(" ")), "an annotation without a label")
    return label, text_field(fields["text"], NOTE_BYTES_MAX), start_ns, end_ns


def _author(fields: Fields) -> tuple[str, str]:
    """The site and person that wrote it; older bodies do not say."""
    return line_field(fields.get("site", ""), LABEL_BYTES_MAX), line_field(fields.get("person", ""), PERSON_BYTES_MAX)


def _opinion(value: Value) -> int | str:
    if type(value) is str:
        return line_field(value, LABEL_BYTES_MAX)
    if type(value) is not int or not is_value(value):
        raise PoisonError("a review that is no whole number from 1 to 5")
    return value


EDIT_READERS: Mapping[str, Reader[Edit]] = {
    RECORDING_TAG: _read_tag,
    RECORDING_SET: _read_set,
    RECORDING_DELETE: _read_delete,
    RECORDING_RESTORE: _read_restore,
    ANNOTATION_ADD: _read_annotation,
    ANNOTATION_EDIT: _read_annotation_edit,
    ANNOTATION_DELETE: _read_annotation_delete,
    REVIEW_SET: _read_review,
    GROUP_SET: _read_setting,
    MACHINE_SET: _read_machine,
}
