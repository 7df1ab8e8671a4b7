"""What the channels of an MCAP file say of themselves beside topic and encoding: what a recorder noted of who published there."""

import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, Schema

from materializer.mcap_format import FRAME
from materializer.mcap_pieces import Chunk, Read, Record, frames, pieces, summary
from materializer.mcap_taking import DAMAGED

CHANNEL_SIZE_MAX = 1024 * 1024
"""Of what a file says of one channel; more is passed over."""
CHANNELS_SIZE_MAX = 64 * 1024 * 1024
"""Of all of them; what comes then is passed over."""


class ChannelFacts(NamedTuple):
    """One channel."""

    topic: str
    schema: str
    encoding: str
    metadata: dict[str, str]


def read_channels(path: Path) -> list[ChannelFacts]:
    """All channels of a file, as far as they can be read: from its summary, or where that has none from its data. Blocks."""
    with path.open("rb") as file:
        number = file.fileno()
        size = os.fstat(number).st_size
        return _channels(lambda position, count: os.pread(number, count, position), size)


def _channels(read: Read, size: int) -> list[ChannelFacts]:
    _, data = summary(read, size)
    found = _collect((opcode, data[start + FRAME.size : end]) for opcode, start, end in frames(data))
    return found or _collect(_records(read, size))


def _records(read: Read, size: int) -> Iterator[tuple[int, bytes]]:
    for piece in pieces(read, size):
        if isinstance(piece, Record):
            yield piece.opcode, bytes(piece.content)
        elif isinstance(piece, Chunk):
            for opcode, start, end in frames(piece.records):
                if opcode != Opcode.MESSAGE:
                    yield opcode, piece.records[start + FRAME.size : end]


def _collect(records: Iterator[tuple[int, bytes]]) -> list[ChannelFacts]:
    schemas: dict[int, str] = {}
    channels: dict[int, Channel] = {}
    room = CHANNELS_SIZE_MAX
    for opcode, content in records:
        try:
            if opcode == Opcode.SCHEMA:
                schema = Schema.read(ReadDataStream(BytesIO(content)))
                room -= 0 if schemas.get(schema.id) == schema.name else len(schema.name)
                if room >= 0:
                    schemas[schema.id] = schema.name
            elif opcode == Opcode.CHANNEL and len(content) <= CHANNEL_SIZE_MAX:
                channel = Channel.read(ReadDataStream(BytesIO(content)))
                room -= 0 if channels.get(channel.id) == channel else len(content)
                if room >= 0:
                    channels[channel.id] = channel
        except DAMAGED:
            continue
    return [ChannelFacts(each.topic, schemas.get(each.schema_id, ""), each.message_encoding, each.metadata) for each in channels.values()]
