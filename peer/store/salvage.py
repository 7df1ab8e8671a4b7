"""Taking over what can still be read of a damaged `log.db`: whole runs whose signatures verify and whose ancestors are here, and nothing else.

Rows are carved out of the file in whatever order they lie, sorted in a database of their own, and appended to the new log like runs from a stranger.
So nothing false comes in, and what is lost leaves a hole that other peers fill. Runs above a hole wait until it is filled.
"""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple, Self

from peer.core.certificate import CERTIFICATE_SIZE_MAX, Certificate, read_certificate
from peer.core.encoding import decode
from peer.core.event import Event, read_event
from peer.core.group import GENESIS_SIZE_MAX
from peer.core.identity import ID_SIZE, SIGNATURE_SIZE, EventId, GroupId, PeerId
from peer.core.run import RUN_EVENTS_MAX, Run, read_run
from peer.errors import CertificateInvalidError, EventRejectedError, MeshError
from peer.store.carving import Record, carve
from peer.store.events import SqliteEventStore
from peer.store.known import is_genesis
from peer.store.peers import KnownPeer

APPENDS_AT_ONCE = 128
COMMIT_ROWS = 4096
ROWS_AT_ONCE = 512
SCHEMA = """
CREATE TABLE IF NOT EXISTS genesis (group_id BLOB PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS certificates (log BLOB PRIMARY KEY, group_id BLOB NOT NULL, kind INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
    id BLOB PRIMARY KEY, log BLOB NOT NULL, seq INTEGER NOT NULL, previous BLOB NOT NULL, header BLOB NOT NULL, body BLOB NOT NULL,
    held INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS events_by_place ON events (log, seq, id);
CREATE TABLE IF NOT EXISTS signatures (id BLOB NOT NULL, signature BLOB NOT NULL, PRIMARY KEY (id, signature)) WITHOUT ROWID;
"""


class _Row(NamedTuple):
    """An event that was carved."""

    seq: int
    previous: bytes
    header: bytes
    body: bytes
    held: bool


