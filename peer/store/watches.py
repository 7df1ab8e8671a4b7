"""`watch.db`: which folders are watched, and what became of the files in them, so that none is read twice for nothing or counted twice.

A file whose content changes is another one: what became of the one before goes into the totals of its folder.
"""

import json
from collections.abc import Sequence
from functools import partial

from peer.core.identity import BlobId, EventId, GroupId
from peer.core.watches import Item, KnownFile, Outcome, Totals, WatchedFolder
from peer.errors import StoreCorruptError
from peer.store.table import Connection, Table


class WatchStore:
    """What is kept of watched folders."""

    def __init__(self, table: Table) -> None:
        """Does nothing yet."""
        self._table = table

    async def folders(self) -> list[WatchedFolder]:
        """All of them, by path. Raises `StoreCorruptError` for anything but what `add` writes."""
        sql = "SELECT folder, group_id, tags, machine FROM folders ORDER BY folder"
        rows = await self._table.read(lambda connection: connection.execute(sql).fetchall())
        try:
            return [WatchedFolder(folder, GroupId(group), tuple(json.loads(tags)), machine) for folder, group, tags, machine in rows]
        except (ValueError, TypeError) as error:
            raise StoreCorruptError("watch.db holds what was never written there", fix="delete it, and watch the folders anew") from error

    async def add(self, watched: WatchedFolder) -> None:
        """Remember a folder, durably."""
        row = (watched.folder, watched.group, json.dumps(watched.tags), watched.machine)
        sql = "INSERT INTO folders (folder, group_id, tags, machine) VALUES (?, ?, ?, ?)"
        await self._table.transaction(lambda connection: connection.execute(sql, row))

    async def remove(self, folder: str) -> None:
        """Forget a folder and its files."""
        await self._table.transaction(lambda connection: connection.execute("DELETE FROM folders WHERE folder = ?", (folder,)))

    async def files(self, folder: str) -> list[KnownFile]:
        """What is remembered of the files of a folder."""
        sql = "SELECT path, identity, blob, outcome FROM files WHERE folder = ?"
        rows = await self._table.read(lambda connection: connection.execute(sql, (folder,)).fetchall())
        return [KnownFile(path, identity, BlobId(blob), Outcome(outcome)) for path, identity, blob, outcome in rows]

    async def items(self, folder: str) -> list[Item]:
        """What has become a recording, or was to become one."""
        sql = "SELECT item, name, recording, is_closed FROM items WHERE folder = ?"
        rows = await self._table.read(lambda connection: connection.execute(sql, (folder,)).fetchall())
        return [Item(item, name, None if recording is None else EventId(recording), bool(closed)) for item, name, recording, closed in rows]

    async def remember(self, watched: WatchedFolder, files: Sequence[KnownFile], item: Item | None = None) -> None:
        """Keep what became of `files`, and of the item that they belong to, together and durably; nothing if the folder is watched no more."""
        await self._table.transaction(partial(_remember, watched, files, item))

    async def forget(self, folder: str, paths: Sequence[str]) -> None:
        """Keep of these files only that they were."""
        await self._table.transaction(partial(_forget, folder, paths))

    async def totals(self, folder: str) -> Totals:
        """How many files of a folder were added, and how many were there already."""
        return await self._table.read(partial(_totals, folder))


def _remember(watched: WatchedFolder, files: Sequence[KnownFile], item: Item | None, connection: Connection) -> None:
    folder = watched.folder
    if connection.execute("SELECT 1 FROM folders WHERE folder = ? AND group_id = ?", (folder, watched.group)).fetchone() is None:
        return
    for file in files:
        sql = "SELECT blob, outcome FROM files WHERE folder = ? AND path = ?"
        before = connection.execute(sql, (folder, file.path)).fetchone()
        if before is not None and before[0] != file.blob:
            _count(connection, folder, before[1])
        row = (folder, file.path, file.identity, file.blob, file.outcome.value)
        connection.execute("INSERT OR REPLACE INTO files (folder, path, identity, blob, outcome) VALUES (?, ?, ?, ?, ?)", row)
    if item is not None:
        connection.execute("INSERT OR REPLACE INTO items (folder, item, name, recording, is_closed) VALUES (?, ?, ?, ?, ?)", (folder, *item))


def _forget(folder: str, paths: Sequence[str], connection: Connection) -> None:
    for path in paths:
        row = connection.execute("DELETE FROM files WHERE folder = ? AND path = ? RETURNING outcome", (folder, path)).fetchone()
        if row is not None:
            _count(connection, folder, row[0])


def _count(connection: Connection, folder: str, outcome: str) -> None:
    if outcome in (Outcome.ADDED, Outcome.DUPLICATE):
        added = int(outcome == Outcome.ADDED)
        sql = "UPDATE folders SET added = added + ?, duplicates = duplicates + ? WHERE folder = ?"
        connection.execute(sql, (added, 1 - added, folder))


def _totals(folder: str, connection: Connection) -> Totals:
    row = connection.execute("SELECT added, duplicates FROM folders WHERE folder = ?", (folder,)).fetchone()
    if row is None:
        return Totals()
    sql = "SELECT outcome, count(*) FROM files WHERE folder = ? GROUP BY outcome"
    counts = dict(connection.execute(sql, (folder,)).fetchall())
    return Totals(row[0] + counts.get(Outcome.ADDED, 0), row[1] + counts.get(Outcome.DUPLICATE, 0))
