"""The bodies of data events as pydantic models: what is published, and what other programs check themselves against.

The readers in `bodies`, `edits` and `receipts` run for every event, much faster than a model does, and stay the ones that decide. A property test
holds both to the same answer. Those of control events are in `control_schemas`; `published_schemas` makes the document of both.

A version goes up with each field that a type gets. No body says which one it is of: fields that it does not have stand for their defaults, and those
that a reader does not know are of a later version, and passed over.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, ValidationError, WithJsonSchema, model_validator

from materializer import bodies, edits, fields, keeping, receipts, reviews, values
from peer.core.encoding import decode_map
from peer.errors import NotCanonicalError

_CONTROL = r"\x00-\x1f\x7f-\x9f"


def _bytes_max(limit: int) -> AfterValidator:
    """Text of no more bytes in UTF-8. A JSON schema counts characters, so it can only say the same of ASCII."""

    def check(text: str) -> str:
        if len(text.encode()) > limit:
            raise ValueError(f"longer than {limit} bytes")
        return text

    return AfterValidator(check)


def _distinct(items: list[Any]) -> list[Any]:
    if len(set(items)) != len(items):
        raise ValueError("something is listed twice")
    return items


def _whole_marks(marks: bytes) -> bytes:
    if len(marks) % bodies.MARK_SIZE:
        raise ValueError("not what ids begin with")
    return marks


def _since(version: int) -> Callable[[dict[str, Any]], None]:
    """For a field that bodies of earlier versions do not have."""
    return lambda schema: schema.update({"x-since-version": version})


HEX = {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "32 bytes, as hexadecimal digits in JSON"}
Hash = Annotated[bytes, Field(min_length=32, max_length=32), WithJsonSchema(HEX)]
SchemaHash = Annotated[bytes, Field(max_length=0), WithJsonSchema({"const": ""})] | Hash
Hashes = Annotated[list[Hash], AfterValidator(_distinct), WithJsonSchema({"type": "array", "items": HEX, "uniqueItems": True})]
Marks = Annotated[bytes, AfterValidator(_whole_marks), WithJsonSchema({"type": "string", "pattern": f"^([0-9a-f]{{{2 * bodies.MARK_SIZE}}})*$"})]
Line = Annotated[str, Field(pattern=f"^[^{_CONTROL}]*$")]
Label = Annotated[Line, Field(max_length=fields.LABEL_BYTES_MAX), _bytes_max(fields.LABEL_BYTES_MAX)]
SaidLabel = Annotated[
    str,
    Field(pattern=f"^[^{_CONTROL}]*[^ {_CONTROL}][^{_CONTROL}]*$", max_length=fields.LABEL_BYTES_MAX),
    _bytes_max(fields.LABEL_BYTES_MAX),
]
Library = Annotated[Line, Field(max_length=fields.LIBRARY_BYTES_MAX), _bytes_max(fields.LIBRARY_BYTES_MAX)]
TopicName = Annotated[Line, Field(max_length=fields.TOPIC_BYTES_MAX), _bytes_max(fields.TOPIC_BYTES_MAX)]
SourcePath = Annotated[Line, Field(max_length=fields.PATH_BYTES_MAX), _bytes_max(fields.PATH_BYTES_MAX)]
MediaType = Annotated[Line, Field(max_length=fields.MEDIA_TYPE_BYTES_MAX), _bytes_max(fields.MEDIA_TYPE_BYTES_MAX)]
FileName = Annotated[Line, Field(min_length=1, max_length=fields.FILE_NAME_BYTES_MAX), _bytes_max(fields.FILE_NAME_BYTES_MAX)]
TextValue = Annotated[Line, Field(max_length=fields.VALUE_BYTES_MAX), _bytes_max(fields.VALUE_BYTES_MAX)]
Person = Annotated[Line, Field(max_length=edits.PERSON_BYTES_MAX), _bytes_max(edits.PERSON_BYTES_MAX)]
Tag = Annotated[
    str,
    Field(pattern=f"^[^ {_CONTROL}](?:[^{_CONTROL}]*[^ {_CONTROL}])?$", max_length=fields.TAG_BYTES_MAX),
    _bytes_max(fields.TAG_BYTES_MAX),
]
Note = Annotated[str, Field(pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$", max_length=fields.NOTE_BYTES_MAX), _bytes_max(fields.NOTE_BYTES_MAX)]
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$")]
Time = Annotated[int, Field(ge=0, le=fields.TIME_MAX_NS)]
Count = Annotated[int, Field(ge=0, le=fields.COUNT_MAX)]
Number = Annotated[int, Field(ge=-values.NUMBER_MAX, le=values.NUMBER_MAX)]
Plain = TextValue | Number | bool
Topic = Annotated[tuple[TopicName, TopicName, TopicName, TopicName, Count, SchemaHash], Strict(strict=False)]
FirstTopic = Annotated[tuple[TopicName, TopicName, TopicName, TopicName, Count], Strict(strict=False)]
"""Of events that say nothing of schemas' hashes."""
Embedded = Annotated[tuple[Literal["metadata", "attachment"], Label, MediaType, Count], Strict(strict=False)]
PieceSize = Literal[1048576, 2097152, 4194304]


