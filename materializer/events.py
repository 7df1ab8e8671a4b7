"""What of a stored event is projected, in one flat tuple: of very many events a tuple within a tuple within a tuple takes its time."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from peer.core.certificate import LogKind
from peer.core.control import Role
from peer.core.identity import EventId, GroupId, PeerId
from peer.core.interfaces import StoredEvent


class ProjectedEvent(NamedTuple):
    """An event of a group."""

    group: GroupId
    is_data: bool
    """Not of a control log: of those it counts only that they are there."""
    author: PeerId
    role: Role
    """The author's at this event."""
    type: str
    hlc: int
    refs: Sequence[EventId]
    id: EventId
    body: bytes


def projected_events(events: Iterable[StoredEvent]) -> list[ProjectedEvent]:
    """What is projected of these, in their order."""
    found = []
    for _, group, kind, author, event, role in events:
        header = event.header
        found.append(ProjectedEvent(group, kind is LogKind.DATA, author, role, header.type, header.hlc, header.refs, event.id, event.body))
    return found
