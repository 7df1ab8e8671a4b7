"""What a transaction changes in the roles of events: worked out in the thread of its connection, before the commit, and shown after it.

Plain appends cost nothing here: only control events, events of logs that cuts or seals name, and events that somebody wants not to count are looked
at. The event at a point, or that a void names, is looked up once; while it is not here, what comes is compared with it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from peer.core.certificate import Certificate, LogKind
from peer.core.control import POINTS_MAX, ControlEvent, Point, Role
from peer.core.identity import EventId, LogId, PeerId
from peer.core.judging import ENDLESS, HeldLog, Judgement, LogKey, Span, changed_peers, counted, counting_clips, cover, marks, rejudge
from peer.core.roster import Roster, evaluate, may_change
from peer.core.run import Run
from peer.store.database import Connection
from peer.store.groups import Branch, GroupRecord, Judged, LogRecord, VoidPlace
from peer.store.rows import Found, find

LogOfBranch = Callable[[int], LogRecord | None]


class FreshRun(NamedTuple):
    """A run that a transaction stores."""

    certificate: Certificate
    branch: int
    run: Run


class Fresh(NamedTuple):
    """What a transaction adds to a group."""

    logs: Mapping[LogId, LogRecord]
    """The changed ones, as they are after it."""
    runs: Sequence[FreshRun]
    control: Sequence[ControlEvent]
    position: int
    """Of its last event."""


def judge_after(connection: Connection, group: GroupRecord, fresh: Fresh, log_of_branch: LogOfBranch) -> Judged:
    """What is to be made of `group` with what is `fresh`, which is stored already."""
    before = group.judged
    judgement = before.judgement
    roster = _roster(group, fresh.control)
    search = _Search(connection, group, fresh, log_of_branch)
    places, touched = dict(before.places), set[LogKey]()
    for each in fresh.runs:
        key = each.certificate.peer, each.certificate.log
        verdict = judgement.verdicts.get(key)
        heights = range(each.run.first.height, each.run.last.height + 1)
        if verdict is None or (each.branch in verdict.spans and not any(point.height in heights for point in verdict.missing)):
            continue
        touched.add(key)
        at = {event.id: event.height for event in each.run.events}
        places.update((point, each.branch) for point in verdict.missing if at.get(point.event_id) == point.height)
    voids, voids_missing = _void_places(before, roster, fresh, search)
    if roster is judgement.roster and not touched and voids is before.voids:
        return before
    if roster is not judgement.roster:
        places.update(search.places(_points(roster, changed_peers(judgement.roster, roster)) - places.keys()))
    voided = frozenset(event_id for event_id, place in voids.items() if roster.is_void(event_id, place.author))
    now = rejudge(judgement, roster, touched, search.held, places, voided)
    ends = dict(before.ends)
    for key, verdict in now.verdicts.items():
        if verdict is not judgement.verdicts.get(key) or key in touched:  # A branch may have passed the point, whose event is still missing.
            ends.update(search.ends(key, verdict.clips))
    hidden = sum(_role(now, voids[event_id]) is not Role.NONE for event_id in voided)
    return Judged(now, places, ends, voids, voids_missing, hidden)


def points_to_keep(connection: Connection, group: GroupRecord, peer: PeerId) -> list[Point]:
    """As `EventStore.cut`."""
    points: dict[Point, int] = {}
    for log in group.logs_of.get(peer, ()):
        record = group.logs[log]
        verdict = group.judgement.verdicts.get((peer, log))
        if verdict is not None:
            clips = counting_clips(verdict, record.branches)
            record = record.clipped(clips, dict(_ends(connection, record.branches, clips)))
        elif group.roster.role(peer) is Role.NONE:
            continue
        branches = {branch.tip: branch for branch in record.branches}
        points |= {Point(log, *tip): tip.height - branches[tip.event_id].fork_height for tip in record.tips}
    return sorted(sorted(points), key=points.__getitem__, reverse=True)[:POINTS_MAX]


def count_beyond(connection: Connection, group: GroupRecord, peer: PeerId, points: Sequence[Point], position: int) -> dict[LogId, int]:
    """As `EventStore.events_beyond`."""
    fresh = Fresh({}, (), (), position)
    places = _Search(connection, group, fresh, {b.number: log for log in group.logs.values() for b in log.branches}.get).places(points)
    beyond: dict[LogId, int] = {}
    for log in group.logs_of.get(peer, ()):
        lines = group.logs[log].branches
        verdict = group.judgement.verdicts.get((peer, log))
        whole = (Span(ENDLESS, group.roster.role(peer)),)
        kept = cover(lines, [point for point in points if point.log == log], places)
        beyond[log] = sum(counted(verdict.spans[line.number] if verdict else whole, line, kept.get(line.number, 0)) for line in lines)
    return {log: count for log, count in beyond.items() if count}


class _Search:
    """Where things are, in a group with what is fresh."""

    def __init__(self, connection: Connection, group: GroupRecord, fresh: Fresh, log_of_branch: LogOfBranch) -> None:
        self._connection = connection
        self._group = group
        self._fresh = fresh
        self._log_of_branch = log_of_branch
        self._fresh_branches = {branch.number: log for log in fresh.logs.values() for branch in log.branches}

    def held(self, key: LogKey) -> HeldLog:
        """What is here of a log, nothing if it is not that author's."""
        record = self._record(key)
        return HeldLog(record.branches, record.certificate.kind is LogKind.CONTROL) if record else HeldLog()

    def places(self, points: Iterable[Point]) -> dict[Point, int]:
        """The branches on which the events at `points` are, of those that are here."""
        wanted = tuple(points)
        found = find(self._connection, (point.event_id for point in wanted), self._fresh.position)
        return {point: found[point.event_id].branch for point in wanted if point.event_id in found and self._is_at(found[point.event_id], point)}

    def data_events(self, events: Iterable[EventId]) -> dict[EventId, VoidPlace]:
        """Where those of `events` are that are here, in data logs of the group."""
        places: dict[EventId, VoidPlace] = {}
        for event_id, found in find(self._connection, events, self._fresh.position).items():
            record = self._record_of(found.branch)
            if record is not None and record.certificate.kind is LogKind.DATA and record.certificate.group == self._group.group:
                places[event_id] = VoidPlace(record.certificate.peer, record.certificate.log, found.branch, found.height)
        return places

    def ends(self, key: LogKey, clips: Mapping[int, int]) -> Iterable[tuple[int, EventId]]:
        """The events at which branches of a log are clipped."""
        record = self._record(key)
        return _ends(self._connection, record.branches, clips) if record else ()

    def _record(self, key: LogKey) -> LogRecord | None:
        author, log = key
        record = self._fresh.logs.get(log) or self._group.logs.get(log)
        return record if record and record.certificate.peer == author else None

    def _is_at(self, found: Found, point: Point) -> bool:
        record = self._record_of(found.branch)
        return found.height == point.height and record is not None and record.certificate.log == point.log

    def _record_of(self, branch: int) -> LogRecord | None:
        return self._fresh_branches.get(branch) or self._log_of_branch(branch)


