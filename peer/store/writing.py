"""One transaction of the writer: requests that waited together are checked against what is held, linked, and inserted as one group commit.

A `Batch` runs in the thread of the writing connection. It plans on copies: what others see of the groups changes only after the commit, by
`publish`, on the event loop. A request that is refused leaves no trace, and the others of its batch go on.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from peer.core.certificate import Certificate, LogKind, certify
from peer.core.clock import next_hlc
from peer.core.control import ControlEvent
from peer.core.event import Event
from peer.core.group import Genesis
from peer.core.identity import EventId, GroupId, KeyPair, LogId
from peer.core.interfaces import Commit, LaterDrafts, StoredEvent
from peer.core.run import RUN_BYTES_MAX, RUN_EVENTS_MAX, Draft, Run, write_run
from peer.errors import (
    ClockNotIncreasingError,
    EventRejectedError,
    LogGapError,
    NotFoundError,
    RequestError,
    WrongLogError,
)
from peer.store.database import Connection
from peer.store.groups import Branch, GroupRecord, Groups, LogRecord, new_group
from peer.store.keys import Fence, KeyFiles
from peer.store.rows import Found, find, read_event_at

HEADER_BYTES_AT_MOST = 256
REF_BYTES = 34
INCARNATION_SIZE = 16

INSERT_EVENTS = "INSERT INTO events (position, branch_no, height, id, header, body, signature) VALUES (?, ?, ?, ?, ?, ?, ?)"


class Append(NamedTuple):
    """Store a verified run."""

    certificate: Certificate
    run: Run


class Write(NamedTuple):
    """Write events of this peer."""

    group: GroupId
    kind: LogKind
    drafts: Sequence[Draft]
    then: Sequence[LaterDrafts] = ()
    """What makes the drafts that follow, from the ids of all before them."""


class Create(NamedTuple):
    """Begin to hold a group."""

    genesis: Genesis


class Forget(NamedTuple):
    """Do as if a group were not here: this site has left it."""

    group: GroupId


Request = Append | Write | Create | Forget
Outcome = Sequence[StoredEvent] | EventRejectedError | RequestError


class Writing(NamedTuple):
    """A log that this peer writes on."""

    key: KeyPair
    certificate: Certificate
    last: Event


OpenLogs = dict[tuple[GroupId, LogKind], Writing]


@dataclass(slots=True)
class Own:
    """What the writer knows of this peer itself."""

    peer: KeyPair
    keys: KeyFiles
    incarnation: bytes
    open_logs: OpenLogs = field(default_factory=dict)
    position: int = 0
    """The highest position that was ever given out here."""


class Batch:
    """What one transaction does."""

    def __init__(self, groups: Groups, own: Own, now_ms: int) -> None:
        """Plan on top of what is held."""
        self.commits: list[Commit] = []
        self.outcomes: list[Outcome] = []
        self._groups = groups
        self._own = own
        self._now_ms = now_ms
        self._position = own.position
        self._incarnation = own.incarnation
        self._records: list[LogRecord] = []
        """One for each commit: the log as it is after it."""
        self._logs: dict[tuple[GroupId, LogId], LogRecord] = {}
        self._hlc: dict[GroupId, int] = {}
        self._created: dict[GroupId, GroupRecord] = {}
        self._opened: OpenLogs = {}
        self._closed: set[tuple[GroupId, LogKind]] = set()
        self._forgotten: set[GroupId] = set()

    def execute(self, requests: Sequence[Request], connection: Connection) -> None:
        """Do what can be done of `requests`, in order, with one outcome for each."""
        for request in requests:
            try:
                self.outcomes.append(self._one(connection, request))
            except (EventRejectedError, RequestError) as error:
                self.outcomes.append(error)

    def publish(self, listeners: Sequence[Callable[[Commit], None]]) -> None:
        """After the commit: let everybody see it, then tell them, run by run."""
        own = self._own
        own.position, own.incarnation = self._position, self._incarnation
        for place in self._closed:
            own.open_logs.pop(place, None)
        own.open_logs.update(self._opened)
        for group in self._created.values():
            self._groups.add(group)
        self._publish_rosters()
        for commit, record in zip(self.commits, self._records, strict=True):
            self._groups.take_log(self._groups.groups[commit.group], record)
            for listener in listeners:
                listener(commit)
        for forgotten in self._forgotten:
            self._groups.forget(forgotten)

    def _publish_rosters(self) -> None:
        control: dict[GroupId, list[ControlEvent]] = {}
        for commit in self.commits:
            if commit.certificate.kind is LogKind.CONTROL:
                control.setdefault(commit.group, []).extend(ControlEvent(event, commit.certificate.peer) for event in commit.run.events)
        for group, events in control.items():
            self._groups.groups[group].take_control(events)

    def _one(self, connection: Connection, request: Request) -> Sequence[StoredEvent]:
        match request:
            case Append(certificate, run):
                self._append(connection, certificate, run)
            case Write():
                return self._write(connection, request)
            case Create(genesis):
                self._create(connection, genesis)
            case Forget(group):
                self._forget(connection, group)
        return ()

    def _group(self, group: GroupId) -> GroupRecord:
        record = self._held(group)
        if record is None:
            raise NotFoundError(f"no group {group.hex()[:12]} is held here")
        return record

    def _create(self, connection: Connection, genesis: Genesis) -> None:
        if self._held(genesis.group) is not None:
            return
        left = self._groups.whole.groups.get(genesis.group)
        if left is not None:
            connection.execute("DELETE FROM left_groups WHERE group_id = ?", (genesis.group,))
            self._forgotten.discard(genesis.group)
            self._created[genesis.group] = left
            return
        cursor = connection.execute("INSERT INTO groups (group_id, genesis) VALUES (?, ?)", (genesis.group, genesis.to_bytes()))
        assert cursor.lastrowid is not None
        self._created[genesis.group] = new_group(cursor.lastrowid, genesis)

    def _held(self, group: GroupId) -> GroupRecord | None:
        if group in self._forgotten:
            return None
        return self._groups.groups.get(group) or self._created.get(group)

    def _forget(self, connection: Connection, group: GroupId) -> None:
        record = self._group(group)
        connection.execute("INSERT OR REPLACE INTO left_groups (group_id, forgotten) VALUES (?, 1)", (group,))
        for kind in LogKind:
            self._close_log(connection, (record.group, kind))  # Who comes back begins new logs.
        self._forgotten.add(group)

    def _append(self, connection: Connection, certificate: Certificate, run: Run) -> None:
        """Store a run that came from elsewhere."""
        group = self._held(certificate.group)
        if group is None:
            raise WrongLogError(f"an event of group {certificate.group.hex()[:12]}, which is not held here")
        record = self._logs.get((group.group, certificate.log)) or group.logs.get(certificate.log)
        if run.log != certificate.log:
            raise WrongLogError("a run under the certificate of another log")
        branch, held = self._place(connection, record, certificate, run)
        if held == len(run.events):
            return
        place = (group.group, certificate.kind)
        writing = self._writing(place)
        if writing is not None and writing.certificate.log == certificate.log:
            self._close_log(connection, place)  # We did not write these: somebody else has this key, or this database is an old one.
            self._renew_incarnation(connection)
        self._store(connection, group, record, certificate, branch, Run(run.events[held:], run.signature) if held else run)

    def _place(self, connection: Connection, record: LogRecord | None, certificate: Certificate, run: Run) -> tuple[Branch | None, int]:
        """The branch that `run` goes on, None for a new log, and how many of its first events are held already."""
        first = run.first.header
        if record is not None:
            for branch in record.branches:
                if branch.tip == first.previous:
                    _check_after(run.first, branch.height, branch.hlc)
                    return branch, 0
                if branch.tip == run.last.id:
                    return branch, len(run.events)
            return self._place_by_search(connection, record, run)
        if first.seq != 0:
            raise LogGapError(f"event {first.seq} of log {certificate.log.hex()[:12]}, of which nothing is held")
        _check_begin(certificate, run.first)
        return None, 0

    def _place_by_search(self, connection: Connection, record: LogRecord, run: Run) -> tuple[Branch | None, int]:
        """As `_place`, for a run that overlaps what is held, or leaves a branch in its middle."""
        first = run.first
        found = find(connection, (EventId(first.header.previous), *(event.id for event in run.events)), self._position)
        own = {branch.number for branch in record.branches}
        found = {event_id: place for event_id, place in found.items() if place.branch in own}  # What they name may be an event of another log.
        held = next((index for index, event in enumerate(run.events) if event.id not in found), len(run.events))
        if held == len(run.events):
            position = found[run.last.id].position
            connection.execute("UPDATE events SET signature = ? WHERE position = ? AND signature IS NULL", (run.signature, position))
            return None, held
        if held:
            before = found[run.events[held - 1].id]
        elif first.header.seq == 0:
            _check_begin(record.certificate, first)
            return self._new_branch(connection, record, None), 0
        else:
            place = found.get(EventId(first.header.previous))
            if place is None:
                raise LogGapError(f"event {first.header.seq} of log {record.certificate.log.hex()[:12]}: the one before it is not held")
            before = place
            _check_after(first, before.height, read_event_at(connection, before.position).header.hlc)
        branch = next(each for each in record.branches if each.number == before.branch)
        return (branch if branch.height == before.height else self._new_branch(connection, record, before)), held

    def _new_branch(self, connection: Connection, record: LogRecord, before: Found | None) -> Branch:
        """A fork: another branch beside the one that goes on after `before`."""
        parent, height = (before.branch, before.height) if before else (None, 0)
        number = _insert_branch(connection, record.number, parent, height)
        return Branch(number, parent, height, height, EventId(b""), 0, 0, 0)

    def _store(
        self, connection: Connection, group: GroupRecord, record: LogRecord | None, certificate: Certificate, branch: Branch | None, run: Run
    ) -> Commit:
        """Insert the events of `run`, which goes on `branch`; none of them is held."""
        if record is None:
            sql = "INSERT INTO logs (group_no, log, certificate) VALUES (?, ?, ?)"
            number = connection.execute(sql, (group.number, certificate.log, certificate.to_bytes())).lastrowid
            assert number is not None
            record = LogRecord(number, certificate, ())
        if branch is None:
            branch = Branch(_insert_branch(connection, record.number, None, 0), None, 0, 0, EventId(b""), 0, 0, 0)
        start = self._position + 1
        last = run.last
        rows = [
            (position, branch.number, event.header.seq + 1, event.id, event.header_bytes, event.body, None)
            for position, event in enumerate(run.events, start)
        ]
        rows[-1] = (*rows[-1][:-1], run.signature)  # type: ignore[assignment]
        connection.executemany(INSERT_EVENTS, rows)
        self._position = rows[-1][0]
        changed = branch._replace(
            height=last.height, tip=last.id, hlc=last.header.hlc, position=self._position, first_position=branch.first_position or start
        )
        record = record.with_branch(changed)
        self._logs[group.group, certificate.log] = record
        self._hlc[group.group] = max(self._seen(group), last.header.hlc)
        commit = Commit(group.group, certificate, run, record.tips, self._position)
        self.commits.append(commit)
        self._records.append(record)
        return commit

    def _write(self, connection: Connection, request: Write) -> Sequence[StoredEvent]:
        """Link, sign and store events of this peer: all of them or, if one cannot be linked, none."""
        group_id, kind = request.group, request.kind
        if not request.drafts:
            return ()
        group = self._group(group_id)
        place = (group_id, kind)
        writing = self._writing(place)
        fence: Fence | None = None
        runs: list[Run] = []
        if writing is not None:
            try:
                runs = self._link(group, writing.key, writing.certificate, writing.last, request)
            except ClockNotIncreasingError:
                writing = None  # The clock of this log cannot grow: it is replaced.
        if writing is None:
            key, fence = self._own.keys.new_log_key(group_id, kind)
            certificate = certify(self._own.peer, group_id, key.public, kind)
            runs = self._link(group, key, certificate, None, request)
        else:
            key, certificate = writing.key, writing.certificate
        events: list[StoredEvent] = []
        for run in runs:
            record = self._logs.get((group_id, certificate.log)) or group.logs.get(certificate.log)
            branch = None if record is None else next(each for each in record.branches if each.tip == run.first.header.previous)
            commit = self._store(connection, group, record, certificate, branch, run)
            start = commit.position - len(run.events) + 1
            role = group.roster.role(certificate.peer)
            events += [StoredEvent(position, group_id, kind, certificate.peer, event, role) for position, event in enumerate(run.events, start)]
        if fence is not None:
            sql = "INSERT OR REPLACE INTO open_logs (group_no, kind, log, inode, ctime_ns) VALUES (?, ?, ?, ?, ?)"
            connection.execute(sql, (group.number, int(kind), certificate.log, *fence))
        self._closed.discard(place)
        self._opened[place] = Writing(key, certificate, runs[-1].last)
        return events

    def _link(self, group: GroupRecord, key: KeyPair, certificate: Certificate, last: Event | None, request: Write) -> list[Run]:
        """What is to be written as signed runs after `last`."""
        runs: list[Run] = []
        written: list[EventId] = []
        own_last = last.header.hlc if last else 0
        for make in (lambda _: request.drafts, *request.then):
            for part in split_drafts(make(written)):
                stamped: list[tuple[Draft, int]] = []
                for draft in part:
                    own_last = next_hlc(own_last, self._seen(group), self._now_ms)
                    stamped.append((draft, own_last))
                run = write_run(key, certificate, last, stamped)
                last = run.last
                runs.append(run)
                written += [event.id for event in run.events]
        return runs

    def _seen(self, group: GroupRecord) -> int:
        return self._hlc.get(group.group, group.hlc)

    def _writing(self, place: tuple[GroupId, LogKind]) -> Writing | None:
        if place in self._closed:
            return None
        return self._opened.get(place) or self._own.open_logs.get(place)

    def _close_log(self, connection: Connection, place: tuple[GroupId, LogKind]) -> None:
        group, kind = place
        connection.execute("DELETE FROM open_logs WHERE group_no = ? AND kind = ?", (self._group(group).number, int(kind)))
        self._opened.pop(place, None)
        self._closed.add(place)

    def _renew_incarnation(self, connection: Connection) -> None:
        self._incarnation = os.urandom(INCARNATION_SIZE)
        write_fact(connection, "incarnation", self._incarnation)


def split_drafts(drafts: Sequence[Draft]) -> Iterator[list[Draft]]:
    """Parts of `drafts` that one signature may cover each, whatever their headers turn out to be."""
    part: list[Draft] = []
    size = 0
    for draft in drafts:
        draft_size = HEADER_BYTES_AT_MOST + len(draft.type.encode()) + REF_BYTES * len(draft.refs) + len(draft.body)
        if part and (len(part) == RUN_EVENTS_MAX or size + draft_size > RUN_BYTES_MAX):
            yield part
            part, size = [], 0
        part.append(draft)
        size += draft_size
    if part:
        yield part


def write_fact(connection: Connection, name: str, value: bytes) -> None:
    """Remember one fact in place of the one before."""
    connection.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, value))


def _insert_branch(connection: Connection, log_no: int, parent: int | None, fork_height: int) -> int:
    sql = "INSERT INTO branches (log_no, parent_branch, fork_height) VALUES (?, ?, ?)"
    number = connection.execute(sql, (log_no, parent, fork_height)).lastrowid
    assert number is not None
    return number


def _check_begin(certificate: Certificate, first: Event) -> None:
    if first.header.previous != certificate.log:
        raise LogGapError("the first event of a log does not name the certificate of the log")


def _check_after(event: Event, height: int, hlc: int) -> None:
    """Raise unless `event` may follow the event of that height and clock that it names as its previous."""
    if event.header.seq != height:
        raise LogGapError(f"event {event.header.seq} follows one of height {height}")
    if event.header.hlc <= hlc:
        raise ClockNotIncreasingError(f"the clock of event {event.header.seq} of log {event.header.log.hex()[:12]} does not increase")
