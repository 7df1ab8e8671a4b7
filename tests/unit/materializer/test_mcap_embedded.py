"""What stands in MCAP files beside messages, as the index of a file tells it."""

import struct
from pathlib import Path

import pytest
from mcap.writer import IndexType, Writer

from materializer.fields import COUNT_MAX, EMBEDDED_BYTES_MAX, EMBEDDED_MAX, LABEL_BYTES_MAX
from materializer.mcap_index import McapIndex, read_index
from peer.core.encoding import encode
from peer.errors import McapTruncatedError, MeshError
from tests.mcap_samples import write_mcap


def write(path: Path, *records: tuple[str, dict[str, str]], indexed: bool = True, attachments: int = 1) -> Path:
    """A file with these metadata records and some attachments, with or without indexes of them in its summary."""
    writer = Writer(str(path), index_types=IndexType.ALL if indexed else IndexType.CHUNK | IndexType.MESSAGE)
    writer.start(profile="ros2", library="sample")
    schema = writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data")
    channel = writer.register_channel("/a", "cdr", schema)
    for number in range(3):
        writer.add_message(channel, number, b"x" * 100, number)
    for number in range(attachments):
        writer.add_attachment(1, 2, f"map_{number}.png", "image/png", b"p" * (1000 + number))
    for name, data in records:
        writer.add_metadata(name, data)
    writer.finish()
    return path


def indexes(tmp_path: Path, *records: tuple[str, dict[str, str]]) -> McapIndex:
    """The index of a file with these records, which is the same however it comes about."""
    indexed = read_index(write(tmp_path / "a.mcap", *records))
    assert indexed == read_index(write(tmp_path / "b.mcap", *records, indexed=False))
    assert indexed == read_index(tmp_path / "a.mcap", check=True)
    (tmp_path / "c.mcap").write_bytes(without_summary((tmp_path / "a.mcap").read_bytes()))
    assert indexed == read_index(tmp_path / "c.mcap")
    return indexed


def test_metadata_and_attachments_are_listed_with_their_sizes(tmp_path: Path) -> None:
    index = indexes(tmp_path, ("robot", {"serial": "7"}), ("empty", {}))
    attachment, robot, empty = index.embedded
    assert attachment == ("attachment", "map_0.png", "image/png", 1000)
    assert robot == ("metadata", "robot", "", 4 + 5 + 4 + 4 + 6 + 4 + 1)
    assert empty == ("metadata", "empty", "", 4 + 5 + 4)
    assert index.dropped is None


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], None),
        ([("recorder", {"dropped_message_count": "3"})], 3),
        ([("Rosbag2", {"messages_lost": "0"})], 0),
        ([("recmesh", {"other": "1", "messages_dropped": "12"})], 12),
        ([("robot", {"messages_lost": "5"})], None),
        ([("recorder", {"messages_lost": "5"}), ("recorder", {"messages_lost": "9"})], 9),
        ([("recorder", {"messages_lost": "5"}), ("recorder", {"state": "closed"})], 5),
        ([("recorder", {"messages_lost": "-5"})], None),
        ([("recorder", {"messages_lost": "\u0665"})], None),
        ([("recorder", {"messages_lost": ""})], None),
        ([("recorder", {"messages_lost": str(COUNT_MAX)})], COUNT_MAX),
        ([("recorder", {"messages_lost": str(COUNT_MAX + 1)})], None),
        ([("recorder", {"messages_lost": "1" * 5000})], None),
    ],
)
def test_dropped_messages_are_what_the_last_record_of_the_recorder_says(
    tmp_path: Path, records: list[tuple[str, dict[str, str]]], expected: int | None
) -> None:
    assert indexes(tmp_path, *records).dropped == expected


def test_a_file_that_says_nothing_has_nothing(tmp_path: Path) -> None:
    index = read_index(write_mcap(tmp_path / "a.mcap"))
    assert (index.dropped, index.embedded) == (None, [])


def test_more_than_an_event_has_room_for_is_cut_off_and_names_are_tamed(tmp_path: Path) -> None:
    long = [(f"{number}" + "n" * 300 + "\x1b[2J", {}) for number in range(100)]
    found = indexes(tmp_path, *long).embedded
    assert 5 < len(found) < EMBEDDED_MAX
    assert len(encode([list(each) for each in found])) <= EMBEDDED_BYTES_MAX
    assert all(len(name.encode()) <= LABEL_BYTES_MAX for _, name, _, _ in found)
    short = [(f"{number}\x1b", {}) for number in range(100)]
    found = indexes(tmp_path, *short).embedded
    assert len(found) == EMBEDDED_MAX
    assert found[1] == ("metadata", "0?", "", 4 + 2 + 4)


def test_a_summary_that_names_what_is_not_there_is_not_believed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mcap", ("robot", {"serial": "7"}))
    expected = read_index(path)
    data = bytearray(path.read_bytes())
    start = summary_start(data)
    position = find(data, start, 0x0D)
    struct.pack_into("<Q", data, position, 8)
    struct.pack_into("<I", data, len(data) - 12, 0)
    path.write_bytes(data)
    assert read_index(path) == expected


def test_a_damaged_chunk_is_found_where_all_records_are_checked_and_not_by_a_sound_summary(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "a.mcap", messages=100)
    data = bytearray(path.read_bytes())
    position = find(data, 8, 0x06)
    data[position + 60] ^= 0xFF
    path.write_bytes(data)
    assert read_index(path).message_count == 100
    with pytest.raises(McapTruncatedError):
        read_index(path, check=True)


def test_damage_anywhere_ends_in_an_index_or_a_clear_error(tmp_path: Path) -> None:
    data = write(tmp_path / "whole.mcap", ("recorder", {"messages_lost": "5"}), attachments=2).read_bytes()
    path = tmp_path / "damaged.mcap"
    errors: list[MeshError] = []
    for position in range(8, len(data) - 8, 3):
        if data[position] == ord("p"):
            continue  # The bytes of the attachments, which nobody reads.
        path.write_bytes(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :])
        for check in (False, True):
            try:
                read_index(path, check=check)
            except MeshError as error:
                errors.append(error)
    assert len(errors) > 10
    assert all(error.fix and "\n" not in error.text for error in errors)


def summary_start(data: bytes | bytearray) -> int:
    (start,) = struct.unpack_from("<Q", data, len(data) - 8 - 20)
    return int(start)


def without_summary(data: bytes) -> bytes:
    """The same records, with a footer that names no summary."""
    footer = struct.pack("<BQQQI", 0x02, 20, 0, 0, 0)
    return data[: summary_start(data)] + footer + data[-8:]


def find(data: bytes | bytearray, position: int, wanted: int) -> int:
    """Where the content of the first record of that kind begins."""
    while data[position] != wanted:
        position += 9 + struct.unpack_from("<Q", data, position + 1)[0]
    return position + 9
