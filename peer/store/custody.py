"""Of `bytes.db`: what this site promised others about its copies, and what it dropped."""

from collections.abc import Collection
from functools import partial

from peer.core.custody import Remembered, Subject, Unproven
from peer.core.dropping import ROUND_SIZE
from peer.core.identity import EventId, GroupId, PeerId
from peer.store.table import Connection, Table
from peer.store.unread import UnreadRows, read_id, read_number, read_text

PROMISES = "promises"
"""The table whose rows that cannot be read may bind this site."""


class CustodyStore:
    """A `CustodyMemory`."""

    def __init__(self, table: Table, unread: UnreadRows) -> None:
        """Does nothing yet. `table` has the schema `bytes`; `unread` takes note of what in it cannot be read."""
        self._table = table
        self._unread = unread

    async def all(self) -> Remembered:
        """As `CustodyMemory.all`."""
        return await self._table.read(partial(_read, self._unread))

    async def promise(self, subject: Subject, peer: PeerId, round_id: bytes) -> None:
        """As `CustodyMemory.promise`."""
        await self._write("INSERT OR REPLACE INTO promises VALUES (?, ?, ?, ?)", (*subject, peer, round_id))

    async def forget_promises(self, promises: Collection[tuple[Subject, PeerId]]) -> None:
        """As `CustodyMemory.forget_promises`."""
        rows = [(*subject, peer) for subject, peer in promises]
        sql = "DELETE FROM promises WHERE group_id = ? AND recording = ? AND peer = ?"
        await self._table.transaction(lambda connection: connection.executemany(sql, rows))

    async def begin_release(self, subject: Subject) -> None:
        """As `CustodyMemory.begin_release`."""
        await self._write("INSERT OR REPLACE INTO releases VALUES (?, ?)", subject)

    async def end_release(self, subject: Subject) -> None:
        """As `CustodyMemory.end_release`."""
        await self._write("DELETE FROM releases WHERE group_id = ? AND recording = ?", subject)

    async def hold_back(self, subject: Subject, at_ms: int) -> None:
        """As `CustodyMemory.hold_back`."""
        await self._table.transaction(partial(_hold_back, subject, at_ms))

    async def lift(self, subject: Subject) -> None:
        """As `CustodyMemory.lift`."""
        await self._write("DELETE FROM held_back WHERE group_id = ? AND recording = ?", subject)

    async def note_unproven(self, unproven: Unproven) -> None:
        """As `CustodyMemory.note_unproven`."""
        await self._write("INSERT OR REPLACE INTO unproven VALUES (?, ?, ?, ?, ?)", (*unproven.subject, *unproven[1:]))

    async def note_proven(self, subject: Subject, peer: PeerId) -> None:
        """As `CustodyMemory.note_proven`."""
        await self._write("DELETE FROM unproven WHERE group_id = ? AND recording = ? AND peer = ?", (*subject, peer))

    async def _write(self, sql: str, row: tuple[object, ...]) -> None:
        await self._table.transaction(lambda connection: connection.execute(sql, row))


def _hold_back(subject: Subject, at_ms: int, connection: Connection) -> None:
    """In one step: else a crash would leave the wish of somebody who asked for it earlier, and it would come back at once."""
    connection.execute("INSERT OR REPLACE INTO held_back VALUES (?, ?, ?)", (*subject, at_ms))
    connection.execute("DELETE FROM asked WHERE group_id = ? AND recording = ?", subject)


def _read(unread: UnreadRows, connection: Connection) -> Remembered:
    promises = connection.execute("SELECT group_id, recording, peer, round_id FROM promises").fetchall()
    releases = connection.execute("SELECT group_id, recording FROM releases").fetchall()
    held_back = connection.execute("SELECT group_id, recording FROM held_back").fetchall()
    unproven = connection.execute("SELECT group_id, recording, peer, CAST(code AS BLOB), at_ms FROM unproven").fetchall()
    return Remembered(
        unread.read(PROMISES, promises, _promise),
        unread.read("releases", releases, _subject),
        unread.read("held_back", held_back, _subject),
        unread.read("unproven", unproven, _unproven),
    )


def _subject(group: object, recording: object) -> Subject:
    return Subject(GroupId(read_id(group)), EventId(read_id(recording)))


def _promise(group: object, recording: object, peer: object, round_id: object) -> tuple[Subject, PeerId, bytes]:
    if not isinstance(round_id, bytes) or len(round_id) != ROUND_SIZE:
        raise ValueError("no id of a round")
    return _subject(group, recording), PeerId(read_id(peer)), round_id


def _unproven(group: object, recording: object, peer: object, code: object, at_ms: object) -> Unproven:
    return Unproven(_subject(group, recording), PeerId(read_id(peer)), read_text(code), read_number(at_ms))
