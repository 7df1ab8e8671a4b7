"""Messages of MCAP files in the order of their log times, and no more of the files than holds them.

Files and chunks are opened when their time has come, so that those that overlap are merged. What is held is bounded: the packed and unpacked bytes of
one chunk (`CHUNK_SIZE_MAX` each), and messages of chunks that overlap (`HELD_BYTES_MAX`). A chunk that is damaged ends it with an error,
after what was good before it.
"""

import asyncio
import heapq
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import NamedTuple

from materializer.mcap_layout import Layout, Section, read_layout
from materializer.mcap_records import (
    HELD_BYTES_MAX,
    MESSAGE_COST,
    TIME_STOP_NS,
    UNREADABLE,
    ChannelFacts,
    Damage,
    RawMessage,
    Span,
    TooMuch,
    find_messages,
    frames,
    unpack_chunk,
)
from peer.core.random_access import RandomAccess
from peer.errors import McapDamagedError, MeshError, MessagesTooLargeError

PLACES = 2**32
"""More than there are in a section: what is in the next one comes after all that is in this one."""

BATCH_MESSAGES = 1000
BATCH_BYTES = 256 * 1024
"""Messages are given so many, or of so many bytes, at a time, or one."""


class Part(NamedTuple):
    """One file of a recording. Its times are what is said of it: where it has none, it has no messages."""

    name: str
    open: Callable[[], RandomAccess]
    start_ns: int | None
    end_ns: int | None


class Selection(NamedTuple):
    """Which messages are wanted."""

    topics: frozenset[str] | None = None
    """None for all."""
    span: Span = Span()

    def has(self, topic: str | None) -> bool:
        """True for a topic that is wanted; one that is not known yet may be."""
        return self.topics is None or topic is None or topic in self.topics

    def overlaps(self, start_ns: int, end_ns: int) -> bool:
        """True if something from `start_ns` to `end_ns`, both included, is wanted."""
        return start_ns < self.span.stop_ns and end_ns >= self.span.start_ns


class Message(NamedTuple):
    """A message with what is said of its channel."""

    channel: ChannelFacts
    sequence: int
    log_ns: int
    publish_ns: int
    data: bytes


async def read_messages(parts: Sequence[Part], selection: Selection) -> AsyncGenerator[list[Message], None]:
    """The messages of all `parts` that are selected, in order, some at a time; those of one time in the order of parts and places.

    Raises `McapDamagedError`, `MessagesTooLargeError`, and what reading raises.
    """
    merge = _Merge(parts, selection)
    try:
        while batch := await merge.next_batch():
            yield batch
    finally:
        await merge.close()


def failure(error: Exception, name: str) -> MeshError:
    """The error that tells of `error`, which the file called `name` raised."""
    text = str(error) or type(error).__name__
    if isinstance(error, TooMuch):
        return MessagesTooLargeError(f"{name}: {text}", fix="name fewer topics, or a shorter time")
    return McapDamagedError(f"{name}: {text}", fix="what comes after it can be read with --start; `recmesh verify --deep` checks the bytes")


def sections_wanted(layout: Layout, selection: Selection) -> list[Section]:
    """Those that may hold what is selected, by time."""
    topic = layout.channels.topic
    wanted = [
        section
        for section in layout.sections
        if selection.overlaps(section.start_ns, section.end_ns)
        and (section.channels is None or any(selection.has(topic(number)) for number in section.channels))
    ]
    return sorted(wanted, key=lambda section: (section.start_ns, section.start))


class _File:
    """A part that is open."""

    def __init__(self, number: int, part: Part, selection: Selection) -> None:
        self.number = number
        self.name = part.name
        self._selection = selection
        self._source = part.open()
        self._layout: Layout | None = None
        self._waiting: list[Section] = []
        self.cost = 0
        """Of what is known of it, in memory."""
        self.cursors = 0
        """That are not at their end."""

    async def load(self) -> None:
        self._layout = await read_layout(self._source)
        self.cost = self._layout.cost
        self._waiting = sections_wanted(self._layout, self._selection)[::-1]
        self._expect()

    @property
    def next_time_ns(self) -> int | None:
        """When its next section begins."""
        return self._waiting[-1].start_ns if self._waiting else None

    @property
    def is_done(self) -> bool:
        """True if there is nothing more in it."""
        return not self._waiting and not self.cursors and not self.damage

    @property
    def damage(self) -> str:
        assert self._layout is not None
        return self._layout.damage

    async def open_next(self) -> list[RawMessage]:
        section = self._waiting.pop()
        data = await self._source.read(section.start, section.length)
        self._expect()
        return await asyncio.to_thread(self._find, section, data)

    def facts(self, channel: int) -> ChannelFacts:
        assert self._layout is not None
        return self._layout.channels.facts(channel)

    async def close(self) -> None:
        await self._source.close()

    def _expect(self) -> None:
        if self._waiting:
            self._source.expect(self._waiting[-1].start, self._waiting[-1].length)

    def _find(self, section: Section, data: bytes) -> list[RawMessage]:
        """For a thread."""
        assert self._layout is not None
        channels = self._layout.channels
        if section.is_chunk:
            data = unpack_chunk(data)
            for opcode, start, length in frames(data):
                channels.add(opcode, data[start : start + length])
        selection = self._selection
        claimed = Span(section.start_ns, section.end_ns + 1)
        return find_messages(data, section.start * PLACES, lambda number: selection.has(channels.topic(number)), selection.span, claimed)


