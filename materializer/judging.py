"""Judging rows anew: which of them may have another role now, and what follows where they have.

Rows are looked at in windows of their numbers, so that no step of it is long however much is there. A row that was voided, or is no longer, is found
by what its event says.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from materializer.bodies import RecordingCreate, read_body
from materializer.edits import GroupSet, MachineSet
from materializer.fields import PoisonError
from materializer.projector import find_group
from materializer.receipts import BlobReceipt, BlobRelease
from materializer.registers import FINALIZE, annotation_register, edit_register
from materializer.rights import Action, may
from materializer.settle import (
    find_holder,
    set_counts,
    set_rank,
    settle_children,
    settle_manifest,
    settle_recording,
    settle_register,
)
from materializer.tables import CHILD_TABLES, NUMBERS, Connection, Ledger, Place, Row, find_recording
from peer.core.certificate import LogKind
from peer.core.control import Role
from peer.core.identity import EventId, GroupId
from peer.core.interfaces import StoredEvent

WINDOW = 4096
"""Rows that are looked at, judged and changed together."""

_OF_RECORDING = "FROM {0} t JOIN recordings r USING (recording_no) WHERE r.group_no = :group"
_ROWS = {
    "recordings": "SELECT recording_no, id, role, site FROM recordings WHERE group_no = :group AND site IS NOT NULL",
    **{table: f"SELECT {NUMBERS[table]}, t.id, t.role, author {_OF_RECORDING.format(table)}" for table in CHILD_TABLES},
    "registers": (
        "SELECT write_no, w.id, rank, author FROM registers w LEFT JOIN recordings r ON r.recording_no = w.holder "
        "WHERE (r.group_no = :group OR w.holder = -:group)"
    ),
    "receipts": "SELECT receipt_no, id, role, author FROM receipts WHERE group_no = :group",
    "poison": "SELECT poison_no, id, role, author FROM poison WHERE group_no = :group",
}
assert list(_ROWS) == list(NUMBERS)


class JudgedRow(NamedTuple):
    """A row with the role by which it was judged last."""

    table: str
    number: int
    event_id: EventId
    role: Role
    author: bytes


def last_numbers(connection: Connection) -> Mapping[str, int]:
    """The highest number of a row in each table."""
    return {table: connection.execute(f"SELECT ifnull(max({number}), 0) FROM {table}").fetchone()[0] for table, number in NUMBERS.items()}  # noqa: S608


def read_window(connection: Connection, group: GroupId, table: str, after: int) -> list[JudgedRow]:
    """The rows of a group with numbers above `after`, up to `WINDOW` above it."""
    group_no = find_group(connection, group)
    sql = f"{_ROWS[table]} AND {NUMBERS[table]} > :after AND {NUMBERS[table]} <= :last"
    rows = connection.execute(sql, {"group": group_no, "after": after, "last": after + WINDOW})
    return [JudgedRow(table, number, EventId(event_id), Role(role), author) for number, event_id, role, author in rows]


def find_rows(connection: Connection, group: GroupId, events: Iterable[StoredEvent]) -> list[JudgedRow]:
    """The rows of these events of a group, as far as they have any."""
    group_no = find_group(connection, group)
    if group_no is None:
        return []
    found = (_find_row(connection, Place(group_no, group), stored) for stored in events if stored.kind is LogKind.DATA)
    return [row for row in found if row is not None]


def apply_roles(connection: Connection, group: GroupId, changes: Iterable[tuple[JudgedRow, Role]]) -> None:
    """Judge rows by new roles, and settle what they touch. The digest of the group's judgement is gone until it is set: see `set_judgement`."""
    group_no = find_group(connection, group)
    assert group_no is not None, "only a group with rows has rows to judge"
    _Change(connection, Place(group_no, group)).apply(changes)
    connection.execute("UPDATE groups SET judgement = x'' WHERE group_no = ?", (group_no,))


def read_judgement(connection: Connection, group: GroupId) -> bytes | None:
    """The digest by which all rows of a group were judged, empty if they were judged by different ones; None if it has no rows."""
    row = connection.execute("SELECT judgement FROM groups WHERE group_id = ?", (group,)).fetchone()
    return None if row is None else bytes(row[0])


def set_judgement(connection: Connection, group: GroupId, digest: bytes) -> None:
    """Note that all rows of a group are judged by this."""
    connection.execute("UPDATE groups SET judgement = ? WHERE group_id = ?", (digest, group))


