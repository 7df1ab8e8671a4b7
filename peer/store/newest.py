"""The newest events, for whoever follows the log: what was committed just now need not be read back and decoded.

Bounded: who is further behind reads from the disk. While it follows, what comes waits for it: both compute on one core, so that nothing would be done
earlier otherwise, and all that it is behind would be read and decoded once more.
"""

import asyncio
import contextlib
import itertools
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

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
    """A run, or the end of one, that was committed."""

    start: int
    """The position of its first event."""
    branch: int
    run: Run
    size: int

    @property
    def end(self) -> int:
        """The position of its last event."""
        return self.start + len(self.run.events) - 1


class Newest:
    """Committed runs without gaps, up to the last one, as long as they have not been read."""

    def __init__(self) -> None:
        """Knows none yet."""
        self.waiting = 0
        """Events that wait for their commit."""
        self._runs: deque[_Placed] = deque()
        self._size = 0
        self._seen = 0
        self._asked_s = 0.0
        self._asked = asyncio.Event()
        self._has_all = False

    def _is_ahead(self, events: int) -> bool:
        """True if the follower is so far behind, and follows."""
        is_ahead = self.waiting + self._unseen >= events
        return is_ahead and (self._has_all or time.monotonic() < self._asked_s + FOLLOWS_S)

    @property
    def _unseen(self) -> int:
        """How many events are here that the follower has not seen."""
        return self._runs[-1].end - max(self._seen, self._runs[0].start - 1) if self._runs else 0

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
        placed = _Placed(position - len(run.events) + 1, branch, run, run.size)
        if self._runs and self._runs[-1].end != placed.start - 1:
            self._runs.clear()
            self._size = 0
        self._runs.append(placed)
        self._size += placed.size
        while self._runs and (self._runs[-1].end - self._runs[0].start >= NEWEST_EVENTS_MAX or self._size > NEWEST_BYTES_MAX):
            self._drop()

    def after(self, position: int, count_max: int, of_branch: BranchLookup) -> Sequence[StoredEvent] | None:
        """As `EventStore.events_after`; None if the next one is not here. Who asks has no use for those up to `position` any more."""
        self.asked(position, has_all=False)
        if not self._runs or self._runs[0].start > position + 1:
            return None
        events: list[StoredEvent] = []
        size = 0
        for placed in self._runs:
            events += _stored(placed, position, count_max - len(events), of_branch)
            size += placed.size
            if len(events) >= count_max or size >= READ_BYTES_MAX:
                break
        return events

    def asked(self, position: int, *, has_all: bool) -> None:
        """The follower has seen all up to `position`, which may be all there is."""
        while self._runs and self._runs[0].end <= position:
            self._drop()
        self._seen, self._asked_s, self._has_all = position, time.monotonic(), has_all
        self._asked.set()

    def _drop(self) -> None:
        self._size -= self._runs.popleft().size


def _stored(placed: _Placed, position: int, count_max: int, of_branch: BranchLookup) -> list[StoredEvent]:
    """The first events of a run that are above `position`."""
    group, log = of_branch(placed.branch)
    certificate = log.certificate
    skipped = max(0, position + 1 - placed.start)
    events = placed.run.events[skipped : skipped + count_max]
    roles = group.judgement.roles(certificate.peer, certificate.log, placed.branch, events)
    positions = itertools.count(placed.start + skipped)
    same = map(itertools.repeat, (group.group, certificate.kind, certificate.peer))
    return list(map(StoredEvent._make, zip(positions, *same, events, roles, strict=False)))
