"""Projected rows in `views.db`: reading them as they are shown, exported and hashed, and keeping the digests of their tables."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from materializer.bodies import AttachmentAdd, ChunkAdd, RecordingCreate, RecordingFinalize, read_body
from materializer.digest import MODULUS, TABLES, digest_bytes, row_hash
from materializer.manifest import RecordingFacts
from materializer.recordings import Attachment, Chunk, Finalize, MoreTopics, Parts
from materializer.registers import FINALIZE
from peer.core.encoding import decode
from peer.core.identity import EventId, GroupId, PeerId

Connection = sqlite3.Connection
Row = tuple[Any, ...]

HLC_SIZE = 8
ROWS_AT_ONCE = 32
"""That are inserted in one step."""

_SELECTS = {
    "recordings": (
        "SELECT id, site, name, machine, created_ns, profile, tool, tool_version, host, source_path, operator, hlc FROM recordings r WHERE counts"
    ),
    "chunks": (
        "SELECT c.id, r.id, c.hlc, number, source_name, blob, sha256, size, piece_size, pieces, message_count, start_ns, end_ns, library, "
        "c.profile, topics, dropped, embedded FROM recordings r JOIN chunks c USING (recording_no) WHERE c.counts"
    ),
    "chunk_topics": "SELECT t.id, r.id, t.hlc, chunk, topics FROM recordings r JOIN chunk_topics t USING (recording_no) WHERE t.counts",
    "attachments": (
        "SELECT a.id, r.id, a.hlc, source_name, blob, sha256, size, piece_size, pieces FROM recordings r JOIN attachments a USING (recording_no) "
        "WHERE a.counts"
    ),
    "annotations": (
        "SELECT a.id, r.id, author, a.hlc, label, text, start_ns, end_ns, reply_to, a.site, person FROM recordings r "
        "JOIN annotations a USING (recording_no) WHERE a.counts"
    ),
    "registers": (
        "SELECT w.id, r.id, register, author, rank, w.hlc, value, wins FROM recordings r JOIN registers w ON w.holder = r.recording_no WHERE w.live"
    ),
    "settings": "SELECT w.id, register, author, rank, hlc, value, wins FROM groups r JOIN registers w ON w.holder = -r.group_no WHERE w.live",
    "manifests": "SELECT r.id, finalize, manifest_id, state FROM recordings r JOIN manifests m USING (recording_no) WHERE 1",
    "receipts": "SELECT id, author, hlc, release, refs, blobs FROM receipts r WHERE counts",
    "poison": "SELECT id, author, type, reason FROM poison r WHERE counts",
}
assert list(_SELECTS) == list(TABLES)

_STORED_IN = {"settings": "registers"}
"""Where the rows of a table are that has none of its own."""
_ALIASES = {
    **dict.fromkeys(("recordings", "receipts", "poison"), "r"),
    "chunks": "c",
    "chunk_topics": "t",
    "attachments": "a",
    "annotations": "a",
    "registers": "w",
    "settings": "w",
    "manifests": "m",
}
"""What their rows are called in the queries above."""
_KEYS = {table: "r.id" if table == "manifests" else f"{alias}.id" for table, alias in _ALIASES.items()}

NUMBERS = {
    "recordings": "recording_no",
    "chunks": "chunk_no",
    "chunk_topics": "topics_no",
    "attachments": "attachment_no",
    "annotations": "annotation_no",
    "registers": "write_no",
    "receipts": "receipt_no",
    "poison": "poison_no",
}
"""The tables with a row for each event, and the columns that number their rows."""
CHILD_TABLES = ("chunks", "chunk_topics", "attachments", "annotations")
"""What belongs to a recording, counts only where it does, and is no register."""


def hlc_bytes(hlc: int) -> bytes:
    """A clock as it is stored: SQLite has no unsigned integers of 64 bits."""
    return hlc.to_bytes(HLC_SIZE, "big")


def with_arrays(row: Iterable[object]) -> list[object]:
    """The columns of a row as they are best inserted: Python looks for adapters of `bytes`, which takes longer than to write them; not of arrays."""
    return [bytearray(column) if type(column) is bytes else column for column in row]


def insert_rows(connection: Connection, into: str, rows: Sequence[Sequence[object]]) -> None:
    """Insert `rows`, several in each step of SQLite: after each step Python takes care of its lock, for which other threads wait.

    `into` names the table, and the columns if these are not all. Byte strings had best be arrays: see `with_arrays`.
    """
    if not rows:
        return
    marks = f"({', '.join('?' * len(rows[0]))})"
    whole = len(rows) - len(rows) % ROWS_AT_ONCE
    several = f"INSERT INTO {into} VALUES {', '.join([marks] * ROWS_AT_ONCE)}"  # noqa: S608  (our own names)
    for start in range(0, whole, ROWS_AT_ONCE):
        connection.execute(several, list(chain.from_iterable(rows[start : start + ROWS_AT_ONCE])))
    connection.executemany(f"INSERT INTO {into} VALUES {marks}", rows[whole:])  # noqa: S608  (our own names)


def projected_rows(connection: Connection, table: str, group_no: int, recording_no: int | None = None) -> Iterator[Row]:
    """The projected rows of a group, or of one of its recordings."""
    sql, parameters = _SELECTS[table] + " AND r.group_no = ?", [group_no]
    if recording_no is not None:
        sql, parameters = sql + " AND r.recording_no = ?", [group_no, recording_no]
    return connection.execute(sql, parameters)


def last_number(connection: Connection, table: str) -> int:
    """The highest number of a row, of whatever group."""
    return int(connection.execute(f"SELECT ifnull(max(rowid), 0) FROM {_STORED_IN.get(table, table)}").fetchone()[0])  # noqa: S608  (our own names)


def rows_between(connection: Connection, table: str, group_no: int, numbers: tuple[int, int], prefix: bytes) -> Iterator[Row]:
    """The projected rows of a group with numbers above the first of `numbers` and up to the second, whose keys begin with `prefix`."""
    alias, key = _ALIASES[table], _KEYS[table]
    sql = f"{_SELECTS[table]} AND r.group_no = ? AND {alias}.rowid > ? AND {alias}.rowid <= ? AND substr({key}, 1, ?) = ?"
    return connection.execute(sql, (group_no, *numbers, len(prefix), prefix))


def projected_row(connection: Connection, table: str, group_no: int, number: int) -> Row:
    """The row of that number, which must count. Not for registers: whether these are projected is a matter of all writes together."""
    row: Row | None = connection.execute(f"{_SELECTS[table]} AND r.group_no = ? AND {NUMBERS[table]} = ?", (group_no, number)).fetchone()
    assert row is not None, "only rows that count are projected"
    return row


def find_recording(connection: Connection, group_no: int, recording: bytes) -> Row | None:
    """Its row number, site (None for a shadow) and whether it counts."""
    sql = "SELECT recording_no, site, counts FROM recordings WHERE substr(id, 1, 8) = ? AND group_no = ? AND id = ?"
    row: Row | None = connection.execute(sql, (recording[:8], group_no, recording)).fetchone()
    return row


class Place(NamedTuple):
    """A group, with the number of its row."""

    group_no: int
    group: GroupId


class Ledger:
    """Changes of digests that are not written yet."""

    def __init__(self) -> None:
        self._changes: dict[tuple[int, str], int] = defaultdict(int)

    def add(self, table: str, place: Place, row: Sequence[object]) -> None:
        """A row has appeared."""
        self._changes[place.group_no, table] += row_hash(table, place.group, row)

    def add_hash(self, table: str, place: Place, hashed: int) -> None:
        """A row has appeared of which this is the hash."""
        self._changes[place.group_no, table] += hashed

    def remove(self, table: str, place: Place, row: Sequence[object]) -> None:
        """A row is gone."""
        self._changes[place.group_no, table] -= row_hash(table, place.group, row)

    def write(self, connection: Connection) -> None:
        """Store what has changed."""
        for (group_no, name), change in self._changes.items():
            row = connection.execute("SELECT digest FROM digests WHERE group_no = ? AND name = ?", (group_no, name)).fetchone()
            total = (int.from_bytes(row[0], "big") if row else 0) + change
            connection.execute("REPLACE INTO digests VALUES (?, ?, ?)", (group_no, name, digest_bytes(total % MODULUS)))
        self._changes.clear()


def read_digests(connection: Connection, group_no: int) -> dict[str, bytes]:
    """The digests of a group's tables."""
    return dict(connection.execute("SELECT name, digest FROM digests WHERE group_no = ?", (group_no,)))


