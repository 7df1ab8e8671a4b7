"""Records of MCAP files where they are read piece by piece: what one holds, and a chunk's messages. Pure but for the time that it takes.

Nothing is believed: sizes are bounded before memory is taken, and checksums are looked at where there are any.
"""

import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from io import BytesIO
from typing import NamedTuple, TypeVar

from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Schema
from zstandard import ZstdDecompressor, ZstdError, frame_content_size

from materializer.mcap_format import CHUNK, FRAME, FRAME_SIZE, MESSAGE, MESSAGE_HEADER_SIZE

CHUNK_SIZE_MAX = 128 * 1024 * 1024
"""Bytes of a chunk, packed or not, that are worked with."""
HELD_BYTES_MAX = 128 * 1024 * 1024
"""Bytes of messages that wait for their turn."""
MESSAGE_COST = 256
"""What a message takes of the memory beside its bytes, at most."""

DESCRIPTIONS_SIZE_MAX = 64 * 1024 * 1024
"""Bytes of the schemas and channels of one file."""
CHANNEL_SIZE_MAX = 1024 * 1024
"""Of what a file says of one channel."""
NAME_SIZE_MAX = 4096
"""Of a topic, a schema or an encoding, as in events: it stands with each message that is shown."""
ENTRY_COST = 256
"""What a channel, or something that is said of it, takes of the memory beside its bytes, at most."""

TIME_STOP_NS = 2**64
"""Behind all times."""

_T = TypeVar("_T")
_SIZE = struct.Struct("<Q")


class Damage(Exception):  # noqa: N818  (never leaves the modules that read messages)
    """Bytes that are no MCAP file, or not the one that it says."""


class TooMuch(Exception):  # noqa: N818  (as above)
    """More than is held in memory."""


UNREADABLE = (Damage, McapError, ZstdError, struct.error, ValueError, RuntimeError, EOFError, MemoryError)
"""What the library and the decompressors raise at damaged bytes."""


class SchemaFacts(NamedTuple):
    """What the messages of a channel are made of."""

    name: str
    encoding: str
    data: bytes


class ChannelFacts(NamedTuple):
    """What is said of all messages of a channel. One without a schema has None."""

    topic: str
    message_encoding: str
    metadata: Mapping[str, str]
    schema: SchemaFacts | None


class RawMessage(NamedTuple):
    """A message with the place that it has in its file: messages of one time are in that order."""

    log_ns: int
    place: int
    channel: int
    sequence: int
    publish_ns: int
    data: bytes


class Span(NamedTuple):
    """Times `start_ns <= log time < stop_ns`."""

    start_ns: int = 0
    stop_ns: int = TIME_STOP_NS


class Channels:
    """Channels by their numbers, as far as they were met."""

    def __init__(self) -> None:
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._facts: dict[int, ChannelFacts] = {}
        self.cost = 0
        """Of the memory, about."""

    @property
    def numbers(self) -> AbstractSet[int]:
        """Those of the channels that were met."""
        return self._channels.keys()

    def add(self, opcode: int, data: bytes) -> None:
        """Take a schema or channel record. Raises `Damage` if another one has its number, `TooMuch`."""
        if opcode == Opcode.SCHEMA:
            schema = parse(Schema.read, data)
            if schema.id not in self._schemas:
                self._charge(len(data), schema.name, schema.encoding)
            if self._schemas.setdefault(schema.id, schema) != schema:
                raise Damage(f"two different schemas have the number {schema.id}")
        elif opcode == Opcode.CHANNEL:
            if len(data) > CHANNEL_SIZE_MAX:
                raise Damage(f"a channel of {len(data)} bytes")
            channel = parse(Channel.read, data)
            if channel.id not in self._channels:
                self._charge(len(data) + ENTRY_COST * len(channel.metadata), channel.topic, channel.message_encoding)
            if self._channels.setdefault(channel.id, channel) != channel:
                raise Damage(f"two different channels have the number {channel.id}")

    def _charge(self, size: int, *names: str) -> None:
        """Count what one more takes of the memory."""
        if max(map(len, names)) > NAME_SIZE_MAX:
            raise Damage("a name is too long")
        self.cost += size + ENTRY_COST
        if self.cost > DESCRIPTIONS_SIZE_MAX:
            raise TooMuch(f"more than {DESCRIPTIONS_SIZE_MAX} bytes of schemas and channels")

    def facts(self, number: int) -> ChannelFacts:
        """What is known of a channel, always the same object. Raises `Damage` if it is not there, or its schema is not."""
        if number not in self._facts:
            channel = self._channels.get(number)
            if channel is None:
                raise Damage(f"messages of channel {number}, which is not there")
            schema = self._schemas.get(channel.schema_id)
            if channel.schema_id and schema is None:
                raise Damage(f"channel {number} has a schema that is not there")
            facts = SchemaFacts(schema.name, schema.encoding, bytes(schema.data)) if schema is not None else None
            self._facts[number] = ChannelFacts(channel.topic, channel.message_encoding, channel.metadata, facts)
        return self._facts[number]

    def topic(self, number: int) -> str | None:
        """The topic of a channel, None if it was not met."""
        channel = self._channels.get(number)
        return channel.topic if channel is not None else None


