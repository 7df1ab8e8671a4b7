"""Messages of a recording over HTTP: a stream of lines, each a JSON document, or an MCAP file.

What goes wrong before the first of them is an answer like any other. Afterwards it is the last line, which has `error` and nothing else. A file
breaks off, and so does the answer. Who does not read keeps a place for as long as nobody else wants it.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime

from aiohttp import web

from peer.api.problems import CODE
from peer.api.recording_routes import BYTES_TYPE, RECORDINGS
from peer.api.routes import Query, Route, query_flag, whole_number
from peer.core.access import Tier
from peer.core.message_order import MessageOrder, MessageService
from peer.errors import MeshError, RequestError

LINES_TYPE = "application/x-ndjson"
FORMATS = {"ndjson": LINES_TYPE, "mcap": BYTES_TYPE}
STALLED_S = 10.0
"""Who takes longer to read a part gives way to somebody else."""

NS_PER_S = 1_000_000_000
QUERIES = (
    Query("topic", "A topic that is wanted; without one, all are", repeated=True),
    Query("start", "From this time on: nanoseconds, or RFC 3339"),
    Query("end", "Up to, and not with, this time"),
    Query("limit", "How many messages at most", "integer"),
    Query("raw", "1 for payloads as they are", "integer"),
    Query("format", "ndjson, or mcap for a file with these messages"),
)


class MessageRoutes:
    """Handlers, for this service."""

    def __init__(self, messages: MessageService) -> None:
        """Does nothing yet."""
        self._messages = messages

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        return (
            Route(
                "GET",
                f"{RECORDINGS}/{{id}}/messages",
                self.messages,
                "Its messages in the order of time, one a line; of a recording that is elsewhere only what holds them is brought here",
                query=QUERIES,
                content=(LINES_TYPE, BYTES_TYPE),
                tier=Tier.VIEWER,
            ),
        )

    async def messages(self, request: web.Request) -> web.StreamResponse:
        """The stream. It goes as fast as it is read, and ends when nobody reads it."""
        limit = request.query.get("limit")
        if limit is not None and not whole_number(limit, "limit"):
            raise RequestError("limit is 1 or more", fix="leave it out to have all")
        order = MessageOrder(
            request.query.getall("topic", []),
            _time(request, "start"),
            _time(request, "end"),
            None if limit is None else whole_number(limit, "limit"),
            query_flag(request, "raw"),
        )
        form = request.query.get("format", "ndjson")
        if form not in FORMATS:
            raise RequestError(f"there is no format {form[:80]!r}", fix=f"write {' or '.join(FORMATS)}")
        read = self._messages.lines if form == "ndjson" else self._messages.extract
        return await _send(request, read(request.match_info["id"], order), form, self._messages)


async def _send(request: web.Request, parts: AsyncGenerator[bytes, None], form: str, messages: MessageService) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": FORMATS[form], "Cache-Control": "no-store"})
    try:
        async for some in parts:
            if not response.prepared:
                await response.prepare(request)
            await _write(request, response, some, messages)
        if not response.prepared:
            await response.prepare(request)
    except (ConnectionResetError, ConnectionAbortedError):
        pass  # They have seen enough.
    except MeshError as error:
        if not response.prepared:
            raise
        request[CODE] = error.code
        if form == "ndjson":
            await response.write(_last_line(error))
        elif request.transport is not None:
            request.transport.abort()
    finally:
        await parts.aclose()
    return response


async def _write(request: web.Request, response: web.StreamResponse, some: bytes, messages: MessageService) -> None:
    """Raises `ConnectionError` if nobody reads it any more, or somebody who reads too slowly has to give way."""
    writing = asyncio.create_task(response.write(some))
    try:
        while not (await asyncio.wait([writing], timeout=STALLED_S))[0]:
            if messages.gives_way() and request.transport is not None:
                request.transport.abort()
        await writing
    finally:
        writing.cancel()


def _last_line(error: MeshError) -> bytes:
    document = {"error": {"code": error.code, "detail": error.text, "fix": error.fix}}
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _time(request: web.Request, name: str) -> int | None:
    """A time of the query in nanoseconds. Raises `RequestError`."""
    text = request.query.get(name)
    if text is None:
        return None
    if text.isdecimal():
        return whole_number(text, name)
    try:
        moment = datetime.fromisoformat(text)
        return max(0, int(moment.replace(tzinfo=moment.tzinfo or UTC, microsecond=0).timestamp()) * NS_PER_S + moment.microsecond * 1000)
    except (ValueError, OverflowError, OSError) as error:
        raise RequestError(f"{name} is no time", fix="write nanoseconds, or 2026-11-20T08:30:00Z") from error
