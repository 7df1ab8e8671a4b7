"""Where in an MCAP file the messages are: by its summary where that is sound, else by going through all of its records once.

A summary is sound where its checksum is right, it agrees with itself, and there are no messages beside the chunks that it names. What it says of a
chunk is looked at again when that is read.
"""

import asyncio
import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from mcap.opcode import Opcode
from mcap.records import AttachmentIndex, ChunkIndex, Footer, MetadataIndex, Statistics

from materializer.mcap_format import FOOTER_SIZE, FRAME_SIZE, MAGIC, MESSAGE_HEADER_SIZE
from materializer.mcap_records import (
    CHUNK_SIZE_MAX,
    HELD_BYTES_MAX,
    UNREADABLE,
    Channels,
    Damage,
    TooMuch,
    extent,
    frames,
    parse,
    read_frame,
    unpack_chunk,
)
from peer.core.random_access import RandomAccess

SUMMARY_SIZE_MAX = 64 * 1024 * 1024
SMALL_RECORD_SIZE_MAX = 16 * 1024 * 1024
WINDOW_SIZE = 64 * 1024
"""Bytes that are read at once where records are gone through."""

RUN_SIZE_MAX = 1024 * 1024
"""Messages outside of chunks are read so many bytes at a time, or one of them."""

SECTIONS_MAX = 1_000_000


RUN_CHANNELS_MAX = 256
"""Of messages outside of chunks it is known which channels they are of, if these are no more."""
GAPS_PER_TURN = 1000
"""Looked at before others have their turn."""
SECTION_COST = 128
CHANNEL_COST = 64
"""What a section, and a channel that one names alone, takes of the memory, at most."""


class Section(NamedTuple):
    """A chunk, or messages outside of chunks one after the other."""

    start: int
    length: int
    start_ns: int
    end_ns: int
    """Of its last message."""
    channels: frozenset[int] | None
    """Those that it has messages of, None if it says nothing about that."""
    is_chunk: bool
    index_length: int = 0
    """Bytes of the message indexes right behind it."""


class Layout(NamedTuple):
    """Where the messages are."""

    channels: Channels
    sections: Sequence[Section]
    """In the order of the file."""
    damage: str = ""
    """What is wrong behind the last of them."""

    sets_cost: int = 0

    @property
    def cost(self) -> int:
        """Of the memory, about."""
        return self.channels.cost + SECTION_COST * len(self.sections) + self.sets_cost


class _Sets:
    """Which channels sections have messages of: each such set once, since most are equal."""

    def __init__(self) -> None:
        self.sets: dict[frozenset[int], frozenset[int]] = {}
        self.cost = 0
        """Of the memory, about."""

    def keep(self, channels: frozenset[int]) -> frozenset[int]:
        """An equal one that is kept. Raises `TooMuch`."""
        if channels not in self.sets:
            self.cost += SECTION_COST + CHANNEL_COST * len(channels)
            if self.cost > HELD_BYTES_MAX:
                raise TooMuch(f"more than {HELD_BYTES_MAX} bytes about chunks")
        return self.sets.setdefault(channels, channels)


async def read_layout(source: RandomAccess) -> Layout:
    """The layout of a file. Raises `Damage` for what is none, `TooMuch`, and what reading raises."""
    if source.size < 2 * len(MAGIC) or await source.read(0, len(MAGIC)) != MAGIC:
        raise Damage("is not an MCAP file")
    try:
        return await _from_summary(source)
    except UNREADABLE:
        return await _from_records(source)