class Body(BaseModel):
    """What every body has in common: fields that are not known are kept, and say nothing."""

    model_config = ConfigDict(extra="allow", strict=True)
    version: ClassVar[int] = 1


class RecordingCreate(Body):
    """A recording begins. Its id is that of this event."""

    version = 2
    name: Name
    machine: Label
    created_ns: Time
    profile: Label
    tool: Label = Field(default="", json_schema_extra=_since(2))
    tool_version: Label = Field(default="", json_schema_extra=_since(2))
    host: Label = Field(default="", json_schema_extra=_since(2))
    source_path: SourcePath = Field(default="", json_schema_extra=_since(2))
    operator: Label = Field(default="", json_schema_extra=_since(2))


class _File(Body):
    recording: Hash
    source_name: FileName
    blob: Hash
    sha256: Hash
    size: Count
    piece_size: PieceSize
    pieces: Hash


class ChunkAdd(_File):
    """A chunk file of a recording."""

    version = 2
    index: Annotated[int, Field(ge=0, le=fields.INDEX_MAX)]
    message_count: Count
    start_ns: Time | None
    end_ns: Time | None
    library: Library
    profile: Label
    topics: list[Topic | FirstTopic]
    dropped: Count | None = Field(default=None, json_schema_extra=_since(2))
    embedded: list[Embedded] = Field(default_factory=list, max_length=fields.EMBEDDED_MAX, json_schema_extra=_since(2))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.start_ns is None) != (self.end_ns is None) or (self.start_ns or 0) > (self.end_ns or 0):
            raise ValueError("a first time without a last one, or behind it")
        size = _number_size(len(self.embedded))
        for kind, name, media_type, count in self.embedded:
            size += 1 + _text_size(kind) + _text_size(name) + _text_size(media_type) + _number_size(count)
        if size > fields.EMBEDDED_BYTES_MAX:
            raise ValueError(f"more than {fields.EMBEDDED_BYTES_MAX} bytes of what is embedded")
        return self


class ChunkTopics(Body):
    """Topics of a chunk that did not fit its own event."""

    version = 2
    recording: Hash
    chunk: Hash
    topics: list[Topic | FirstTopic]


class AttachmentAdd(_File):
    """A file that belongs to a recording and is no chunk."""


class RecordingFinalize(Body):
    """A recording is complete: these chunks, this manifest. Either `chunks` or `chunks_hash` is there."""

    version = 2
    recording: Hash
    manifest_id: Hash
    chunks: Hashes = Field(default_factory=list)
    chunks_hash: Hash = b""
    manifest_version: Annotated[int, Field(ge=0, le=bodies.MANIFEST_VERSION_MAX)] = Field(default=bodies.OLDEST_MANIFEST, json_schema_extra=_since(2))
    others: Hashes = Field(default_factory=list, json_schema_extra=_since(2))
    chunk_marks: Marks = Field(default=b"", json_schema_extra=_since(2))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len({"chunks", "chunks_hash"} & self.model_fields_set) != 1 or {"chunks", "chunk_marks"} <= self.model_fields_set:
            raise ValueError("chunks twice, or not at all")
        return self


class _OfRecording(Body):
    recording: Hash


class RecordingTag(_OfRecording):
    """A tag of a recording is set or taken away."""

    tag: Tag
    present: bool


class RecordingSet(_OfRecording):
    """A property of a recording gets a value; the empty text takes it away."""

    version = 2
    key: Key
    value: Plain = Field(description=f"Text for {', '.join(values.TEXT_PROPERTIES)}; numbers and truth since version 2")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.key in values.TEXT_PROPERTIES and not isinstance(self.value, str):
            raise ValueError(f"{self.key} is text")
        return self


class RecordingDelete(_OfRecording):
    """A recording is not wanted any more. Its bytes may go after a time of grace."""


class RecordingRestore(_OfRecording):
    """A recording is wanted again."""


class _Kept(_OfRecording):
    reason: TextValue
    site: Label
    person: Person


class RecordingHold(_Kept):
    """Nothing of a recording may go while this is held; the reason may be empty where a hold is lifted."""

    held: bool

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.held and not self.reason.strip(" "):
            raise ValueError("no reason")
        return self


class RecordingRetain(_Kept):
    """How long a recording is to be kept: as long as its class says, or until a time; the empty class for what the group says."""

    retention: Literal["", "transient", "raw", "summary", "reference", "permanent"]
    until_ns: Time | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.reason.strip(" ") or (self.until_ns is not None and self.retention in {"", keeping.PERMANENT}):
            raise ValueError("no reason, or an end of what has none")
        return self


