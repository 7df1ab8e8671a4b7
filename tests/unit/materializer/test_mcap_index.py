import os
import resource
import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest
import zstandard
from blake3 import blake3
from lz4 import frame as lz4_frame
from mcap.writer import CompressionType, Writer

from materializer.mcap_format import MAGIC
from materializer.mcap_index import Topic, read_index
from peer.errors import FileUnreadableError, McapEmptyError, McapTruncatedError, MeshError, NotMcapError
from tests.mcap_samples import REAL_RECORDINGS, START_NS, read_raw, write_mcap

REAL_FILES = sorted(REAL_RECORDINGS.glob("*.mcap"))


def check_against_raw_records(path: Path) -> None:
    raw = read_raw(path.read_bytes())
    index = read_index(path)
    assert {topic.topic: topic.message_count for topic in index.topics if topic.message_count} == raw.counts
    assert index.message_count == sum(raw.counts.values())
    assert (index.start_ns, index.end_ns) == (raw.start_ns, raw.end_ns)


@pytest.mark.parametrize("compression", list(CompressionType))
@pytest.mark.parametrize("summary", [True, False])
@pytest.mark.parametrize("chunked", [True, False])
def test_the_index_agrees_with_the_raw_records(tmp_path: Path, compression: CompressionType, *, summary: bool, chunked: bool) -> None:
    path = write_mcap(tmp_path / "a.mcap", messages=100, topics=3, compression=compression, summary=summary, chunked=chunked)
    check_against_raw_records(path)
    index = read_index(path)
    assert (index.profile, index.message_count, index.start_ns, index.end_ns) == ("ros2", 100, START_NS, START_NS + 99_000)
    assert Topic("/topic_0", "std_msgs/msg/String", "ros2msg", "cdr", 50, blake3(b"string data").digest()) in index.topics


@pytest.mark.needs("real recordings")
@pytest.mark.skipif(not REAL_FILES, reason="real recordings are not here: ../shared/recordings is missing")
def test_the_index_of_real_bags_agrees_with_their_raw_records() -> None:
    assert len(REAL_FILES) >= 7
    for path in REAL_FILES:
        check_against_raw_records(path)


def test_a_valid_file_without_messages_is_accepted(tmp_path: Path) -> None:
    """Recorders leave such files behind when they stop right after a split."""
    for summary in (True, False):
        index = read_index(write_mcap(tmp_path / f"{summary}.mcap", messages=0, summary=summary))
        assert (index.message_count, index.start_ns, index.end_ns) == (0, None, None)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    path.touch()
    check_refused(path, McapEmptyError)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(b"SQLite format 3\0" * 100)
    check_refused(path, NotMcapError)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    data = write_mcap(tmp_path / "whole.mcap").read_bytes()
    path = tmp_path / "cut.mcap"
    for size in range(1, len(data)):
        path.write_bytes(data[:size])
        check_refused(path, McapTruncatedError)


def test_a_file_with_a_hole_and_its_magic_at_the_end_is_refused(tmp_path: Path) -> None:
    data = write_mcap(tmp_path / "whole.mcap", summary=False).read_bytes()
    path = tmp_path / "cut.mcap"
    refused = 0
    for size in range(9, len(data) - 8, 7):
        path.write_bytes(data[:size] + MAGIC)
        check_refused(path, McapTruncatedError)
        refused += 1
    assert refused > 50


def test_damage_never_ends_in_anything_but_an_index_or_a_clear_error(tmp_path: Path) -> None:
    data = write_mcap(tmp_path / "whole.mcap").read_bytes()
    path = tmp_path / "damaged.mcap"
    errors = 0
    for position in range(8, len(data) - 8, 3):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :])
        try:
            read_index(path)
        except MeshError as error:
            check_line(error)
            errors += 1
    assert errors > 10