async def _from_summary(source: RandomAccess) -> Layout:
    end = source.size - len(MAGIC) - FOOTER_SIZE
    if end <= len(MAGIC):
        raise Damage("there is no footer")
    tail = await source.read(end, FOOTER_SIZE + len(MAGIC))
    if tail[FOOTER_SIZE:] != MAGIC or read_frame(tail) != (Opcode.FOOTER, FOOTER_SIZE - FRAME_SIZE):
        raise Damage("there is no footer")
    footer = parse(Footer.read, tail[FRAME_SIZE:FOOTER_SIZE])
    if not len(MAGIC) < footer.summary_start < end or end - footer.summary_start > SUMMARY_SIZE_MAX:
        raise Damage("there is no summary section")
    data = await source.read(footer.summary_start, end - footer.summary_start)
    if footer.summary_crc and zlib.crc32(tail[: FOOTER_SIZE - 4], zlib.crc32(data)) != footer.summary_crc:
        raise Damage("the checksum of the summary does not match")
    layout, known = await asyncio.to_thread(_read_summary, data)
    await _check_gaps(source, footer.summary_start, known)
    return layout


def _read_summary(data: bytes) -> tuple[Layout, list[tuple[int, int]]]:
    """The layout, and start and end of all that the summary names. Raises `Damage` if it contradicts itself."""
    channels, statistics, known = Channels(), None, list[tuple[int, int]]()
    sections: list[Section] = []
    sets = _Sets()
    for opcode, start, length in frames(data):
        content = data[start : start + length]
        match opcode:
            case Opcode.STATISTICS:
                statistics = parse(Statistics.read, content)
            case Opcode.CHUNK_INDEX:
                sections.append(_section(parse(ChunkIndex.read, content), sets))
            case Opcode.ATTACHMENT_INDEX:
                attachment = parse(AttachmentIndex.read, content)
                known.append((attachment.offset, attachment.offset + attachment.length))
            case Opcode.METADATA_INDEX:
                metadata = parse(MetadataIndex.read, content)
                known.append((metadata.offset, metadata.offset + metadata.length))
            case _:
                channels.add(opcode, content)
    if statistics is None or statistics.chunk_count != len(sections) or len(sections) > SECTIONS_MAX:
        raise Damage("the summary does not name all chunks")
    if not set(statistics.channel_message_counts).union(*sets.sets) <= channels.numbers:
        raise Damage("the summary has messages of a channel that is not there")
    sections.sort(key=lambda section: section.start)
    known += [(section.start, section.start + section.length + section.index_length) for section in sections]
    return Layout(channels, sections, sets_cost=sets.cost), sorted(known)


def _section(chunk: ChunkIndex, sets: _Sets) -> Section:
    if chunk.chunk_length > CHUNK_SIZE_MAX:
        raise Damage("a chunk is too long")
    numbers = sets.keep(frozenset(chunk.message_index_offsets)) or None
    times = (chunk.message_start_time, chunk.message_end_time)
    return Section(chunk.chunk_start_offset, chunk.chunk_length, *times, numbers, is_chunk=True, index_length=chunk.message_index_length)


async def _check_gaps(source: RandomAccess, end: int, known: Sequence[tuple[int, int]]) -> None:
    """Between what the summary names there must be no messages."""
    position = len(MAGIC)
    for number, (start, stop) in enumerate((*known, (end, end))):
        if number % GAPS_PER_TURN == 0:
            await asyncio.sleep(0)
        if start < position or stop < start or stop > end:
            raise Damage("the summary names what is not there")
        window = _Window(source, start)
        while position < start:
            opcode, length = await window.frame(position)
            if opcode in (Opcode.MESSAGE, Opcode.CHUNK):
                raise Damage("the summary does not name all messages")
            position += FRAME_SIZE + length
        position = stop


class _Window:
    """Records one after the other, without asking for each of them."""

    def __init__(self, source: RandomAccess, end: int) -> None:
        self._source = source
        self._end = end
        self._start = 0
        self._data = b""

    async def read(self, start: int, size: int) -> bytes:
        if start + size > self._end:
            raise Damage("a record is cut off")
        if not self._start <= start <= start + size <= self._start + len(self._data):
            self._data = await self._source.read(start, min(max(size, WINDOW_SIZE), self._end - start))
            self._start = start
        return self._data[start - self._start : start - self._start + size]

    async def frame(self, position: int) -> tuple[int, int]:
        opcode, length = read_frame(await self.read(position, FRAME_SIZE))
        if position + FRAME_SIZE + length > self._end:
            raise Damage("a record is longer than the file, or what it may fill of it")
        return opcode, length


