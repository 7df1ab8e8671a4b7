"""The lines of a log, found from its events: what a store on a disk keeps, worked out each time."""

from collections.abc import Iterable
from typing import NamedTuple

from peer.core.control import Point
from peer.core.event import Event
from peer.core.identity import EventId, LogId
from peer.core.judging import Places, marks
from peer.core.standing import Standing


class EventLine(NamedTuple):
    """Consecutive events of a log up to a tip: a `Line`."""

    number: int
    parent: int | None
    fork_height: int
    events: tuple[Event, ...]

    @property
    def height(self) -> int:
        """Of the last event."""
        return self.fork_height + len(self.events)


class Tree(NamedTuple):
    """A log as lines."""

    lines: tuple[EventLine, ...]
    """Parents before their children."""
    line_of: dict[EventId, int]

    def places(self, points: Iterable[Point]) -> Places:
        """On which lines the events at `points` lie, of those that are here."""
        found: dict[Point, int] = {}
        for point in points:
            number = self.line_of.get(point.event_id)
            if number is not None and self.event(number, point.height) == point.event_id:
                found[point] = number
        return found

    def event(self, number: int, height: int) -> EventId | None:
        """The id of the event of that height on a line."""
        line = self.lines[number]
        return line.events[height - line.fork_height - 1].id if line.fork_height < height <= line.height else None


def named_points(standing: Standing) -> set[Point]:
    """All points that cuts or seals name."""
    return {point for named in marks(standing).values() for point in named.points}


def points_of(standing: Standing, log: LogId) -> set[Point]:
    """All points of a log that cuts or seals name."""
    named = marks(standing).get(log)
    return set(named.points) if named else set()


def tree_of(events: Iterable[Event]) -> Tree:
    """The lines of the events of one log, closed under ancestors."""
    lines: list[list[Event]] = []
    left: list[tuple[int | None, int]] = []
    line_of: dict[EventId, int] = {}
    for event in sorted(events, key=lambda event: (event.height, event.id)):
        before = line_of.get(EventId(event.header.previous))
        if before is not None and lines[before][-1].id == event.header.previous:
            lines[before].append(event)
            line_of[event.id] = before
        else:
            line_of[event.id] = len(lines)
            lines.append([event])
            left.append((before, event.header.seq))
    return Tree(tuple(EventLine(number, *left[number], tuple(line)) for number, line in enumerate(lines)), line_of)
