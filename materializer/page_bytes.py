"""Pages of events, and what they touched, as bytes between two processes of one peer. They trust one another: nothing is checked.

A page is one array: a flag, both cursors, the groups and their digests, the groups, authors and types of the events, then a column for each field of
them. Groups, authors and types are numbers there.
"""

from collections.abc import Sequence
from typing import Any

from materializer.events import ProjectedEvent
from materializer.writing import Cursor, EventPage, Touched
from peer.core.control import Role
from peer.core.encoding import decode_trusted, encode
from peer.core.identity import EventId, GroupId

NO_COLUMNS: Sequence[Sequence[Any]] = [()] * len(ProjectedEvent._fields)
_ROLES = {role.value: role for role in Role}


def encode_page(page: EventPage, *, anew: bool) -> bytes:
    """A page with whether all that is remembered is to be forgotten first."""
    groups, are_data, authors, roles, types, *rest = zip(*page.events, strict=True) if page.events else NO_COLUMNS
    named = [list(dict.fromkeys(column)) for column in (groups, authors, types)]
    group_of, author_of, type_of = ({name: number for number, name in enumerate(names)} for names in named)
    columns = [
        [group_of[group] for group in groups],
        list(are_data),
        [author_of[author] for author in authors],
        [role.value for role in roles],
        [type_of[type_] for type_ in types],
        *map(list, rest),
    ]
    digests = [list(page.digests), list(page.digests.values())]
    return encode([anew, list(page.before), list(page.after), *digests, *named, *columns])


def decode_page(data: bytes) -> tuple[EventPage, bool]:
    """What `encode_page` was given, in the same order."""
    value: Any = decode_trusted(data)
    anew, before, after, judged, digests, groups, authors, types, *columns = value
    group_of, are_data, author_of, role_of, type_of, *rest = columns
    rows = zip(
        [groups[number] for number in group_of],
        are_data,
        [authors[number] for number in author_of],
        [_ROLES[number] for number in role_of],
        [types[number] for number in type_of],
        *rest,
        strict=True,
    )
    return EventPage(Cursor(*before), Cursor(*after), dict(zip(judged, digests, strict=True)), list(map(ProjectedEvent._make, rows))), anew


def encode_touched(touched: Touched) -> bytes:
    """Recordings, in no order."""
    return encode([[group for group, _ in touched], [recording for _, recording in touched]])


def decode_touched(data: bytes) -> Touched:
    """What `encode_touched` was given."""
    value: Any = decode_trusted(data)
    groups, recordings = value
    return {(GroupId(group), EventId(recording)) for group, recording in zip(groups, recordings, strict=True)}
