"""What the events of a recording mean together. Pure: the same set of events gives the same answer, in whatever order they arrived.

A recording is its `recording.create` event by somebody who may write; `rights` says who may add to it. Nothing counts before the recording itself is
there.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from materializer.bodies import MANIFEST_VERSION, MARK_SIZE, AttachmentAdd, ChunkAdd, RecordingFinalize, chunk_mark, chunks_hash
from materializer.fields import TopicEntry
from materializer.manifest import MANIFEST_VERSIONS, Manifest, RecordingFacts, make_manifest, merge_topics
from peer.core.identity import EventId

COMPLETE = "complete"
"""All chunks that the finalize lists are known, and their manifest has the id that it names."""
WAITING = "waiting"
"""Events that the finalize lists have not arrived."""
MISMATCH = "mismatch"
"""The manifest of what the finalize lists has another id than it names: nobody can rely on it."""
NEWER = "newer"
"""The manifest is of a version that is not known here."""


class Chunk(NamedTuple):
    """A chunk that counts."""

    event_id: EventId
    hlc: int
    body: ChunkAdd


class Attachment(NamedTuple):
    """An attachment that counts."""

    event_id: EventId
    hlc: int
    body: AttachmentAdd


class MoreTopics(NamedTuple):
    """Topics of `chunk` that came in an event of their own."""

    event_id: EventId
    hlc: int
    chunk: EventId
    topics: Sequence[TopicEntry]


class Finalize(NamedTuple):
    """The finalize that wins."""

    event_id: EventId
    hlc: int
    body: RecordingFinalize


class Parts(NamedTuple):
    """All of a recording that counts, except what is a register."""

    facts: RecordingFacts
    chunks: Sequence[Chunk]
    topics: Sequence[MoreTopics]
    attachments: Sequence[Attachment]


class Verdict(NamedTuple):
    """What a finalize is worth."""

    state: str
    manifest: Manifest | None
    """The one that all agree on, if the state is complete."""


def judge(finalize: Finalize, parts: Parts) -> Verdict:
    """Whether `parts` are what `finalize` says."""
    if finalize.body.manifest_version not in MANIFEST_VERSIONS:
        return Verdict(NEWER, None)
    final = final_parts(finalize, parts)
    if final is None:
        return Verdict(WAITING, None)
    if len({chunk.body.index for chunk in final.chunks}) != len(final.chunks):
        return Verdict(MISMATCH, None)
    manifest = manifest_of(final, finalize.body.manifest_version)
    if manifest.manifest_id != finalize.body.manifest_id:
        return Verdict(MISMATCH, None)
    return Verdict(COMPLETE, manifest)


def manifest_of(parts: Parts, version: int = MANIFEST_VERSION) -> Manifest:
    """The manifest of a recording that consists of just these parts. The indexes of its chunks are distinct."""
    more = _topics_by_chunk(parts.topics)
    chunks = [chunk.body._replace(topics=merge_topics([chunk.body.topics, *more.get(chunk.event_id, ())])) for chunk in parts.chunks]
    return make_manifest(parts.facts, chunks, [attachment.body for attachment in parts.attachments], version=version)


def final_parts(finalize: Finalize, parts: Parts) -> Parts | None:
    """Those of `parts` that `finalize` completes, None if something that it lists is not here.

    What was written after it changes nothing: late chunks, topics and attachments stand in no manifest. A finalize says itself what it has seen;
    where it does not, clocks decide, which is right as long as all of it was written in one log.
    """
    chunks, others = listed_chunks(finalize, parts.chunks), finalize.body.others
    if chunks is None:
        return None
    extra: list[MoreTopics | Attachment] = [*parts.topics, *parts.attachments]
    named = {each.event_id for each in extra if each.hlc < finalize.hlc} if others is None else set(others)
    if not named <= {each.event_id for each in extra}:
        return None
    topics = [more for more in parts.topics if more.event_id in named]
    return Parts(parts.facts, chunks, topics, [attachment for attachment in parts.attachments if attachment.event_id in named])


def listed_chunks(finalize: Finalize, chunks: Iterable[Chunk]) -> list[Chunk] | None:
    """The chunks that `finalize` lists, None if not all of them are here.

    A finalize without room for their ids means those whose ids begin as it says, by index, then event id. One that has no room for that either means
    those written before it.
    """
    if finalize.body.chunks is None:
        marks = finalize.body.chunk_marks
        known_marks = None if marks is None else {marks[start : start + MARK_SIZE] for start in range(0, len(marks), MARK_SIZE)}
        meant = (chunk for chunk in chunks if (chunk.hlc < finalize.hlc if known_marks is None else chunk_mark(chunk.event_id) in known_marks))
        ordered = sorted(meant, key=lambda chunk: (chunk.body.index, chunk.event_id))
        return ordered if chunks_hash([chunk.event_id for chunk in ordered]) == finalize.body.chunks_hash else None
    known = {chunk.event_id: chunk for chunk in chunks}
    if not all(chunk in known for chunk in finalize.body.chunks):
        return None
    return [known[chunk] for chunk in finalize.body.chunks]


def _topics_by_chunk(parts: Iterable[MoreTopics]) -> Mapping[EventId, list[Sequence[TopicEntry]]]:
    found: dict[EventId, list[Sequence[TopicEntry]]] = {}
    for part in parts:
        found.setdefault(part.chunk, []).append(part.topics)
    return found
