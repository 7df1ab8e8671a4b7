"""Damage that leaves something which readers stumble over, were it taken over as it is."""

import struct
from pathlib import Path

import pytest
from lz4 import frame as lz4_frame
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from materializer.mcap_recovery import Recovery, recover
from tests.mcap_samples import START_NS, write_mcap
from tests.raw_mcap import RawMessage, raw_chunks, raw_messages


def recovered(folder: Path, data: bytes) -> tuple[Recovery, list[RawMessage]]:
    """What became of a file with these bytes, which a reader that goes by its indexes reads as well."""
    (folder / "damaged.mcap").write_bytes(data)
    target = folder / "recovered.mcap"
    target.unlink(missing_ok=True)
    recovery = recover(folder / "damaged.mcap", target, "")
    messages = raw_messages(target.read_bytes())
    with target.open("rb") as file:
        assert sum(1 for _ in make_reader(file, validate_crcs=True).iter_messages()) == len(messages) == recovery.message_count
    return recovery, messages


def record(opcode: int, content: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(content)) + content


@pytest.mark.parametrize("ends", [True, False])
def test_a_chunk_whose_compression_does_not_end_is_written_anew(tmp_path: Path, ends: bool) -> None:  # noqa: FBT001
    """Its content is all there and has the right checksum, but others refuse the frame."""
    whole = write_mcap(tmp_path / "whole.mcap", messages=60, compression=CompressionType.LZ4).read_bytes()
    chunk = raw_chunks(whole)[1]
    content = whole[chunk.start + 9 : chunk.stop]
    inside = lz4_frame.decompress(content[32 + 3 + 8 :])
    packed = lz4_frame.compress(inside, content_checksum=False)
    packed = packed if ends else packed[:-4]
    changed = record(0x06, content[:35] + struct.pack("<Q", len(packed)) + packed)

    recovery, messages = recovered(tmp_path, whole[: chunk.start] + changed + whole[chunk.stop : -8])

    assert messages == raw_messages(whole)
    assert recovery.lost_message_count == 0
    assert recovery.place_count == (0 if ends else 1)


def test_times_of_a_chunk_that_are_not_those_of_its_messages_are_put_right(tmp_path: Path) -> None:
    """No checksum covers them, and readers go by them."""
    whole = bytearray(write_mcap(tmp_path / "whole.mcap", messages=60).read_bytes())
    chunk = raw_chunks(bytes(whole))[1]
    original = raw_messages(bytes(whole))
    whole[chunk.start + 9 : chunk.start + 25] = struct.pack("<QQ", 1, 2)

    _, messages = recovered(tmp_path, bytes(whole[:-4]))

    assert messages == original
    with (tmp_path / "recovered.mcap").open("rb") as file:
        found = list(make_reader(file).iter_messages(starting_at=chunk.start_ns, ending_at=chunk.end_ns))
    assert len(found) == sum(chunk.start_ns <= each.log_time <= chunk.end_ns for each in original)


def two_topics(path: Path) -> bytes:
    """Each chunk describes one more channel; both have one schema, which only the first chunk describes."""
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=200, compression=CompressionType.NONE)
        writer.start(profile="ros2", library="sample")
        schema = writer.register_schema("pkg/msg/A", "ros2msg", b"int32 a")
        for topic in ("/a", "/b"):
            channel = writer.register_channel(topic, "cdr", schema)
            for number in range(8):
                writer.add_message(channel, START_NS + number, bytes(30), START_NS, number)
            writer.flush()
        writer.finish()
    return path.read_bytes()


def test_a_schema_that_only_a_lost_chunk_described_comes_from_the_summary(tmp_path: Path) -> None:
    whole = bytearray(two_topics(tmp_path / "whole.mcap"))
    original = raw_messages(bytes(whole))
    first = raw_chunks(bytes(whole))[0]
    whole[first.stop - 5] ^= 0xFF

    _, messages = recovered(tmp_path, bytes(whole))

    assert len(messages) >= 8
    assert set(messages) < set(original)
    assert {message.schema for message in messages} == {("pkg/msg/A", "ros2msg", b"int32 a")}


def test_messages_whose_schema_nobody_knows_are_lost_and_counted(tmp_path: Path) -> None:
    whole = bytearray(two_topics(tmp_path / "whole.mcap"))
    first = raw_chunks(bytes(whole))[0]
    whole[first.stop - 5] ^= 0xFF
    extra = record(0x03, struct.pack("<H", 9) + b"\x01\0\0\0b\0\0\0\0\0\0\0\0")
    extra += record(0x04, struct.pack("<HH", 9, 9) + b"\x02\0\0\0/c\x03\0\0\0cdr\0\0\0\0")
    extra += record(0x05, struct.pack("<HIQQ", 9, 0, START_NS, START_NS) + b"kept")
    end = raw_chunks(bytes(whole))[-1].stop

    recovery, messages = recovered(tmp_path, bytes(whole[:end]) + extra)

    assert [message.data for message in messages] == [b"kept"]
    assert recovery.lost_message_count == 16


def test_a_message_of_a_time_that_no_reader_takes_is_lost_alone(tmp_path: Path) -> None:
    path = tmp_path / "whole.mcap"
    with path.open("wb") as file:
        writer = Writer(file, use_chunking=False)
        writer.start(profile="", library="")
        channel = writer.register_channel("/a", "json", 0)
        for number in range(10):
            writer.add_message(channel, 2**63 + 5 if number == 4 else number, b"{}", 0, number)
        writer.finish()

    recovery, messages = recovered(tmp_path, path.read_bytes()[:-4])

    assert [message.sequence for message in messages] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert (recovery.lost_message_count, recovery.places[0].what) == (1, "a message of after the year 2262")