class _StrictStream(ReadDataStream):
    """Like its base, which hands out too few bytes at the end of its input without a word."""

    def read(self, length: int) -> bytes:
        data = super().read(length) if length <= sys.maxsize else b""
        if len(data) != length:
            raise Damage("a field is longer than its record")
        return data


def parse(read: Callable[[ReadDataStream], _T], data: bytes) -> _T:
    """What `read` of the library makes of the content of a record."""
    return read(_StrictStream(BytesIO(data)))


def read_frame(data: bytes, position: int = 0) -> tuple[int, int]:
    """Opcode and size of the content of the record that begins there."""
    if position + FRAME_SIZE > len(data):
        raise Damage("a record is cut off")
    opcode, length = FRAME.unpack_from(data, position)
    return opcode, length


def frames(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Opcode, start and size of the content of each record in `data`."""
    position, end = 0, len(data)
    while position < end:
        opcode, length = read_frame(data, position)
        position += FRAME_SIZE
        if position + length > end:
            raise Damage("a record is longer than what it stands in")
        yield opcode, position, length
        position += length


def unpack_chunk(record: bytes) -> bytes:
    """The records in a chunk record, which is given with its frame; its checksum was looked at. Raises `Damage` or `TooMuch`."""
    opcode, length = read_frame(record)
    if opcode != Opcode.CHUNK or FRAME_SIZE + length != len(record):
        raise Damage("there is no chunk where one should be")
    _, _, size, crc, name_size = CHUNK.unpack_from(record, FRAME_SIZE)
    position = FRAME_SIZE + CHUNK.size + name_size
    compression = record[position - name_size : position].decode()
    (packed_size,) = _SIZE.unpack_from(record, position)
    packed = record[position + _SIZE.size :]
    if len(packed) != packed_size:
        raise Damage("a chunk is longer than its record")
    if size > CHUNK_SIZE_MAX:
        raise TooMuch(f"a chunk of {size} bytes, where at most {CHUNK_SIZE_MAX} are read")
    data = decompress(compression, packed, size)
    if crc and zlib.crc32(data) != crc:
        raise Damage("the checksum of a chunk does not match")
    return data


def decompress(compression: str, packed: bytes, size: int) -> bytes:
    """The `size` bytes of a chunk. Raises `Damage` for any other number of them, before more are made."""
    data = _decompress(compression, packed, size)
    if len(data) != size:
        raise Damage("a chunk has not the size that it says")
    return data


def _decompress(compression: str, packed: bytes, size: int) -> bytes:
    """At most one byte more than `size`, whatever was packed."""
    match compression:
        case "":
            return packed
        case "zstd":
            if frame_content_size(packed) > size:
                raise Damage("a chunk has not the size that it says")
            return ZstdDecompressor().decompress(packed, max_output_size=size) if size else b""
        case "lz4":
            unpacked: bytes = LZ4FrameDecompressor().decompress(packed, max_length=size + 1)
            return unpacked
        case _:
            raise Damage(f"compression {compression[:16]!r} is not known here")


def find_messages(data: bytes, place: int, wanted: Callable[[int], bool], span: Span, claimed: Span) -> list[RawMessage]:
    """The messages among these records whose channels are `wanted`, within `span`, in order. `place` is that of the first byte.

    Raises `Damage` if one is outside of what was `claimed`: it would come too late or too early. Raises `TooMuch`.
    """
    found: list[RawMessage] = []
    held = 0
    for opcode, start, length in frames(data):
        if opcode != Opcode.MESSAGE:
            continue
        if length < MESSAGE_HEADER_SIZE:
            raise Damage("a message is too short")
        channel, sequence, log_ns, publish_ns = MESSAGE.unpack_from(data, start)
        if not claimed.start_ns <= log_ns < claimed.stop_ns:
            raise Damage("a message is outside of the times of its chunk")
        if span.start_ns <= log_ns < span.stop_ns and wanted(channel):
            held += length + MESSAGE_COST
            if held > HELD_BYTES_MAX:
                raise TooMuch(f"more than {HELD_BYTES_MAX} bytes of messages in one chunk")
            found.append(RawMessage(log_ns, place + start, channel, sequence, publish_ns, data[start + MESSAGE_HEADER_SIZE : start + length]))
    found.sort(key=_order)
    return found


def extent(data: bytes) -> tuple[int, int, frozenset[int]] | None:
    """The first and the last time of the messages among these records, and their channels; None if there are none."""
    start_ns, end_ns, channels = TIME_STOP_NS, -1, set[int]()
    for opcode, start, length in frames(data):
        if opcode == Opcode.MESSAGE:
            if length < MESSAGE_HEADER_SIZE:
                raise Damage("a message is too short")
            channel, _, log_ns, _ = MESSAGE.unpack_from(data, start)
            start_ns, end_ns = min(start_ns, log_ns), max(end_ns, log_ns)
            channels.add(channel)
    return (start_ns, end_ns, frozenset(channels)) if channels else None


def _order(message: RawMessage) -> tuple[int, int]:
    return message.log_ns, message.place
