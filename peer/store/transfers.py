"""Of `bytes.db`: what people told this site about its transfers, and which of them were given up."""

from collections.abc import Collection, Iterable, Sequence
from functools import partial

from peer.core.identity import BlobId, EventId, GroupId
from peer.core.transfers import Held, Hold
from peer.store.table import Connection, Table
from peer.store.unread import UnreadRows, read_id, read_number, read_text


class TransferStore:
    """What is kept of transfers."""

    def __init__(self, table: Table, unread: UnreadRows) -> None:
        """Does nothing yet. `table` has the schema `bytes`; `unread` takes note of what in it cannot be read."""
        self._table = table
        self._unread = unread

    async def asked(self) -> set[tuple[GroupId, EventId]]:
        """Recordings whose bytes somebody asked for."""
        rows = await self._table.read(lambda connection: connection.execute("SELECT group_id, recording FROM asked").fetchall())
        return set(self._unread.read("asked", rows, _subject))

    async def ask(self, group: GroupId, recording: EventId) -> None:
        """Remember, durably, that somebody asked."""
        sql = "INSERT OR IGNORE INTO asked (group_id, recording) VALUES (?, ?)"
        await self._table.transaction(lambda connection: connection.execute(sql, (group, recording)))

    async def forget_asked(self, group: GroupId, recordings: Collection[EventId]) -> None:
        """They are here, or not to come any more."""
        await self._table.transaction(partial(_forget_asked, [(group, recording) for recording in recordings]))

    async def held(self) -> list[Held]:
        """Blobs that are not fetched."""
        sql = "SELECT blob, group_id, recording, CAST(state AS BLOB), CAST(code AS BLOB), CAST(text AS BLOB), since_ms FROM held"
        rows = await self._table.read(lambda connection: connection.execute(sql).fetchall())
        return self._unread.read("held", rows, _held)

    async def hold(self, held: Sequence[Held]) -> None:
        """Remember, durably, that these are not fetched, and why."""
        sql = "INSERT OR REPLACE INTO held (blob, group_id, recording, state, code, text, since_ms) VALUES (?, ?, ?, ?, ?, ?, ?)"
        rows = [(each.blob, each.group, each.recording, each.hold.value, each.code, each.text, each.since_ms) for each in held]
        await self._table.transaction(lambda connection: connection.executemany(sql, rows))

    async def release(self, blobs: Collection[BlobId]) -> None:
        """They are fetched again."""
        rows = [(blob,) for blob in blobs]
        await self._table.transaction(lambda connection: connection.executemany("DELETE FROM held WHERE blob = ?", rows))

    async def settings(self) -> dict[str, str]:
        """What is set for all transfers, by name."""
        sql = "SELECT CAST(name AS BLOB), CAST(value AS BLOB) FROM transfer_settings"
        rows = await self._table.read(lambda connection: connection.execute(sql).fetchall())
        return dict(self._unread.read("transfer_settings", rows, lambda name, value: (read_text(name), read_text(value))))

    async def set(self, name: str, value: str | None) -> None:
        """Set or, with None, unset something, durably."""
        await self._table.transaction(partial(_set, name, value))


def _subject(group: object, recording: object) -> tuple[GroupId, EventId]:
    return GroupId(read_id(group)), EventId(read_id(recording))


def _held(blob: object, group: object, recording: object, state: object, *rest: object) -> Held:
    code, text, since_ms = rest
    return Held(BlobId(read_id(blob)), *_subject(group, recording), Hold(read_text(state)), read_text(code), read_text(text), read_number(since_ms))


def _set(name: str, value: str | None, connection: Connection) -> None:
    if value is None:
        connection.execute("DELETE FROM transfer_settings WHERE name = ?", (name,))
    else:
        connection.execute("INSERT OR REPLACE INTO transfer_settings (name, value) VALUES (?, ?)", (name, value))


def _forget_asked(rows: Iterable[tuple[GroupId, EventId]], connection: Connection) -> None:
    connection.executemany("DELETE FROM asked WHERE group_id = ? AND recording = ?", rows)
