"""Pages of events, and what they touched, as bytes between two processes of one peer. They trust one another: nothing is checked.

A page is one array: a flag, both cursors, the groups with their digests, the authors, then a column for each field of the events.
"""

from typing import Any

from materializer.writing import Cursor, EventPage, Touched
from peer.core.certificate import LogKind
from peer.core.control import Role
from peer.core.encoding import decode_trusted, encode
from peer.core.event import held_event
from peer.core.identity import EventId, GroupId, PeerId
from peer.core.interfaces import StoredEvent

_KINDS = {kind.value: kind for kind in LogKind}
_ROLES = {role.value: role for role in Role}


def encode_page(page: EventPage, *, anew: bool) -> bytes:
    """A page with whether all that is remembered is to be forgotten first."""
    groups = {group: number for number, group in enumerate(page.digests)}
    authors: dict[PeerId, int] = {}
    events = page.events
    columns = [
        [stored.position for stored in events],
        [groups[stored.group] for stored in events],
        [stored.kind.value for stored in events],
        [authors.setdefault(stored.author, len(authors)) for stored in events],
        [stored.role.value for stored in events],
        [stored.event.id for stored in events],
        [stored.event.header_bytes for stored in events],
        [stored.event.body for stored in events],
    ]
    return encode([anew, list(page.before), list(page.after), list(groups), list(page.digests.values()), list(authors), *columns])


def decode_page(data: bytes) -> tuple[EventPage, bool]:
    """What `encode_page` was given."""
    value: Any = decode_trusted(data)
    anew, before, after, groups, digests, authors, *columns = value
    events = [
        StoredEvent(position, groups[group], _KINDS[kind], authors[author], held_event(header, event_id, body), _ROLES[role])
        for position, group, kind, author, role, event_id, header, body in zip(*columns, strict=True)
    ]
    return EventPage(Cursor(*before), Cursor(*after), dict(zip(groups, digests, strict=True)), events), anew


def encode_touched(touched: Touched) -> bytes:
    """Recordings, in no order."""
    return encode([[group for group, _ in touched], [recording for _, recording in touched]])


def decode_touched(data: bytes) -> Touched:
    """What `encode_touched` was given."""
    value: Any = decode_trusted(data)
    groups, recordings = value
    return {(GroupId(group), EventId(recording)) for group, recording in zip(groups, recordings, strict=True)}
