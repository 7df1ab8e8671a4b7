"""The bodies of data events: facts about a recording, which never change. What does change is in `edits`.

Builders make drafts that `read_body` accepts; what it refuses is poison, the same everywhere.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from materializer.edits import EDIT_READERS, RECORDING_TAG, Edit
from materializer.fields import (
    COUNT_MAX,
    INDEX_MAX,
    LABEL_BYTES_MAX,
    LIBRARY_BYTES_MAX,
    PATH_BYTES_MAX,
    TIME_MAX_NS,
    EmbeddedEntry,
    Fields,
    PoisonError,
    Reader,
    TopicEntry,
    embedded_field,
    event_field,
    file_name_field,
    hash_field,
    line_field,
    make_draft,
    need,
    need_fields,
    number_field,
    piece_size_field,
    read_fields,
    span_fields,
    topics_field,
)
from materializer.keeping import KEEPING_READERS, Keeping
from materializer.receipts import RECEIPT_READERS, BlobReceipt, BlobRelease
from materializer.usual import usual_create, usual_tag
from peer.core.byte_store import BlobFacts
from peer.core.encoding import Value, encode, sorted_keys
from peer.core.event import BODY_SIZE_MAX
from peer.core.hashing import HASH_SIZE, hash_bytes
from peer.core.identity import BlobId, EventId
from peer.core.names import is_name
from peer.core.run import Draft

RECORDING_CREATE = "recording.create"
CHUNK_ADD = "chunk.add"
CHUNK_TOPICS = "chunk.topics"
ATTACHMENT_ADD = "attachment.add"
RECORDING_FINALIZE = "recording.finalize"

TOPICS_BYTES = BODY_SIZE_MAX - 12288
"""How much of a body topics may take: the rest is for its other fields."""
CHUNK_IDS_MAX = 1800
"""How many events a finalize lists by id; of more chunks it names the hash."""
MARK_SIZE = 6
"""How much of the id of each chunk stands beside that hash."""
MARKED_CHUNKS_MAX = CHUNK_IDS_MAX * HASH_SIZE // MARK_SIZE
"""Of more chunks than that nothing does."""
OLDEST_MANIFEST = 1
"""The version of a manifest whose finalize names none."""
MANIFEST_VERSION = 2
"""The version of the manifests that are made here."""
MANIFEST_VERSION_MAX = 2**16 - 1


class RecordingCreate(NamedTuple):
    """A recording begins. Its id is that of this event."""

    name: str
    machine: str
    created_ns: int
    profile: str
    tool: str = ""
    """What wrote the events, with its version and where it ran."""
    tool_version: str = ""
    host: str = ""
    source_path: str = ""
    """Where the files lay on that host."""
    operator: str = ""
    """Who asked for it, as that host knows them."""


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
    dropped: int | None = None
    """Messages that the recorder says it dropped, None if it does not say."""
    embedded: Sequence[EmbeddedEntry] = ()
    """What is in the file beside messages."""


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
    manifest_version: int = OLDEST_MANIFEST
    """By which the manifest of that id is made."""
    others: Sequence[EventId] | None = None
    """Attachments and further topics that stand in it; where they are not named, those of an earlier clock."""
    chunk_marks: bytes | None = None
    """Beside `chunks_hash`: how the ids of these chunks begin, one after the other."""


Fact = RecordingCreate | ChunkAdd | ChunkTopics | AttachmentAdd | RecordingFinalize
Body = Fact | Edit | Keeping | BlobReceipt | BlobRelease


def read_body(type_: str, body: bytes) -> Body | None:
    """What `body` says, None for a type that is not known here. Raises `PoisonError`."""
    if type_ == RECORDING_TAG and (tag := usual_tag(body)) is not None:
        return tag
    if type_ == RECORDING_CREATE and (create := usual_create(body)) is not None:
        return RecordingCreate._make(create)
    reader = _READERS.get(type_)
    if reader is None:
        return None
    return reader(read_fields(body))


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


def recording_finalize(
    recording: EventId,
    manifest_id: bytes,
    chunks: Sequence[EventId],
    replaces: Sequence[EventId] = (),
    *,
    others: Sequence[EventId] | None = None,
    version: int = MANIFEST_VERSION,
) -> Draft:
    """The event that completes a recording of `chunks`, which stand in the order of the manifest, and of `others`, as far as they can be named."""
    named: Sequence[EventId] | None = chunks
    marks: bytes | None = None
    if len(chunks) + len(others or ()) > CHUNK_IDS_MAX:
        named = None
        marks = b"".join(map(chunk_mark, chunks)) if len(chunks) <= MARKED_CHUNKS_MAX else None
        if others is not None and len(marks or b"") + len(others) * HASH_SIZE > CHUNK_IDS_MAX * HASH_SIZE:
            others = None
    body = RecordingFinalize(recording, manifest_id, named, chunks_hash(chunks) if named is None else None, version, others, marks)
    return _draft(RECORDING_FINALIZE, body)._replace(refs=tuple(replaces))


def names_all(chunks: int, others: int) -> bool:
    """True if a finalize has room to name so many of them: then clocks decide nothing."""
    return chunks + others <= CHUNK_IDS_MAX or (chunks * MARK_SIZE + others * HASH_SIZE <= CHUNK_IDS_MAX * HASH_SIZE)


def chunk_mark(chunk: EventId) -> bytes:
    """What stands for a chunk where there is no room for its id."""
    return chunk[:MARK_SIZE]


def chunks_hash(chunks: Sequence[EventId]) -> bytes:
    """What stands for a list of chunks that does not fit a body."""
    return hash_bytes(b"".join(chunks))


def _draft(type_: str, body: Fact) -> Draft:
    """The draft of `body`. Raises `RequestError` for what every peer would take for poison."""
    fields = {key: value for key, value in body._asdict().items() if key not in _OPTIONAL or value is not None}
    for key in ("chunks", "others", "topics", "embedded"):
        if key in fields:
            fields[key] = [list(item) if isinstance(item, tuple) else item for item in fields[key]]
    return make_draft(type_, fields, _READERS[type_])


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


_OPTIONAL = ("chunks", "chunks_hash", "others", "chunk_marks")
_CREATE_FIELDS = sorted_keys(RecordingCreate._fields)
_CHUNK_FIELDS = sorted_keys(ChunkAdd._fields)
_TOPICS_FIELDS = sorted_keys(ChunkTopics._fields)
_ATTACHMENT_FIELDS = sorted_keys(AttachmentAdd._fields)
_LATER_CREATE_FIELDS = ("tool", "tool_version", "host", "source_path", "operator")
_LATER_CHUNK_FIELDS = ("dropped", "embedded")
_FINALIZE_FIELDS = sorted_keys(["recording", "manifest_id", "chunks", "manifest_version", "others"])
_LATER_FINALIZE_FIELDS = ("chunks", "manifest_version", "others")


def _read_create(fields: Fields) -> RecordingCreate:
    need_fields(fields, _CREATE_FIELDS, "a recording", _LATER_CREATE_FIELDS)
    name, machine, created_ns, profile = fields["name"], fields["machine"], fields["created_ns"], fields["profile"]
    if not isinstance(name, str) or not is_name(name):
        raise PoisonError("a recording name that cannot be a path")
    return RecordingCreate(
        name,
        line_field(machine, LABEL_BYTES_MAX),
        number_field(created_ns, TIME_MAX_NS),
        line_field(profile, LABEL_BYTES_MAX),
        line_field(fields.get("tool", ""), LABEL_BYTES_MAX),
        line_field(fields.get("tool_version", ""), LABEL_BYTES_MAX),
        line_field(fields.get("host", ""), LABEL_BYTES_MAX),
        line_field(fields.get("source_path", ""), PATH_BYTES_MAX),
        line_field(fields.get("operator", ""), LABEL_BYTES_MAX),
    )


def _read_chunk(fields: Fields) -> ChunkAdd:
    need_fields(fields, _CHUNK_FIELDS, "a chunk", _LATER_CHUNK_FIELDS)
    start_ns, end_ns, dropped = fields["start_ns"], fields["end_ns"], fields.get("dropped")
    if start_ns is not None or end_ns is not None:
        span_fields(start_ns, end_ns)
    return ChunkAdd(
        event_field(fields["recording"]),
        number_field(fields["index"], INDEX_MAX),
        file_name_field(fields["source_name"]),
        BlobId(hash_field(fields["blob"])),
        hash_field(fields["sha256"]),
        number_field(fields["size"], COUNT_MAX),
        piece_size_field(fields["piece_size"]),
        BlobId(hash_field(fields["pieces"])),
        number_field(fields["message_count"], COUNT_MAX),
        start_ns,  # type: ignore[arg-type]
        end_ns,  # type: ignore[arg-type]
        line_field(fields["library"], LIBRARY_BYTES_MAX),
        line_field(fields["profile"], LABEL_BYTES_MAX),
        topics_field(fields["topics"]),
        None if dropped is None else number_field(dropped, COUNT_MAX),
        embedded_field(fields.get("embedded", [])),
    )


def _read_topics(fields: Fields) -> ChunkTopics:
    need_fields(fields, _TOPICS_FIELDS, "topics")
    return ChunkTopics(event_field(fields["recording"]), event_field(fields["chunk"]), topics_field(fields["topics"]))


def _read_attachment(fields: Fields) -> AttachmentAdd:
    need_fields(fields, _ATTACHMENT_FIELDS, "an attachment")
    return AttachmentAdd(
        event_field(fields["recording"]),
        file_name_field(fields["source_name"]),
        BlobId(hash_field(fields["blob"])),
        hash_field(fields["sha256"]),
        number_field(fields["size"], COUNT_MAX),
        piece_size_field(fields["piece_size"]),
        BlobId(hash_field(fields["pieces"])),
    )


def _read_finalize(fields: Fields) -> RecordingFinalize:
    need_fields(fields, _FINALIZE_FIELDS, "a finalize", _LATER_FINALIZE_FIELDS)
    need(("chunks" in fields) != ("chunks_hash" in fields), "chunks twice, or not at all")
    recording, manifest_id = event_field(fields["recording"]), hash_field(fields["manifest_id"])
    version = number_field(fields.get("manifest_version", OLDEST_MANIFEST), MANIFEST_VERSION_MAX)
    others = _ids(fields["others"], "others") if "others" in fields else None
    if "chunks_hash" in fields:
        marks = _marks(fields["chunk_marks"]) if "chunk_marks" in fields else None
        return RecordingFinalize(recording, manifest_id, None, hash_field(fields["chunks_hash"]), version, others, marks)
    need("chunk_marks" not in fields, "marks of chunks that are listed")
    return RecordingFinalize(recording, manifest_id, _ids(fields["chunks"], "chunks"), None, version, others)


def _ids(value: Value, what: str) -> list[EventId]:
    """Distinct events."""
    if not isinstance(value, list):
        raise PoisonError(f"{what} that are no list")
    ids = [event_field(each) for each in value]
    need(len(set(ids)) == len(ids), f"{what} of which one is listed twice")
    return ids


def _marks(value: Value) -> bytes:
    if type(value) is not bytes or len(value) % MARK_SIZE:
        raise PoisonError("marks of chunks that are not what ids begin with")
    return value


_READERS: Mapping[str, Reader[Body]] = {
    RECORDING_CREATE: _read_create,
    CHUNK_ADD: _read_chunk,
    CHUNK_TOPICS: _read_topics,
    ATTACHMENT_ADD: _read_attachment,
    RECORDING_FINALIZE: _read_finalize,
    **EDIT_READERS,
    **KEEPING_READERS,
    **RECEIPT_READERS,
}
