"""Writing one page of events into `views.db`, with the place in the log up to which it holds everything then."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from materializer.digest import PROJECTION_VERSION
from materializer.events import ProjectedEvent
from materializer.judging import read_judgement
from materializer.projector import Projector
from materializer.tables import Connection
from peer.core.identity import EventId, GroupId

NO_EVENT = EventId(bytes(32))

Touched = AbstractSet[tuple[GroupId, EventId]]
"""Recordings that events are about."""


class Cursor(NamedTuple):
    """How far the projections have come in this peer's own order."""

    version: int
    position: int
    event_id: EventId


START = Cursor(PROJECTION_VERSION, 0, NO_EVENT)


class OutOfStepError(Exception):
    """The file does not hold what was thought: somebody else has written meanwhile."""


class EventPage(NamedTuple):
    """Events that follow one another in the log, to be projected in one transaction."""

    before: Cursor
    after: Cursor
    digests: Mapping[GroupId, bytes]
    """Of the judgement by which the events of each group have their roles."""
    events: Sequence[ProjectedEvent]


def read_cursor(connection: Connection) -> Cursor:
    """How far the projections have come; the start where there is nothing."""
    row = connection.execute("SELECT version, position, event_id FROM progress").fetchone()
    return Cursor(*row) if row else START


def write_page(connection: Connection, projector: Projector, page: EventPage) -> Touched:
    """Project a page within a transaction of the caller's.

    Raises `OutOfStepError` where it does not follow what is there, or what is there was judged in another way.
    """
    if read_cursor(connection) != page.before:
        raise OutOfStepError
    if any(read_judgement(connection, group) not in {None, digest} for group, digest in page.digests.items()):
        raise OutOfStepError
    touched = projector.apply(connection, page.digests, page.events)
    connection.execute("REPLACE INTO progress VALUES (1, ?, ?, ?)", page.after)
    return touched
