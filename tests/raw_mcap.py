"""The messages of an MCAP file, by a plain reading of its raw records that shares nothing with the code under test.

Of a file that was cut it gives what is there: whole messages outside of chunks, and those in a chunk as far as its bytes can be decompressed.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import zstandard
from lz4 import frame as lz4_frame


class RawMessage(NamedTuple):
    """A message with all that is said of it."""

    topic: str
    schema: tuple[str, str, bytes]
    """Name, encoding and text."""
    encoding: str
    metadata: bytes
    """Of its channel."""
    sequence: int
    log_time: int
    publish_time: int
    data: bytes


class RawChunk(NamedTuple):
    """Where a chunk is, and the times that it says it has."""

    start: int
    stop: int
    start_ns: int
    end_ns: int


def raw_messages(data: bytes) -> list[RawMessage]:
    """All messages, in their order."""
    schemas: dict[int, tuple[str, str, bytes]] = {}
    channels: dict[int, tuple[int, str, str, bytes]] = {}
    found = []
    for opcode, content in _data_records(data):
        if opcode == 0x03:
            (number,) = struct.unpack_from("<H", content)
            name, position = _text(content, 2)
            encoding, position = _text(content, position)
            schemas[number] = (name, encoding, content[position + 4 :])
        elif opcode == 0x04:
            number, schema = struct.unpack_from("<HH", content)
            topic, position = _text(content, 4)
            encoding, position = _text(content, position)
            channels[number] = (schema, topic, encoding, content[position:])
        elif opcode == 0x05:
            number, sequence, log_time, publish_time = struct.unpack_from("<HIQQ", content)
            schema, topic, encoding, metadata = channels[number]
            found.append(RawMessage(topic, schemas.get(schema, ("", "", b"")), encoding, metadata, sequence, log_time, publish_time, content[22:]))
    return found


def raw_chunks(data: bytes) -> list[RawChunk]:
    """Where the chunks of a whole file are."""
    found = []
    for opcode, start, stop in _records(data, 8):
        if opcode == 0x06:
            found.append(RawChunk(start, stop, *struct.unpack_from("<QQ", data, start + 9)))
        elif opcode == 0x0F:
            break
    return found


def raw_extras(data: bytes) -> list[tuple[int, bytes]]:
    """Metadata and attachments, as they stand there."""
    return [(opcode, content) for opcode, content in _data_records(data) if opcode in (0x09, 0x0C)]


def _data_records(data: bytes) -> Iterator[tuple[int, bytes]]:
    end = 8
    for opcode, start, stop in _records(data, 8):
        end = stop
        if opcode == 0x0F:
            return
        if opcode == 0x06:
            inner = _inside(data[start + 9 : stop])
            for kind, first, last in _records(inner, 0):
                yield kind, inner[first + 9 : last]
        else:
            yield opcode, data[start + 9 : stop]
    if data[end : end + 1] == b"\x06" and len(data) - end > 60:
        inner = _inside(data[end + 9 :])
        for kind, first, last in _records(inner, 0):
            yield kind, inner[first + 9 : last]


def _records(data: bytes, position: int) -> Iterator[tuple[int, int, int]]:
    while position + 9 <= len(data):
        opcode, length = struct.unpack_from("<BQ", data, position)
        if position + 9 + length > len(data):
            return
        yield opcode, position, position + 9 + length
        position += 9 + length


def _inside(content: bytes) -> bytes:
    """What is in a chunk, as far as it goes."""
    name, position = _text(content, 28)
    stored = content[position + 8 :]
    if name == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(stored)
    return lz4_frame.LZ4FrameDecompressor().decompress(stored) if name == "lz4" else stored


def _text(content: bytes, position: int) -> tuple[str, int]:
    (size,) = struct.unpack_from("<I", content, position)
    return content[position + 4 : position + 4 + size].decode(), position + 4 + size
