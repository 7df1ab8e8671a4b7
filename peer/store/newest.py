"""The newest events, for whoever follows the log: what was committed just now need not be read back and decoded.

Bounded: who is further behind reads from the disk.
"""

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from peer.core.control import Role
from peer.core.event import Event
from peer.core.interfaces import StoredEvent
from peer.core.run import Run
from peer.store.rows import READ_BYTES_MAX, BranchLookup

NEWEST_EVENTS_MAX = 8192
NEWEST_BYTES_MAX = 4 * 1024 * 1024
"""Of headers and bodies."""


class _Placed(NamedTuple):
    position: int
    branch: int
    event: Event


class Newest:
    """Committed events without gaps, up to the last one, as long as they have not been read."""

    def __init__(self) -> None:
        """Knows none yet."""
        self._events: deque[_Placed] = deque()
        self._size = 0

    def add(self, branch: int, run: Run, position: int) -> None:
        """Take the events of a commit; `position` is that of the last."""
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
        while self._events and self._events[0].position <= position:
            self._drop()
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

    def _drop(self) -> None:
        self._size -= self._events.popleft().event.size
