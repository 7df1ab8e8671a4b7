"""The messages of a recording, by topic and time, wherever its bytes are. Nothing is brought here but what holds them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial

from materializer.mcap_extract import Extract
from materializer.mcap_messages import Message, Part, Selection, read_messages
from materializer.mcap_records import TIME_STOP_NS, Span
from materializer.mcap_times import message_times
from materializer.readable import Reading, as_bytes
from peer.core.interfaces import WantedBlob
from peer.core.message_order import MessageOrder
from peer.core.random_access import RandomAccess
from peer.core.views import FileView, RecordingView
from peer.errors import NotFoundError, RequestError, TooManyReadersError
from peer.operations.json_form import to_json

READERS_MAX = 8
"""Recordings that are read at once: each may take what `materializer.mcap_messages` says of the memory."""

TOPICS_NAMED_MAX = 5
TOPICS_MAX = 1000
"""Topics that may be asked for together."""


class Messages:
    """Reads them."""

    def __init__(self, find: Callable[[str], Awaitable[RecordingView]], open_bytes: Callable[[WantedBlob], RandomAccess], version: str = "") -> None:
        """`find` tells which recording a reference means, `open_bytes` gives the bytes of a file of one; `version` is ours."""
        self._version = version
        self._find = find
        self._open_bytes = open_bytes
        self._readers = 0
        self._is_wanted = False
        """True if somebody was refused since a place was free."""

    def gives_way(self) -> bool:
        """True, once, if somebody was refused: whoever does not read what it asked for ends then."""
        is_wanted, self._is_wanted = self._is_wanted, False
        return is_wanted

    async def lines(self, reference: str, order: MessageOrder) -> AsyncGenerator[bytes, None]:
        """A JSON document for each message, on a line of its own, in the order of time; whole lines, some at a time.

        Raises `NotFoundError`, `RequestError`, `McapDamagedError`, `MessagesTooLargeError`, `TooManyReadersError`, `BytesUnreachableError`.
        """
        payloads = None if order.raw else Reading()
        async with contextlib.aclosing(self._chosen(reference, order)) as batches:
            async for batch in batches:
                yield await asyncio.to_thread(_to_lines, batch, payloads)

    async def extract(self, reference: str, order: MessageOrder) -> AsyncGenerator[bytes, None]:
        """The same messages as an MCAP file, some of it at a time. Raises as `lines`."""
        made = Extract(f"recmesh {self._version}")
        async with contextlib.aclosing(self._chosen(reference, order)) as batches:
            async for batch in batches:
                data = await asyncio.to_thread(made.add, batch)
                if data:
                    yield data
        yield await asyncio.to_thread(made.finish)

    async def _chosen(self, reference: str, order: MessageOrder) -> AsyncGenerator[list[Message], None]:
        left = order.limit
        async with self._reading(reference, order) as (view, selection):
            parts = [_part(view, chunk, self._open_bytes) for chunk in view.chunks]
            async with contextlib.aclosing(read_messages(parts, selection)) as batches:
                async for batch in batches:
                    yield batch if left is None else batch[:left]
                    if left is not None:
                        left -= min(left, len(batch))
                        if not left:
                            return

    async def times(self, reference: str, order: MessageOrder) -> AsyncGenerator[Mapping[str, Sequence[int]], None]:
        """The log times of the messages that are asked for, by topic: some at a time, in no order. Hardly more than indexes are read.

        Raises as `lines`.
        """
        async with self._reading(reference, order) as (view, selection):
            for chunk in view.chunks:
                part = _part(view, chunk, self._open_bytes)
                if part.start_ns is None or part.end_ns is None or not selection.overlaps(part.start_ns, part.end_ns):
                    continue
                source = part.open()
                try:
                    async with contextlib.aclosing(message_times(source, part.name, selection)) as all_times:
                        async for times in all_times:
                            yield times
                finally:
                    await source.close()

    @contextlib.asynccontextmanager
    async def _reading(self, reference: str, order: MessageOrder) -> AsyncIterator[tuple[RecordingView, Selection]]:
        if self._readers >= READERS_MAX:
            self._is_wanted = True
            raise TooManyReadersError(f"{READERS_MAX} callers are reading messages here already", fix="wait until one of them is done")
        self._readers += 1
        try:
            view = await self._find(reference)
            yield view, _selection(view, order)
        finally:
            self._readers -= 1
            self._is_wanted = False


def _selection(view: RecordingView, order: MessageOrder) -> Selection:
    if view.deleted:
        raise RequestError(f"{view.name} is deleted", fix=f"`recmesh recording restore {view.recording.hex()[:12]}` takes that back")
    if len(order.topics) > TOPICS_MAX:
        raise RequestError(f"at most {TOPICS_MAX} topics at once", fix="name none to have all")
    start_ns, stop_ns = order.start_ns or 0, TIME_STOP_NS if order.end_ns is None else order.end_ns
    if start_ns > stop_ns:
        raise RequestError("the end is before the start", fix="exchange them")
    known = {topic[0] for topic in view.topics}
    for topic in order.topics:
        if topic not in known:
            raise NotFoundError(f"{view.name} has no topic {topic[:200]!r}", fix=_has(sorted(known)))
    return Selection(frozenset(order.topics) or None, Span(start_ns, stop_ns))


def _has(topics: Sequence[str]) -> str:
    more = f" and {len(topics) - TOPICS_NAMED_MAX} more" if len(topics) > TOPICS_NAMED_MAX else ""
    return f"it has {', '.join(topics[:TOPICS_NAMED_MAX])}{more}" if topics else "it has none"


def _part(view: RecordingView, chunk: FileView, open_bytes: Callable[[WantedBlob], RandomAccess]) -> Part:
    file = WantedBlob(view.group, view.recording, chunk.blob, chunk.size, chunk.piece_size, chunk.pieces, chunk.sha256, view.site)
    return Part(chunk.name, partial(open_bytes, file), chunk.start_ns, chunk.end_ns)


def _to_lines(messages: Sequence[Message], payloads: Reading | None) -> bytes:
    """Each as it is, or as `payloads` reads it. For a thread."""
    return "".join(_to_line(message, payloads) for message in messages).encode()


def _to_line(message: Message, payloads: Reading | None) -> str:
    channel, schema = message.channel, message.channel.schema
    payload = as_bytes(message) if payloads is None else payloads.document(message)
    document = to_json(
        {
            "topic": channel.topic,
            "log_time_ns": message.log_ns,
            "publish_time_ns": message.publish_ns,
            "sequence": message.sequence,
            "schema": schema.name if schema is not None else "",
            "schema_encoding": schema.encoding if schema is not None else "",
            "encoding": channel.message_encoding,
            "size": len(message.data),
            "data_encoding": payload.encoding,
        }
    )
    assert isinstance(document, dict)
    note = {"note": payload.note} if payload.note else {}
    return json.dumps({**document, "data": payload.data, **note}, separators=(",", ":")) + "\n"
