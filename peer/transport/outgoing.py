"""Frames that wait to be sent on one link. Bounded, on this link and on all together: who does not read is cut off.

Bytes of recordings wait until nothing else does: an event is never behind more of them than the connection itself has taken.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from peer.errors import MeshError
from peer.transport.carrier import Carrier

QUEUE_BYTES_MAX = 16 * 1024 * 1024
"""Bytes that may wait on a link."""

QUEUES_BYTES_MAX = 64 * 1024 * 1024
"""Bytes that may wait on all links together; who then lets more than its share wait is cut off."""

QUEUE_BYTES_SHARE = 1024 * 1024
CLOSE_TIMEOUT_S = 2.0
"""How long the other side has to read what was still to be said; then the connection is cut."""


class Outgoing:
    """The sending half of a connection."""

    def __init__(self, carrier: Carrier, all_waiting: Callable[[], int]) -> None:
        """`all_waiting` tells the bytes that wait on all links."""
        self._carrier = carrier
        self._all_waiting = all_waiting
        self._frames: deque[bytes] = deque()
        self._last: deque[bytes] = deque()
        """What everything else passes."""
        self._woken = asyncio.Event()
        self._cutting: asyncio.TimerHandle | None = None
        self.waiting = 0
        """Bytes in the queue."""
        self.closing = asyncio.Event()
        self.error: MeshError | None = None
        """Why the connection broke, if it did while something was sent."""

    def put(self, frame: bytes, *, may_wait: bool = False) -> bool:
        """Send `frame` after what waits, but before what `may_wait`. False if too much waits already: then nothing more will be sent."""
        if self.closing.is_set():
            return True
        self.waiting += len(frame)
        if self.waiting > QUEUE_BYTES_MAX or (self.waiting > QUEUE_BYTES_SHARE and self._all_waiting() > QUEUES_BYTES_MAX):
            return False
        (self._last if may_wait else self._frames).append(frame)
        self._woken.set()
        return True

    def close(self) -> None:
        """Send what waits, for a while, and no more: whoever does not read it would keep us for ever."""
        if self.closing.is_set():
            return
        self.closing.set()
        self._woken.set()
        self._cutting = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._carrier.cut)

    async def run(self) -> None:
        """Send until closed, then close the carrier."""
        try:
            while (frame := await self._next()) is not None:
                self.waiting -= len(frame)
                await self._carrier.send(frame)
        except MeshError as error:
            self.error = error
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._carrier.close()

    async def _next(self) -> bytes | None:
        """What is sent next; None when it is closed and nothing waits any more."""
        while not self._frames and not self._last:
            if self.closing.is_set():
                return None
            self._woken.clear()
            await self._woken.wait()
        return (self._frames or self._last).popleft()

    def ended(self) -> None:
        """The connection is gone."""
        self.waiting = 0
        if self._cutting is not None:
            self._cutting.cancel()
