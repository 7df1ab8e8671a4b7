"""Ancestry: which of a set of events lie under a point that another event names, whether or not the event at that point is here.

Whoever writes chooses how its logs fork and how many points it names, so no question here costs more the more there are of either.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from peer.core.control import Point
from peer.core.event import Event
from peer.core.identity import EventId, LogId


class _Below(NamedTuple):
    """What lies under some points in a log that has forks."""

    here: list[int]
    """The numbers of the events at points that are here, lowest first."""
    missing: int
    """The greatest height of a point whose event is not here."""


_Past = dict[LogId, int | _Below]
"""What lies under some points, by log: up to which height where the log has no forks."""


class Ancestry:
    """The lines of a set of events that was closed under ancestors when it came: every event with the one before it."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._events = {event.id: event for event in events}
        self._logs: dict[LogId, dict[int, list[EventId]]] = {}
        self._trees: dict[LogId, _Tree] = {}
        self._pasts: dict[int, tuple[tuple[Point, ...], _Past]] = {}
        """By the identity of the points, which are kept with it: hashing hundreds of them for each event would cost more than looking."""
        for event in self._events.values():
            self._logs.setdefault(event.header.log, {}).setdefault(event.height, []).append(event.id)
        self._forked = {log for log, heights in self._logs.items() if any(len(ids) > 1 for ids in heights.values())}

    def is_under_any(self, event: Event, points: tuple[Point, ...]) -> bool:
        """Whether `event` is the one at one of `points` or an ancestor of it. Asked often about the same points, this costs one look.

        While the event at a point is not here, those count as its ancestors that may still turn out to be: whatever has a descendant that is a tip
        lower than the point, itself included.
        """
        if id(points) not in self._pasts:
            self._pasts[id(points)] = points, self._past(points)
        return self._is_in(event, self._pasts[id(points)][1])

    def _past(self, points: Iterable[Point]) -> _Past:
        found: _Past = {}
        for point in points:
            before = found.get(point.log)
            if point.log in self._forked:
                below = before if isinstance(before, _Below) else _Below([], 0)
                if self._is_here(point):
                    below.here.append(self._tree(point.log).spans[point.event_id][0])
                else:
                    below = below._replace(missing=max(below.missing, point.height))
                found[point.log] = below
            elif self._is_here(point) or point.height not in self._logs.get(point.log, {}):
                found[point.log] = max(point.height, before if isinstance(before, int) else 0)
        for past in found.values():
            if isinstance(past, _Below):
                past.here.sort()
        return found

    def _is_in(self, event: Event, past: _Past) -> bool:
        limit = past.get(event.header.log, 0)
        return event.height <= limit if isinstance(limit, int) else self._tree(event.header.log).is_in(event, limit)

    def _is_here(self, point: Point) -> bool:
        event = self._events.get(point.event_id)
        return event is not None and event.header.log == point.log and event.height == point.height

    def _tree(self, log: LogId) -> "_Tree":
        if log not in self._trees:
            self._trees[log] = _Tree([self._events[event_id] for _, ids in sorted(self._logs[log].items()) for event_id in ids])
        return self._trees[log]

    def open_tips(self, log: LogId) -> list[Event]:
        """The tips of `log`, lowest first."""
        events = [self._events[event_id] for _, ids in sorted(self._logs.get(log, {}).items()) for event_id in ids]
        followed = {event.header.previous for event in events}
        return [event for event in events if event.id not in followed]

    def event_at(self, point: Point) -> Event | None:
        """The event at `point`, None if it is not here."""
        return self._events[point.event_id] if self._is_here(point) else None

    def before(self, event: Event) -> Event | None:
        """The one that `event` follows."""
        return self._events.get(EventId(event.header.previous))


class GrowingPast:
    """What lies under points of one log that are named one after the other. Each event is found once, however many there are."""

    def __init__(self, ancestry: Ancestry, log: LogId) -> None:
        self._ancestry = ancestry
        self._seen: set[EventId] = set()
        self._tips = ancestry.open_tips(log)
        self._tips_done = 0

    def add(self, points: Iterable[Point]) -> list[EventId]:
        """The events that lie under `points`, and under none of those before."""
        found: list[EventId] = []
        for point in points:
            event = self._ancestry.event_at(point)
            if event is not None:
                self._walk(event, found)
                continue
            while self._tips_done < len(self._tips) and self._tips[self._tips_done].height < point.height:
                self._walk(self._tips[self._tips_done], found)
                self._tips_done += 1
        return found

    def _walk(self, event: Event | None, found: list[EventId]) -> None:
        while event is not None and event.id not in self._seen:
            self._seen.add(event.id)
            found.append(event.id)
            event = self._ancestry.before(event)


class _Tree:
    """The lines of a log that has forks, its events numbered so that each has one number after the other with all that follow it."""

    def __init__(self, upwards: Sequence[Event]) -> None:
        """`upwards` are its events, the lowest first."""
        sizes = {event.id: 1 for event in upwards}
        self._low: dict[EventId, int] = {}
        """The height of the lowest tip that an event has above it, or is."""
        for event in reversed(upwards):
            low, previous = self._low.setdefault(event.id, event.height), EventId(event.header.previous)
            if previous in sizes:
                sizes[previous] += sizes[event.id]
                self._low[previous] = min(self._low.get(previous, low), low)
        self.spans: dict[EventId, tuple[int, int]] = {}
        """The number of an event, and the last number of those that follow it."""
        free: dict[EventId | None, int] = {None: 0}
        for event in upwards:
            previous = EventId(event.header.previous)
            parent = previous if previous in sizes else None
            number = free[parent]
            free[parent] = number + sizes[event.id]
            free[event.id] = number + 1
            self.spans[event.id] = number, number + sizes[event.id] - 1

    def is_in(self, event: Event, below: _Below) -> bool:
        """Whether `event` lies under what `below` stands for."""
        first, last = self.spans[event.id]
        index = bisect_left(below.here, first)
        return (index < len(below.here) and below.here[index] <= last) or self._low[event.id] < below.missing
