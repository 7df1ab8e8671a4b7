"""What is told of a recording that never changes: its files, its topics, who added it from where."""

from collections.abc import Callable

from peer.core.views import FileView, RecordingView
from peer.operations.json_form import Json, to_json


def describe_facts(view: RecordingView, is_here: Callable[[FileView], bool]) -> Json:
    """The part of the document of a recording that no edit changes."""
    return {
        "profile": view.profile,
        "provenance": view.provenance._asdict(),
        "manifest_state": view.manifest_state,
        "dropped_message_count": view.dropped,
        "chunks": [_file(each, is_here=is_here(each)) for each in view.chunks],
        "attachments": [_file(each, is_here=is_here(each)) for each in view.attachments],
        "late": [_file(each, is_here=is_here(each)) for each in (*view.late_chunks, *view.late_attachments)],
        "topics": [
            {
                "topic": topic,
                "schema": schema,
                "schema_encoding": schema_encoding,
                "schema_hash": schema_hash.hex() or None,
                "encoding": encoding,
                "message_count": count,
            }
            for topic, schema, schema_encoding, encoding, count, schema_hash in view.topics
        ],
    }


def _file(file: FileView, *, is_here: bool) -> Json:
    document = to_json(
        {
            "index": file.number,
            "name": file.name,
            "source_name": file.source_name,
            "blob_id": file.blob,
            "sha256": file.sha256,
            "size_bytes": file.size,
            "message_count": file.message_count,
            "start_time_ns": file.start_ns,
            "end_time_ns": file.end_ns,
            "library": file.library,
            "dropped_message_count": file.dropped,
            "embedded": [dict(zip(("kind", "name", "media_type", "size_bytes"), each, strict=True)) for each in file.embedded],
            "here": is_here,
        }
    )
    assert isinstance(document, dict)
    return document
