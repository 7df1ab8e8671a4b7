"""When the messages of an MCAP file were logged, topic by topic, from its message indexes: no message is read where these are sound."""

import asyncio
import struct
import sys
from array import array
from collections.abc import AsyncGenerator, Mapping, Sequence

from mcap.opcode import Opcode

from materializer.mcap_layout import Layout, Section, read_layout
from materializer.mcap_messages import Selection, failure, sections_wanted
from materializer.mcap_records import UNREADABLE, Channels, Damage, Span, TooMuch, find_messages, frames, unpack_chunk
from peer.core.random_access import RandomAccess

INDEX_SIZE_MAX = 64 * 1024 * 1024
_INDEX = struct.Struct("<HI")
"""Channel, and bytes of what follows."""


async def message_times(source: RandomAccess, name: str, selection: Selection) -> AsyncGenerator[Mapping[str, Sequence[int]], None]:
    """The log times in ns of the messages that are selected, by topic: some at a time, a chunk's together, each in no order.

    `name` is how errors call the file. Raises `McapDamagedError`, `MessagesTooLargeError`, and what reading raises.
    """
    try:
        layout = await read_layout(source)
        waiting = sections_wanted(layout, selection)[::-1]
        while waiting:
            section = waiting.pop()
            times = await _times(source, layout, section, waiting[-1] if waiting else None)
            yield _selected(layout.channels, times, selection)
        if layout.damage:
            raise Damage(layout.damage)
    except (*UNREADABLE, TooMuch) as error:
        raise failure(error, name) from error


async def _times(source: RandomAccess, layout: Layout, section: Section, following: Section | None) -> Mapping[int, Sequence[int]]:
    """By channel, from the index, else from the messages themselves."""
    stop = section.start + section.length
    if section.is_chunk and 0 < section.index_length <= INDEX_SIZE_MAX:
        data = await source.read(stop, section.index_length)
        if following is not None:
            source.expect(following.start + following.length, following.index_length)
        try:
            return await asyncio.to_thread(_read_index, data, section)
        except UNREADABLE:
            pass
    data = await source.read(section.start, section.length)
    return await asyncio.to_thread(_read_section, data, layout.channels, section)


def _read_index(data: bytes, section: Section) -> Mapping[int, Sequence[int]]:
    """Raises `Damage` for an index that says something else than the summary."""
    found: dict[int, array[int]] = {}
    for opcode, start, length in frames(data):
        if opcode == Opcode.MESSAGE_INDEX:
            number, size = _INDEX.unpack_from(data, start) if length >= _INDEX.size else (0, -1)
            if size != length - _INDEX.size:
                raise Damage("an index is longer than its record")
            found.setdefault(number, array("Q")).extend(_read_times(memoryview(data)[start + _INDEX.size : start + length]))
    found = {number: times for number, times in found.items() if times}
    if section.channels is None or found.keys() != section.channels:
        raise Damage("an index has other channels than the summary")
    if min(map(min, found.values())) < section.start_ns or max(map(max, found.values())) > section.end_ns:
        raise Damage("an index has other times than the summary")
    return found


def _read_times(data: memoryview) -> "array[int]":
    """Those in the pairs of a time and a place that an index has: packed, since there may be millions. Raises `ValueError`."""
    pairs = array("Q")
    pairs.frombytes(data)
    if sys.byteorder == "big":
        pairs.byteswap()
    if len(pairs) % 2:
        raise Damage("an index ends in the middle")
    return pairs[::2]


def _read_section(data: bytes, channels: Channels, section: Section) -> Mapping[int, list[int]]:
    if section.is_chunk:
        data = unpack_chunk(data)
        for opcode, start, length in frames(data):
            channels.add(opcode, data[start : start + length])
    found: dict[int, list[int]] = {}
    for message in find_messages(data, 0, lambda _: True, Span(), Span(section.start_ns, section.end_ns + 1)):
        found.setdefault(message.channel, []).append(message.log_ns)
    return found


def _selected(channels: Channels, times: Mapping[int, Sequence[int]], selection: Selection) -> Mapping[str, Sequence[int]]:
    found: dict[str, array[int]] = {}
    span = selection.span
    for number, all_times in times.items():
        topic = channels.facts(number).topic
        if selection.has(topic):
            found.setdefault(topic, array("Q")).extend(time_ns for time_ns in all_times if span.start_ns <= time_ns < span.stop_ns)
    return found
