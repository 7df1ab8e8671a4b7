"""MCAP files for tests: some that are written with the library, and a reader of raw records that shares nothing with the code under test."""

import struct
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import zstandard
from lz4 import frame as lz4_frame
from mcap.writer import CompressionType, IndexType, Writer

REAL_RECORDINGS = Path(__file__).parents[2] / "shared" / "recordings"
"""Bags of a real recorder, where they are present."""
START_NS = 1_700_000_000_000_000_000


class RawFacts(NamedTuple):
    """What the records of a file say."""

    counts: dict[str, int]
    start_ns: int | None
    end_ns: int | None


def write_mcap(  # noqa: PLR0913  (a file has many properties)
    path: Path,
    *,
    messages: int = 20,
    topics: int = 2,
    compression: CompressionType = CompressionType.ZSTD,
    summary: bool = True,
    chunked: bool = True,
    payload: bytes = b"payload",
) -> Path:
    """An MCAP file with `messages` messages, spread over `topics` topics; the last of two or more topics has none."""
    writer = Writer(
        str(path),
        chunk_size=256,
        compression=compression,
        use_chunking=chunked,
        use_statistics=summary,
        use_summary_offsets=summary,
        repeat_channels=summary,
        repeat_schemas=summary,
        index_types=IndexType.ALL if summary else IndexType.NONE,
    )
    writer.start(profile="ros2", library="sample")
    schema = writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data")
    channels = [writer.register_channel(f"/topic_{number}", "cdr", schema) for number in range(topics)]
    for number in range(messages):
        channel = channels[number % max(1, topics - 1)]
        writer.add_message(channel, START_NS + number * 1000, payload + str(number).encode(), START_NS + number, number)
    writer.finish()
    return path


def read_raw(data: bytes) -> RawFacts:
    """Messages per topic and their time range, from the records of the data section alone."""
    topics: dict[int, str] = {}
    counts: Counter[int] = Counter()
    times: list[int] = []
    position = 8
    while True:
        opcode, length = struct.unpack_from("<BQ", data, position)
        content = data[position + 9 : position + 9 + length]
        if opcode == 0x0F:
            break
        if opcode == 0x06:
            _read_records(_decompress(content), topics, counts, times)
        else:
            _read_records(data[position : position + 9 + length], topics, counts, times)
        position += 9 + length
    named: Counter[str] = Counter()
    for number, count in counts.items():
        named[topics[number]] += count
    return RawFacts(dict(named), min(times, default=None), max(times, default=None))


def _read_records(data: bytes, topics: dict[int, str], counts: Counter[int], times: list[int]) -> None:
    position = 0
    while position < len(data):
        opcode, length = struct.unpack_from("<BQ", data, position)
        position += 9
        if opcode == 0x04:
            number, _, size = struct.unpack_from("<HHI", data, position)
            topics[number] = data[position + 8 : position + 8 + size].decode()
        elif opcode == 0x05:
            number, _, log_time = struct.unpack_from("<HIQ", data, position)
            counts[number] += 1
            times.append(log_time)
        position += length


def _decompress(content: bytes) -> bytes:
    (size,) = struct.unpack_from("<I", content, 28)
    name = content[32 : 32 + size].decode()
    data = content[32 + size + 8 :]
    if name == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return lz4_frame.decompress(data) if name == "lz4" else data