class _Change:
    """Roles that change together: each thing that they touch is settled once."""

    def __init__(self, connection: Connection, place: Place) -> None:
        self._connection = connection
        self._place = place
        self._ledger = Ledger()
        self._recordings: set[int] = set()
        """Those that count from now on, or do so no longer: with all that belongs to them."""
        self._children: dict[tuple[int, str], list[int]] = {}
        self._registers: set[tuple[int, str]] = set()
        self._manifests: set[int] = set()

    def apply(self, changes: Iterable[tuple[JudgedRow, Role]]) -> None:
        for row, role in changes:
            self._set_role(row, role)
        for holder_no in self._recordings:
            settle_recording(self._connection, self._ledger, self._place, find_holder(self._connection, holder_no))
        for (recording_no, table), numbers in self._children.items():
            if recording_no not in self._recordings:
                parent = find_holder(self._connection, recording_no)
                settle_children(self._connection, self._ledger, self._place, parent, table, numbers)
        for holder_no, register in sorted(self._registers):
            if holder_no not in self._recordings:
                settle_register(self._connection, self._ledger, self._place, find_holder(self._connection, holder_no), register)
        for recording_no in self._manifests - self._recordings:
            settle_manifest(self._connection, self._ledger, self._place, recording_no)
        self._ledger.write(self._connection)

    def _set_role(self, row: JudgedRow, role: Role) -> None:
        """Note the role, and what is to be settled for it."""
        table, number = row.table, row.number
        if table == "registers":
            key = set_rank(self._connection, self._ledger, self._place, number, role)
            self._registers.add(key)
            if key[1] == FINALIZE:
                self._manifests.add(key[0])
            return
        self._connection.execute(f"UPDATE {table} SET role = ? WHERE {NUMBERS[table]} = ?", (int(role), number))  # noqa: S608
        if table in CHILD_TABLES:
            self._touch_child(row)
            return
        may_stand = may(Action.CREATE, role, own=False) if table == "recordings" else role is not Role.NONE
        (counted,) = self._connection.execute(f"SELECT counts FROM {table} WHERE {NUMBERS[table]} = ?", (number,)).fetchone()  # noqa: S608
        changed = set_counts(self._connection, self._ledger, self._place, table, (number, counted), counts=may_stand)
        if changed and table == "recordings":
            self._recordings.add(number)

    def _touch_child(self, row: JudgedRow) -> None:
        sql = f"SELECT recording_no FROM {row.table} WHERE {NUMBERS[row.table]} = ?"  # noqa: S608  (names of our own tables)
        (recording_no,) = self._connection.execute(sql, (row.number,)).fetchone()
        self._children.setdefault((recording_no, row.table), []).append(row.number)
        if row.table == "annotations":
            self._registers.update((recording_no, register(row.event_id)) for register in (annotation_register, edit_register))
        else:
            self._manifests.add(recording_no)


def _find_row(connection: Connection, place: Place, stored: StoredEvent) -> JudgedRow | None:
    event = stored.event
    try:
        body = read_body(event.header.type, event.body)
    except PoisonError:
        return _row_where(connection, "poison", place, "id = :id", {"id": event.id})
    if body is None:
        return None
    if isinstance(body, RecordingCreate):
        recording = find_recording(connection, place.group_no, event.id)
        return None if recording is None else _row_where(connection, "recordings", place, "recording_no = :holder", {"holder": recording[0]})
    if isinstance(body, GroupSet | MachineSet | BlobReceipt | BlobRelease):
        table = "receipts" if isinstance(body, BlobReceipt | BlobRelease) else "registers"
        where = "id = :id" if table == "receipts" else "w.holder = :holder AND w.id = :id"
        return _row_where(connection, table, place, where, {"holder": -place.group_no, "id": event.id})
    recording = find_recording(connection, place.group_no, body.recording)
    if recording is None:
        return None
    table = _TABLES.get(event.header.type, "registers")
    where = "w.holder = :holder AND w.id = :id" if table == "registers" else "recording_no = :holder AND t.id = :id"
    return _row_where(connection, table, place, where, {"holder": recording[0], "id": event.id})


_TABLES = {"chunk.add": "chunks", "chunk.topics": "chunk_topics", "attachment.add": "attachments", "annotation.add": "annotations"}


def _row_where(connection: Connection, table: str, place: Place, where: str, parameters: dict[str, object]) -> JudgedRow | None:
    row: Row | None = connection.execute(f"{_ROWS[table]} AND {where}", {"group": place.group_no, **parameters}).fetchone()
    return None if row is None else JudgedRow(table, row[0], EventId(row[1]), Role(row[2]), row[3])


def windows(last: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Tables and numbers after which their windows begin."""
    for table, number in last.items():
        for after in range(0, number, WINDOW):
            yield table, after
