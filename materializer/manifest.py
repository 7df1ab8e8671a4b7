"""The manifest: the canonical description of a complete recording. Immutable facts only, so every peer computes the same bytes from the same events.

Its id is the BLAKE3 of its canonical CBOR. The JSON beside it (RFC 8785) is for people and other tools: bytes in hex, nanoseconds as strings, since
JSON numbers hold 53 bits. The only module that imports `rfc8785`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import rfc8785

from materializer.bodies import MANIFEST_VERSION, OLDEST_MANIFEST, AttachmentAdd, ChunkAdd, RecordingCreate
from materializer.fields import NO_HASH, EmbeddedEntry, TopicEntry
from peer.core.encoding import encode
from peer.core.finding import SUM_MAX
from peer.core.hashing import hash_bytes
from peer.core.identity import EventId, GroupId, PeerId
from peer.core.names import folded, is_name

MANIFEST_VERSIONS = (OLDEST_MANIFEST, MANIFEST_VERSION)
"""Those that can be made here, and judged."""
MANIFEST_CBOR = "manifest.cbor"
MANIFEST_JSON = "manifest.json"
RESERVED_NAMES = frozenset({MANIFEST_CBOR, MANIFEST_JSON})
SHORT_DIGITS = 8
CHUNK_PATTERN = re.compile(r"chunk-[0-9]{6}-[0-9a-f]{8}\.mcap\Z")
ATTACHMENT_PATTERN = re.compile(r"attachment-[0-9]{6}-[0-9a-f]{8}\Z")


class RecordingFacts(NamedTuple):
    """A recording as its first event describes it."""

    group: GroupId
    recording: EventId
    site: PeerId
    create: RecordingCreate


class Manifest(NamedTuple):
    """A manifest in all its forms."""

    fields: dict[str, Any]
    cbor: bytes
    manifest_id: bytes

    @property
    def json(self) -> bytes:
        """RFC 8785, for people and other tools."""
        return rfc8785.dumps(to_json(self.fields))


def make_manifest(
    facts: RecordingFacts, chunks: Iterable[ChunkAdd], attachments: Iterable[AttachmentAdd] = (), *, version: int = MANIFEST_VERSION
) -> Manifest:
    """The manifest of a recording with these files, in whatever order they are given. The indexes of chunks are distinct."""
    ordered = sorted(chunks, key=lambda chunk: chunk.index)
    extra = sorted(attachments)
    names = file_names(ordered, extra)
    starts = [chunk.start_ns for chunk in ordered if chunk.start_ns is not None]
    ends = [chunk.end_ns for chunk in ordered if chunk.end_ns is not None]
    fields = {
        "version": version,
        "group": facts.group,
        "recording": facts.recording,
        "name": facts.create.name,
        "site": facts.site,
        "machine": facts.create.machine,
        "created_ns": facts.create.created_ns,
        "profile": facts.create.profile,
        "chunks": [_chunk(chunk, name) for chunk, name in zip(ordered, names, strict=False)],
        "attachments": [_attachment(attachment, name) for attachment, name in zip(extra, names[len(ordered) :], strict=True)],
        "message_count": capped(chunk.message_count for chunk in ordered),
        "size_bytes": capped(chunk.size for chunk in ordered),
        "start_time_ns": min(starts, default=None),
        "end_time_ns": max(ends, default=None),
        "dropped_message_count": None,
    }
    fields |= _oldest(ordered) if version == OLDEST_MANIFEST else _since_second(facts.create, ordered, fields)
    cbor = encode(fields)
    return Manifest(fields, cbor, hash_bytes(cbor))


def file_names(chunks: Sequence[ChunkAdd], attachments: Sequence[AttachmentAdd]) -> list[str]:
    """The names of files in the folder of a recording: chunks, then attachments.

    A file keeps its original name where that may be a path, is nobody else's (compared case-folded), and does not look like a name that is made here.
    """
    made = [f"chunk-{chunk.index:06}-{chunk.sha256.hex()[:SHORT_DIGITS]}.mcap" for chunk in chunks]
    made += [f"attachment-{number:06}-{attachment.sha256.hex()[:SHORT_DIGITS]}" for number, attachment in enumerate(attachments)]
    original = [chunk.source_name for chunk in chunks] + [attachment.source_name for attachment in attachments]
    times = Counter(folded(name) for name in original)
    return [name if _may_stay(name) and times[folded(name)] == 1 else other for name, other in zip(original, made, strict=True)]


def folder_name(name: str, recording: EventId, *, first: bool, taken: frozenset[str] = frozenset()) -> str:
    """The folder of a recording: its name, for all but the first of this name with a short id.

    `taken` are case-folded names of other recordings of the group; the short id grows until it is none of them.
    """
    if first:
        return name
    digits = SHORT_DIGITS
    while folded(f"{name}-{recording.hex()[:digits]}") in taken and digits < len(recording) * 2:
        digits += SHORT_DIGITS
    return f"{name}-{recording.hex()[:digits]}"


def merge_topics(parts: Iterable[Iterable[TopicEntry]]) -> list[TopicEntry]:
    """Topics of several files or pages as one list, sorted, with the counts of equal ones added up."""
    counts: Counter[tuple[str, str, str, str, bytes]] = Counter()
    for topics in parts:
        for topic, schema, schema_encoding, message_encoding, count, schema_hash in topics:
            counts[topic, schema, schema_encoding, message_encoding, schema_hash] += count
    return [(*key[:-1], min(count, SUM_MAX), key[-1]) for key, count in sorted(counts.items())]


def capped(numbers: Iterable[int]) -> int:
    """The sum, or `SUM_MAX` if it is more: what others claim may not break a reader."""
    return min(sum(numbers), SUM_MAX)


def summed(numbers: Iterable[int | None]) -> int | None:
    """As `capped`; None if one of them is not known."""
    known = list(numbers)
    return None if not known or None in known else capped(number for number in known if number is not None)


def to_json(value: Any) -> Any:  # noqa: ANN401  (any value that CBOR holds, as one that JSON holds)
    """`value` with bytes in hex and what is in nanoseconds as decimal strings."""
    if isinstance(value, dict):
        return {key: str(item) if key.endswith("_ns") and type(item) is int else to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def _may_stay(name: str) -> bool:
    small = folded(name)
    return is_name(name) and small not in RESERVED_NAMES and not CHUNK_PATTERN.match(small) and not ATTACHMENT_PATTERN.match(small)


def _oldest(chunks: Sequence[ChunkAdd]) -> dict[str, Any]:
    """What stands in manifests of the first version only: they know no hashes of schemas."""
    topics = ([(*topic[:-1], NO_HASH) for topic in chunk.topics] for chunk in chunks)
    return {"topics": [_topic(topic) for topic in merge_topics(topics)]}


def _since_second(create: RecordingCreate, chunks: Sequence[ChunkAdd], fields: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in manifests since the second version."""
    return {
        "provenance": {
            "tool": create.tool,
            "version": create.tool_version,
            "host": create.host,
            "source_path": create.source_path,
            "operator": create.operator,
        },
        "chunks": [
            {**entry, "library": chunk.library, "dropped_message_count": chunk.dropped, "embedded": [_embedded(each) for each in chunk.embedded]}
            for entry, chunk in zip(fields["chunks"], chunks, strict=True)
        ],
        "channels": [{**_topic(topic), "schema_hash": topic[-1] or None} for topic in merge_topics(chunk.topics for chunk in chunks)],
        "dropped_message_count": summed(chunk.dropped for chunk in chunks),
    }


def _chunk(chunk: ChunkAdd, name: str) -> dict[str, Any]:
    return {
        "index": chunk.index,
        "name": name,
        "source_name": chunk.source_name,
        "blob_id": chunk.blob,
        "sha256": chunk.sha256,
        "size_bytes": chunk.size,
        "message_count": chunk.message_count,
        "start_time_ns": chunk.start_ns,
        "end_time_ns": chunk.end_ns,
    }


def _attachment(attachment: AttachmentAdd, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "source_name": attachment.source_name,
        "blob_id": attachment.blob,
        "sha256": attachment.sha256,
        "size_bytes": attachment.size,
    }


def _topic(entry: TopicEntry) -> dict[str, Any]:
    topic, schema, schema_encoding, message_encoding, count, _ = entry
    return {"topic": topic, "schema": schema, "schema_encoding": schema_encoding, "encoding": message_encoding, "message_count": count}


def _embedded(entry: EmbeddedEntry) -> dict[str, Any]:
    kind, name, media_type, size = entry
    return {"kind": kind, "name": name, "media_type": media_type, "size_bytes": size}
