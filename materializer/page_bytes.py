"""Pages of events, and what they touched, as bytes between two processes of one peer. They trust one another: nothing is checked.

A page is one array: a flag, both cursors, the groups with their digests, the authors, the types, then a column for each field of the events. Of their
headers it has what is projected: type, clock and refs.
"""

from typing import Any

from materializer.writing import Cursor, EventPage, Touched
from peer.core.certificate import LogKind
from peer.core.control import Role
from peer.core.encoding import decode_trusted, encode
from peer.core.event import EVENT_VERSION, Event, Header
from peer.core.identity import ID_SIZE, EventId, GroupId, LogId, PeerId
from peer.core.interfaces import StoredEvent

NO_LOG = LogId(bytes(ID_SIZE))

_KINDS = {kind.value: kind for kind in LogKind}
_ROLES = {role.value: role for role in Role}


def encode_page(page: EventPage, *, anew: bool) -> bytes:
    """A page with whether all that is remembered is to be forgotten first."""
    groups = {group: number for number, group in enumerate(page.digests)}
    authors: dict[PeerId, int] = {}
    types: dict[str, int] = {}
    stored_events = page.events
    events = [stored.event for stored in stored_events]
    headers = [event.header for event in events]
    columns = [
        [stored.position for stored in stored_events],
        [groups[stored.group] for stored in stored_events],
        [stored.kind.value for stored in stored_events],
        [authors.setdefault(stored.author, len(authors)) for stored in stored_events],
        [stored.role.value for stored in stored_events],
        [types.setdefault(header.type, len(types)) for header in headers],
        [header.hlc for header in headers],
        [header.refs for header in headers],
        [event.id for event in events],
        [event.body for event in events],
    ]
    return encode([anew, list(page.before), list(page.after), list(groups), list(page.digests.values()), list(authors), list(types), *columns])


def decode_page(data: bytes) -> tuple[EventPage, bool]:
    """What `encode_page` was given, with events of which only the projected fields say anything."""
    value: Any = decode_trusted(data)
    anew, before, after, groups, digests, authors, types, *columns = value
    events = [
        StoredEvent(
            position,
            groups[group],
            _KINDS[kind],
            authors[author],
            Event(Header(EVENT_VERSION, groups[group], NO_LOG, 0, b"", hlc, types[type_], refs, len(body), b""), b"", event_id, body),
            _ROLES[role],
        )
        for position, group, kind, author, role, type_, hlc, refs, event_id, body in zip(*columns, strict=True)
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
