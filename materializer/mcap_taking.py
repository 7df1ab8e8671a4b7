"""Taking over what can be read of a damaged MCAP file into a new one, in one pass, with an account of what cannot.

Chunks that are sound are taken over byte for byte; of one in which the file ends, the whole messages that are there; of damaged bytes nothing.
"""

import os
import struct
from collections.abc import Iterable
from io import BytesIO
from itertools import chain
from typing import BinaryIO, NamedTuple

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Header, MessageIndex, Metadata, Schema, Statistics

from materializer.mcap_format import FRAME, MESSAGE
from materializer.mcap_pieces import Chunk, Gap, Piece, Record, frames, pieces, summary
from materializer.mcap_writing import McapWriting

PLACES_MAX = 64
"""Places in a file that are told one by one. Of more, the sums."""
PENDING_SIZE_MAX = 1024 * 1024
"""Messages that stood outside of chunks are put into chunks of about this size."""
CHUNK_HEADER_SIZE = FRAME.size + 40
"""Without the name of the compression."""
DAMAGED = (McapError, struct.error, ValueError, EOFError)
"""What the library raises at records that are not what they should be."""
TIME_MAX_NS = 2**63 - 1
UNDESCRIBED = "messages of a channel that is described nowhere"


class Place(NamedTuple):
    """Where something was lost."""

    offset: int
    size_bytes: int
    """In the file, from `offset` on."""
    missing_bytes: int
    """Of the record that is cut off there, how many bytes at least the file does not have."""
    what: str
    message_count: int | None
    """Messages that are lost there, None if nothing tells."""
    content_bytes: int | None
    """Bytes of decompressed content that are lost there, where a chunk says how many it had."""
    start_time_ns: int | None
    end_time_ns: int | None
    """Of all messages of the chunk, as its header says."""


