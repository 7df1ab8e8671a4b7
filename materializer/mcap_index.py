"""What an MCAP file contains, without its messages.

The summary section is used where it is consistent with itself and with the file around it (its CRC, the offsets of its chunks, the sum of its
counts); where there is none, or it does not hold, the records themselves are read, one at a time. A file with its closing magic missing is refused:
bytes that a writer may still append to are no recording yet. A valid file without messages is accepted, since recorders leave such files behind
when they stop right after a split.
"""

import os
import stat
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, ChunkIndex, Footer, Header, Schema, Statistics

from materializer.fields import EmbeddedEntry
from materializer.mcap_embedded import Embedded, Place, indexed_place, read_embedded
from materializer.mcap_format import FOOTER_SIZE, FRAME, FRAME_SIZE, MAGIC, MESSAGE, MESSAGE_HEADER_SIZE
from materializer.mcap_records import UNREADABLE, Damage, decompress, frames, parse
from peer.core.hashing import hash_bytes
from peer.errors import FileUnreadableError, McapEmptyError, McapTruncatedError, MeshError, NotMcapError

SMALL_RECORD_SIZE_MAX = 64 * 1024 * 1024
SUMMARY_SIZE_MAX = 256 * 1024 * 1024
CHUNK_SIZE_MAX = 256 * 1024 * 1024
"""Of a chunk, packed or not, where chunks are read: it may have been made by somebody who means to fill the memory."""
DESCRIPTIONS_SIZE_MAX = 256 * 1024 * 1024
"""Of the names in all schemas and channels; of schemas no more than their hashes are held."""
TIME_MAX_NS = 2**63 - 1


class Topic(NamedTuple):
    """A topic with one schema and encoding. `schema` is empty for channels without one."""

    topic: str
    schema: str
    schema_encoding: str
    message_encoding: str
    message_count: int
    schema_hash: bytes
    """BLAKE3 of the schema's data, empty where there is no schema."""


class McapIndex(NamedTuple):
    """What a file says of itself. Times are log times, None where there are no messages."""

    profile: str
    library: str
    topics: list[Topic]
    """Sorted; channels that agree in all but their number are one."""
    message_count: int
    start_ns: int | None
    end_ns: int | None
    dropped: int | None = None
    """Messages that the recorder says it dropped, None if it does not say."""
    embedded: Sequence[EmbeddedEntry] = ()
    """What is in the file beside messages."""


def read_index(path: Path, *, check: bool = False) -> McapIndex:
    """The index of the file at `path`. With `check` all records are unpacked for it and their checksums looked at, whatever a summary says.

    Blocks. Raises `FileUnreadableError`, `McapEmptyError`, `NotMcapError` or `McapTruncatedError`.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise FileUnreadableError(f"{path} is no regular file", fix="name an MCAP file")
            return _read_index(file, path, check=check)
    except OSError as error:
        raise _unreadable(path, error) from error


def _open_without_waiting(path: str, flags: int) -> int:
    """A pipe without a writer would hold up the reader for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


def _read_index(file: BinaryIO, path: Path, *, check: bool) -> McapIndex:
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise McapEmptyError(f"{path} is empty", fix="leave it out; nothing was recorded in it")
    start = file.read(len(MAGIC))
    if start != MAGIC:
        if MAGIC.startswith(start):
            raise _truncated(path, "ends within its first bytes")
        raise NotMcapError(f"{path} is not an MCAP file", fix="convert it first, for example with `ros2 bag convert`")
    file.seek(max(len(MAGIC), size - len(MAGIC)))
    if file.read() != MAGIC:
        raise _truncated(path, "ends in the middle")
    try:
        header, footer = _read_header(file, size), _read_footer(file, size)
        if check:
            return _from_records(file, size, header)
        try:
            return _from_summary(file, size, header, footer)
        except Damage:
            return _from_records(file, size, header)
    except UNREADABLE as error:
        raise _truncated(path, f"is damaged: {error}" if str(error) else "is damaged") from error


