"""A recording as it is shown to people: the facts of its events put together. Nothing here depends on which bytes are at this site."""

from collections.abc import Iterable
from typing import Any

from materializer.manifest import capped, file_names, folder_name, merge_topics
from materializer.recordings import COMPLETE, Chunk, Parts, final_parts
from materializer.registers import TAG_PREFIX
from materializer.tables import Connection, Place, Row, projected_rows, read_finalize, read_parts
from peer.core.encoding import decode
from peer.core.names import folded

SHORT_DIGITS = range(8, 65, 8)


def summarize(connection: Connection, place: Place, recording_no: int) -> dict[str, Any]:
    """One line of a list of recordings."""
    parts = read_parts(connection, place, recording_no)
    assert parts is not None, "only recordings that count are listed"
    return _summary(connection, place, recording_no, _shown(connection, recording_no, parts))


def describe(connection: Connection, place: Place, recording_no: int) -> dict[str, Any]:
    """All that is known of a recording."""
    parts = read_parts(connection, place, recording_no)
    assert parts is not None, "only recordings that count are found"
    shown = _shown(connection, recording_no, parts)
    chunks = sorted(shown.chunks, key=lambda chunk: (chunk.body.index, chunk.event_id))
    attachments = sorted(attachment.body for attachment in shown.attachments)
    names = file_names([chunk.body for chunk in chunks], attachments)
    listed = {chunk.event_id for chunk in chunks}
    topics = merge_topics([*(chunk.body.topics for chunk in chunks), *(more.topics for more in shown.topics if more.chunk in listed)])
    return {
        **_summary(connection, place, recording_no, shown),
        "chunks": [_chunk(chunk, name) for chunk, name in zip(chunks, names, strict=False)],
        "late_chunks": [_chunk(chunk, chunk.body.source_name) for chunk in parts.chunks if chunk.event_id not in listed],
        "attachments": [
            {"name": name, "source_name": body.source_name, "blob_id": body.blob, "sha256": body.sha256, "size_bytes": body.size}
            for body, name in zip(attachments, names[len(chunks) :], strict=True)
        ],
        "topics": [
            {"topic": topic, "schema": schema, "schema_encoding": schema_encoding, "encoding": encoding, "message_count": count}
            for topic, schema, schema_encoding, encoding, count in topics
        ],
    }


def folder_of(connection: Connection, place: Place, recording_no: int) -> str:
    """The name of a recording's folder: with a short id if another recording of its name is older."""
    sql = "SELECT name, folded, hlc, id FROM recordings WHERE recording_no = ?"
    name, small, hlc, recording = connection.execute(sql, (recording_no,)).fetchone()
    sql = "SELECT EXISTS (SELECT 1 FROM recordings WHERE folded = ? AND group_no = ? AND counts AND (hlc, id) < (?, ?))"
    (later,) = connection.execute(sql, (small, place.group_no, hlc, recording)).fetchone()
    if not later:
        return str(name)
    candidates = [folded(f"{name}-{recording.hex()[:digits]}") for digits in SHORT_DIGITS]
    marks = ",".join("?" * len(candidates))
    rows = connection.execute(
        f"SELECT folded FROM recordings WHERE folded IN ({marks}) AND group_no = ? AND counts",  # noqa: S608  (question marks)
        [*candidates, place.group_no],
    )
    return folder_name(name, recording, first=False, taken=frozenset(row[0] for row in rows))


def _shown(connection: Connection, recording_no: int, parts: Parts) -> Parts:
    """What a finalize completes; all that there is while there is none, or what it lists is not here."""
    finalize = read_finalize(connection, recording_no)
    return (final_parts(finalize, parts) if finalize else None) or parts


def _summary(connection: Connection, place: Place, recording_no: int, parts: Parts) -> dict[str, Any]:
    facts, chunks = parts.facts, [chunk.body for chunk in parts.chunks]
    manifest = next(projected_rows(connection, "manifests", place.group_no, recording_no), None)
    complete = manifest is not None and manifest[3] == COMPLETE
    starts = [chunk.start_ns for chunk in chunks if chunk.start_ns is not None]
    ends = [chunk.end_ns for chunk in chunks if chunk.end_ns is not None]
    tags, conflicts = _registers(projected_rows(connection, "registers", place.group_no, recording_no))
    return {
        "id": facts.recording,
        "group": place.group,
        "name": facts.create.name,
        "folder": folder_of(connection, place, recording_no),
        "site": facts.site,
        "machine": facts.create.machine,
        "profile": facts.create.profile,
        "created_ns": facts.create.created_ns,
        "size_bytes": capped(chunk.size for chunk in chunks),
        "chunk_count": len(chunks),
        "message_count": capped(chunk.message_count for chunk in chunks),
        "start_time_ns": min(starts, default=None),
        "end_time_ns": max(ends, default=None),
        "tags": tags,
        "finalized": complete,
        "manifest_id": manifest[2] if manifest is not None and complete else None,
        "manifest_state": manifest[3] if manifest is not None else None,
        "conflicts": conflicts,
    }


def _registers(rows: Iterable[Row]) -> tuple[list[str], list[dict[str, Any]]]:
    """The tags that are present, and every register that more than one live write claims."""
    writes: dict[str, list[Row]] = {}
    for row in rows:
        writes.setdefault(row[2], []).append(row)
    tags = []
    conflicts = []
    for register, claims in sorted(writes.items()):
        claims.sort(key=lambda row: (not row[7], row[0]))
        if register.startswith(TAG_PREFIX) and _value(claims[0])["present"]:
            tags.append(register.removeprefix(TAG_PREFIX))
        if len({row[6] for row in claims}) > 1:
            shown = [{"event": row[0], "author": row[3], "value": _value(row), "wins": bool(row[7])} for row in claims]
            conflicts.append({"register": register, "writes": shown})
    return tags, conflicts


def _value(row: Row) -> dict[str, Any]:
    value = decode(row[6])
    assert isinstance(value, dict)
    return value


def _chunk(chunk: Chunk, name: str) -> dict[str, Any]:
    body = chunk.body
    return {
        "id": chunk.event_id,
        "index": body.index,
        "name": name,
        "source_name": body.source_name,
        "blob_id": body.blob,
        "sha256": body.sha256,
        "size_bytes": body.size,
        "message_count": body.message_count,
        "start_time_ns": body.start_ns,
        "end_time_ns": body.end_ns,
    }
