"""Writing an MCAP file of records that stand in another one: their bytes as they are, with new indexes and a summary.

What is written is counted and hashed on the way, so that it can be compared with what is there afterwards.
"""

import struct
import zlib
from io import BytesIO
from typing import BinaryIO, NamedTuple

from mcap.data_stream import ReadDataStream, RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    AttachmentIndex,
    Channel,
    ChunkIndex,
    DataEnd,
    Header,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)
from mcap.records import Chunk as ChunkRecord

from materializer.mcap_format import FRAME, MAGIC, MESSAGE
from materializer.mcap_pieces import ChunkFacts, frames
from peer.core.hashing import new_blake3

_ATTACHMENT = struct.Struct("<QQ")


class Written(NamedTuple):
    """What is in a file, to be compared with what is read from it."""

    message_count: int
    messages_hash: bytes
    """Over all messages with their times, in their order."""
    channels: dict[int, Channel]
    schemas: dict[int, Schema]
    metadata_count: int
    attachment_count: int
    file_hash: bytes
    """Over all bytes, the indexes among them."""


class McapWriting:
    """One file that is being written, from its beginning to its end."""

    def __init__(self, file: BinaryIO, profile: str, library: str) -> None:
        """Begins it."""
        self._file = file
        self._position = 0
        self._hash = new_blake3()
        self._file_hash = new_blake3()
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._counts: dict[int, int] = {}
        self._times: tuple[int, int] | None = None
        self._chunks: list[ChunkIndex] = []
        self._attachments: list[AttachmentIndex] = []
        self._metadata: list[MetadataIndex] = []
        self._put(MAGIC)
        self._build(Header(profile, library))

    def schema(self, schema: Schema) -> None:
        """A schema is described in what is written next, or stands in the summary alone."""
        self._schemas.setdefault(schema.id, schema)

    def channel(self, channel: Channel) -> None:
        """As with schemas."""
        self._channels.setdefault(channel.id, channel)

    def describe(self, described: Schema | Channel) -> None:
        """Write a schema or channel in front of what needs it and does not have it."""
        if isinstance(described, Schema):
            self.schema(described)
        else:
            self.channel(described)
        self._build(described)

    def chunk(self, record: bytes, facts: ChunkFacts, records: bytes) -> None:
        """Write a chunk as it is. Whatever its messages need was made known."""
        start = self._position
        self._put(record)
        indexes = self._index(records)
        offsets: dict[int, int] = {}
        before = self._position
        for number, entries in indexes.items():
            offsets[number] = self._position
            self._build(MessageIndex(number, entries))
        stored = len(record) - FRAME.size - 40 - len(facts.compression)
        index = ChunkIndex(len(record), start, facts.compression, stored, facts.end_ns, self._position - before, offsets, facts.start_ns, facts.size)
        self._chunks.append(index)

    def messages(self, records: bytes) -> None:
        """Write schemas, channels and messages, in their order, as a chunk of their own."""
        if not records:
            return
        times = [MESSAGE.unpack_from(records, start + FRAME.size)[2] for opcode, start, _ in frames(records) if opcode == Opcode.MESSAGE]
        facts = ChunkFacts(min(times, default=0), max(times, default=0), len(records), zlib.crc32(records), "")
        builder = RecordBuilder()
        ChunkRecord("", records, facts.end_ns, facts.start_ns, facts.crc, facts.size).write(builder)
        self.chunk(_bytes(builder), facts, records)

    def attachment(self, record: bytes) -> None:
        """Write an attachment as it is."""
        stream = ReadDataStream(BytesIO(record[FRAME.size :]))
        log_time, create_time = _ATTACHMENT.unpack(stream.read(_ATTACHMENT.size))
        name, media_type = stream.read_prefixed_string(), stream.read_prefixed_string()
        size = stream.read8()
        self._attachments.append(AttachmentIndex(self._position, len(record), log_time, create_time, size, name, media_type))
        self._put(record)

    def metadata(self, record: bytes) -> None:
        """Write a metadata record as it is."""
        name = ReadDataStream(BytesIO(record[FRAME.size :])).read_prefixed_string()
        self._metadata.append(MetadataIndex(self._position, len(record), name))
        self._put(record)

    def note(self, name: str, values: dict[str, str]) -> None:
        """Write a metadata record of our own."""
        builder = RecordBuilder()
        Metadata(name, values).write(builder)
        self.metadata(_bytes(builder))

    def finish(self) -> Written:
        """Write the end and the summary."""
        self._build(DataEnd(0))
        start = self._position
        groups = (
            (Opcode.SCHEMA, list(self._schemas.values())),
            (Opcode.CHANNEL, list(self._channels.values())),
            (Opcode.STATISTICS, [self._statistics()]),
            (Opcode.CHUNK_INDEX, self._chunks),
            (Opcode.ATTACHMENT_INDEX, self._attachments),
            (Opcode.METADATA_INDEX, self._metadata),
        )
        builder = RecordBuilder()
        offsets = []
        for opcode, records in groups:
            before = builder.count
            for record in records:
                record.write(builder)
            if records:
                offsets.append(SummaryOffset(opcode, start + before, builder.count - before))
        offset_start = start + builder.count
        for offset in offsets:
            offset.write(builder)
        summary = _bytes(builder)
        self._put(summary)
        tail = FRAME.pack(Opcode.FOOTER, 20) + struct.pack("<QQ", start, offset_start)
        self._put(tail + struct.pack("<I", zlib.crc32(tail, zlib.crc32(summary))))
        self._put(MAGIC)
        counts = (len(self._metadata), len(self._attachments))
        return Written(self.message_count, self._hash.digest(), self._channels, self._schemas, *counts, self._file_hash.digest())

    @property
    def holds_anything(self) -> bool:
        """True once there is more than a header."""
        return bool(self._counts or self._channels or self._metadata or self._attachments)

    @property
    def message_count(self) -> int:
        """How many messages were written so far."""
        return sum(self._counts.values())

    def _statistics(self) -> Statistics:
        start, end = self._times or (0, 0)
        return Statistics(
            attachment_count=len(self._attachments),
            channel_count=len(self._channels),
            channel_message_counts=self._counts,
            chunk_count=len(self._chunks),
            message_count=self.message_count,
            message_end_time=end,
            message_start_time=start,
            metadata_count=len(self._metadata),
            schema_count=len(self._schemas),
        )

    def _index(self, records: bytes) -> dict[int, list[tuple[int, int]]]:
        """Where the messages are, by channel; they count from here on."""
        found: dict[int, list[tuple[int, int]]] = {}
        for opcode, start, end in frames(records):
            if opcode != Opcode.MESSAGE:
                continue
            number, _, log_time, _ = MESSAGE.unpack_from(records, start + FRAME.size)
            found.setdefault(number, []).append((log_time, start))
            self._hash.update(records[start:end])
            first, last = self._times or (log_time, log_time)
            self._times = (min(first, log_time), max(last, log_time))
        for number, entries in found.items():
            self._counts[number] = self._counts.get(number, 0) + len(entries)
        return found

    def _build(self, record: Header | Schema | Channel | MessageIndex | DataEnd) -> None:
        builder = RecordBuilder()
        record.write(builder)
        self._put(_bytes(builder))

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._file_hash.update(data)
        self._position += len(data)


def _bytes(builder: RecordBuilder) -> bytes:
    data: bytes = builder.end()  # type: ignore[no-untyped-call]
    return data