def _unreadable(path: Path, error: OSError) -> MeshError:
    if isinstance(error, FileNotFoundError):
        return FileUnreadableError(f"{path} does not exist", fix="check the path")
    if isinstance(error, IsADirectoryError):
        return FileUnreadableError(f"{path} is a folder, not an MCAP file", fix="name the files in it")
    if isinstance(error, PermissionError):
        return FileUnreadableError(f"{path} may not be read", fix="give the user of recmesh read access to it")
    return FileUnreadableError(f"{path} cannot be read: {error.strerror or error}", fix="check the path and the disk")


def _truncated(path: Path, what: str) -> McapTruncatedError:
    fix = "wait until its recorder has closed it; after a crash `recmesh recording add --recover` takes what can be read"
    return McapTruncatedError(f"{path} {what}", fix=fix)


def _read_frame(file: BinaryIO, end: int) -> tuple[int, int, int]:
    """Opcode, start and size of the content of the record at the file's position, which must lie before `end`."""
    frame = file.read(FRAME_SIZE)
    if len(frame) != FRAME_SIZE:
        raise Damage("a record is cut off")
    opcode, length = FRAME.unpack(frame)
    start = file.tell()
    if start + length > end:
        raise Damage("a record is longer than the file")
    return opcode, start, length


def _read_content(file: BinaryIO, size: int, size_max: int) -> bytes:
    if size > size_max:
        raise Damage(f"a record of {size} bytes, where at most {size_max} are read")
    data = file.read(size)
    if len(data) != size:
        raise Damage("a record is cut off")
    return data


def _read_header(file: BinaryIO, size: int) -> Header:
    file.seek(len(MAGIC))
    opcode, _, length = _read_frame(file, size)
    if opcode != Opcode.HEADER:
        raise Damage("the first record is no header")
    header: Header = parse(Header.read, _read_content(file, length, SMALL_RECORD_SIZE_MAX))
    return header


def _read_footer(file: BinaryIO, size: int) -> Footer:
    file.seek(max(0, size - len(MAGIC) - FOOTER_SIZE))
    opcode, _, length = _read_frame(file, size)
    if opcode != Opcode.FOOTER or length != FOOTER_SIZE - FRAME_SIZE:
        raise Damage("there is no footer before the closing magic")
    footer: Footer = parse(Footer.read, _read_content(file, length, length))
    return footer


class _Summary:
    def __init__(self) -> None:
        self.statistics: Statistics | None = None
        self.channels = _Channels()
        self.chunks: list[ChunkIndex] = []
        self.places: list[Place] = []


class _Schema(NamedTuple):
    name: str
    encoding: str
    hash: bytes


class _Channel(NamedTuple):
    topic: str
    schema: int
    encoding: str
    hash: bytes
    """Of what else is said of it."""


class _Channels:
    """Schemas and channels by their numbers, and how many messages each channel has."""

    def __init__(self) -> None:
        self.schemas: dict[int, _Schema] = {}
        self.channels: dict[int, _Channel] = {}
        self.counts: Counter[int] = Counter()
        self._size = 0

    def add(self, opcode: int, data: bytes) -> None:
        """Take a schema or channel record."""
        if opcode == Opcode.SCHEMA:
            schema = parse(Schema.read, data)
            kept = _Schema(schema.name, schema.encoding, hash_bytes(schema.data))
            if self.schemas.get(schema.id) != kept:
                self._charge(schema.name, schema.encoding)
            self.schemas[schema.id] = kept
        elif opcode == Opcode.CHANNEL:
            if len(data) > SMALL_RECORD_SIZE_MAX:
                raise Damage(f"a channel of {len(data)} bytes")
            channel = parse(Channel.read, data)
            rest = hash_bytes(repr(sorted(channel.metadata.items())).encode())
            found = _Channel(channel.topic, channel.schema_id, channel.message_encoding, rest)
            if channel.id not in self.channels:
                self._charge(channel.topic, channel.message_encoding)
            if self.channels.setdefault(channel.id, found) != found:
                raise Damage(f"two different channels have the number {channel.id}")

    def topics(self) -> list[Topic]:
        """One entry per topic, schema and encoding. Raises `Damage` if a number names nothing."""
        counts: Counter[tuple[str, str, str, str, bytes]] = Counter()
        for number, channel in self.channels.items():
            if channel.schema and channel.schema not in self.schemas:
                raise Damage(f"channel {number} has a schema that is not there")
            schema = self.schemas.get(channel.schema, _Schema("", "", b""))
            counts[channel.topic, schema.name, schema.encoding, channel.encoding, schema.hash] += self.counts[number]
        if set(self.counts) - set(self.channels):
            raise Damage("messages of a channel that is not there")
        return [Topic(*key[:-1], count, key[-1]) for key, count in sorted(counts.items())]

    def _charge(self, *names: str) -> None:
        self._size += sum(map(len, names))
        if self._size > DESCRIPTIONS_SIZE_MAX:
            raise Damage("its channels have names that are too long")


