"""One transaction of the writer: requests that waited together are checked against what is held, linked, and inserted as one group commit.

A `Batch` runs in the thread of the writing connection. It plans on copies: what others see of the groups changes only after the commit, by
`publish`, on the event loop. A request that is refused leaves no trace, and the others of its batch go on.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from peer.core.certificate import Certificate, LogKind, certify
from peer.core.clock import next_hlc
from peer.core.control import ControlEvent, LogSeal, Role, log_seal
from peer.core.event import Event
from peer.core.group import Genesis
from peer.core.identity import EventId, GroupId, KeyPair, LogId, PeerId
from peer.core.interfaces import Commit, StoredEvent
from peer.core.run import Draft, Run, write_run
from peer.errors import (
    ClockNotIncreasingError,
    EventRejectedError,
    NotFoundError,
    RemovedFromGroupError,
    RequestError,
    TooManyLogsError,
    WrongLogError,
)
from peer.store.database import Connection
from peer.store.groups import Branch, GroupRecord, Groups, Judged, LogRecord, new_group
from peer.store.inserting import insert_run
from peer.store.judged import Fresh, FreshRun, judge_after
from peer.store.keys import Fence
from peer.store.placing import insert_branch, place_run
from peer.store.requests import (
    INCARNATION_SIZE,
    Append,
    Create,
    Forget,
    OpenLogs,
    Outcome,
    Own,
    Request,
    Rotate,
    Write,
    Writing,
    split_drafts,
    write_fact,
)
from peer.store.sealing import UNSEALED_LOGS_MAX, frontier, logs_to_seal


class Stored(NamedTuple):
    """A run that was inserted."""

    group: GroupRecord
    record: LogRecord
    """The log after it."""
    branch: int
    run: Run
    position: int
    """Of its last event."""


class Batch:
    """What one transaction does."""

    def __init__(self, groups: Groups, own: Own, now_ms: int) -> None:
        """Plan on top of what is held."""
        self.outcomes: list[Outcome] = []
        self.stored: list[Stored] = []
        """What was inserted."""
        self._groups = groups
        self._own = own
        self._now_ms = now_ms
        self._position = own.position
        self._incarnation = own.incarnation
        self._logs: dict[tuple[GroupId, LogId], LogRecord] = {}
        self._new_logs: dict[tuple[GroupId, PeerId], list[LogRecord]] = {}
        self._sealed: set[LogId] = set()
        self._refused: list[tuple[GroupRecord, LogId]] = []
        self._hlc: dict[GroupId, int] = {}
        self._created: dict[GroupId, GroupRecord] = {}
        self._judged: list[tuple[GroupRecord, Judged, Sequence[ControlEvent]]] = []
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
        self._judge(connection)

    def publish(self, listeners: Sequence[Callable[[Commit], None]]) -> None:
        """After the commit: let everybody see it, then tell them, run by run."""
        own = self._own
        own.position, own.incarnation = self._position, self._incarnation
        for place in self._closed:
            own.open_logs.pop(place, None)
        own.open_logs.update(self._opened)
        for group in self._created.values():
            self._groups.add(group)
        for group, judged, control in self._judged:
            group.take_judged(judged, control)
        for group, log in self._refused:
            group.note_waiting(log)
        for stored in self.stored:
            group, certificate = stored.group, stored.record.certificate
            self._groups.take_log(group, stored.record)
            commit = Commit(group.group, certificate, stored.run, group.tips.get(certificate.log, ()), stored.position)
            for listener in listeners:
                listener(commit)
        for forgotten in self._forgotten:
            self._groups.forget(forgotten)

    def _judge(self, connection: Connection) -> None:
        """What becomes of roles, in each group where something may have changed."""
        fresh: dict[GroupId, tuple[GroupRecord, list[FreshRun], list[ControlEvent]]] = {}
        for stored in self.stored:
            certificate = stored.record.certificate
            is_control = certificate.kind is LogKind.CONTROL
            if is_control or not stored.group.judged.is_plain:
                _, runs, control = fresh.setdefault(certificate.group, (stored.group, [], []))
                runs.append(FreshRun(certificate, stored.branch, stored.run))
                if is_control:
                    control += [ControlEvent(event, certificate.peer) for event in stored.run.events]
        for group, runs, control in fresh.values():
            logs = {log: record for (group_id, log), record in self._logs.items() if group_id == group.group}
            judged = judge_after(connection, group, Fresh(logs, runs, control, self._position), self._groups.log_of_branch)
            self._judged.append((group, judged, control))

    def _one(self, connection: Connection, request: Request) -> Sequence[StoredEvent]:
        match request:
            case Append(certificate, run):
                self._append(connection, certificate, run)
            case Write():
                return self._write(connection, request)
            case Create(genesis):
                self._create(connection, genesis)
            case Forget(group_id):
                self._forget(connection, group_id)
            case Rotate(group_id, kind):
                return self._rotate(connection, self._group(group_id), kind)
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

    # Runs that came from elsewhere

    def _append(self, connection: Connection, certificate: Certificate, run: Run) -> None:
        """Store a run."""
        group = self._held(certificate.group)
        if group is None:
            raise WrongLogError(f"an event of group {certificate.group.hex()[:12]}, which is not held here")
        record = self._log(group, certificate.log)
        if run.log != certificate.log:
            raise WrongLogError("a run under the certificate of another log")
        branch, held = place_run(connection, record, certificate, run, self._position, _awaited(group, certificate))
        if held == len(run.events):
            return
        if record is None:
            self._check_log_count(group, certificate)
        place = (group.group, certificate.kind)
        writing = self._writing(place)
        if writing is not None and writing.certificate.log == certificate.log:
            self._close_log(connection, place)  # We did not write these: somebody else has this key, or this database is an old one.
            self._renew_incarnation(connection)
        self._store(connection, group, certificate, branch, Run(run.events[held:], run.signature) if held else run)

    def _check_log_count(self, group: GroupRecord, certificate: Certificate) -> None:
        """Let a new log wait whose author has too many. Its control logs are counted by themselves: what seals the others comes in them.

        One that a cut or a seal names does not wait, and one of which nothing is of use is in nobody's way: others judge by what was named.
        """
        if (certificate.peer, certificate.log) in group.judgement.verdicts:
            return
        unsealed = [record for record in self._unsealed(group, certificate.peer) if group.reach(record.certificate) != 0]
        if certificate.kind is LogKind.CONTROL:
            unsealed = [record for record in unsealed if record.certificate.kind is LogKind.CONTROL]
        if len(unsealed) >= UNSEALED_LOGS_MAX:
            self._refused.append((group, certificate.log))
            raise TooManyLogsError(f"log {certificate.log.hex()[:12]} waits: its author has {len(unsealed)} others that are not sealed")

    def _unsealed(self, group: GroupRecord, peer: PeerId) -> list[LogRecord]:
        """The logs of `peer` that it has not sealed."""
        logs = [*(group.logs[log] for log in group.logs_of.get(peer, ())), *self._new_logs.get((group.group, peer), ())]
        sealed = group.sealed(peer) | self._sealed
        return [record for record in logs if record.certificate.log not in sealed]

    def _store(self, connection: Connection, group: GroupRecord, certificate: Certificate, branch: Branch | None, run: Run) -> Stored:
        """Insert the events of `run`, which goes on `branch`; none of them is held."""
        record = self._log(group, certificate.log) or self._new_log(connection, group, certificate)
        if branch is None:
            branch = insert_branch(connection, record.number, None, 0)
        start = self._position + 1
        last = run.last
        self._position = insert_run(connection, run, branch.number, start)
        changed = branch._replace(
            height=last.height, tip=last.id, hlc=last.header.hlc, position=self._position, first_position=branch.first_position or start
        )
        record = record.with_branch(changed)
        self._logs[group.group, certificate.log] = record
        self._hlc[group.group] = max(self._seen(group), last.header.hlc)
        stored = Stored(group, record, branch.number, run, self._position)
        self.stored.append(stored)
        return stored

    def _log(self, group: GroupRecord, log: LogId) -> LogRecord | None:
        return self._logs.get((group.group, log)) or group.logs.get(log)

    def _new_log(self, connection: Connection, group: GroupRecord, certificate: Certificate) -> LogRecord:
        sql = "INSERT INTO logs (group_no, log, certificate) VALUES (?, ?, ?)"
        number = connection.execute(sql, (group.number, certificate.log, certificate.to_bytes())).lastrowid
        assert number is not None
        record = LogRecord(number, certificate, ())
        self._new_logs.setdefault((group.group, certificate.peer), []).append(record)
        return record

    # Events of this peer

    def _write(self, connection: Connection, request: Write) -> Sequence[StoredEvent]:
        """Link, sign and store events of this peer: all of them or, if one cannot be linked, none."""
        if not request.drafts:
            return ()
        group, place = self._group(request.group), (request.group, request.kind)
        if group.roster.role(self._own.peer.peer_id) is Role.NONE:
            raise RemovedFromGroupError(f"this peer has no role in group {group.genesis.name}", fix="ask an admin of the group to add it")
        writing = self._writing(place)
        if writing is not None and self._is_over(group, writing.certificate):
            writing = None
        fence: Fence | None = None
        runs: list[Run] = []
        if writing is not None:
            try:
                runs = self._link(group, writing.key, writing.certificate, writing.last, request)
            except ClockNotIncreasingError:
                writing = None  # The clock of this log cannot grow: it is replaced.
        if writing is None:
            self._make_room(connection, group, request)
            key, fence = self._own.keys.new_log_key(request.group, request.kind)
            certificate = certify(self._own.peer, request.group, key.public, request.kind)
            runs = self._link(group, key, certificate, None, request)
        else:
            key, certificate = writing.key, writing.certificate
        events = [event for run in runs for event in self._store_own(connection, group, certificate, run)]
        if fence is not None:
            sql = "INSERT OR REPLACE INTO open_logs (group_no, kind, log, inode, ctime_ns) VALUES (?, ?, ?, ?, ?)"
            connection.execute(sql, (group.number, int(request.kind), certificate.log, *fence))
        self._closed.discard(place)
        self._opened[place] = Writing(key, certificate, runs[-1].last)
        self._close_sealed(connection, group, events)
        return events

    def _store_own(self, connection: Connection, group: GroupRecord, certificate: Certificate, run: Run) -> list[StoredEvent]:
        record = self._log(group, certificate.log)
        branch = None if record is None else next(each for each in record.branches if each.tip == run.first.header.previous)
        stored = self._store(connection, group, certificate, branch, run)
        start, role = stored.position - len(run.events) + 1, group.roster.role(certificate.peer)
        return [StoredEvent(at, group.group, certificate.kind, certificate.peer, event, role) for at, event in enumerate(run.events, start)]

    def _is_over(self, group: GroupRecord, certificate: Certificate) -> bool:
        """True if nothing that is written on in one of our logs would count: we sealed it, here or elsewhere."""
        return certificate.log in self._sealed or group.is_over(certificate)

    def _make_room(self, connection: Connection, group: GroupRecord, request: Write) -> None:
        """Before there are too many logs of ours that are not sealed: seal the oldest."""
        own, places = self._own.peer.peer_id, [(group.group, kind) for kind in LogKind]
        open_logs = {writing.certificate.log for place in places if (writing := self._writing(place)) is not None}
        opening = 1 if request.kind is LogKind.CONTROL or self._writing((group.group, LogKind.CONTROL)) else 2
        records = [self._log(group, record.certificate.log) or record for record in self._unsealed(group, own)]
        oldest = logs_to_seal(records, open_logs, opening)
        self._sealed.update(record.certificate.log for record in oldest)  # First: the write may come back here for its own log.
        drafts = [log_seal(record.certificate.log, part) for record in oldest for part in frontier(record)]
        self._write(connection, Write(group.group, LogKind.CONTROL, drafts))

    def _close_sealed(self, connection: Connection, group: GroupRecord, events: Iterable[StoredEvent]) -> None:
        """Do not write on in what we just sealed."""
        for stored in events:
            fact = ControlEvent(stored.event, stored.author).fact if stored.kind is LogKind.CONTROL else None
            if isinstance(fact, LogSeal) and fact.log != stored.event.header.log:
                self._sealed.add(fact.log)
                for kind in LogKind:
                    writing = self._writing((group.group, kind))
                    if writing is not None and writing.certificate.log == fact.log:
                        self._close_log(connection, (group.group, kind))

    def _rotate(self, connection: Connection, group: GroupRecord, kind: LogKind) -> Sequence[StoredEvent]:
        writing = self._writing((group.group, kind))
        if writing is None:
            return ()
        self._close_log(connection, (group.group, kind))
        record = self._log(group, writing.certificate.log)
        assert record is not None
        author = writing.certificate.peer
        return [StoredEvent(record.branches[0].position, group.group, kind, author, writing.last, group.roster.role(author))]

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


def _awaited(group: GroupRecord, certificate: Certificate) -> int:
    """How many events of a log cuts name, while one of them is not here."""
    verdict = group.judgement.verdicts.get((certificate.peer, certificate.log))
    if verdict is None or not verdict.missing:
        return 0
    cuts = [decision.cut for decision in group.roster.standing(certificate.peer).decisions]
    named = {point for cut in cuts for point in cut if point.log == certificate.log}
    return 0 if named.isdisjoint(verdict.missing) else len(named)
