"""Answers that go on for as long as the caller listens: server-sent events, https://html.spec.whatwg.org/multipage/server-sent-events.html."""

import json
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

from aiohttp import web

STREAM_TYPE = "text/event-stream"

T = TypeVar("T")


async def send_events(request: web.Request, stream: AsyncGenerator[T | None, None], frame_of: Callable[[T], bytes]) -> web.StreamResponse:
    """Send what `stream` gives until the caller goes away. For None, which comes now and then, the caller is told that nothing was lost."""
    response = web.StreamResponse(headers={"Content-Type": STREAM_TYPE, "Cache-Control": "no-store"})
    try:
        async for each in stream:
            if not response.prepared:
                await response.prepare(request)
            await response.write(b": still here\n\n" if each is None else frame_of(each))
    except (ConnectionResetError, ConnectionAbortedError):
        pass  # They have seen enough.
    finally:
        await stream.aclose()
    return response


def event_frame(data: object, position: object = None, kind: str = "") -> bytes:
    """One event: its document, where it stands and what it is, if it has such."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    lines = [*([] if position is None else [f"id: {position}"]), *([f"event: {kind}"] if kind else []), f"data: {text}"]
    return ("\n".join(lines) + "\n\n").encode()
