"""`ledger.db`: how the files of blobs were when they were verified last, for the threads that work on these files.

A note that cannot be written waits until there is room, and is given up when this process ends: what is not noted is hashed again before anybody gets
any of it. So the disk may be full, and the whole file may be lost; then nothing is known of bytes that were here and are gone, and that is all.
"""

import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peer.core.byte_store import FileNote
from peer.core.identity import BlobId
from peer.errors import MeshError
from peer.store.database import connect_for_reading, connect_for_threads, remove_database

PAGE = 1000
"""Blobs that are read at once where all are looked at."""

LATE_MAX = 10_000
"""Notes that wait while the disk is full. The oldest of more than that are given up."""

SCHEMA = "ledger"


class SqliteLedger:
    """Every method may be called from any thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Use `open_ledger` or `read_ledger`."""
        self._connection = connection
        self._turn = threading.Lock()
        self._late: deque[tuple[str, tuple[object, ...]]] = deque(maxlen=LATE_MAX)

    def close(self) -> None:
        """Waits for who is asking. Threads that are still at work when their site ends learn nothing afterwards, and what they note is lost."""
        with self._turn:
            self._connection.close()

    def get(self, blob: BlobId) -> FileNote | None:
        """What is noted of a blob."""
        for inode, size, modified_ns, changed_ns, is_sound in self._rows(
            "SELECT inode, size, modified_ns, changed_ns, is_sound FROM blobs WHERE blob = ?", blob
        ):
            return FileNote(inode, size, modified_ns, changed_ns, is_sound=bool(is_sound))
        return None

    def note(self, blob: BlobId, note: FileNote) -> None:
        """Its file is as `note` says."""
        self._change("INSERT OR REPLACE INTO blobs (blob, inode, size, modified_ns, changed_ns, is_sound) VALUES (?, ?, ?, ?, ?, ?)", blob, *note)
        self._change("DELETE FROM removed WHERE blob = ?", blob)

    def forget(self, blob: BlobId) -> None:
        """It is not meant to be here any more."""
        self._change("DELETE FROM blobs WHERE blob = ?", blob)
        self._change("INSERT OR IGNORE INTO removed (blob) VALUES (?)", blob)

    def is_forgotten(self, blob: BlobId) -> bool:
        """True if it was here, and is not meant to be any more."""
        return bool(self._rows("SELECT 1 FROM removed WHERE blob = ?", blob))

    def begin(self, blob: BlobId) -> None:
        """Something of it lies aside from now on."""
        self._change("INSERT OR IGNORE INTO begun (blob) VALUES (?)", blob)

    def end(self, blob: BlobId) -> None:
        """Nothing lies aside any more, or is meant to."""
        self._change("DELETE FROM begun WHERE blob = ?", blob)

    def begun(self) -> list[BlobId]:
        """Of which something ought to lie aside."""
        return [BlobId(row[0]) for row in self._rows("SELECT blob FROM begun ORDER BY blob")]

    def damaged(self) -> list[BlobId]:
        """Those whose bytes were others when they were hashed last."""
        return [BlobId(row[0]) for row in self._rows("SELECT blob FROM blobs WHERE is_sound = 0")]

    def blobs(self) -> Iterator[BlobId]:
        """All that ought to be here, some at a time."""
        last = b""
        while rows := self._rows("SELECT blob FROM blobs WHERE blob > ? ORDER BY blob LIMIT ?", last, PAGE):
            yield from (BlobId(row[0]) for row in rows)
            last = rows[-1][0]

    def _rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self._turn, contextlib.suppress(sqlite3.DatabaseError):
            self._write_late()
            return self._connection.execute(sql, parameters).fetchall()
        return []

    def _change(self, sql: str, *parameters: object) -> None:
        with self._turn:
            self._late.append((sql, parameters))
            self._write_late()

    def _write_late(self) -> None:
        """Write what could not be written before, in its order, as far as there is room."""
        with contextlib.suppress(sqlite3.DatabaseError):
            while self._late:
                self._connection.execute(*self._late[0])
                self._late.popleft()


def open_ledger(path: Path) -> SqliteLedger:
    """The ledger at `path`; an empty one where there is none, or something else."""
    try:
        return SqliteLedger(connect_for_threads(path, SCHEMA))
    except MeshError:
        remove_database(path)
        return SqliteLedger(connect_for_threads(path, SCHEMA))


def read_ledger(path: Path) -> SqliteLedger | None:
    """The same, without changing a byte of it; none where it cannot be read."""
    try:
        ledger = SqliteLedger(connect_for_reading(path))
    except sqlite3.Error:
        return None
    return ledger