def _from_summary(file: BinaryIO, size: int, header: Header, footer: Footer) -> McapIndex:
    """The index that the summary section gives. Raises `Damage` if there is none, or if it contradicts itself or the file."""
    footer_start = size - len(MAGIC) - FOOTER_SIZE
    if not len(MAGIC) < footer.summary_start < footer_start:
        raise Damage("there is no summary section")
    file.seek(footer.summary_start)
    data = _read_content(file, footer_start - footer.summary_start, SUMMARY_SIZE_MAX)
    _check_summary_crc(footer, data)
    summary = _read_summary(data)
    statistics = summary.statistics
    if statistics is None or not _is_consistent(statistics, summary):
        raise Damage("the summary contradicts itself")
    _check_chunks(file, footer.summary_start, summary.chunks)
    summary.channels.counts.update(statistics.channel_message_counts)
    times = (statistics.message_start_time, statistics.message_end_time) if statistics.message_count else None
    listed = len(summary.places) == statistics.metadata_count + statistics.attachment_count
    places = summary.places if listed else _find_places(file, footer.summary_start)
    return _index(header, summary.channels, times, read_embedded(file, places))


def _find_places(file: BinaryIO, end: int) -> list[Place]:
    """Metadata and attachments that the summary counts and does not name: chunks are skipped."""
    places = list[Place]()
    file.seek(len(MAGIC))
    while True:
        opcode, start, length = _read_frame(file, end)
        if opcode in (Opcode.DATA_END, Opcode.FOOTER):
            return places
        if opcode in (Opcode.METADATA, Opcode.ATTACHMENT):
            places.append(Place(opcode, start, length))
        file.seek(start + length)


def _check_summary_crc(footer: Footer, data: bytes) -> None:
    """The CRC covers the summary and the footer up to the CRC itself; zero means that there is none."""
    if footer.summary_crc:
        tail = FRAME.pack(Opcode.FOOTER, FOOTER_SIZE - FRAME_SIZE) + struct.pack("<QQ", footer.summary_start, footer.summary_offset_start)
        if zlib.crc32(tail, zlib.crc32(data)) != footer.summary_crc:
            raise Damage("the checksum of the summary does not match")


def _read_summary(data: bytes) -> _Summary:
    summary = _Summary()
    for opcode, start, length in frames(data):
        content = data[start : start + length]
        if opcode == Opcode.STATISTICS:
            summary.statistics = parse(Statistics.read, content)
        elif opcode == Opcode.CHUNK_INDEX:
            summary.chunks.append(parse(ChunkIndex.read, content))
        elif opcode in (Opcode.METADATA_INDEX, Opcode.ATTACHMENT_INDEX):
            summary.places.append(indexed_place(opcode, content))
        else:
            summary.channels.add(opcode, content)
    return summary


