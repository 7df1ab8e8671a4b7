"""What of a stored event is projected, in one flat tuple: of very many events a tuple within a tuple within a tuple takes its time."""

from collections.abc import Sequence
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


def projected_events(stored: Sequence[StoredEvent]) -> list[ProjectedEvent]:
    """What is projected of these, in their order."""
    if not stored:
        return []
    _, groups, kinds, authors, events, roles = zip(*stored, strict=True)
    headers = zip(*[event.header for event in events], strict=True)
    _, _, _, _, _, clocks, types, refs, _, _ = headers
    are_data = [kind is LogKind.DATA for kind in kinds]
    ids, bodies = [event.id for event in events], [event.body for event in events]
    return list(map(ProjectedEvent._make, zip(groups, are_data, authors, roles, types, clocks, refs, ids, bodies, strict=True)))
