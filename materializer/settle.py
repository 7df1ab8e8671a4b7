"""What counts, and who wins: set again for rows that are in `views.db` already, when a late parent arrives or a roster changes."""

from collections.abc import Callable, Iterable

from materializer.recordings import judge, may_create, may_write
from materializer.registers import Write, resolve
from materializer.tables import Connection, Ledger, Row, projected_rows, read_finalize, read_parts, recompute_digests, split_refs
from peer.core.identity import GroupId, PeerId
from peer.core.roster import Role

CHILD_TABLES = ("chunks", "chunk_topics", "attachments")
RECORDINGS_PAGE = 256

RoleOf = Callable[[PeerId], Role]


def settle_children(connection: Connection, ledger: Ledger, group_no: int, group: GroupId, recording_no: int) -> None:
    """Let those children count that arrived before their recording, which is there now. The registers stay: see `settle_registers`."""
    for table in CHILD_TABLES:
        sql = (
            f"UPDATE {table} SET counts = 1 WHERE recording_no = ? AND author = "  # noqa: S608  (names of our own tables)
            "(SELECT site FROM recordings r WHERE r.recording_no = ? AND r.counts)"
        )
        connection.execute(sql, (recording_no, recording_no))
        for row in projected_rows(connection, table, group_no, recording_no):
            ledger.add(table, group_no, group, row)


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


def fold_register(connection: Connection, recording_no: int, register: str) -> tuple[list[Row], list[Row]]:
    """Find out who wins among all writes of a register. The projected rows that are gone, and those that are new."""
    sql = (
        "SELECT w.id, r.id, register, author, rank, w.hlc, value, wins, preference, refs, w.counts, live, write_no "
        "FROM registers w JOIN recordings r USING (recording_no) WHERE w.recording_no = ? AND register = ?"
    )
    gone: list[Row] = []
    new: list[Row] = []
    changes = []
    rows = connection.execute(sql, (recording_no, register)).fetchall()
    standing = resolve(Write(row[8], row[4], int.from_bytes(row[5], "big"), row[0], split_refs(row[9])) for row in rows if row[10])
    for row in rows:
        was, now = (row[11], row[7]), (int(row[0] in standing.live), int(row[0] == standing.winner))
        if was == now:
            continue
        changes.append((*now, row[12]))
        if was[0]:
            gone.append(row[:8])
        if now[0]:
            new.append((*row[:7], now[1]))
    connection.executemany("UPDATE registers SET live = ?, wins = ? WHERE write_no = ?", changes)
    return gone, new


def settle_registers(connection: Connection, ledger: Ledger, group_no: int, group: GroupId, keys: Iterable[tuple[int, str]]) -> None:
    """Find out who wins in each of these registers, given by recording and name."""
    for recording_no, register in keys:
        gone, new = fold_register(connection, recording_no, register)
        for row in gone:
            ledger.remove("registers", group_no, group, row)
        for row in new:
            ledger.add("registers", group_no, group, row)


def settle_manifest(connection: Connection, ledger: Ledger, group_no: int, group: GroupId, recording_no: int) -> None:
    """Find out what the finalize of a recording is worth now."""
    finalize = read_finalize(connection, recording_no)
    before = next(projected_rows(connection, "manifests", group_no, recording_no), None)
    if finalize is None and before is None:
        return
    after = None
    if finalize is not None:
        parts = read_parts(connection, group_no, group, recording_no)
        assert parts is not None, "a finalize counts only where its recording does"
        after = (parts.facts.recording, finalize.event_id, finalize.body.manifest_id, judge(finalize, parts).state)
    if before == after:
        return
    if before is not None:
        ledger.remove("manifests", group_no, group, before)
        connection.execute("DELETE FROM manifests WHERE recording_no = ?", (recording_no,))
    if after is not None:
        ledger.add("manifests", group_no, group, after)
        connection.execute("INSERT INTO manifests VALUES (?, ?, ?, ?)", (recording_no, *after[1:]))


def settle_group(connection: Connection, group_no: int, group: GroupId, role_of: RoleOf) -> None:
    """Do all of it again for a group whose roster has changed."""
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
        keys = [(recording_no, register) for register in settle_writes(connection, recording_no, role_of)]
        settle_registers(connection, ledger, group_no, group, keys)
        settle_manifest(connection, ledger, group_no, group, recording_no)
    for name, digest in recompute_digests(connection, group_no, group).items():
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