def _is_consistent(statistics: Statistics, summary: _Summary) -> bool:
    counts = statistics.channel_message_counts
    times = [(chunk.message_start_time, chunk.message_end_time) for chunk in summary.chunks if chunk.message_end_time]
    start, end = statistics.message_start_time, statistics.message_end_time
    return (
        sum(counts.values()) == statistics.message_count
        and set(counts) <= set(summary.channels.channels)
        and statistics.chunk_count == len(summary.chunks)
        and start <= end
        and all(start <= first <= last <= end for first, last in times)
    )


def _check_chunks(file: BinaryIO, end: int, chunks: Iterable[ChunkIndex]) -> None:
    """Each chunk that the summary names must be where it says, as long as it says."""
    for chunk in chunks:
        if not len(MAGIC) < chunk.chunk_start_offset < end:
            raise Damage("the summary names a chunk outside of the file")
        frame = os.pread(file.fileno(), FRAME_SIZE, chunk.chunk_start_offset)  # Unbuffered: nine bytes of each chunk, not a page.
        is_here = len(frame) == FRAME_SIZE and FRAME.unpack(frame) == (Opcode.CHUNK, chunk.chunk_length - FRAME_SIZE)
        if not is_here or chunk.chunk_start_offset + chunk.chunk_length > end:
            raise Damage("the summary names a chunk that is not there")


class _Times:
    """The earliest and latest message."""

    def __init__(self) -> None:
        self.start = 2**64
        self.end = -1

    def add(self, log_time: int) -> None:
        self.start = min(self.start, log_time)
        self.end = max(self.end, log_time)


def _from_records(file: BinaryIO, size: int, header: Header) -> McapIndex:
    """The index that the records of the data section give: they end at the data end record, or at the footer."""
    channels, times, places = _Channels(), _Times(), list[Place]()
    end = size - len(MAGIC)
    file.seek(len(MAGIC))
    while True:
        opcode, start, length = _read_frame(file, end)
        if opcode in (Opcode.DATA_END, Opcode.FOOTER):
            break
        if opcode == Opcode.MESSAGE:
            _count(channels, times, _read_content(file, min(length, MESSAGE_HEADER_SIZE), MESSAGE_HEADER_SIZE), 0, length)
        elif opcode == Opcode.CHUNK:
            _count_chunk(channels, times, _read_content(file, length, CHUNK_SIZE_MAX))
        elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
            channels.add(opcode, _read_content(file, length, SMALL_RECORD_SIZE_MAX))
        elif opcode in (Opcode.METADATA, Opcode.ATTACHMENT):
            places.append(Place(opcode, start, length))
        file.seek(start + length)
    return _index(header, channels, (times.start, times.end) if times.end >= 0 else None, read_embedded(file, places))


def _count_chunk(channels: _Channels, times: _Times, content: bytes) -> None:
    chunk = parse(Chunk.read, content)
    if chunk.uncompressed_size > CHUNK_SIZE_MAX:
        raise Damage(f"a chunk of {chunk.uncompressed_size} bytes, where at most {CHUNK_SIZE_MAX} are read")
    data = decompress(chunk.compression, chunk.data, chunk.uncompressed_size)
    if chunk.uncompressed_crc and zlib.crc32(data) != chunk.uncompressed_crc:
        raise Damage("the checksum of a chunk does not match")
    for opcode, start, size in frames(data):
        if opcode == Opcode.MESSAGE:
            _count(channels, times, data, start, size)
        else:
            channels.add(opcode, data[start : start + size])


def _count(channels: _Channels, times: _Times, data: bytes, start: int, length: int) -> None:
    if length < MESSAGE_HEADER_SIZE:
        raise Damage("a message is too short")
    channel, _, log_time, _ = MESSAGE.unpack_from(data, start)
    channels.counts[channel] += 1
    times.add(log_time)


def _index(header: Header, channels: _Channels, times: tuple[int, int] | None, embedded: Embedded) -> McapIndex:
    topics = channels.topics()
    start, end = times or (None, None)
    if end is not None and end > TIME_MAX_NS:
        raise Damage("it has a message of after the year 2262")
    count = sum(topic.message_count for topic in topics)
    return McapIndex(header.profile, header.library, topics, count, start, end, embedded.dropped, embedded.entries)
