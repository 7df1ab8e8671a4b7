"""What counts, and who wins: set again for rows that are in `views.db` already, when a late parent arrives or a roster changes."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from materializer.digest import TABLES
from materializer.recordings import judge, may_create, may_write
from materializer.registers import FINALIZE, Standing, Write, resolve
from materializer.tables import Connection, Ledger, Place, projected_rows, read_finalize, read_parts, recompute_digests, split_refs
from peer.core.control import Role
from peer.core.identity import EventId, PeerId

CHILD_TABLES = ("chunks", "chunk_topics", "attachments")
RECORDINGS_PAGE = 256
PROJECTED = len(TABLES["registers"])

RoleOf = Callable[[PeerId], Role]


def settle_children(connection: Connection, ledger: Ledger, place: Place, recording_no: int) -> None:
    """Let those children count that arrived before their recording, which is there now. The registers stay: see `settle_registers`."""
    for table in CHILD_TABLES:
        sql = (
            f"UPDATE {table} SET counts = 1 WHERE recording_no = ? AND author = "  # noqa: S608  (names of our own tables)
            "(SELECT site FROM recordings r WHERE r.recording_no = ? AND r.counts)"
        )
        connection.execute(sql, (recording_no, recording_no))
        for row in projected_rows(connection, table, place.group_no, recording_no):
            ledger.add(table, place, row)


def settle_writes(connection: Connection, recording_no: int, role_of: RoleOf) -> list[str]:
    """Set rank and `counts` of all writes to a recording. The registers that there are."""
    site, counts = connection.execute("SELECT site, counts FROM recordings WHERE recording_no = ?", (recording_no,)).fetchone()
    rows = connection.execute("SELECT write_no, register, author FROM registers WHERE recording_no = ?", (recording_no,)).fetchall()
    changes = []
    for write_no, register, author in rows:
        role = role_of(author)
        changes.append((int(role), int(bool(counts) and may_write(register, author, role, site)), write_no))
    connection.executemany("UPDATE registers SET rank = ?, counts = ? WHERE write_no = ?", changes)
    return sorted({register for _, register, _ in rows})


class WriteRow(NamedTuple):
    """A write of a register, as it is stored: first what is projected."""

    id: EventId
    recording: EventId
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


_SELECT_WRITES = (
    "SELECT w.id, r.id, register, author, rank, w.hlc, value, wins, preference, refs, w.counts, live "
    "FROM registers w JOIN recordings r USING (recording_no) WHERE w.recording_no = ? AND register = ?"
)
_INSERT_WRITE = (
    "INSERT INTO registers (recording_no, id, register, author, rank, hlc, value, wins, preference, refs, counts, live) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE_WRITE = "UPDATE registers SET live = ?, wins = ? WHERE recording_no = ? AND register = ? AND id = ?"


class RegisterChanges(NamedTuple):
    """Rows of registers that are to be written."""

    changed: list[tuple[object, ...]]
    new: list[tuple[object, ...]]

    def write(self, connection: Connection) -> None:
        """Write them."""
        connection.executemany(_UPDATE_WRITE, self.changed)
        connection.executemany(_INSERT_WRITE, self.new)


def settle_register(connection: Connection, ledger: Ledger, place: Place, key: tuple[int, str], new: Sequence[WriteRow] = ()) -> RegisterChanges:
    """Find out who wins in a register, given by recording and name, with what is `new` in it."""
    before = [WriteRow._make(row) for row in connection.execute(_SELECT_WRITES, key)]
    standing = resolve(
        Write(row.preference, row.rank, int.from_bytes(row.hlc, "big"), row.id, split_refs(row.refs)) for row in (*before, *new) if row.counts
    )
    changes = RegisterChanges([], [])
    for row in before:
        live, wins = _standing(row, standing)
        if (live, wins) == (row.live, row.wins):
            continue
        changes.changed.append((live, wins, *key, row.id))
        if row.live:
            ledger.remove("registers", place, row[:PROJECTED])
        if live:
            ledger.add("registers", place, (*row[: PROJECTED - 1], wins))
    for row in new:
        live, wins = _standing(row, standing)
        changes.new.append(_stored(key[0], row, live, wins))
        if live:
            ledger.add("registers", place, (*row[: PROJECTED - 1], wins))
    return changes


def settle_first_write(ledger: Ledger, place: Place, recording_no: int, row: WriteRow) -> tuple[object, ...]:
    """The row of the only write of a register so far: it wins, if it counts."""
    if row.counts:
        ledger.add("registers", place, (*row[: PROJECTED - 1], 1))
    return _stored(recording_no, row, row.counts, row.counts)


def _stored(recording_no: int, row: WriteRow, live: int, wins: int) -> tuple[object, ...]:
    return (recording_no, row.id, *row[2 : PROJECTED - 1], wins, *row[PROJECTED:-1], live)


def _standing(row: WriteRow, standing: Standing) -> tuple[int, int]:
    return int(row.id in standing.live), int(row.id == standing.winner)


def settle_manifest(connection: Connection, ledger: Ledger, place: Place, recording_no: int) -> None:
    """Find out what the finalize of a recording is worth now."""
    sql = "SELECT 1 FROM registers WHERE recording_no = ? AND register = ? LIMIT 1"
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


def settle_group(connection: Connection, place: Place, role_of: RoleOf) -> None:
    """Do all of it again for a group whose roster has changed."""
    group_no = place.group_no
    authors = connection.execute("SELECT author FROM authors WHERE group_no = ?", (group_no,)).fetchall()
    roles = [(int(role_of(author)), group_no, author) for (author,) in authors]
    connection.executemany("UPDATE authors SET role = ? WHERE group_no = ? AND author = ?", roles)
    creators = [(int(may_create(Role(role))), group_no, author) for role, group_no, author in roles]
    connection.executemany("UPDATE recordings SET counts = ? WHERE group_no = ? AND site = ?", creators)
    for table in CHILD_TABLES:
        connection.execute(
            f"UPDATE {table} AS child SET counts = (SELECT r.counts AND r.site IS child.author FROM recordings r WHERE r.recording_no = "  # noqa: S608
            "child.recording_no) WHERE recording_no IN (SELECT recording_no FROM recordings WHERE group_no = ?)",
            (group_no,),
        )
    ledger = Ledger()  # Left unwritten: everything is added up from the start below.
    for recording_no in _with_registers(connection, group_no):
        for register in settle_writes(connection, recording_no, role_of):
            settle_register(connection, ledger, place, (recording_no, register)).write(connection)
        settle_manifest(connection, ledger, place, recording_no)
    for name, digest in recompute_digests(connection, place).items():
        connection.execute("REPLACE INTO digests VALUES (?, ?, ?)", (group_no, name, digest))


def _with_registers(connection: Connection, group_no: int) -> Iterable[int]:
    """The recordings of a group that have registers, a page at a time: the loop that asks changes what it reads."""
    sql = (
        "SELECT recording_no FROM recordings r WHERE group_no = ? AND recording_no > ? AND EXISTS "
        "(SELECT 1 FROM registers w WHERE w.recording_no = r.recording_no) ORDER BY recording_no LIMIT ?"
    )
    last = 0
    while page := connection.execute(sql, (group_no, last, RECORDINGS_PAGE)).fetchall():
        for (last,) in page:
            yield last
