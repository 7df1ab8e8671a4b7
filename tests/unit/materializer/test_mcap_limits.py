"""What a file that somebody made for it may take of the memory of those who read its messages."""

import tracemalloc
from pathlib import Path

import pytest
from mcap.writer import CompressionType, Writer

from materializer.mcap_messages import Selection
from materializer.mcap_times import message_times
from peer.errors import McapDamagedError, MessagesTooLargeError
from tests.mcap_samples import START_NS
from tests.unit.materializer.test_mcap_messages import Bytes, part, read


def described(path: Path, *, schemas: int, size: int, summary: bool, topic: str = "/one") -> Path:
    """A small file with a large number of bytes about its only message."""
    writer = Writer(str(path), chunk_size=4 * 1024 * 1024, compression=CompressionType.ZSTD, repeat_schemas=summary, use_statistics=summary)
    writer.start()
    for number in range(schemas):
        writer.register_schema(f"Schema{number}", "ros2msg", bytes(size))
        if not summary:
            writer.add_message(writer.register_channel(f"/{number}", "raw", number + 1), START_NS, b"", START_NS)
    writer.add_message(writer.register_channel(topic, "raw", 1), START_NS, b"", START_NS)
    writer.finish()
    return path


async def test_schemas_that_stand_for_more_than_the_memory_are_refused(tmp_path: Path) -> None:
    """They are packed with the messages: a hundred kilobytes of a file would be gigabytes here."""
    path = described(tmp_path / "bomb.mcap", schemas=100, size=1024 * 1024, summary=False)
    assert path.stat().st_size < 1024 * 1024

    with pytest.raises(MessagesTooLargeError, match="schemas and channels"):
        await read(part(Bytes(path.read_bytes()), times=(START_NS, START_NS)))


async def test_a_name_that_stands_with_each_message_is_not_long(tmp_path: Path) -> None:
    path = described(tmp_path / "long.mcap", schemas=1, size=1, summary=True, topic="/" + "x" * 5000)
    with pytest.raises(McapDamagedError, match="too long"):
        await read(part(Bytes(path.read_bytes()), times=(START_NS, START_NS)))


def write_one(path: Path, time_ns: int) -> bytes:
    """A file with one message."""
    writer = Writer(str(path))
    writer.start()
    writer.add_message(writer.register_channel("/one", "raw", 0), time_ns, b"one", time_ns)
    writer.finish()
    return path.read_bytes()


async def test_the_times_of_millions_of_messages_take_little_more_than_their_index(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path / "many.mcap"), chunk_size=2**40, compression=CompressionType.ZSTD)
    writer.start()
    channel = writer.register_channel("/many", "raw", 0)
    for number in range(200_000):
        writer.add_message(channel, START_NS + number, b"", START_NS)
    writer.finish()
    source = Bytes((tmp_path / "many.mcap").read_bytes())
    tracemalloc.start()
    try:
        found = [times async for times in message_times(source, "many", Selection())]
        assert tracemalloc.get_traced_memory()[1] < 4 * 200_000 * 16
    finally:
        tracemalloc.stop()
    assert list(found[0]["/many"]) == list(range(START_NS, START_NS + 200_000))


async def test_files_that_are_read_to_their_end_are_closed_before_others_are_opened(tmp_path: Path) -> None:
    """A long recording has thousands of them."""
    is_open: set[int] = set()
    most = 0

    class Counted(Bytes):
        async def read(self, start: int, size: int) -> bytes:
            nonlocal most
            is_open.add(id(self))
            most = max(most, len(is_open))
            return await super().read(start, size)

        async def close(self) -> None:
            is_open.discard(id(self))

    sources = [Counted(write_one(tmp_path / f"{number}.mcap", START_NS + number)) for number in range(20)]
    assert len(await read(*(part(source) for source in sources))) == 20
    assert most <= 2
    assert not is_open
