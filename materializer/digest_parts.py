"""What is told of projected rows to peers that hold the same: the digests of all tables, and of the rows whose keys begin alike."""

from collections.abc import Mapping
from typing import NamedTuple

from materializer.digest import TABLES, row_hash
from materializer.tables import Connection, last_number, read_digests, rows_between
from peer.core.identity import GroupId

NO_ROWS = bytes(32)
SLICE = 4096
"""Rows of a table that are read in one go: whoever else reads need not wait for all of it."""


class Summary(NamedTuple):
    """The tables of a group, with what they were computed from."""

    version: int
    """Of the projections."""
    position: int
    """Of the last event in this peer's own order."""
    judgement: bytes | None
    """The digest of that by which all rows have their roles; None if nothing of the group is projected."""
    tables: Mapping[str, bytes]
    """Their digests."""


def read_summary(connection: Connection, group: GroupId) -> Summary:
    """How the tables of a group are. Call within one state of the database."""
    version, position = connection.execute("SELECT version, position FROM progress").fetchone() or (0, 0)
    row = connection.execute("SELECT group_no, judgement FROM groups WHERE group_id = ?", (group,)).fetchone()
    kept = read_digests(connection, row[0]) if row else {}
    return Summary(version, position, bytes(row[1]) if row else None, {name: kept.get(name, NO_ROWS) for name in TABLES})


def count_slices(connection: Connection, table: str) -> int:
    """In how many goes the rows of a table are read."""
    return -(-last_number(connection, table) // SLICE) if table in TABLES else 0


def read_sums(connection: Connection, group: GroupId, table: str, prefix: bytes, number: int) -> dict[bytes, int]:
    """The sums of the hashes of rows by their keys, of those in one slice whose keys begin like that."""
    row = connection.execute("SELECT group_no FROM groups WHERE group_id = ?", (group,)).fetchone()
    sums: dict[bytes, int] = {}
    if row is None or table not in TABLES:
        return sums
    for each in rows_between(connection, table, row[0], (number * SLICE, (number + 1) * SLICE), prefix):
        key = bytes(each[0])
        sums[key] = sums.get(key, 0) + row_hash(table, group, each)
    return sums