class _Cursor:
    """Messages of one section that wait for their turn."""

    def __init__(self, file: _File, messages: list[RawMessage]) -> None:
        self.file = file
        self.cost = sum(len(message.data) + MESSAGE_COST for message in messages)
        self._messages = messages[::-1]

    def key(self) -> "tuple[int, int, int, int]":
        message = self._messages[-1]
        return message.log_ns, _MESSAGE, self.file.number, message.place

    def __bool__(self) -> bool:
        return bool(self._messages)

    def take(self) -> Message:
        raw = self._messages.pop()
        return Message(self.file.facts(raw.channel), raw.sequence, raw.log_ns, raw.publish_ns, raw.data)


_PART, _SECTION, _MESSAGE, _END = range(4)
"""What comes first of what has one time: whatever may hold earlier messages is opened before."""

_Item = tuple[tuple[int, int, int, int], "Part | _File | _Cursor"]


class _Merge:
    """Parts, sections and messages, by time."""

    def __init__(self, parts: Sequence[Part], selection: Selection) -> None:
        self._selection = selection
        self._files: dict[int, _File] = {}
        self._held = 0
        self._last_ns = 0
        self._waiting: list[_Item] = []
        for number, part in enumerate(parts):
            if part.start_ns is not None and part.end_ns is not None and selection.overlaps(part.start_ns, part.end_ns):
                self._push((part.start_ns, _PART, number, 0), part)

    async def close(self) -> None:
        while self._files:
            await self._files.popitem()[1].close()

    async def _let_go(self, file: _File) -> None:
        """Close a file as soon as there is nothing more in it: a recording may have many, one after the other."""
        if file.is_done:
            del self._files[file.number]
            self._held -= file.cost
            await file.close()

    async def next_batch(self) -> list[Message]:
        """The next messages, as many as are there without opening more; none at the end."""
        batch: list[Message] = []
        size = 0
        while self._waiting:
            key, item = self._waiting[0]
            if isinstance(item, _Cursor):
                heapq.heappop(self._waiting)
                size += self._take(item, batch, size)
                if not item:
                    await self._let_go(item.file)
                if len(batch) >= BATCH_MESSAGES or size >= BATCH_BYTES:
                    break
            elif batch:
                break
            else:
                heapq.heappop(self._waiting)
                await self._open(key, item)
        return batch

    def _take(self, cursor: _Cursor, batch: list[Message], size: int) -> int:
        """Move messages of `cursor` into `batch` while it is their turn; their size."""
        stop = self._waiting[0][0] if self._waiting else None
        taken = 0
        while cursor and len(batch) < BATCH_MESSAGES and size + taken < BATCH_BYTES and (stop is None or cursor.key() < stop):
            message = cursor.take()
            if message.log_ns < self._last_ns:
                raise failure(Damage("a message is earlier than its event says"), cursor.file.name)
            self._last_ns = message.log_ns
            taken += len(message.data)
            batch.append(message)
        if cursor:
            self._push(cursor.key(), cursor)
        else:
            self._held -= cursor.cost
            cursor.file.cursors -= 1
        return taken

    async def _open(self, key: tuple[int, int, int, int], item: "Part | _File") -> None:
        try:
            if isinstance(item, Part):
                file = _File(key[2], item, self._selection)
                self._files[file.number] = file
                await file.load()
                self._charge(file.cost)
            else:
                file = item
                if key[1] == _END:
                    raise Damage(file.damage)
                self._hold(_Cursor(file, await file.open_next()))
            self._push_next(file)
            await self._let_go(file)
        except (*UNREADABLE, TooMuch) as error:
            raise failure(error, item.name) from error

    def _hold(self, cursor: _Cursor) -> None:
        self._charge(cursor.cost)
        if cursor:
            cursor.file.cursors += 1
            self._push(cursor.key(), cursor)

    def _charge(self, cost: int) -> None:
        self._held += cost
        if self._held > HELD_BYTES_MAX:
            raise TooMuch(f"more than {HELD_BYTES_MAX} bytes of messages at once")

    def _push_next(self, file: _File) -> None:
        time_ns = file.next_time_ns
        if time_ns is not None:
            self._push((time_ns, _SECTION, file.number, 0), file)
        elif file.damage:
            self._push((TIME_STOP_NS, _END, file.number, 0), file)

    def _push(self, key: tuple[int, int, int, int], item: "Part | _File | _Cursor") -> None:
        heapq.heappush(self._waiting, (key, item))
