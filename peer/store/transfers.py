"""Of `bytes.db`: what people told this site about its transfers, and which of them were given up."""

from collections.abc import Collection, Iterable
from functools import partial

from peer.core.identity import EventId, GroupId
from peer.store.table import Connection, Table


class TransferStore:
    """What is kept of transfers."""

    def __init__(self, table: Table) -> None:
        """Does nothing yet. `table` has the schema `bytes`."""
        self._table = table

    async def asked(self) -> set[tuple[GroupId, EventId]]:
        """Recordings whose bytes somebody asked for."""
        rows = await self._table.read(lambda connection: connection.execute("SELECT group_id, recording FROM asked").fetchall())
        return {(GroupId(group), EventId(recording)) for group, recording in rows}

    async def ask(self, group: GroupId, recording: EventId) -> None:
        """Remember, durably, that somebody asked."""
        sql = "INSERT OR IGNORE INTO asked (group_id, recording) VALUES (?, ?)"
        await self._table.transaction(lambda connection: connection.execute(sql, (group, recording)))

    async def forget_asked(self, group: GroupId, recordings: Collection[EventId]) -> None:
        """They are here, or not to come any more."""
        await self._table.transaction(partial(_forget_asked, [(group, recording) for recording in recordings]))


def _forget_asked(rows: Iterable[tuple[GroupId, EventId]], connection: Connection) -> None:
    connection.executemany("DELETE FROM asked WHERE group_id = ? AND recording = ?", rows)
