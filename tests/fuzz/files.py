"""What reads files that others recorded: parts of MCAP files, and messages by the definitions in them."""

import asyncio
import contextlib
import json
from collections.abc import Iterable
from io import BytesIO

from mcap.writer import CompressionType, IndexType, Writer

from materializer.mcap_messages import Part, Selection, read_messages
from materializer.mcap_times import message_times
from materializer.ros_messages import NotReadableError, make_reader
from peer.errors import McapDamagedError, MessagesTooLargeError
from tests.fuzz.pieces import join, split

DEFINITION = (
    b"std_msgs/Header header\nPoint[<=3] places\nuint8[] image\nstring name\n===\nMSG: std_msgs/Header\nuint32 seq\n===\nMSG: a/Point\nfloat64 x"
)
END_NS = 2**63


class Bytes:
    """A `RandomAccess` over memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    async def read(self, start: int, size: int) -> bytes:
        assert 0 <= start <= start + size <= self.size, "nobody asks for what lies outside"
        return self._data[start : start + size]

    def expect(self, start: int, size: int) -> None:
        pass

    async def close(self) -> None:
        pass


def ros_message(data: bytes) -> None:
    """What is taken is JSON."""
    definition, message = (*split(data), b"", b"")[:2]
    with contextlib.suppress(NotReadableError):
        json.dumps(make_reader("a/msg/B", definition)(message), allow_nan=False)


def ros_messages() -> Iterable[bytes]:
    message = bytes.fromhex("00010000 07000000 01000000 000000000000f03f 02000000 0102 0000 02000000 4100")
    yield join([DEFINITION, message])
    yield join([b"string data", bytes.fromhex("00010000 02000000 4100")])
    yield join([b"bool[2] flags\nint64 LIMIT=5\nduration d\n", bytes(20)])


def mcap_file(data: bytes) -> None:
    """What is given comes in order; when the messages were, is known of whatever can be read."""
    asyncio.run(_read(data))


async def _read(data: bytes) -> None:
    times: list[int] = []
    part = Part("fuzzed", lambda: Bytes(data), 0, END_NS)
    with contextlib.suppress(McapDamagedError, MessagesTooLargeError):
        async for batch in read_messages([part], Selection()):
            times += [message.log_ns for message in batch]
    assert times == sorted(times)
    with contextlib.suppress(McapDamagedError, MessagesTooLargeError):
        async for _ in message_times(Bytes(data), "fuzzed", Selection()):
            pass


def mcap_files() -> Iterable[bytes]:
    for compression, index in (
        (CompressionType.ZSTD, IndexType.ALL),
        (CompressionType.LZ4, IndexType.NONE),
        (CompressionType.NONE, IndexType.ALL),
        (None, IndexType.ALL),
    ):
        file = BytesIO()
        writer = Writer(file, chunk_size=80, compression=compression or CompressionType.NONE, index_types=index, use_chunking=compression is not None)
        writer.start(profile="", library="")
        channel = writer.register_channel("/a", "json", writer.register_schema("s", "jsonschema", b"{}"))
        for number in range(6):
            writer.add_message(channel, 100 - 7 * (number % 3), b"{}", number, number)
        writer.finish()
        yield file.getvalue()