class Debris:
    """What was carved out, sorted. A file, since a log may be larger than the memory."""

    def __init__(self, path: Path) -> None:
        """Open or make the one at `path`."""
        self.path = path
        self.peers: list[KnownPeer] = []
        """Addresses, as they were found: unproven."""
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=DELETE")
        self._connection.execute("PRAGMA synchronous=OFF")
        self._connection.executescript(SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def collect(self, database: Path) -> None:
        """Carve everything out of `database` that looks like ours. Blocks."""
        connection = self._connection
        connection.execute("BEGIN")
        for number, record in enumerate(carve(database)):
            self._take(record)
            if number % COMMIT_ROWS == 0:
                connection.execute("COMMIT")
                connection.execute("BEGIN")
        connection.execute("COMMIT")

    def genesis(self) -> dict[GroupId, bytes]:
        """The groups that were found, each with its proof."""
        return {GroupId(group): data for group, data in self._connection.execute("SELECT group_id, data FROM genesis ORDER BY group_id")}

    @property
    def waiting(self) -> int:
        """How many events could not be appended yet."""
        return int(self._connection.execute("SELECT count(*) FROM events WHERE NOT held").fetchone()[0])

    def forget_held(self) -> None:
        """Keep only what waits."""
        self._connection.execute("DELETE FROM events WHERE held")
        self._connection.execute("DELETE FROM signatures WHERE id NOT IN (SELECT id FROM events)")
        self._connection.execute("VACUUM")

    async def append_to(self, store: SqliteEventStore) -> int:
        """Append every run that can be, of groups that `store` holds, control logs first; how many events that were."""
        before = self.waiting
        self._connection.execute("BEGIN")
        try:
            for certificate in self._certificates():
                if certificate.group in store.replica.groups:
                    await self._append_log(store, certificate)
        finally:
            self._connection.execute("COMMIT")
        return before - self.waiting

    async def _append_log(self, store: SqliteEventStore, certificate: Certificate) -> None:
        waiting: list[Run] = []
        async for run in self._runs(certificate, store):
            waiting.append(run)
            if len(waiting) == APPENDS_AT_ONCE:
                await self._append(store, certificate, waiting)
                waiting = []
        await self._append(store, certificate, waiting)

    def _certificates(self) -> Iterator[Certificate]:
        sql = "SELECT data, group_id FROM certificates ORDER BY kind DESC, log"
        for data, group in self._connection.execute(sql).fetchall():
            yield read_certificate(data, GroupId(group))

    async def _runs(self, certificate: Certificate, store: SqliteEventStore) -> AsyncIterator[Run]:
        """The runs of a log, lowest first, that begin with the log or go on from what is held. Each is taken as held once it was given."""
        sql = """SELECT seq, id FROM events WHERE log = ? AND (seq, id) > (?, ?) AND NOT held
                 AND EXISTS (SELECT 1 FROM signatures WHERE signatures.id = events.id) ORDER BY seq, id LIMIT ?"""
        place: tuple[int, bytes] = (-1, b"")
        above_a_hole: set[bytes] = set()
        while page := self._connection.execute(sql, (certificate.log, *place, ROWS_AT_ONCE)).fetchall():
            for _, event_id in page:
                rows = await self._rows_up_to(EventId(event_id), above_a_hole, certificate.group, store)
                run = self._read_run(certificate, EventId(event_id), rows) if rows else None
                if run is None:
                    above_a_hole.add(event_id)
                    continue
                self._mark(run, held=True)
                yield run
            place = page[-1]
            await asyncio.sleep(0)

    async def _rows_up_to(self, event_id: EventId, above_a_hole: set[bytes], group: GroupId, store: SqliteEventStore) -> list[_Row]:
        """The events that are not held up to this one, oldest first; none if one between is missing."""
        rows: list[_Row] = []
        while len(rows) <= RUN_EVENTS_MAX:
            if event_id in above_a_hole:
                return []
            row = self._row(event_id)
            if row is None:
                return rows[::-1] if await store.held(group, [event_id]) else []
            if row.held:
                break
            rows.append(row)
            if row.seq == 0:
                break
            event_id = EventId(row.previous)
        return rows[::-1]

    def _row(self, event_id: EventId) -> _Row | None:
        found = self._connection.execute("SELECT seq, previous, header, body, held FROM events WHERE id = ?", (event_id,)).fetchone()
        return _Row(*found) if found else None

    def _read_run(self, certificate: Certificate, event_id: EventId, rows: list[_Row]) -> Run | None:
        """The run of these rows under the first signature that is good."""
        for (signature,) in self._connection.execute("SELECT signature FROM signatures WHERE id = ?", (event_id,)).fetchall():
            with contextlib.suppress(EventRejectedError):
                return read_run(certificate, [(row.header, row.body) for row in rows], signature)
        return None

    async def _append(self, store: SqliteEventStore, certificate: Certificate, runs: list[Run]) -> None:
        results = await asyncio.gather(*(store.append(certificate, run) for run in runs), return_exceptions=True)
        for run, result in zip(runs, results, strict=True):
            if isinstance(result, EventRejectedError):
                self._mark(run, held=False)
            elif result is not None:
                raise result

    def _mark(self, run: Run, *, held: bool) -> None:
        self._connection.executemany("UPDATE events SET held = ? WHERE id = ?", [(held, event.id) for event in run.events])

    def _take(self, record: Record) -> None:
        """Keep a record if it is one of ours."""
        match record:
            case [None, int(), int(), bytes(event_id), bytes(header), bytes(body), (bytes() | None) as signature] if len(event_id) == ID_SIZE:
                self._take_event(event_id, header, body, signature)
            case [None, int(), bytes(log), bytes(data)] if len(log) == ID_SIZE and len(data) <= CERTIFICATE_SIZE_MAX:
                self._take_certificate(data)
            case [None, bytes(group), bytes(data)] if len(group) == ID_SIZE and len(data) <= GENESIS_SIZE_MAX:
                if is_genesis(data, GroupId(group)):
                    self._connection.execute("INSERT OR IGNORE INTO genesis (group_id, data) VALUES (?, ?)", (group, data))
            case [bytes(peer), str(name), str(endpoints), str(groups), str(source), int(paused), *_] if len(peer) == ID_SIZE:
                with contextlib.suppress(ValueError, TypeError):
                    ids = tuple(GroupId(bytes.fromhex(group)) for group in json.loads(groups))
                    self.peers.append(KnownPeer(PeerId(peer), name, tuple(map(str, json.loads(endpoints))), ids, source, bool(paused)))
            case _:
                pass

    def _take_event(self, event_id: bytes, header: bytes, body: bytes, signature: bytes | None) -> None:
        try:
            event: Event = read_event(header, body)
        except EventRejectedError:
            return
        if event.id != event_id:
            return  # One of both was changed: more likely the longer one.
        place = (event.id, event.header.log, event.header.seq, event.header.previous, header, body)
        self._connection.execute("INSERT OR IGNORE INTO events (id, log, seq, previous, header, body) VALUES (?, ?, ?, ?, ?, ?)", place)
        if signature is not None and len(signature) == SIGNATURE_SIZE:
            self._connection.execute("INSERT OR IGNORE INTO signatures (id, signature) VALUES (?, ?)", (event.id, signature))

    def _take_certificate(self, data: bytes) -> None:
        try:
            certificate = read_certificate(data, _group_of(data))
        except MeshError:
            return
        row = (certificate.log, certificate.group, int(certificate.kind), data)
        self._connection.execute("INSERT OR IGNORE INTO certificates (log, group_id, kind, data) VALUES (?, ?, ?, ?)", row)


def _group_of(data: bytes) -> GroupId:
    """The group that a certificate says it is of. Raises `EventRejectedError`."""
    match decode(data):
        case [_, bytes(group), *_]:
            return GroupId(group)
        case _:
            raise CertificateInvalidError("not the fields of a log certificate")
