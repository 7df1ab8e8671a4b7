"""What counts, and who wins: set for rows that are in `views.db` already, when a late parent arrives or a role was judged anew."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from materializer.digest import TABLES, WriteHash
from materializer.recordings import judge
from materializer.registers import FINALIZE, KINDS_ABOUT_ANNOTATIONS, Standing, Write, action_of, annotation_of, resolve
from materializer.rights import Action, may
from materializer.tables import (
    CHILD_TABLES,
    NUMBERS,
    Connection,
    Ledger,
    Place,
    Row,
    insert_rows,
    projected_row,
    projected_rows,
    read_finalize,
    read_parts,
    split_refs,
)
from peer.core.control import Role
from peer.core.identity import EventId, PeerId

PROJECTED = len(TABLES["registers"])


class Holder(NamedTuple):
    """What a register belongs to: a recording, or the group itself."""

    no: int
    """The number of its row; of a group, below zero."""
    site: bytes | None
    """Who created the recording; None for a shadow and for a group."""
    counts: bool


class WriteRow(NamedTuple):
    """A write of a register, as it is stored: first what is projected."""

    id: EventId
    recording: EventId | None
    """None for a register of the group."""
    register: str
    author: PeerId
    rank: int
    hlc: bytes
    value: bytes
    wins: int
    preference: int
    refs: bytes
    counts: int
    live: int


# What belongs to a recording


def child_counts(table: str, author: bytes, role: Role, parent: Holder) -> bool:
    """Whether `author` might add a row of `table` to a recording."""
    action = Action.ANNOTATE if table == "annotations" else Action.ADD
    return parent.counts and may(action, role, own=author == parent.site)


def settle_children(connection: Connection, ledger: Ledger, place: Place, parent: Holder, table: str, numbers: Sequence[int] | None = None) -> None:
    """Set `counts` of the rows of `table` that belong to a recording, or of some of them, by the roles that stand in them."""
    number = NUMBERS[table]
    rows = connection.execute(f"SELECT {number}, author, role, counts FROM {table} WHERE recording_no = ?", (parent.no,)).fetchall()  # noqa: S608
    wanted = None if numbers is None else set(numbers)
    for no, author, role, counts in rows:
        if wanted is None or no in wanted:
            set_counts(connection, ledger, place, table, (no, counts), counts=child_counts(table, author, Role(role), parent))


def set_counts(connection: Connection, ledger: Ledger, place: Place, table: str, row: tuple[int, int], *, counts: bool) -> bool:
    """Let a row, given by its number and whether it counts now, count or not. True if that is a change."""
    no, before = row
    if bool(before) == counts:
        return False
    if before:
        ledger.remove(table, place, projected_row(connection, table, place.group_no, no))
    connection.execute(f"UPDATE {table} SET counts = ? WHERE {NUMBERS[table]} = ?", (int(counts), no))  # noqa: S608  (names of our own tables)
    if counts:
        ledger.add(table, place, projected_row(connection, table, place.group_no, no))
    return True


def settle_recording(connection: Connection, ledger: Ledger, place: Place, parent: Holder) -> None:
    """Set everything that depends on whether a recording counts."""
    for table in CHILD_TABLES:
        settle_children(connection, ledger, place, parent, table)
    for register in registers_of(connection, parent.no):
        settle_register(connection, ledger, place, parent, register)
    settle_manifest(connection, ledger, place, parent.no)


# Registers


def find_holder(connection: Connection, holder_no: int) -> Holder:
    """A recording, or a group."""
    if holder_no < 0:
        return Holder(holder_no, None, counts=True)
    site, counts = connection.execute("SELECT site, counts FROM recordings WHERE recording_no = ?", (holder_no,)).fetchone()
    return Holder(holder_no, site, bool(counts))


def registers_of(connection: Connection, holder_no: int) -> list[str]:
    """The registers that somebody wrote."""
    return [row[0] for row in connection.execute("SELECT DISTINCT register FROM registers WHERE holder = ?", (holder_no,))]


def write_counts(connection: Connection, holder: Holder, register: str, author: bytes, role: Role) -> bool:
    """Whether `author` might write `register`."""
    if not holder.counts:
        return False
    kind = register.partition(":")[0]
    if kind in KINDS_ABOUT_ANNOTATIONS:
        owner = _annotator(connection, holder.no, register)
        return owner is not None and may(action_of(kind), role, own=author == owner)
    return may(action_of(kind), role, own=author == holder.site)


def settle_register(connection: Connection, ledger: Ledger, place: Place, holder: Holder, register: str, new: Sequence[WriteRow] = ()) -> None:
    """Find out which writes of a register count and which of them wins, with what is `new` in it."""
    changes = plan_register(connection, ledger, place, holder, register, new)
    changes.write(connection)


_SELECT_WRITES = (
    "SELECT w.id, r.id, register, author, rank, w.hlc, value, wins, preference, refs, w.counts, live "
    "FROM registers w LEFT JOIN recordings r ON r.recording_no = w.holder WHERE w.holder = ? AND register = ?"
)
WRITE_COLUMNS = "registers (holder, id, register, author, rank, hlc, value, preference, refs, counts, live, wins)"
_UPDATE_WRITE = "UPDATE registers SET counts = ?, live = ?, wins = ? WHERE holder = ? AND register = ? AND id = ?"


class RegisterChanges(NamedTuple):
    """Rows of registers that are to be written."""

    changed: list[tuple[object, ...]]
    new: list[tuple[object, ...]]

    def write(self, connection: Connection) -> None:
        """Write them."""
        connection.executemany(_UPDATE_WRITE, self.changed)
        insert_rows(connection, WRITE_COLUMNS, self.new)


def plan_register(
    connection: Connection, ledger: Ledger, place: Place, holder: Holder, register: str, new: Sequence[WriteRow] = ()
) -> RegisterChanges:
    """As `settle_register`, with the rows left to be written."""
    before = [WriteRow._make(row) for row in connection.execute(_SELECT_WRITES, (holder.no, register))]
    judged = [row._replace(counts=int(write_counts(connection, holder, register, row.author, Role(row.rank)))) for row in (*before, *new)]
    standing = resolve(Write(row.preference, row.rank, int.from_bytes(row.hlc, "big"), row.id, split_refs(row.refs)) for row in judged if row.counts)
    changes = RegisterChanges([], [])
    for row, after in zip(before, judged, strict=False):
        live, wins = _standing(after, standing)
        if (after.counts, live, wins) != (row.counts, row.live, row.wins):
            changes.changed.append((after.counts, live, wins, holder.no, register, row.id))
        if row.live and (live, wins) != (1, row.wins):
            ledger.remove(*_projected(place, row, row.wins))
        if live and (row.live, row.wins) != (1, wins):
            ledger.add(*_projected(place, row, wins))
    for row in judged[len(before) :]:
        live, wins = _standing(row, standing)
        changes.new.append(_stored(holder.no, row, (row.counts, live, wins)))
        if live:
            ledger.add(*_projected(place, row, wins))
    return changes


def plan_first_writes(connection: Connection, ledger: Ledger, writes: Iterable[tuple[Place, Holder, Row]]) -> list[tuple[object, ...]]:
    """The rows of the only writes of their registers so far, each given by the fields of its `WriteRow`: it wins, if it counts."""
    hashes: dict[tuple[object, ...], WriteHash | None] = {}
    """None for writes that do not count. All that decides about one stands in the key, but for what is said about annotations."""
    added: defaultdict[Place, int] = defaultdict(int)
    rows: list[tuple[object, ...]] = []
    for place, holder, fields in writes:
        event_id, recording, register, author, rank, hlc, value, _, preference, refs, _, _ = fields
        holder_no, site, holder_counts = holder
        key = (register, author, rank, place, site, holder_counts)
        if key in hashes:
            hashed = hashes[key]
        else:
            counts = write_counts(connection, holder, register, author, Role(rank))
            hashed = WriteHash(place.group, register, author, rank) if counts else None
            if register.partition(":")[0] not in KINDS_ABOUT_ANNOTATIONS:
                hashes[key] = hashed
        stands = 0 if hashed is None else 1
        if hashed is not None and recording is not None:
            added[place] += hashed.of(event_id, recording, hlc, value)
        elif hashed is not None:
            ledger.add(*_projected(place, WriteRow._make(fields), 1))
        said = (register, bytearray(author), rank, bytearray(hlc), bytearray(value), preference, bytearray(refs))  # As `with_arrays`.
        rows.append((holder_no, bytearray(event_id), *said, stands, stands, stands))
    for place, total in added.items():
        ledger.add_hash("registers", place, total)
    return rows


def set_rank(connection: Connection, ledger: Ledger, place: Place, write_no: int, role: Role) -> tuple[int, str]:
    """Note the role by which a write is judged from now on. The holder and register that are to be settled next."""
    holder, register = connection.execute("SELECT holder, register FROM registers WHERE write_no = ?", (write_no,)).fetchone()
    sql = _SELECT_WRITES.replace("w.holder = ? AND register = ?", "write_no = ?")
    row = WriteRow._make(connection.execute(sql, (write_no,)).fetchone())
    if row.live:
        ledger.remove(*_projected(place, row, row.wins))
        ledger.add(*_projected(place, row._replace(rank=int(role)), row.wins))
    connection.execute("UPDATE registers SET rank = ? WHERE write_no = ?", (int(role), write_no))
    return holder, register


def _projected(place: Place, row: WriteRow, wins: int) -> tuple[str, Place, Row]:
    """The table in which a write is shown, and its row there."""
    if row.recording is None:
        return "settings", place, (row.id, *row[2 : PROJECTED - 1], wins)
    return "registers", place, (*row[: PROJECTED - 1], wins)


def _stored(holder_no: int, row: WriteRow, stands: tuple[int, int, int]) -> tuple[object, ...]:
    """The columns of a new row, with whether it counts, is live, and wins."""
    event_id, _, *said, _, preference, refs, _, _ = row
    return (holder_no, event_id, *said, preference, refs, *stands)


def _standing(row: WriteRow, standing: Standing) -> tuple[int, int]:
    return int(row.id in standing.live), int(row.id == standing.winner)


def _annotator(connection: Connection, recording_no: int, register: str) -> bytes | None:
    """Who wrote the annotation that a register is about, None while there is none that counts."""
    sql = "SELECT author FROM annotations WHERE recording_no = ? AND id = ? AND counts"
    row = connection.execute(sql, (recording_no, annotation_of(register))).fetchone()
    return bytes(row[0]) if row else None


# Manifests


def settle_manifest(connection: Connection, ledger: Ledger, place: Place, recording_no: int) -> None:
    """Find out what the finalize of a recording is worth now."""
    sql = "SELECT 1 FROM registers WHERE holder = ? AND register = ? LIMIT 1"
    if connection.execute(sql, (recording_no, FINALIZE)).fetchone() is None:
        return
    finalize = read_finalize(connection, recording_no)
    before = next(projected_rows(connection, "manifests", place.group_no, recording_no), None)
    after = None
    if finalize is not None:
        parts = read_parts(connection, place, recording_no)
        assert parts is not None, "a finalize counts only where its recording does"
        after = (parts.facts.recording, finalize.event_id, finalize.body.manifest_id, judge(finalize, parts).state)
    if before == after:
        return
    if before is not None:
        ledger.remove("manifests", place, before)
        connection.execute("DELETE FROM manifests WHERE recording_no = ?", (recording_no,))
    if after is not None:
        ledger.add("manifests", place, after)
        connection.execute("INSERT INTO manifests VALUES (?, ?, ?, ?)", (recording_no, *after[1:]))
