"""Ancestry: which of a set of events lie under a point that another event names, whether or not the event at that point is here."""

from collections.abc import Iterable

from peer.core.control import Point
from peer.core.event import Event
from peer.core.identity import EventId, LogId

_Past = dict[LogId, int | frozenset[EventId]]
"""What lies under some points, by log: up to which height, or which events where the log has forks."""


class Ancestry:
    """The lines of a set of events that was closed under ancestors when it came: every event with the one before it."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._events = {event.id: event for event in events}
        self._logs: dict[LogId, dict[int, list[EventId]]] = {}
        self._pasts: dict[int, tuple[tuple[Point, ...], _Past]] = {}
        """By the identity of the points, which are kept with it: hashing hundreds of them for each event would cost more than looking."""
        for event in self._events.values():
            self._logs.setdefault(event.header.log, {}).setdefault(event.height, []).append(event.id)
        self._forked = {log for log, heights in self._logs.items() if any(len(ids) > 1 for ids in heights.values())}

    def is_under(self, event: Event, point: Point) -> bool:
        """Whether `event` is the one at `point` or an ancestor of it.

        While the event at the point is not here, those count as its ancestors that may still turn out to be: whatever has a descendant that is a tip
        lower than the point, itself included.
        """
        return _is_in(event, self._past((point,)))

    def is_under_any(self, event: Event, points: tuple[Point, ...]) -> bool:
        """Whether `event` lies under one of `points`. Asked often about the same points, this costs one look."""
        if id(points) not in self._pasts:
            self._pasts[id(points)] = points, self._past(points)
        return _is_in(event, self._pasts[id(points)][1])

    def _past(self, points: Iterable[Point]) -> "_Past":
        found: _Past = {}
        for point in points:
            before = found.get(point.log)
            if point.log in self._forked:
                line = self._line(point.event_id) if self._is_here(point) else self._open_lines(point)
                found[point.log] = line | (before if isinstance(before, frozenset) else frozenset())
            elif self._is_here(point) or point.height not in self._logs.get(point.log, {}):
                found[point.log] = max(point.height, before if isinstance(before, int) else 0)
        return found

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
        log = self._logs[point.log]
        inner = {EventId(self._events[event_id].header.previous) for ids in log.values() for event_id in ids}
        tips = [event_id for height, ids in log.items() if height < point.height for event_id in ids if event_id not in inner]
        return frozenset().union(*(self._line(tip) for tip in tips))


def _is_in(event: Event, past: _Past) -> bool:
    limit = past.get(event.header.log, 0)
    return event.height <= limit if isinstance(limit, int) else event.id in limit
