"""Doubting the store: every log is verified anew from its first event, as if it came from a stranger. Changes nothing.

Uses a connection of its own, so that it works beside a running peer as well as without one, and reads page by page: its memory does not grow with
the log, and the writer's checkpoints are held back by one page at most (SQLite's own check of the file apart).
"""

import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import lt
from pathlib import Path
from typing import NamedTuple

from peer.core.certificate import Certificate, read_certificate
from peer.core.chain import read_chain
from peer.core.event import Header, check_follows, read_event
from peer.core.group import read_genesis
from peer.core.identity import EventId, GroupId, check_signature
from peer.core.run import RUN_BYTES_MAX, RUN_EVENTS_MAX, signed_bytes
from peer.errors import LogGapError, LogMissingError, MeshError, RunTooLongError, SignatureMismatchError, StoreCorruptError, WrongLogError
from peer.store.database import Connection, Database, open_read_only
from peer.store.keys import GROUP_CHARACTERS, KeyFiles

PAGE_EVENTS = 1024
PROBLEMS_MAX = 1000
"""After so many one knows."""


_Row = tuple[int, int, bytes, bytes, bytes, bytes | None]
"""Height, position, id, header, body, signature."""


class Problem(NamedTuple):
    """Something that is not as it must be."""

    code: str
    """A code of the error tree."""
    what: str
    where: str


