"""What is in an MCAP file beside messages: its metadata records, its attachments, and what its recorder says there of messages that it dropped.

No standard has a place for dropped messages. A metadata record named as in `DROPPED_RECORDS` says it under one of `DROPPED_KEYS`, in decimal digits;
of several such records the last one holds, since a recorder may count on and write it again. A file without one does not say, which is not zero.
"""

import os
import struct
from collections.abc import Iterable
from typing import BinaryIO, NamedTuple

from mcap.opcode import Opcode
from mcap.records import Metadata

from materializer.fields import COUNT_MAX, EmbeddedEntry, embedded_entry, embedded_that_fit
from materializer.mcap_format import FRAME, FRAME_SIZE
from materializer.mcap_records import Damage, parse

DROPPED_RECORDS = ("recmesh", "recorder", "rosbag2")
DROPPED_KEYS = ("dropped_message_count", "dropped_messages", "messages_dropped", "lost_message_count", "lost_messages", "messages_lost")
METADATA_SIZE_MAX = 1024 * 1024
"""A metadata record that is longer is listed, and not read."""
NAME_SIZE_MAX = 64 * 1024
"""A name or media type that is longer is damage."""
RECORDS_MAX = 100_000
"""Metadata records and attachments that are looked at: the last of them, where there are more."""
DIGITS_MAX = len(str(COUNT_MAX))
OFFSET_MAX = 2**63 - 1

_INDEX = struct.Struct("<QQ")
_SIZE = struct.Struct("<I")
_DATA_SIZE = struct.Struct("<Q")
_TIMES_SIZE = 16


class Place(NamedTuple):
    """Where the content of a metadata record or an attachment lies."""

    opcode: int
    start: int
    size: int


class Embedded(NamedTuple):
    """What is told of a file."""

    dropped: int | None
    entries: list[EmbeddedEntry]
    """In the order of the file; the first of them, where there are more than an event has room for."""


def indexed_place(opcode: int, content: bytes) -> Place:
    """Where that is of which this record of a summary tells."""
    start, length = _INDEX.unpack_from(content)
    if length < FRAME_SIZE:
        raise Damage("a record that is shorter than any")
    return Place(Opcode.METADATA if opcode == Opcode.METADATA_INDEX else Opcode.ATTACHMENT, start + FRAME_SIZE, length - FRAME_SIZE)


def read_embedded(file: BinaryIO, places: Iterable[Place]) -> Embedded:
    """What lies there. Raises `Damage` where there is something else."""
    dropped, entries = None, list[EmbeddedEntry]()
    for place in sorted(places, key=lambda place: place.start)[-RECORDS_MAX:]:
        if _pread(file, place.start - FRAME_SIZE, FRAME_SIZE) != FRAME.pack(place.opcode, place.size):
            raise Damage("something that the summary names is not there")
        if place.opcode == Opcode.ATTACHMENT:
            entries.append(_attachment(file, place))
            continue
        name, _ = _text(file, place.start)
        entries.append(embedded_entry("metadata", name, "", place.size))
        if name.lower() in DROPPED_RECORDS and place.size <= METADATA_SIZE_MAX:
            said = _dropped(parse(Metadata.read, _pread(file, place.start, place.size)))
            dropped = dropped if said is None else said
    return Embedded(dropped, embedded_that_fit(entries))


def _attachment(file: BinaryIO, place: Place) -> EmbeddedEntry:
    name, position = _text(file, place.start + _TIMES_SIZE)
    media_type, position = _text(file, position)
    (size,) = _DATA_SIZE.unpack(_pread(file, position, _DATA_SIZE.size))
    if position + _DATA_SIZE.size + size > place.start + place.size:
        raise Damage("an attachment is longer than its record")
    return embedded_entry("attachment", name, media_type, size)


def _dropped(record: Metadata) -> int | None:
    """What a metadata record says of dropped messages."""
    for key in DROPPED_KEYS:
        text = record.metadata.get(key, "")
        if text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX and int(text) <= COUNT_MAX:
            return int(text)
    return None


def _text(file: BinaryIO, position: int) -> tuple[str, int]:
    """The text there, and where it ends."""
    (size,) = _SIZE.unpack(_pread(file, position, _SIZE.size))
    if size > NAME_SIZE_MAX:
        raise Damage(f"a name of {size} bytes")
    position += _SIZE.size
    return _pread(file, position, size).decode(errors="replace"), position + size


def _pread(file: BinaryIO, position: int, size: int) -> bytes:
    """Unbuffered: a few bytes of each, not a page."""
    data = os.pread(file.fileno(), size, position) if 0 <= position <= OFFSET_MAX else b""
    if len(data) != size:
        raise Damage("a record is cut off")
    return data