def recompute_digests(connection: Connection, place: Place) -> dict[str, bytes]:
    """The digests of a group's tables, from their rows."""
    return {
        name: digest_bytes(sum(row_hash(name, place.group, row) for row in projected_rows(connection, name, place.group_no)) % MODULUS)
        for name in TABLES
    }


def read_parts(connection: Connection, place: Place, recording_no: int) -> Parts | None:
    """What counts of a recording, None if the recording does not."""
    create = next(projected_rows(connection, "recordings", place.group_no, recording_no), None)
    if create is None:
        return None
    recording, site, *said, _ = create
    facts = RecordingFacts(place.group, EventId(recording), PeerId(site), RecordingCreate._make(said))
    chunks = [_chunk(row) for row in projected_rows(connection, "chunks", place.group_no, recording_no)]
    topics = [
        MoreTopics(EventId(event_id), _number(hlc), EventId(chunk), _entries(data))
        for event_id, _, hlc, chunk, data in projected_rows(connection, "chunk_topics", place.group_no, recording_no)
    ]
    attachments = [
        Attachment(EventId(row[0]), _number(row[2]), AttachmentAdd(row[1], *row[3:]))
        for row in projected_rows(connection, "attachments", place.group_no, recording_no)
    ]
    return Parts(facts, chunks, topics, attachments)


def read_finalize(connection: Connection, recording_no: int) -> Finalize | None:
    """The finalize of a recording that wins."""
    sql = "SELECT id, hlc, value FROM registers WHERE holder = ? AND register = ? AND wins"
    row = connection.execute(sql, (recording_no, FINALIZE)).fetchone()
    if row is None:
        return None
    body = read_body("recording.finalize", row[2])
    assert isinstance(body, RecordingFinalize)
    return Finalize(EventId(row[0]), _number(row[1]), body)


def split_refs(refs: bytes) -> list[EventId]:
    """Refs as they are stored, one after the other."""
    return [EventId(refs[start : start + 32]) for start in range(0, len(refs), 32)]


def join_refs(refs: Iterable[EventId]) -> bytes:
    """The opposite of `split_refs`."""
    return b"".join(refs)


def _chunk(row: Row) -> Chunk:
    event_id, recording, hlc, *fields, topics, dropped, embedded = row
    return Chunk(EventId(event_id), _number(hlc), ChunkAdd._make((recording, *fields, _entries(topics), dropped, _entries(embedded))))


def _number(hlc: bytes) -> int:
    return int.from_bytes(hlc, "big")


def _entries(data: bytes) -> list[Any]:
    return [tuple(entry) for entry in decode(data)]  # type: ignore[union-attr,arg-type]