async def _from_records(source: RandomAccess) -> Layout:
    """By all records, up to the first that cannot be read."""
    scan = _Scan(source)
    try:
        await scan.run()
    except UNREADABLE as error:
        return Layout(scan.channels, scan.sections, str(error) or "a record cannot be read", scan.sets.cost)
    return Layout(scan.channels, scan.sections, sets_cost=scan.sets.cost)


class _Scan:
    """The records of the data section, one at a time."""

    def __init__(self, source: RandomAccess) -> None:
        self._window = _Window(source, source.size)
        self.channels = Channels()
        self.sections: list[Section] = []
        self.sets = _Sets()
        self._end = source.size - len(MAGIC)

    async def run(self) -> None:
        position = len(MAGIC)
        while position < self._end:
            opcode, length = await self._window.frame(position)
            if opcode in (Opcode.DATA_END, Opcode.FOOTER):
                return
            size = FRAME_SIZE + length
            if opcode == Opcode.MESSAGE:
                self._add_message(await self._window.read(position, min(size, FRAME_SIZE + MESSAGE_HEADER_SIZE)), position, size)
            elif opcode == Opcode.CHUNK:
                if size > CHUNK_SIZE_MAX:
                    raise TooMuch(f"a chunk of {size} bytes, where at most {CHUNK_SIZE_MAX} are read")
                record = await self._window.read(position, size)
                self._add(await asyncio.to_thread(self._read_chunk, record, position))
            elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                if length > SMALL_RECORD_SIZE_MAX:
                    raise Damage(f"a record of {length} bytes, where at most {SMALL_RECORD_SIZE_MAX} are read")
                await self._describe(opcode, (await self._window.read(position, size))[FRAME_SIZE:])
            position += size
        raise Damage("it ends in the middle")

    async def _describe(self, opcode: int, data: bytes) -> None:
        if len(data) > WINDOW_SIZE:
            await asyncio.to_thread(self.channels.add, opcode, data)
        else:
            self.channels.add(opcode, data)

    def _add_message(self, head: bytes, position: int, size: int) -> None:
        if len(head) < FRAME_SIZE + MESSAGE_HEADER_SIZE:
            raise Damage("a message is too short")
        if size > CHUNK_SIZE_MAX:
            raise TooMuch(f"a message of {size} bytes, where at most {CHUNK_SIZE_MAX} are read")
        channel, log_ns = struct.unpack_from("<H4xQ", head, FRAME_SIZE)
        self.channels.facts(channel)
        last = self.sections[-1] if self.sections else None
        if last is None or last.is_chunk or last.start + last.length != position or last.length + size > RUN_SIZE_MAX:
            self._add(Section(position, size, log_ns, log_ns, frozenset((channel,)), is_chunk=False))
            return
        channels = last.channels
        if channels is not None and channel not in channels:
            channels = channels | {channel} if len(channels) < RUN_CHANNELS_MAX else None
        start_ns, end_ns = min(last.start_ns, log_ns), max(last.end_ns, log_ns)
        self.sections[-1] = Section(last.start, last.length + size, start_ns, end_ns, channels, is_chunk=False)

    def _add(self, section: Section | None) -> None:
        if len(self.sections) >= SECTIONS_MAX:
            raise TooMuch(f"more than {SECTIONS_MAX} chunks")
        last = self.sections[-1] if self.sections else None
        if last is not None and not last.is_chunk and last.channels is not None:
            self.sections[-1] = last._replace(channels=self.sets.keep(last.channels))
        if section is not None:
            self.sections.append(section)

    def _read_chunk(self, record: bytes, position: int) -> Section | None:
        """For a thread."""
        data = unpack_chunk(record)
        for opcode, start, length in frames(data):
            if opcode != Opcode.MESSAGE:
                self.channels.add(opcode, data[start : start + length])
        found = extent(data)
        if found is None:
            return None
        start_ns, end_ns, numbers = found
        for number in numbers:
            self.channels.facts(number)
        return Section(position, len(record), start_ns, end_ns, self.sets.keep(numbers), is_chunk=True)
