"""The bodies of data events: what may stand in them. Builders make drafts that `read_body` accepts; what it refuses is poison, the same everywhere.

A reader is strict: exactly the known fields in the order of the encoding, each of its type, down to the last value, and within its limits. Limits
depend on nothing that differs between two machines, such as the Unicode tables of their Python.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from peer.core.encoding import Value, decode_fields, encode, sorted_keys
from peer.core.event import BODY_SIZE_MAX
from peer.core.hashing import HASH_SIZE, hash_bytes
from peer.core.identity import ID_SIZE, BlobId, EventId
from peer.core.interfaces import BlobFacts
from peer.core.names import is_name
from peer.core.run import Draft
from peer.errors import NotCanonicalError, RequestError

RECORDING_CREATE = "recording.create"
CHUNK_ADD = "chunk.add"
CHUNK_TOPICS = "chunk.topics"
ATTACHMENT_ADD = "attachment.add"
RECORDING_FINALIZE = "recording.finalize"
RECORDING_TAG = "recording.tag"

INDEX_MAX = 999_999
"""Six digits, in file names."""
COUNT_MAX = 2**48
TIME_MAX_NS = 2**63 - 1
PIECE_SIZES = (1 << 20, 1 << 21, 1 << 22)
FILE_NAME_BYTES_MAX = 255
LABEL_BYTES_MAX = 256
LIBRARY_BYTES_MAX = 1024
TOPIC_BYTES_MAX = 4096
TAG_BYTES_MAX = 128
TOPIC_FIELDS = 5
TOPICS_BYTES = BODY_SIZE_MAX - 8192
"""How much of a body topics may take: the rest is for its other fields."""
CHUNK_IDS_MAX = 1800
"""How many chunks a finalize lists by id; of more it names the hash."""

TopicEntry = tuple[str, str, str, str, int]
"""Topic, schema name, schema encoding, message encoding, message count."""


class PoisonError(Exception):
    """A body that does not fit the schema of its type. The text says what is wrong with it."""


class RecordingCreate(NamedTuple):
    """A recording begins. Its id is that of this event."""

    name: str
    machine: str
    created_ns: int
    profile: str


class ChunkAdd(NamedTuple):
    """A chunk file of a recording."""

    recording: EventId
    index: int  # type: ignore[assignment]  # The field has this name; nobody searches in a body with `tuple.index`.
    source_name: str
    blob: BlobId
    sha256: bytes
    size: int
    piece_size: int
    pieces: BlobId
    message_count: int
    start_ns: int | None
    end_ns: int | None
    library: str
    profile: str
    topics: Sequence[TopicEntry]


class ChunkTopics(NamedTuple):
    """Topics of a chunk that did not fit its own event."""

    recording: EventId
    chunk: EventId
    topics: Sequence[TopicEntry]


class AttachmentAdd(NamedTuple):
    """A file that belongs to a recording and is no chunk."""

    recording: EventId
    source_name: str
    blob: BlobId
    sha256: bytes
    size: int
    piece_size: int
    pieces: BlobId


class RecordingFinalize(NamedTuple):
    """A recording is complete: these chunks, this manifest. Either `chunks` or `chunks_hash` is there."""

    recording: EventId
    manifest_id: bytes
    chunks: Sequence[EventId] | None
    chunks_hash: bytes | None


class RecordingTag(NamedTuple):
    """A tag of a recording is set or taken away."""

    recording: EventId
    tag: str
    present: bool


Body = RecordingCreate | ChunkAdd | ChunkTopics | AttachmentAdd | RecordingFinalize | RecordingTag


def read_body(type_: str, body: bytes) -> Body | None:
    """What `body` says, None for a type that is not known here. Raises `PoisonError`."""
    reader = _READERS.get(type_)
    if reader is None:
        return None
    try:
        fields = decode_fields(body)
    except NotCanonicalError as error:
        raise PoisonError("not deterministic CBOR") from error
    if type(fields) is not dict:
        raise PoisonError("not a map")
    return reader(fields)


def recording_create(body: RecordingCreate) -> Draft:
    """The event that begins a recording."""
    return _draft(RECORDING_CREATE, body)


def chunk_add(body: ChunkAdd) -> Draft:
    """The event that adds a chunk; with as many of its topics as fit. The rest goes into `chunk_topics`."""
    return _draft(CHUNK_ADD, body._replace(topics=_pages(body.topics)[0]))


def chunk_topics(body: ChunkAdd, chunk: EventId) -> list[Draft]:
    """Events with those topics of `body` that did not fit the event `chunk`; nearly always none."""
    return [_draft(CHUNK_TOPICS, ChunkTopics(body.recording, chunk, page)) for page in _pages(body.topics)[1:]]


def attachment_add(recording: EventId, source_name: str, facts: BlobFacts) -> Draft:
    """The event that adds a file that is no chunk."""
    return _draft(ATTACHMENT_ADD, AttachmentAdd(recording, source_name, *facts))


def recording_finalize(recording: EventId, manifest_id: bytes, chunks: Sequence[EventId], replaces: Sequence[EventId] = ()) -> Draft:
    """The event that completes a recording of `chunks`, which stand in the order of the manifest."""
    if len(chunks) <= CHUNK_IDS_MAX:
        body = RecordingFinalize(recording, manifest_id, chunks, None)
    else:
        body = RecordingFinalize(recording, manifest_id, None, chunks_hash(chunks))
    return _draft(RECORDING_FINALIZE, body)._replace(refs=tuple(replaces))


def recording_tag(recording: EventId, tag: str, *, present: bool, replaces: Sequence[EventId] = ()) -> Draft:
    """The event that sets or takes away a tag; `replaces` are the writes of this tag that the author has seen."""
    return _draft(RECORDING_TAG, RecordingTag(recording, tag, present))._replace(refs=tuple(replaces))


def chunks_hash(chunks: Sequence[EventId]) -> bytes:
    """What stands for a list of chunks that does not fit a body."""
    return hash_bytes(b"".join(chunks))


def is_tag(text: str) -> bool:
    """True for what may be a tag: a word without blanks in front or behind."""
    return _is_line(text, TAG_BYTES_MAX) and bool(text) and text == text.strip(" ")


def _draft(type_: str, body: Body) -> Draft:
    """The draft of `body`. Raises `RequestError` for what every peer would take for poison."""
    fields = {key: value for key, value in body._asdict().items() if key not in _OPTIONAL or value is not None}
    for key in ("chunks", "topics"):
        if key in fields:
            fields[key] = [list(item) if isinstance(item, tuple) else item for item in fields[key]]
    data = encode(fields)
    try:
        read_body(type_, data)
    except PoisonError as error:
        raise RequestError(f"this cannot be written to the history: {error}", fix="change it and try again") from error
    if len(data) > BODY_SIZE_MAX:
        raise RequestError("this does not fit an event", fix="use shorter names")
    return Draft(type_, data)


def _pages(topics: Sequence[TopicEntry]) -> list[list[TopicEntry]]:
    """Topics in parts that each fit a body; at least one."""
    pages: list[list[TopicEntry]] = [[]]
    used = 0
    for topic in topics:
        size = len(encode(list(topic)))
        if used + size > TOPICS_BYTES and pages[-1]:
            pages.append([])
            used = 0
        pages[-1].append(topic)
        used += size
    return pages


_OPTIONAL = ("chunks", "chunks_hash")
_CREATE_FIELDS = sorted_keys(RecordingCreate._fields)
_CHUNK_FIELDS = sorted_keys(ChunkAdd._fields)
_TOPICS_FIELDS = sorted_keys(ChunkTopics._fields)
_ATTACHMENT_FIELDS = sorted_keys(AttachmentAdd._fields)
_TAG_FIELDS = sorted_keys(RecordingTag._fields)
_FINALIZE_FIELDS = (sorted_keys(["recording", "manifest_id", "chunks"]), sorted_keys(["recording", "manifest_id", "chunks_hash"]))

_Fields = Mapping[str, Value]


def _read_create(fields: _Fields) -> RecordingCreate:
    _need(tuple(fields) == _CREATE_FIELDS, "not the fields of a recording")
    name, machine, created_ns, profile = fields["name"], fields["machine"], fields["created_ns"], fields["profile"]
    if not isinstance(name, str) or not is_name(name):
        raise PoisonError("a recording name that cannot be a path")
    return RecordingCreate(name, _line(machine, LABEL_BYTES_MAX), _number(created_ns, TIME_MAX_NS), _line(profile, LABEL_BYTES_MAX))


def _read_chunk(fields: _Fields) -> ChunkAdd:
    _need(tuple(fields) == _CHUNK_FIELDS, "not the fields of a chunk")
    start_ns, end_ns = fields["start_ns"], fields["end_ns"]
    if start_ns is not None or end_ns is not None:
        _need(_number(start_ns, TIME_MAX_NS) <= _number(end_ns, TIME_MAX_NS), "a chunk that ends before it starts")
    return ChunkAdd(
        EventId(_hash(fields["recording"])),
        _number(fields["index"], INDEX_MAX),
        _file_name(fields["source_name"]),
        BlobId(_hash(fields["blob"])),
        _hash(fields["sha256"]),
        _number(fields["size"], COUNT_MAX),
        _piece_size(fields["piece_size"]),
        BlobId(_hash(fields["pieces"])),
        _number(fields["message_count"], COUNT_MAX),
        start_ns,  # type: ignore[arg-type]
        end_ns,  # type: ignore[arg-type]
        _line(fields["library"], LIBRARY_BYTES_MAX),
        _line(fields["profile"], LABEL_BYTES_MAX),
        _topics(fields["topics"]),
    )


def _read_topics(fields: _Fields) -> ChunkTopics:
    _need(tuple(fields) == _TOPICS_FIELDS, "not the fields of topics")
    return ChunkTopics(EventId(_hash(fields["recording"])), EventId(_hash(fields["chunk"])), _topics(fields["topics"]))


def _read_attachment(fields: _Fields) -> AttachmentAdd:
    _need(tuple(fields) == _ATTACHMENT_FIELDS, "not the fields of an attachment")
    return AttachmentAdd(
        EventId(_hash(fields["recording"])),
        _file_name(fields["source_name"]),
        BlobId(_hash(fields["blob"])),
        _hash(fields["sha256"]),
        _number(fields["size"], COUNT_MAX),
        _piece_size(fields["piece_size"]),
        BlobId(_hash(fields["pieces"])),
    )


def _read_finalize(fields: _Fields) -> RecordingFinalize:
    _need(tuple(fields) in _FINALIZE_FIELDS, "not the fields of a finalize")
    recording, manifest_id = EventId(_hash(fields["recording"])), _hash(fields["manifest_id"])
    if "chunks_hash" in fields:
        return RecordingFinalize(recording, manifest_id, None, _hash(fields["chunks_hash"]))
    chunks = fields["chunks"]
    if not isinstance(chunks, list):
        raise PoisonError("chunks that are no list")
    ids = [EventId(_hash(chunk)) for chunk in chunks]
    _need(len(set(ids)) == len(ids), "a chunk that is listed twice")
    return RecordingFinalize(recording, manifest_id, ids, None)


def _read_tag(fields: _Fields) -> RecordingTag:
    _need(tuple(fields) == _TAG_FIELDS, "not the fields of a tag")
    tag, present = fields["tag"], fields["present"]
    if not isinstance(tag, str) or not is_tag(tag):
        raise PoisonError("text that cannot be a tag")
    if present is not True and present is not False:
        raise PoisonError("a tag that is neither present nor absent")
    return RecordingTag(EventId(_hash(fields["recording"])), tag, present)


_READERS: Mapping[str, Callable[[_Fields], Body]] = {
    RECORDING_CREATE: _read_create,
    CHUNK_ADD: _read_chunk,
    CHUNK_TOPICS: _read_topics,
    ATTACHMENT_ADD: _read_attachment,
    RECORDING_FINALIZE: _read_finalize,
    RECORDING_TAG: _read_tag,
}


def _need(condition: bool, text: str) -> None:  # noqa: FBT001  (reads like assert)
    if not condition:
        raise PoisonError(text)


def _hash(value: Value) -> bytes:
    if type(value) is not bytes or len(value) != ID_SIZE:
        raise PoisonError(f"an id or hash that is not {HASH_SIZE} bytes")
    return value


def _number(value: Value, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise PoisonError("a number that is out of range")
    return value


def _piece_size(value: Value) -> int:
    if type(value) is not int or value not in PIECE_SIZES:
        raise PoisonError("a piece size that is not 1, 2 or 4 MiB")
    return value


def _is_line(text: str, bytes_max: int) -> bool:
    """True for text of one line that no terminal takes for a command: without the control characters of Unicode, which are fixed for ever."""
    if text.isascii():
        return len(text) <= bytes_max and text.isprintable()
    return len(text.encode()) <= bytes_max and not any(character < " " or "\x7f" <= character <= "\x9f" for character in text)


def _line(value: Value, bytes_max: int) -> str:
    if type(value) is not str or not _is_line(value, bytes_max):
        raise PoisonError(f"text that is longer than {bytes_max} bytes or has control characters")
    return value


def _file_name(value: Value) -> str:
    name = _line(value, FILE_NAME_BYTES_MAX)
    _need(bool(name), "a file without a name")
    return name


def _topics(value: Value) -> list[TopicEntry]:
    if type(value) is not list:
        raise PoisonError("topics that are no list")
    return [_topic(entry) for entry in value]


def _topic(entry: Value) -> TopicEntry:
    if type(entry) is not list or len(entry) != TOPIC_FIELDS:
        raise PoisonError("a topic without its five fields")
    topic, schema, schema_encoding, message_encoding, count = entry
    return (
        _line(topic, TOPIC_BYTES_MAX),
        _line(schema, TOPIC_BYTES_MAX),
        _line(schema_encoding, TOPIC_BYTES_MAX),
        _line(message_encoding, TOPIC_BYTES_MAX),
        _number(count, COUNT_MAX),
    )