class Losses:
    """What could not be taken over."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.places: list[Place] = []
        self.place_count = 0
        self.bytes = 0
        self.messages: int | None = 0
        """None if it cannot be told."""

    def add(self, gap: Gap, message_count: int | None, content_bytes: int | None = None) -> None:
        """Something is lost there."""
        facts = gap.facts
        size = facts.size if facts and content_bytes is None else content_bytes
        times = (facts.start_ns, facts.end_ns) if facts else (None, None)
        self.bytes += gap.size
        self.place_count += 1
        if len(self.places) < PLACES_MAX:
            self.places.append(Place(gap.offset, gap.size, gap.missing, gap.what, message_count, size, *times))
        self.messages = None if self.messages is None or message_count is None else self.messages + message_count


class Taking:
    """One pass through one file."""

    def __init__(self, source: BinaryIO, program: str) -> None:
        """`program` is told in the new file as what recovered it."""
        self._number = source.fileno()
        self.size = os.fstat(self._number).st_size
        self.losses = Losses()
        self.ends_early = True
        """True unless the record was found that says that all data were written."""
        self.is_closed = False
        """True if the file has its end."""
        self.statistics: Statistics | None = None
        """What the summary says, where there is one."""
        self._program = program
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._described: set[int] = set()
        """Channels that stand in what was written."""
        self._written_schemas: set[int] = set()
        self._lost_chunk: Gap | None = None
        """May be followed by indexes that say what was in it."""
        self._lost_count: int | None = None
        self._pending = bytearray()

    def read(self, position: int, size: int) -> bytes:
        """So many bytes of the file; fewer at its end."""
        return os.pread(self._number, size, position)

    def run(self, out: BinaryIO) -> McapWriting:
        """Write to `out` what can be taken over: all but the end, which the caller writes."""
        self._read_summary()
        walk = pieces(self.read, self.size)
        first = next(walk, None)
        header = self._header(first)
        recovered = f"recovered by {self._program}"
        self._out = McapWriting(out, header.profile if header else "", f"{header.library}; {recovered}" if header and header.library else recovered)
        self._take_all(walk if header or first is None else chain([first], walk))
        return self._out

    def _take_all(self, walk: Iterable[Piece]) -> None:
        for piece in walk:
            if isinstance(piece, Record) and piece.opcode == Opcode.MESSAGE_INDEX:
                self._index(piece)
                continue
            self._settle(is_complete=not isinstance(piece, Gap))
            try:
                self._take(piece)
            except DAMAGED as error:
                size = piece.size if isinstance(piece, Gap) else len(piece.data)
                self.losses.add(Gap(piece.offset, size, f"damaged: {error}"), None)
        self._settle(is_complete=False)
        self._flush()

    def _take(self, piece: Piece) -> None:
        match piece:
            case Gap():
                self._gap(piece)
            case Chunk():
                self._chunk(piece)
            case Record():
                self._record(piece)

    @staticmethod
    def _header(first: Piece | None) -> Header | None:
        if isinstance(first, Record) and first.opcode == Opcode.HEADER:
            try:
                header: Header = Header.read(_stream(first.content))
            except DAMAGED:
                return None
            return header
        return None

    def _read_summary(self) -> None:
        """What the end of the file says, where it has one: channels that are described nowhere else, and how many messages there were."""
        self.is_closed, data = summary(self.read, self.size)
        try:
            records = [(opcode, data[start + FRAME.size : stop]) for opcode, start, stop in frames(data)]
            for opcode, content in sorted(records, key=lambda record: record[0] != Opcode.SCHEMA):  # What channels need comes first.
                if opcode == Opcode.STATISTICS:
                    self.statistics = Statistics.read(_stream(content))
                else:
                    self._learn(opcode, content)
        except DAMAGED:
            self._schemas, self._channels, self.statistics = {}, {}, None

    def _learn(self, opcode: int, content: bytes | memoryview) -> Schema | Channel | None:
        """Remember a schema or channel; None for a channel whose schema was lost.

        Raises one of `DAMAGED` for what cannot be, or contradicts what was said before.
        """
        if opcode == Opcode.SCHEMA:
            schema: Schema = Schema.read(_stream(content))
            if self._schemas.setdefault(schema.id, schema) != schema:
                raise ValueError(f"two different schemas have the number {schema.id}")
            return schema
        if opcode == Opcode.CHANNEL:
            channel: Channel = Channel.read(_stream(content))
            if channel.schema_id and channel.schema_id not in self._schemas:
                return None
            if self._channels.setdefault(channel.id, channel) != channel:
                raise ValueError(f"two different channels have the number {channel.id}")
            return channel
        return None

    def _gap(self, gap: Gap) -> None:
        if gap.opcode == Opcode.CHUNK and not gap.missing:
            self._lost_chunk = gap
            return
        count = None
        if gap.missing and gap.opcode not in (0, Opcode.CHUNK):
            count = 1 if gap.opcode == Opcode.MESSAGE else 0
        self.losses.add(gap, count)

    def _index(self, record: Record) -> None:
        """Messages of a chunk that is lost, on one channel. Of others the index is made anew."""
        if self._lost_chunk is not None:
            try:
                self._lost_count = (self._lost_count or 0) + len(MessageIndex.read(_stream(record.content)).records)
            except DAMAGED:
                self._settle(is_complete=False)

    def _settle(self, *, is_complete: bool) -> None:
        """Nothing more is said of the chunk that was lost last; `is_complete` if all was said that there was to say."""
        if self._lost_chunk is not None:
            self.losses.add(self._lost_chunk, self._lost_count if is_complete else None)
            self._lost_chunk = self._lost_count = None

    def _record(self, record: Record) -> None:
        match record.opcode:
            case Opcode.SCHEMA | Opcode.CHANNEL:
                found = self._learn(record.opcode, record.content)
                if found is None:
                    self.losses.add(Gap(record.offset, len(record.data), "a channel whose schema is lost"), 0)
                    return
                self._note([found])
                self._pend(record.data)
            case Opcode.MESSAGE:
                number, _, log_time, _ = MESSAGE.unpack_from(record.content)
                if log_time > TIME_MAX_NS:
                    self.losses.add(Gap(record.offset, len(record.data), "a message of after the year 2262"), 1)
                elif number in self._channels:
                    self._describe([number])
                    self._pend(record.data)
                else:
                    self.losses.add(Gap(record.offset, len(record.data), UNDESCRIBED), 1)
            case Opcode.ATTACHMENT:
                self._flush()
                self._out.attachment(record.data)
            case Opcode.METADATA:
                Metadata.read(_stream(record.content))
                self._flush()
                self._out.metadata(record.data)
            case Opcode.DATA_END | Opcode.FOOTER:
                self.ends_early = False
            case _:
                pass  # Private records and such of later versions: nobody knows what they need around them.

    def _chunk(self, chunk: Chunk) -> None:
        inside, needed, unknown = self._read_chunk(chunk.records)
        self._flush()
        self._describe(needed)
        self._note(inside)
        if chunk.is_whole and not unknown and _has_its_times(chunk):
            self._out.chunk(chunk.data, chunk.facts, chunk.records)
            return
        kept = [chunk.records[start:end] for opcode, start, end in frames(chunk.records) if not _is_of(unknown, opcode, chunk.records, start)]
        skipped = sum(opcode == Opcode.MESSAGE and _is_of(unknown, opcode, chunk.records, start) for opcode, start, _ in frames(chunk.records))
        self._out.messages(b"".join(kept))
        if skipped:
            self.losses.add(Gap(chunk.offset, 0, UNDESCRIBED, facts=chunk.facts), skipped, content_bytes=len(chunk.records) - sum(map(len, kept)))
        if not chunk.is_whole:
            # Of compressed bytes nobody can say which were of use.
            used = 0 if chunk.facts.compression else CHUNK_HEADER_SIZE + len(chunk.records)
            what = "a chunk that is cut off" if chunk.missing else "a damaged chunk"
            lost = chunk.facts.size - len(chunk.records)
            gap = Gap(chunk.offset + used, len(chunk.data) - used, what, facts=chunk.facts, missing=chunk.missing)
            self.losses.add(gap, None if lost else 0, content_bytes=lost)

    def _read_chunk(self, records: bytes) -> tuple[list[Schema | Channel], list[int], set[int]]:
        """What is described in it, channels of its messages that have to be described before it, and those that are described nowhere."""
        inside: list[Schema | Channel] = []
        needed: dict[int, None] = {}
        known, unknown = set(self._described), set[int]()
        for opcode, start, end in frames(records):
            if opcode != Opcode.MESSAGE:
                found = self._learn(opcode, records[start + FRAME.size : end])
                if found is not None:
                    inside.append(found)
                if isinstance(found, Channel):
                    known.add(found.id)
                elif found is None and opcode == Opcode.CHANNEL:
                    unknown.add(*struct.unpack_from("<H", records, start + FRAME.size))
                continue
            number, _, log_time, _ = MESSAGE.unpack_from(records, start + FRAME.size)
            if log_time > TIME_MAX_NS:
                raise ValueError("it has a message of after the year 2262")
            if number not in self._channels:
                unknown.add(number)
            elif number not in known:
                needed[number] = None
        return inside, list(needed), unknown

    def _describe(self, numbers: Iterable[int]) -> None:
        """Write known channels in front of their first messages, where what said so was lost."""
        for number in numbers:
            if number not in self._described:
                channel = self._channels[number]
                self._note([channel])
                self._out.describe(channel)

    def _note(self, found: Iterable[Schema | Channel]) -> None:
        """These stand in what is written next. A schema that they need and that was lost is written in front of them."""
        for each in found:
            if isinstance(each, Schema):
                self._out.schema(each)
                self._written_schemas.add(each.id)
            else:
                if each.schema_id and each.schema_id not in self._written_schemas:
                    self._flush()
                    self._written_schemas.add(each.schema_id)
                    self._out.describe(self._schemas[each.schema_id])
                self._out.channel(each)
                self._described.add(each.id)

    def _pend(self, data: bytes) -> None:
        self._pending += data
        if len(self._pending) >= PENDING_SIZE_MAX:
            self._flush()

    def _flush(self) -> None:
        self._out.messages(bytes(self._pending))
        self._pending.clear()


def _is_of(channels: set[int], opcode: int, records: bytes, start: int) -> bool:
    """True for messages of these channels, and what describes them: the number of the channel is the first thing in both."""
    return opcode in (Opcode.MESSAGE, Opcode.CHANNEL) and struct.unpack_from("<H", records, start + FRAME.size)[0] in channels


def _has_its_times(chunk: Chunk) -> bool:
    """True if all messages of a chunk are of the time that it says, which no checksum covers: readers go by that."""
    for opcode, start, _ in frames(chunk.records):
        if opcode == Opcode.MESSAGE and not chunk.facts.start_ns <= MESSAGE.unpack_from(chunk.records, start + FRAME.size)[2] <= chunk.facts.end_ns:
            return False
    return True


def _stream(data: bytes | memoryview) -> ReadDataStream:
    return ReadDataStream(BytesIO(data))
