"""What is told of projected rows to peers that hold the same: the digests of all tables, and of the rows whose keys begin alike."""

from collections.abc import Mapping
from typing import NamedTuple

from materializer.digest import TABLES, row_hash
from materializer.tables import Connection, Place, projected_rows, read_digests
from peer.core.identity import GroupId

NO_ROWS = bytes(32)


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


def read_sums(connection: Connection, group: GroupId, table: str, prefix: bytes) -> dict[bytes, int]:
    """The sums of the hashes of rows by their keys, of those whose keys begin like that."""
    row = connection.execute("SELECT group_no FROM groups WHERE group_id = ?", (group,)).fetchone()
    sums: dict[bytes, int] = {}
    if row is None or table not in TABLES:
        return sums
    place = Place(row[0], group)
    for each in projected_rows(connection, table, place.group_no):
        key = bytes(each[0])
        if key.startswith(prefix):
            sums[key] = sums.get(key, 0) + row_hash(table, group, each)
    return sums