def test_a_summary_that_lies_is_not_believed(tmp_path: Path) -> None:
    """The statistics say a million messages, with a checksum that fits: the records are counted instead."""
    path = write_mcap(tmp_path / "a.mcap", messages=20)
    data = bytearray(path.read_bytes())
    summary_start, _, _ = struct.unpack_from("<QQI", data, len(data) - 8 - 20)
    position = summary_start
    while data[position] != 0x0B:
        position += 9 + struct.unpack_from("<Q", data, position + 1)[0]
    struct.pack_into("<Q", data, position + 9, 1_000_000)
    struct.pack_into("<I", data, len(data) - 12, zlib.crc32(data[summary_start : len(data) - 12]))
    path.write_bytes(data)
    assert read_index(path).message_count == 20


def test_a_summary_with_a_wrong_checksum_is_not_believed(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "a.mcap", messages=20)
    data = bytearray(path.read_bytes())
    data[len(data) - 12] ^= 1
    path.write_bytes(data)
    check_against_raw_records(path)


def test_a_missing_or_unreadable_path_says_so(tmp_path: Path) -> None:
    check_refused(tmp_path / "none.mcap", FileUnreadableError)
    check_refused(tmp_path, FileUnreadableError)
    if os.geteuid() != 0:
        path = write_mcap(tmp_path / "a.mcap")
        path.chmod(0)
        check_refused(path, FileUnreadableError)


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mcap")
    for path in (tmp_path / "pipe.mcap", Path("/dev/zero"), tmp_path):
        with pytest.raises(FileUnreadableError):
            read_index(path)


def test_the_summary_of_a_large_file_is_read_without_reading_the_file(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "a.mcap", messages=2000, payload=bytes(32 * 1024), compression=CompressionType.NONE)
    assert path.stat().st_size > 60_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read_before = _bytes_read()
    assert read_index(path).message_count == 2000
    assert _bytes_read() - read_before < 5_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000


def test_a_large_file_without_a_summary_is_read_in_constant_memory(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "a.mcap", messages=2000, payload=bytes(32 * 1024), summary=False, chunked=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_index(path).message_count == 2000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_a_chunk_that_stands_for_more_than_it_says_takes_no_memory(tmp_path: Path, compression: str) -> None:
    """Whoever publishes a file may have made it for that: a megabyte of it would be 250 here."""
    content = bytes(256 * 1024 * 1024)
    packed = lz4_frame.compress(content) if compression == "lz4" else zstandard.compress(content)
    chunk = struct.pack("<QQQII", START_NS, START_NS, 100, 0, len(compression)) + compression.encode() + struct.pack("<Q", len(packed)) + packed
    del content
    header, data_end, footer = struct.pack("<II", 0, 0), bytes(4), bytes(20)
    records = b"".join(struct.pack("<BQ", opcode, len(each)) + each for opcode, each in ((1, header), (6, chunk), (15, data_end), (2, footer)))
    path = tmp_path / "bomb.mcap"
    path.write_bytes(MAGIC + records + MAGIC)
    tracemalloc.start()
    try:
        check_refused(path, McapTruncatedError)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_of_schemas_no_more_than_their_hashes_is_held(tmp_path: Path) -> None:
    """They are packed with the messages, in a file of a hundred kilobytes."""
    path = tmp_path / "bomb.mcap"
    writer = Writer(str(path), chunk_size=4 * 1024 * 1024, compression=CompressionType.ZSTD, repeat_schemas=False, use_statistics=False)
    writer.start()
    for number in range(100):
        writer.register_schema(f"Schema{number}", "ros2msg", bytes(1024 * 1024))
        writer.add_message(writer.register_channel(f"/{number}", "raw", number + 1), START_NS, b"", START_NS)
    writer.finish()
    tracemalloc.start()
    try:
        assert read_index(path, check=True).message_count == 100
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def check_refused(path: Path, error: type[MeshError]) -> None:
    with pytest.raises(error) as caught:
        read_index(path)
    check_line(caught.value)


def check_line(error: MeshError) -> None:
    assert "\n" not in error.text
    assert error.fix


def _bytes_read() -> int:
    """What this process asked the system to read, as the system counts."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])