@dataclass(slots=True)
class Verification:
    """What was looked at and what was found."""

    problems: list[Problem] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("groups", "logs", "branches", "forks", "events", "signatures"), 0))

    @property
    def ok(self) -> bool:
        """True if nothing is wrong."""
        return not self.problems

    def to_json(self) -> dict[str, object]:
        """As it is shown."""
        problems = [{"code": each.code, "what": each.what, "where": each.where} for each in self.problems]
        return {"ok": self.ok, "checked": dict(self.checked), "problems": problems}

    def found(self, error: MeshError, where: str) -> None:
        """Remember a problem."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(error.code, error.text, where))


class _Line(NamedTuple):
    """A branch to be walked, as the tables tell of it."""

    number: int
    parent: int | None
    fork_height: int
    height: int
    certificate: Certificate


class _Before(NamedTuple):
    """The event before the one that is looked at."""

    header: Header
    id: EventId


async def verify_log(path: Path, keys: KeyFiles, pause: Callable[[], Awaitable[None]] | None = None) -> Verification:
    """Verify everything in the `log.db` at `path`, and that it knows the groups whose log `keys` are here. `pause` is awaited after each page."""
    result = Verification()
    try:
        database = await open_read_only(path, "log")
    except StoreCorruptError as error:
        result.found(error, str(path))
        return result
    async with database:
        try:
            await database.read(lambda connection: _check_file(connection, result, path))
            await database.read(lambda connection: _check_keys(connection, result, keys))
            lines: list[_Line] = await database.read(lambda connection: list(_read_lines(connection, result)))
            for line in lines:
                await _verify_line(database, line, result, pause)
        except StoreCorruptError as error:
            result.found(error, str(path))
        except sqlite3.Error as error:
            result.found(StoreCorruptError(f"it cannot be read: {error}"), str(path))
    return result


def _check_keys(connection: Connection, result: Verification, keys: KeyFiles) -> None:
    """A log key without its group is what is left where the database was lost."""
    known = {group.hex()[:GROUP_CHARACTERS] for (group,) in connection.execute("SELECT group_id FROM groups")}
    for group, path in keys.log_key_files().items():
        if group not in known:
            result.found(LogMissingError(f"log.db knows nothing of group {group}..., for which this peer has written"), str(path))


def _check_file(connection: Connection, result: Verification, path: Path) -> None:
    """What SQLite finds wrong with pages and indexes, and events that belong to no branch."""
    for (text,) in connection.execute("PRAGMA integrity_check(100)"):
        if text != "ok":
            result.found(StoreCorruptError(str(text)), str(path))
    (strays,) = connection.execute("SELECT count(*) FROM events WHERE branch_no NOT IN (SELECT branch_no FROM branches)").fetchone()
    if strays:
        result.found(StoreCorruptError(f"{strays} events that belong to no log"), str(path))


def _read_lines(connection: Connection, result: Verification) -> Iterator[_Line]:
    """The branches of all logs whose group and certificate are what they say."""
    for group_no, group, genesis in connection.execute("SELECT group_no, group_id, genesis FROM groups").fetchall():
        result.checked["groups"] += 1
        try:
            read_genesis(genesis, GroupId(group))
        except MeshError as error:
            result.found(error, f"group {bytes(group).hex()}")
        for log_no, log, data in connection.execute("SELECT log_no, log, certificate FROM logs WHERE group_no = ?", (group_no,)).fetchall():
            result.checked["logs"] += 1
            try:
                certificate = read_certificate(data, GroupId(group))
                if certificate.log != log:
                    raise WrongLogError("the certificate is that of another log")
            except MeshError as error:
                result.found(error, f"log {bytes(log).hex()}")
                continue
            yield from _read_branches(connection, log_no, certificate, result)


def _read_branches(connection: Connection, log_no: int, certificate: Certificate, result: Verification) -> Iterator[_Line]:
    sql = """SELECT branch_no, parent_branch, fork_height, (SELECT max(height) FROM events WHERE events.branch_no = branches.branch_no)
             FROM branches WHERE log_no = ? ORDER BY branch_no"""
    heights: dict[int, int] = {}
    for number, parent, fork_height, height in connection.execute(sql, (log_no,)):
        result.checked["branches"] += 1
        result.checked["forks"] += 1 if heights else 0  # Nothing is wrong with them: both ways count.
        heights[number] = height or 0
        if height is None or (parent is None and fork_height) or (parent is not None and not 0 < fork_height <= heights.get(parent, 0)):
            result.found(StoreCorruptError("a branch without events, or that leaves its log where there is none"), f"log {certificate.log.hex()}")
            continue
        yield _Line(number, parent, fork_height, height, certificate)


async def _verify_line(database: Database, line: _Line, result: Verification, pause: Callable[[], Awaitable[None]] | None) -> None:
    """Walk one branch from where it leaves its parent to its tip, a page at a time."""
    walk = _Walk(line, result)
    await database.read(walk.start)
    while walk.height < line.height:
        await database.read(walk.read_page)
        if pause is not None:
            await pause()
    walk.end()


class _Walk:
    """Where the verification of one branch stands."""

    def __init__(self, line: _Line, result: Verification) -> None:
        self.height = line.fork_height
        self._line = line
        self._result = result
        self._before: _Before | None = None
        self._position = 0
        self._unsigned = 0
        self._unsigned_bytes = 0

    def start(self, connection: Connection) -> None:
        """Find the event that the branch leaves from."""
        line = self._line
        if line.parent is None:
            return
        sql = "SELECT position, header, body FROM events WHERE branch_no = ? AND height = ?"
        row = connection.execute(sql, (line.parent, line.fork_height)).fetchone()
        if row is None:
            self._found(LogGapError("the event that this branch leaves from is missing"))
            return
        try:
            event = read_event(row[1], row[2])
        except MeshError:
            return  # Found on the branch that it is on.
        self._position, self._before = row[0], _Before(event.header, event.id)

    def read_page(self, connection: Connection) -> None:
        """Verify the next page of events."""
        sql = """SELECT height, position, id, header, body, signature FROM events
                 WHERE branch_no = ? AND height > ? AND height <= ? ORDER BY height LIMIT ?"""
        start = self.height
        rows = connection.execute(sql, (self._line.number, start, self._line.height, PAGE_EVENTS)).fetchall()
        is_sound = self._check_together(rows)
        for height, position, event_id, header, body, signature in rows:
            if height != self.height + 1:
                self._found(LogGapError(f"{height - self.height - 1} events are missing"))
                self._before = None
            self.height = height
            self._result.checked["events"] += 1
            try:
                if not is_sound:
                    self._check_event(position, event_id, header, body)
                self._check_signature(event_id, len(header) + len(body), signature)
            except MeshError as error:
                self._found(error)
        if self.height == start:
            self._found(LogGapError("events are missing at the end"))
            self.height = self._line.height

    def end(self) -> None:
        """The last event of a branch carries a signature."""
        if self._unsigned:
            self._found(SignatureMismatchError(f"the last {self._unsigned} events are covered by no signature"))

    def _check_together(self, rows: Sequence[_Row]) -> bool:
        """Whether nothing is wrong with these events, signatures aside. If something may be, nothing has changed: event by event it is found."""
        if not rows or any(type(value) is not bytes for row in rows for value in row[2:5]):
            return False
        heights, positions, ids, headers, bodies, _ = zip(*rows, strict=True)
        try:
            events = read_chain(list(zip(headers, bodies, strict=True)))
            if self._before is not None:
                check_follows(events[0].header, self._before.header, self._before.id)
        except MeshError:
            return False
        first, certificate = events[0].header, self._line.certificate
        if (
            (first.group, first.log) != (certificate.group, certificate.log)
            or (first.seq == 0 and first.previous != certificate.log)
            or (first.seq != self.height or heights != tuple(range(self.height + 1, self.height + len(rows) + 1)))
            or not all(map(lt, (self._position, *positions), positions))
            or [event.id for event in events] != list(ids)
        ):
            return False
        self._before, self._position = _Before(events[-1].header, events[-1].id), positions[-1]
        return True

    def _check_event(self, position: int, event_id: EventId, header_bytes: bytes, body: bytes) -> None:
        before, self._before = self._before, None
        certificate = self._line.certificate
        if not (type(event_id) is type(header_bytes) is type(body) is bytes):
            raise StoreCorruptError("an event is stored as something else than bytes")
        event = read_event(header_bytes, body)
        header = event.header
        if header.group != certificate.group or header.log != certificate.log:
            raise WrongLogError("an event of another log or group")
        if event.id != event_id:
            raise StoreCorruptError("an event is stored under an id that is not its own")
        if header.seq + 1 != self.height or position <= self._position:
            raise StoreCorruptError("an event is stored at a place that is not its own")
        self._before, self._position = _Before(header, event.id), position
        if header.seq == 0 and header.previous != certificate.log:
            raise LogGapError("the first event does not name the certificate of its log")
        if before is not None:
            check_follows(header, before.header, before.id)

    def _check_signature(self, event_id: EventId, size: int, signature: bytes | None) -> None:
        self._unsigned += 1
        self._unsigned_bytes += size
        too_long = self._unsigned > RUN_EVENTS_MAX or self._unsigned_bytes > RUN_BYTES_MAX
        if signature is not None:
            self._unsigned = self._unsigned_bytes = 0
            self._result.checked["signatures"] += 1
            certificate = self._line.certificate
            check_signature(certificate.key, signed_bytes(certificate.group, certificate.log, self.height - 1, event_id), signature)
        if too_long:
            raise RunTooLongError("more events in a row without a signature than a run may have")

    def _found(self, error: MeshError) -> None:
        self._result.found(error, f"log {self._line.certificate.log.hex()} seq {self.height - 1}")
