"""The newest events, for whoever follows the log: what was committed just now need not be read back and decoded.

Bounded: who is further behind reads from the disk. While it follows, what comes waits for it: both compute on one core, so that nothing would be done
earlier otherwise, and all that it is behind would be read and decoded once more.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from peer.core.control import Role
from peer.core.event import Event
from peer.core.interfaces import StoredEvent
from peer.core.run import Run
from peer.store.rows import READ_BYTES_MAX, BranchLookup

NEWEST_EVENTS_MAX = 12_288
NEWEST_BYTES_MAX = 4 * 1024 * 1024
"""Of headers and bodies."""
AHEAD_EVENTS_MAX = 8192
"""Events that wait for their commit, or for the follower after it. More wait until these are half as many: so commits stay large."""
FOLLOWS_S = 1.0
"""Who has not asked for so long does not follow: nothing waits for it."""


class _Placed(NamedTuple):
    position: int
    branch: int
    event: Event


class Newest:
    """Committed events without gaps, up to the last one, as long as they have not been read."""

    def __init__(self) -> None:
        """Knows none yet."""
        self.waiting = 0
        """Events that wait for their commit."""
        self._events: deque[_Placed] = deque()
        self._size = 0
        self._asked_s = 0.0
        self._asked = asyncio.Event()
        self._has_all = False

    def _is_ahead(self, events: int) -> bool:
        """True if the follower is so far behind, and follows."""
        is_ahead = self.waiting + len(self._events) >= events
        return is_ahead and (self._has_all or time.monotonic() < self._asked_s + FOLLOWS_S)

    async def taken(self) -> None:
        """Where it is far behind: wait until it has taken half, or does not seem to follow any more."""
        if not self._is_ahead(AHEAD_EVENTS_MAX):
            return
        while self._is_ahead(AHEAD_EVENTS_MAX // 2):
            self._asked.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FOLLOWS_S):
                    await self._asked.wait()

    def add(self, branch: int, run: Run, position: int) -> None:
        """Take the events of a commit; `position` is that of the last."""
        if self._has_all:
            self._has_all, self._asked_s = False, time.monotonic()
        start = position - len(run.events) + 1
        if self._events and self._events[-1].position != start - 1:
            self._events.clear()
            self._size = 0
        for at, event in enumerate(run.events, start):
            self._events.append(_Placed(at, branch, event))
            self._size += event.size
        while self._events and (len(self._events) > NEWEST_EVENTS_MAX or self._size > NEWEST_BYTES_MAX):
            self._drop()

    def after(self, position: int, count_max: int, of_branch: BranchLookup) -> Sequence[StoredEvent] | None:
        """As `EventStore.events_after`; None if the next one is not here. Who asks has no use for those up to `position` any more."""
        self.asked(position, has_all=False)
        if not self._events or self._events[0].position != position + 1:
            return None
        events: list[StoredEvent] = []
        size = 0
        for at, branch, event in islice(self._events, count_max):
            group, log = of_branch(branch)
            certificate = log.certificate
            role: Role = group.judgement.role(certificate.peer, certificate.log, branch, event.height, event.id)
            events.append(StoredEvent(at, group.group, certificate.kind, certificate.peer, event, role))
            size += event.size
            if size >= READ_BYTES_MAX:
                break
        return events

    def asked(self, position: int, *, has_all: bool) -> None:
        """The follower has seen all up to `position`, which may be all there is."""
        while self._events and self._events[0].position <= position:
            self._drop()
        self._asked_s, self._has_all = time.monotonic(), has_all
        self._asked.set()

    def _drop(self) -> None:
        self._size -= self._events.popleft().event.size