def _roster(group: GroupRecord, control: Sequence[ControlEvent]) -> Roster:
    """The roster with these control events; the same object if they change nothing."""
    if not any(may_change(group.roster, entry) for entry in control):
        return group.roster
    roster = evaluate(group.genesis.owners, [*group.control, *control])
    return group.roster if roster == group.roster else roster


def _points(roster: Roster, peers: Iterable[PeerId]) -> set[Point]:
    """All points on which the roles of `peers` depend."""
    return {point for peer in peers for named in marks(roster.standing(peer)).values() for point in named.points}


def _void_places(before: Judged, roster: Roster, fresh: Fresh, search: _Search) -> tuple[Mapping[EventId, VoidPlace], frozenset[EventId]]:
    """Where the events are that voids name, and those that are not here."""
    if roster is before.judgement.roster:
        awaited = before.voids_missing
        came = [event.id for each in fresh.runs for event in each.run.events if event.id in awaited] if awaited else []
        places = search.data_events(came) if came else {}
        return ({**before.voids, **places}, awaited - places.keys()) if places else (before.voids, awaited)
    places = search.data_events(roster.voids.keys() - before.voids.keys())
    voids = {event_id: place for event_id, place in {**before.voids, **places}.items() if event_id in roster.voids}
    return voids, frozenset(roster.voids.keys() - voids.keys())


def _role(judgement: Judgement, place: VoidPlace) -> Role:
    """The role at an event if it is not voided."""
    verdict = judgement.verdicts.get((place.author, place.log))
    return judgement.roster.role(place.author) if verdict is None else verdict.role_at(place.branch, place.height)


def _ends(connection: Connection, branches: Iterable[Branch], clips: Mapping[int, int]) -> Iterable[tuple[int, EventId]]:
    for branch in branches:
        clip = clips[branch.number]
        if clip == branch.height:
            yield branch.number, branch.tip
        elif branch.fork_height < clip < branch.height:
            row = connection.execute("SELECT id FROM events WHERE branch_no = ? AND height = ?", (branch.number, clip)).fetchone()
            yield branch.number, EventId(row[0])
