"""Ancestry: which of a set of events lie under a point that another event names, whether or not the event at that point is here."""

from collections.abc import Iterable

from peer.core.control import Point
from peer.core.event import Event
from peer.core.identity import EventId, LogId


class Ancestry:
    """The lines of a set of events that was closed under ancestors when it came: every event with the one before it."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._events = {event.id: event for event in events}
        self._logs: dict[LogId, dict[int, list[EventId]]] = {}
        self._under: dict[Point, frozenset[EventId]] = {}
        self._below: dict[tuple[LogId, int], frozenset[EventId]] = {}
        for event in self._events.values():
            self._logs.setdefault(event.header.log, {}).setdefault(event.height, []).append(event.id)

    def is_under(self, event: Event, point: Point) -> bool:
        """Whether `event` is the one at `point` or an ancestor of it.

        While the event at the point is not here, those count as its ancestors that may still turn out to be: whatever has a descendant that is a tip
        lower than the point, itself included.
        """
        if event.header.log != point.log or event.height > point.height:
            return False
        log = self._logs.get(point.log, {})
        if all(len(ids) == 1 for ids in log.values()):
            at = log.get(point.height)
            return at is None or at[0] == point.event_id
        if point not in self._under:
            self._under[point] = self._line(point.event_id) if self._is_here(point) else self._open_lines(point)
        return event.id in self._under[point]

    def _is_here(self, point: Point) -> bool:
        event = self._events.get(point.event_id)
        return event is not None and event.header.log == point.log and event.height == point.height

    def _line(self, event_id: EventId) -> frozenset[EventId]:
        """An event and its ancestors."""
        line = set[EventId]()
        event = self._events.get(event_id)
        while event is not None and event.id not in line:
            line.add(event.id)
            event = self._events.get(EventId(event.header.previous))
        return frozenset(line)

    def _open_lines(self, point: Point) -> frozenset[EventId]:
        """What has a tip lower than the point above it."""
        key = (point.log, point.height)
        if key not in self._below:
            log = self._logs[point.log]
            inner = {EventId(self._events[event_id].header.previous) for ids in log.values() for event_id in ids}
            tips = [event_id for height, ids in log.items() if height < point.height for event_id in ids if event_id not in inner]
            self._below[key] = frozenset().union(*(self._line(tip) for tip in tips))
        return self._below[key]
