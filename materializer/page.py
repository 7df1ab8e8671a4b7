"""One page of events on its way into `views.db`, within one transaction.

Rows are written in an order of their own, recordings before what belongs to them, so that a page with a child before its parent is like any other.
A parent that came in an earlier page is looked up; one that is nowhere yet gets a shadow row, and when it arrives what waited for it is settled.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from materializer.bodies import AttachmentAdd, Body, ChunkAdd, ChunkTopics, RecordingCreate, RecordingFinalize, read_body
from materializer.edits import (
    AnnotationAdd,
    AnnotationDelete,
    AnnotationEdit,
    GroupSet,
    MachineSet,
    RecordingDelete,
    RecordingRestore,
    RecordingSet,
    RecordingTag,
    ReviewSet,
)
from materializer.events import ProjectedEvent
from materializer.fields import EmbeddedEntry, PoisonError, TopicEntry
from materializer.holding import write_receipt
from materializer.keeping import RecordingHold, RecordingRetain
from materializer.receipts import BlobReceipt, BlobRelease
from materializer.registers import FINALIZE, annotation_register, claim, edit_register
from materializer.rights import Action, may
from materializer.settle import (
    WRITE_COLUMNS,
    Holder,
    RegisterChanges,
    WriteRow,
    child_counts,
    plan_first_writes,
    plan_register,
    registers_of,
    settle_children,
    settle_manifest,
)
from materializer.tables import CHILD_TABLES, Connection, Ledger, Place, Row, hlc_bytes, insert_rows, join_refs, with_arrays
from peer.core.control import Role
from peer.core.encoding import encode
from peer.core.identity import EventId, GroupId
from peer.core.names import folded

NAMESAKES_MAX = 1000
NO_ENTRIES = encode([])
REGISTER_BODIES: Sequence[type[Body]] = (
    *(RecordingFinalize, RecordingTag, RecordingSet, RecordingDelete, RecordingRestore, RecordingHold, RecordingRetain),
    *(AnnotationDelete, AnnotationEdit, ReviewSet, GroupSet, MachineSet),
)
"""The bodies that write a register."""
GROUP_BODIES = frozenset({GroupSet, MachineSet})
"""Those that write a register of the group itself."""
FOLDED_COLUMN = 2
HLC_COLUMN = 11
SHADOW_COLUMNS = 13
"""Those that only a recording itself fills."""

_INSERT_RECORDING = "INSERT INTO recordings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FILL_SHADOW = (
    "UPDATE recordings SET site = ?, name = ?, folded = ?, machine = ?, created_ns = ?, profile = ?, tool = ?, tool_version = ?, host = ?, "
    "source_path = ?, operator = ?, hlc = ?, role = ?, counts = ? WHERE recording_no = ?"
)
_LATER_NAMESAKES = "SELECT id FROM recordings WHERE folded = ? AND group_no = ? AND hlc >= ? AND counts LIMIT ?"
_INSERTS = {
    "chunks": "INSERT INTO chunks VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "chunk_topics": "INSERT INTO chunk_topics VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)",
    "attachments": "INSERT INTO attachments VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "annotations": "INSERT INTO annotations VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "poison": "INSERT INTO poison VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)",
}


class Known(NamedTuple):
    """A recording that has a row."""

    holder: Holder
    registers: set[str] | None = None
    """All registers that were ever written, where that is known: there is no need to look for earlier writes of another one."""


class Memory(Protocol):
    """What is remembered between pages."""

    def group_no(self, connection: Connection, group: GroupId) -> int:
        """The row number of a group, which gets one if it has none."""
        ...

    def recording(self, connection: Connection, group_no: int, recording: bytes) -> Known | None:
        """What is known of a recording, None if it has no row."""
        ...

    def remember(self, group_no: int, recording: bytes, known: Known) -> None:
        """Note a recording that was written."""
        ...


_Read = tuple[Place, ProjectedEvent, Any]
"""An event with its body, which was read."""


class Page:
    """One page of events."""

    def __init__(self, connection: Connection, memory: Memory) -> None:
        """Of nothing yet."""
        self.touched: set[tuple[GroupId, EventId]] = set()
        """The recordings that it is about."""
        self._connection = connection
        self._memory = memory
        self._ledger = Ledger()
        self._counts: dict[int, int] = {}
        self._creates: list[_Read] = []
        self._children: dict[str, list[_Read]] = {table: [] for table in CHILD_TABLES}
        self._writes: list[_Read] = []
        self._receipts: list[_Read] = []
        self._poison: list[tuple[object, ...]] = []
        self._by_type: Mapping[type[Body], list[_Read]] = {
            RecordingCreate: self._creates,
            ChunkAdd: self._children["chunks"],
            ChunkTopics: self._children["chunk_topics"],
            AttachmentAdd: self._children["attachments"],
            AnnotationAdd: self._children["annotations"],
            **dict.fromkeys(REGISTER_BODIES, self._writes),
            BlobReceipt: self._receipts,
            BlobRelease: self._receipts,
        }
        self._to_judge: dict[int, Place] = {}
        self._registers: dict[tuple[int, str], tuple[Place, Holder, list[WriteRow]]] = {}
        self._first_writes: dict[tuple[int, str], tuple[Place, Holder, Row]] = {}
        """Of registers that have no other write: the fields of a `WriteRow`, each."""
        self.new_registers = 0
        """How many registers of remembered recordings were written for the first time."""
        (self._next_no,) = connection.execute("SELECT ifnull(max(recording_no), 0) + 1 FROM recordings").fetchone()

    def read(self, events: Iterable[ProjectedEvent]) -> None:
        """Sort events by what they are. Bodies that fit no schema are poison."""
        places: dict[GroupId, Place] = {}
        counts: Counter[GroupId] = Counter()
        by_type = self._by_type
        for event in events:
            group, is_data, author, role, type_, _, _, event_id, data = event
            place = places.get(group)
            if place is None:
                place = places[group] = Place(self._memory.group_no(self._connection, group), group)
            counts[group] += 1
            if not is_data:
                continue
            try:
                body = read_body(type_, data)
            except PoisonError as error:
                self._add_poison(place, (event_id, author, type_, str(error)), role)
                continue
            if body is not None:
                by_type[type(body)].append((place, event, body))
        self._counts = {places[group].group_no: count for group, count in counts.items()}

    def _add_poison(self, place: Place, row: tuple[object, ...], role: Role) -> None:
        counts = role is not Role.NONE
        self._poison.append((place.group_no, *row, int(role), int(counts)))
        if counts:
            self._ledger.add("poison", place, row)

    def write(self) -> None:
        """Write all rows, then set what depends on several of them."""
        connection = self._connection
        self._create_all()
        for table, fields_of in (("chunks", _chunk), ("chunk_topics", _more_topics), ("attachments", _all_fields), ("annotations", _all_fields)):
            connection.executemany(_INSERTS[table], [with_arrays(self._child(table, read, fields_of(read[2]))) for read in self._children[table]])
        connection.executemany(_INSERTS["poison"], self._poison)
        for place, event, body in self._receipts:
            write_receipt(connection, self._ledger, place, event, body)
        for place, event, body in self._writes:
            self._write(place, event, body)
        self._settle_registers()
        for recording_no, place in self._to_judge.items():
            settle_manifest(connection, self._ledger, place, recording_no)
        self._ledger.write(connection)
        connection.executemany("UPDATE groups SET events = events + ? WHERE group_no = ?", [(count, no) for no, count in self._counts.items()])

    def _settle_registers(self) -> None:
        first = plan_first_writes(self._connection, self._ledger, self._first_writes.values())
        insert_rows(self._connection, WRITE_COLUMNS, first)
        changes = RegisterChanges([], [])
        for (_, register), (place, holder, rows) in self._registers.items():
            more = plan_register(self._connection, self._ledger, place, holder, register, rows)
            changes.changed.extend(more.changed)
            changes.new.extend(more.new)
        changes.write(self._connection)

    def _create_all(self) -> None:
        """Recordings: new rows, or those of their shadows."""
        newest = {place: self._newest(place) for place in {place for place, _, _ in self._creates}}
        (shadows,) = self._connection.execute("SELECT EXISTS (SELECT 1 FROM recordings WHERE site IS NULL)").fetchone()
        rows: list[list[object]] = []
        for place, event, body in self._creates:
            event_id = event.id
            values = self._recording(place, event, body)
            shadow = self._memory.recording(self._connection, place.group_no, event_id) if shadows else None
            holder = Holder(shadow.holder.no if shadow else self._take_no(), event.author, bool(values[-1]))
            if shadow:
                self._fill(place, holder, values)
            else:
                rows.append(with_arrays((holder.no, place.group_no, event_id, *values)))
            self._memory.remember(place.group_no, event_id, Known(holder, None if shadow else set()))
            self.touched.add((place.group, event_id))
            if values[HLC_COLUMN] <= newest[place]:
                later = self._connection.execute(_LATER_NAMESAKES, (values[FOLDED_COLUMN], place.group_no, values[HLC_COLUMN], NAMESAKES_MAX))
                self.touched.update((place.group, EventId(namesake)) for (namesake,) in later)  # Their folders get another name.
        self._connection.executemany(_INSERT_RECORDING, rows)

    def _recording(self, place: Place, event: ProjectedEvent, body: RecordingCreate) -> tuple[Any, ...]:
        """The columns of a recording that its event gives: from `site` on, up to `counts`."""
        counts = may(Action.CREATE, event.role, own=False)
        clock = hlc_bytes(event.hlc)
        if counts:
            self._ledger.add("recordings", place, (event.id, event.author, *body, clock))
        return (event.author, body.name, folded(body.name), *body[1:], clock, int(event.role), int(counts))

    def _fill(self, place: Place, holder: Holder, values: tuple[object, ...]) -> None:
        """A recording whose children came first: let those count that may."""
        self._connection.execute(_FILL_SHADOW, (*values, holder.no))
        for table in CHILD_TABLES:
            settle_children(self._connection, self._ledger, place, holder, table)
        self._to_judge[holder.no] = place
        for register in registers_of(self._connection, holder.no):
            self._registers[holder.no, register] = (place, holder, [])

    def _newest(self, place: Place) -> bytes:
        """The clock of the newest recording that was there before this page."""
        row = self._connection.execute("SELECT max(hlc) FROM recordings WHERE group_no = ? AND counts", (place.group_no,)).fetchone()
        return bytes(row[0] or b"")

    def _child(self, table: str, read: _Read, fields: tuple[Any, ...]) -> tuple[object, ...]:
        """The row of something that belongs to a recording; `fields` are the columns after its own id, that of the recording and the author."""
        place, event, body = read
        parent = self._parent(place, body.recording)
        counts = child_counts(table, event.author, event.role, parent.holder)
        if table == "annotations":
            self._annotated(place, event.id, parent)
        else:
            self._judge(place, parent)
        clock = hlc_bytes(event.hlc)
        if counts:
            author = (event.author,) if table == "annotations" else ()
            self._ledger.add(table, place, (event.id, body.recording, *author, clock, *fields))
        return (parent.holder.no, event.author, event.id, clock, *fields, int(event.role), int(counts))

    def _annotated(self, place: Place, annotation: EventId, parent: Known) -> None:
        """Whether an annotation was changed or taken back is a question of who wrote it, and it is here only now."""
        for register in (annotation_register(annotation), edit_register(annotation)):
            if parent.registers is None or register in parent.registers:
                self._registers.setdefault((parent.holder.no, register), (place, parent.holder, []))

    def _write(self, place: Place, event: ProjectedEvent, body: Any) -> None:  # noqa: ANN401  (any of `REGISTER_BODIES`)
        """Note a write of a register; it is stored with the others of the same."""
        _, _, author, role, _, hlc, refs, event_id, data = event
        register, value, preference = claim(body, data, author)
        if type(body) in GROUP_BODIES:
            recording, parent = None, Known(Holder(-place.group_no, None, counts=True))
        else:
            recording = body.recording
            parent = self._parent(place, recording)
        row = (event_id, recording, register, author, int(role), hlc_bytes(hlc), value, 0, preference, join_refs(refs) if refs else b"", 0, 0)
        holder, registers = parent
        key = (holder.no, register)
        if registers is not None and register not in registers:
            registers.add(register)
            self.new_registers += 1
            self._first_writes[key] = (place, holder, row)
        else:
            self._write_again(key, place, holder, row)
        if register == FINALIZE:
            self._judge(place, parent)

    def _write_again(self, key: tuple[int, str], place: Place, holder: Holder, row: Row) -> None:
        """Note a write of a register that has others, or may have some."""
        found = self._registers.setdefault(key, (place, holder, []))[2]
        first = self._first_writes.pop(key, None)
        if first is not None:
            found.append(WriteRow._make(first[2]))
        found.append(WriteRow._make(row))

    def _parent(self, place: Place, recording: EventId) -> Known:
        """The recording that an event belongs to, or its shadow."""
        group_no = place.group_no
        known = self._memory.recording(self._connection, group_no, recording)
        if known is None:
            known = Known(Holder(self._take_no(), None, counts=False))  # Nothing of it counts, and what is written is looked up when it does.
            nothing = (None,) * SHADOW_COLUMNS
            self._connection.execute(_INSERT_RECORDING, (known.holder.no, group_no, recording, *nothing, 0))
            self._memory.remember(group_no, recording, known)
        self.touched.add((place.group, recording))
        return known

    def _judge(self, place: Place, recording: Known) -> None:
        """What a finalize of this recording is worth may have changed."""
        if recording.registers is None or FINALIZE in recording.registers:
            self._to_judge[recording.holder.no] = place

    def _take_no(self) -> int:
        no = self._next_no
        self._next_no += 1
        return int(no)


def _chunk(body: ChunkAdd) -> tuple[Any, ...]:
    *fields, topics, dropped, embedded = body[1:]
    return (*fields, _encode_entries(topics), dropped, _encode_entries(embedded))


def _more_topics(body: ChunkTopics) -> tuple[Any, ...]:
    return (body.chunk, _encode_entries(body.topics))


def _all_fields(body: AttachmentAdd | AnnotationAdd) -> tuple[Any, ...]:
    return body[1:]


def _encode_entries(entries: Sequence[TopicEntry | EmbeddedEntry]) -> bytes:
    return encode([list(entry) for entry in entries]) if entries else NO_ENTRIES  # Lists are encoded twice as fast as tuples.
