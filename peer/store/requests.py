"""What the writer is asked for, what it answers, and what it knows of this peer's own logs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from peer.core.certificate import Certificate, LogKind
from peer.core.event import Event
from peer.core.group import Genesis
from peer.core.identity import GroupId, KeyPair
from peer.core.interfaces import LaterDrafts, StoredEvent
from peer.core.run import RUN_BYTES_MAX, RUN_EVENTS_MAX, Draft, Run
from peer.errors import EventRejectedError, RequestError
from peer.store.database import Connection
from peer.store.keys import KeyFiles

HEADER_BYTES_AT_MOST = 256
REF_BYTES = 34
INCARNATION_SIZE = 16


class Append(NamedTuple):
    """Store a verified run."""

    certificate: Certificate
    run: Run


class Write(NamedTuple):
    """Write events of this peer."""

    group: GroupId
    kind: LogKind
    drafts: Sequence[Draft]
    then: Sequence[LaterDrafts] = ()
    """What makes the drafts that follow, from the ids of all before them."""


class Create(NamedTuple):
    """Begin to hold a group."""

    genesis: Genesis


class Rotate(NamedTuple):
    """Write no more on the open log. Answered with its last event, if there is one."""

    group: GroupId
    kind: LogKind


class Forget(NamedTuple):
    """Do as if a group were not here: this site has left it."""

    group: GroupId


Request = Append | Write | Create | Rotate | Forget
Outcome = Sequence[StoredEvent] | EventRejectedError | RequestError


class Writing(NamedTuple):
    """A log that this peer writes on."""

    key: KeyPair
    certificate: Certificate
    last: Event


OpenLogs = dict[tuple[GroupId, LogKind], Writing]


@dataclass(slots=True)
class Own:
    """What the writer knows of this peer itself."""

    peer: KeyPair
    keys: KeyFiles
    incarnation: bytes
    open_logs: OpenLogs = field(default_factory=dict)
    position: int = 0
    """The highest position that was ever given out here."""


def split_drafts(drafts: Sequence[Draft]) -> Iterator[list[Draft]]:
    """Parts of `drafts` that one signature may cover each, whatever their headers turn out to be."""
    part: list[Draft] = []
    size = 0
    for draft in drafts:
        draft_size = HEADER_BYTES_AT_MOST + len(draft.type.encode()) + REF_BYTES * len(draft.refs) + len(draft.body)
        if part and (len(part) == RUN_EVENTS_MAX or size + draft_size > RUN_BYTES_MAX):
            yield part
            part, size = [], 0
        part.append(draft)
        size += draft_size
    if part:
        yield part


def write_fact(connection: Connection, name: str, value: bytes) -> None:
    """Remember one fact in place of the one before."""
    connection.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, value))
