"""Events in, rows out: one page of events into `views.db`, within one transaction.

Rows are written in an order of their own, recordings before what belongs to them, so that a page with a child before its parent is like any other.
A parent that came in an earlier page is looked up; one that is nowhere yet gets a shadow row, and when it arrives what waited for it is settled.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from materializer.bodies import (
    AttachmentAdd,
    Body,
    ChunkAdd,
    ChunkTopics,
    PoisonError,
    RecordingCreate,
    RecordingFinalize,
    RecordingTag,
    TopicEntry,
    read_body,
)
from materializer.recordings import may_create, may_write
from materializer.registers import FINALIZE, tag_register
from materializer.settle import (
    RegisterChanges,
    WriteRow,
    settle_children,
    settle_first_write,
    settle_group,
    settle_manifest,
    settle_register,
    settle_writes,
)
from materializer.tables import Connection, Ledger, Place, find_recording, hlc_bytes, join_refs
from peer.core.certificate import LogKind
from peer.core.control import Role
from peer.core.encoding import encode
from peer.core.identity import EventId, GroupId, PeerId
from peer.core.interfaces import StoredEvent
from peer.core.names import folded
from peer.core.roster import Roster

CACHED_RECORDINGS_MAX = 20_000
NAMESAKES_MAX = 1000
FOLDED_COLUMN = 2
HLC_COLUMN = 6

_INSERT_RECORDING = "INSERT INTO recordings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FILL_SHADOW = (
    "UPDATE recordings SET site = ?, name = ?, folded = ?, machine = ?, created_ns = ?, profile = ?, hlc = ?, counts = ? WHERE recording_no = ?"
)
_LATER_NAMESAKES = "SELECT id FROM recordings WHERE folded = ? AND group_no = ? AND hlc >= ? AND counts LIMIT ?"
_INSERT_CHUNK = "INSERT INTO chunks VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_TOPICS = "INSERT INTO chunk_topics VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_ATTACHMENT = "INSERT INTO attachments VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_POISON = "INSERT INTO poison VALUES (NULL, ?, ?, ?, ?, ?)"


class _Known(NamedTuple):
    """A recording that has a row."""

    no: int
    site: bytes | None
    counts: int
    registers: set[str] | None = None
    """All registers that were ever written, where that is known: there is no need to look for earlier writes of another one."""


class _Read(NamedTuple):
    """An event whose body was read."""

    place: Place
    stored: StoredEvent
    body: Any


class Projector:
    """What is worth remembering between pages. After a transaction that failed, make a new one."""

    def __init__(self) -> None:
        """Knows nothing; reads what it needs."""
        self._groups: dict[GroupId, int] = {}
        self._recordings: dict[tuple[int, bytes], _Known] = {}
        self._roles: dict[tuple[int, PeerId], Role] = {}

    def check_rosters(self, connection: Connection, rosters: Mapping[GroupId, Roster]) -> set[GroupId]:
        """Compute those groups again in which a known author has another role than its events were judged by. The groups."""
        changed = set()
        for group, roster in rosters.items():
            group_no = self._find_group(connection, group)
            known = connection.execute("SELECT author, role FROM authors WHERE group_no = ?", (group_no,)).fetchall() if group_no else []
            if group_no and any(int(roster.role(PeerId(author))) != role for author, role in known):
                settle_group(connection, Place(group_no, group), roster.role)
                self._roles.clear()
                self._recordings.clear()
                changed.add(group)
        return changed

    def apply(self, connection: Connection, rosters: Mapping[GroupId, Roster], events: Sequence[StoredEvent]) -> set[tuple[GroupId, EventId]]:
        """Project `events`. The recordings that they touch."""
        page = _Page(connection, self, rosters)
        page.read(events)
        page.write()
        if len(self._recordings) > CACHED_RECORDINGS_MAX:
            self._recordings.clear()
        return page.touched

    def _find_group(self, connection: Connection, group: GroupId) -> int | None:
        if group not in self._groups:
            row = connection.execute("SELECT group_no FROM groups WHERE group_id = ?", (group,)).fetchone()
            if row is None:
                return None
            self._groups[group] = row[0]
        return self._groups[group]

    def group_no(self, connection: Connection, group: GroupId) -> int:
        """The row number of a group, which gets one if it has none."""
        found = self._find_group(connection, group)
        if found is None:
            connection.execute("INSERT INTO groups (group_id, events) VALUES (?, 0)", (group,))
            found = self._find_group(connection, group)
        assert found is not None
        return found

    def role(self, connection: Connection, group_no: int, author: PeerId, roster: Roster | None) -> Role:
        """The role by which `author` is judged; noted down at its first event."""
        key = (group_no, author)
        if key not in self._roles:
            row = connection.execute("SELECT role FROM authors WHERE group_no = ? AND author = ?", key).fetchone()
            role = Role(row[0]) if row else roster.role(author) if roster else Role.NONE
            if row is None:
                connection.execute("INSERT INTO authors VALUES (?, ?, ?)", (*key, int(role)))
            self._roles[key] = role
        return self._roles[key]

    def recording(self, connection: Connection, group_no: int, recording: bytes) -> _Known | None:
        """What is known of a recording, None if it has no row."""
        key = (group_no, recording)
        found = self._recordings.get(key)
        if found is None:
            row = find_recording(connection, group_no, recording)
            if row is None:
                return None
            found = self._recordings[key] = _Known(*row)
        return found

    def remember(self, group_no: int, recording: bytes, known: _Known) -> None:
        """Note a recording that was written."""
        self._recordings[group_no, recording] = known


class _Page:
    """One page of events on its way."""

    def __init__(self, connection: Connection, projector: Projector, rosters: Mapping[GroupId, Roster]) -> None:
        self.touched: set[tuple[GroupId, EventId]] = set()
        self._connection = connection
        self._projector = projector
        self._rosters = rosters
        self._ledger = Ledger()
        self._counts: dict[int, int] = {}
        self._creates: list[_Read] = []
        self._chunks: list[_Read] = []
        self._topics: list[_Read] = []
        self._attachments: list[_Read] = []
        self._writes: list[_Read] = []
        self._poison: list[tuple[object, ...]] = []
        self._by_type: Mapping[type[Body], list[_Read]] = {
            RecordingCreate: self._creates,
            ChunkAdd: self._chunks,
            ChunkTopics: self._topics,
            AttachmentAdd: self._attachments,
            RecordingFinalize: self._writes,
            RecordingTag: self._writes,
        }
        self._to_judge: dict[int, Place] = {}
        self._registers: dict[tuple[int, str], tuple[Place, list[WriteRow]]] = {}
        self._new_registers: set[tuple[int, str]] = set()
        (self._first_no,) = connection.execute("SELECT ifnull(max(recording_no), 0) + 1 FROM recordings").fetchone()
        self._next_no = self._first_no

    def read(self, events: Iterable[StoredEvent]) -> None:
        """Sort events by what they are. Bodies that fit no schema are poison."""
        places: dict[GroupId, Place] = {}
        for stored in events:
            place = places.get(stored.group)
            if place is None:
                place = places[stored.group] = Place(self._projector.group_no(self._connection, stored.group), stored.group)
            group_no = place.group_no
            self._counts[group_no] = self._counts.get(group_no, 0) + 1
            if stored.kind is LogKind.CONTROL:
                continue
            event = stored.event
            try:
                body = read_body(event.header.type, event.body)
            except PoisonError as error:
                row = (event.id, stored.author, event.header.type, str(error))
                self._poison.append((group_no, *row))
                self._ledger.add("poison", place, row)
                continue
            if body is not None:
                self._by_type[type(body)].append(_Read(place, stored, body))

    def write(self) -> None:
        """Write all rows, then set what depends on several of them."""
        connection = self._connection
        self._create_all()
        connection.executemany(_INSERT_CHUNK, [self._chunk(read) for read in self._chunks])
        connection.executemany(_INSERT_TOPICS, [self._more_topics(read) for read in self._topics])
        connection.executemany(_INSERT_ATTACHMENT, [self._attachment(read) for read in self._attachments])
        connection.executemany(_INSERT_POISON, self._poison)
        for read in self._writes:
            self._write(read)
        self._settle_registers()
        for recording_no, place in self._to_judge.items():
            settle_manifest(connection, self._ledger, place, recording_no)
        self._ledger.write(connection)
        connection.executemany("UPDATE groups SET events = events + ? WHERE group_no = ?", [(count, no) for no, count in self._counts.items()])

    def _settle_registers(self) -> None:
        changes = RegisterChanges([], [])
        for key, (place, rows) in self._registers.items():
            if len(rows) == 1 and key in self._new_registers:
                changes.new.append(settle_first_write(self._ledger, place, key[0], rows[0]))
                continue
            more = settle_register(self._connection, self._ledger, place, key, rows)
            changes.changed.extend(more.changed)
            changes.new.extend(more.new)
        changes.write(self._connection)

    def _create_all(self) -> None:
        """Recordings: new rows, or those of their shadows."""
        newest = {place: self._newest(place) for place in {read.place for read in self._creates}}
        (shadows,) = self._connection.execute("SELECT EXISTS (SELECT 1 FROM recordings WHERE site IS NULL)").fetchone()
        rows: list[tuple[object, ...]] = []
        for read in self._creates:
            place, event_id = read.place, read.stored.event.id
            values = self._recording(read)
            shadow = self._projector.recording(self._connection, place.group_no, event_id) if shadows else None
            no = shadow.no if shadow else self._take_no()
            if shadow:
                self._fill(place, no, values)
            else:
                rows.append((no, place.group_no, event_id, *values))
            self._projector.remember(place.group_no, event_id, _Known(no, read.stored.author, values[-1], None if shadow else set()))
            self.touched.add((place.group, event_id))
            if values[HLC_COLUMN] <= newest[place]:
                later = self._connection.execute(_LATER_NAMESAKES, (values[FOLDED_COLUMN], place.group_no, values[HLC_COLUMN], NAMESAKES_MAX))
                self.touched.update((place.group, EventId(namesake)) for (namesake,) in later)  # Their folders get another name.
        self._connection.executemany(_INSERT_RECORDING, rows)

    def _recording(self, read: _Read) -> tuple[Any, ...]:
        """The columns of a recording that its event gives: from `site` on, up to `counts`."""
        place, stored, body = read
        counts = int(may_create(self._role(read)))
        clock = hlc_bytes(stored.event.header.hlc)
        if counts:
            self._ledger.add("recordings", place, (stored.event.id, stored.author, *body, clock))
        return (stored.author, body.name, folded(body.name), body.machine, body.created_ns, body.profile, clock, counts)

    def _fill(self, place: Place, no: int, values: tuple[object, ...]) -> None:
        """A recording whose children came first: let those count that may."""
        self._connection.execute(_FILL_SHADOW, (*values, no))
        settle_children(self._connection, self._ledger, place, no)
        self._to_judge[no] = place
        for register in settle_writes(self._connection, no, self._role_of(place)):
            self._registers[no, register] = (place, [])

    def _newest(self, place: Place) -> bytes:
        """The clock of the newest recording that was there before this page."""
        row = self._connection.execute("SELECT max(hlc) FROM recordings WHERE group_no = ? AND counts", (place.group_no,)).fetchone()
        return bytes(row[0] or b"")

    def _chunk(self, read: _Read) -> tuple[object, ...]:
        body: ChunkAdd = read.body
        fields = (read.stored.event.id, body.recording, hlc_bytes(read.stored.event.header.hlc), *body[1:-1], _encode_topics(body.topics))
        return self._child("chunks", read, fields)

    def _more_topics(self, read: _Read) -> tuple[object, ...]:
        body: ChunkTopics = read.body
        fields = (read.stored.event.id, body.recording, hlc_bytes(read.stored.event.header.hlc), body.chunk, _encode_topics(body.topics))
        return self._child("chunk_topics", read, fields)

    def _attachment(self, read: _Read) -> tuple[object, ...]:
        body: AttachmentAdd = read.body
        return self._child("attachments", read, (read.stored.event.id, body.recording, hlc_bytes(read.stored.event.header.hlc), *body[1:]))

    def _child(self, table: str, read: _Read, fields: tuple[Any, ...]) -> tuple[object, ...]:
        """The row of what only the creator of a recording may add; `fields` are its columns as they are projected."""
        parent = self._parent(read, fields[1])
        self._judge(read.place, parent)
        counts = int(parent.counts and parent.site == read.stored.author)
        if counts:
            self._ledger.add(table, read.place, fields)
        return (parent.no, read.stored.author, fields[0], *fields[2:], counts)

    def _write(self, read: _Read) -> None:
        """Note a write of a register; it is stored with the others of the same."""
        stored, body = read.stored, read.body
        event = stored.event
        register, preference = (tag_register(body.tag), int(body.present)) if isinstance(body, RecordingTag) else (FINALIZE, 0)
        parent, role = self._parent(read, body.recording), self._role(read)
        counts = int(bool(parent.counts) and may_write(register, stored.author, role, PeerId(parent.site or b"")))
        refs = join_refs(event.header.refs) if event.header.refs else b""
        head = (event.id, body.recording, register, stored.author, int(role), hlc_bytes(event.header.hlc), event.body)
        row = WriteRow._make((*head, 0, preference, refs, counts, 0))
        key = (parent.no, register)
        if parent.registers is not None and register not in parent.registers:
            parent.registers.add(register)
            self._new_registers.add(key)
        found = self._registers.get(key)
        if found is None:
            found = self._registers[key] = (read.place, [])
        found[1].append(row)
        if register == FINALIZE:
            self._judge(read.place, parent)

    def _parent(self, read: _Read, recording: EventId) -> _Known:
        """The recording that an event belongs to, or its shadow."""
        known = self._projector.recording(self._connection, read.place.group_no, recording)
        if known is None:
            known = _Known(self._take_no(), None, 0)  # A shadow: nothing of it counts, and what is written is looked up when it does.
            nothing = (None,) * 7
            self._connection.execute(_INSERT_RECORDING, (known.no, read.place.group_no, recording, *nothing, 0))
            self._projector.remember(read.place.group_no, recording, known)
        self.touched.add((read.place.group, recording))
        # Authors are noted even where nothing of theirs counts: a change of their role must be seen.
        self._role(read)
        return known

    def _judge(self, place: Place, recording: _Known) -> None:
        """What a finalize of this recording is worth may have changed."""
        if recording.registers is None or FINALIZE in recording.registers:
            self._to_judge[recording.no] = place

    def _take_no(self) -> int:
        no = self._next_no
        self._next_no += 1
        return int(no)

    def _role(self, read: _Read) -> Role:
        return self._projector.role(self._connection, read.place.group_no, read.stored.author, self._rosters.get(read.stored.group))

    def _role_of(self, place: Place) -> Callable[[PeerId], Role]:
        return lambda author: self._projector.role(self._connection, place.group_no, author, self._rosters.get(place.group))


def _encode_topics(topics: Sequence[TopicEntry]) -> bytes:
    return encode([list(topic) for topic in topics])  # Lists are encoded twice as fast as tuples.