class _Said(_OfRecording):
    label: SaidLabel
    text: Note
    start_ns: Time | None
    end_ns: Time | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.end_ns is not None and (self.start_ns is None or self.start_ns > self.end_ns):
            raise ValueError("something that ends before it starts")
        return self


class AnnotationAdd(_Said):
    """Something is said about a recording, at a time in it, over a span, or as a whole. Its id is that of this event."""

    version = 2
    reply_to: Hash | None
    site: Label = Field(default="", json_schema_extra=_since(2))
    person: Person = Field(default="", json_schema_extra=_since(2))


class AnnotationEdit(_Said):
    """An annotation says something else from now on, at another time perhaps."""

    annotation: Hash
    site: Label
    person: Person


class AnnotationDelete(_OfRecording):
    """An annotation is taken back, for good."""

    annotation: Hash


class ReviewSet(_OfRecording):
    """What a person thinks of a recording, or of an annotation of it: 1 to 5, or the empty text to take it back. Version 1 had text."""

    version = 2
    value: Annotated[int, Field(ge=reviews.LEAST, le=reviews.MOST)] | Label
    site: Label = Field(default="", json_schema_extra=_since(2))
    person: Person = Field(default="", json_schema_extra=_since(2))
    annotation: Hash | None = Field(default=None, json_schema_extra=_since(2))


class GroupSet(Body):
    """A setting of the group gets a value; the empty text takes it away."""

    version = 2
    key: Key
    value: Plain | Annotated[list[Key], Field(max_length=values.REQUIRED_MAX)] = Field(
        description="Text for description; 1 to 100 for min_copies; a class for retention; keys for required_properties; else text, a number or truth"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not _fits_setting(self.key, self.value):
            raise ValueError(f"no value of {self.key}")
        return self


class MachineSet(Body):
    """Something is said about a machine, as recordings name it; the empty text takes it away."""

    machine: SaidLabel
    key: Key
    value: Plain


class _Blobs(Body):
    blobs: Annotated[Hashes, Field(min_length=1, max_length=receipts.BLOBS_MAX)]


class BlobReceipt(_Blobs):
    """Its author holds these blobs."""


class BlobRelease(_Blobs):
    """Its author holds these blobs no more, whatever the receipts said that its refs name."""


SCHEMAS: Mapping[str, type[Body]] = {
    bodies.RECORDING_CREATE: RecordingCreate,
    bodies.CHUNK_ADD: ChunkAdd,
    bodies.CHUNK_TOPICS: ChunkTopics,
    bodies.ATTACHMENT_ADD: AttachmentAdd,
    bodies.RECORDING_FINALIZE: RecordingFinalize,
    edits.RECORDING_TAG: RecordingTag,
    edits.RECORDING_SET: RecordingSet,
    edits.RECORDING_DELETE: RecordingDelete,
    edits.RECORDING_RESTORE: RecordingRestore,
    keeping.RECORDING_HOLD: RecordingHold,
    keeping.RECORDING_RETAIN: RecordingRetain,
    edits.ANNOTATION_ADD: AnnotationAdd,
    edits.ANNOTATION_EDIT: AnnotationEdit,
    edits.ANNOTATION_DELETE: AnnotationDelete,
    edits.REVIEW_SET: ReviewSet,
    edits.GROUP_SET: GroupSet,
    edits.MACHINE_SET: MachineSet,
    receipts.BLOB_RECEIPT: BlobReceipt,
    receipts.BLOB_RELEASE: BlobRelease,
}
"""All types of data events that are known."""


def fits(type_: str, body: bytes) -> bool:
    """True if a body fits the schema of its type, which must be known."""
    try:
        SCHEMAS[type_].model_validate(decode_map(body))
    except (NotCanonicalError, ValidationError):
        return False
    return True


def _fits_setting(key: str, value: str | int | bool | list[str]) -> bool:  # noqa: FBT001  (a value like the others)
    if value == "":
        return True
    match key:
        case values.MIN_COPIES:
            return type(value) is int and 1 <= value <= values.COPIES_MAX
        case values.RETENTION:
            return value in values.RETENTION_CLASSES
        case values.REQUIRED_PROPERTIES:
            return isinstance(value, list) and len(set(value)) == len(value)
        case values.DESCRIPTION:
            return isinstance(value, str)
        case _:
            return not isinstance(value, list)


def _text_size(text: str) -> int:
    """Bytes of a text in CBOR."""
    size = len(text.encode())
    return _number_size(size) + size


def _number_size(number: int) -> int:
    """Bytes of a whole number in CBOR, or of a head with it."""
    return 1 if number < 24 else 2 if number < 2**8 else 3 if number < 2**16 else 5 if number < 2**32 else 9  # noqa: PLR2004  (the widths of CBOR)
