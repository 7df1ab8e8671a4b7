"""Where in its log a run belongs: which branch it goes on, or leaves, and how much of it is held already."""

from peer.core.certificate import Certificate
from peer.core.event import Event
from peer.core.identity import EventId
from peer.core.run import Run
from peer.errors import ClockNotIncreasingError, LogGapError, TooManyForksError
from peer.store.database import Connection
from peer.store.groups import Branch, LogRecord
from peer.store.rows import Found, find, read_event_at

BRANCHES_MAX = 64
"""Branches of one log; further forks wait. As many tips of a log are told to others: of more they would never hear."""


def place_run(
    connection: Connection, record: LogRecord | None, certificate: Certificate, run: Run, position: int, awaited: int
) -> tuple[Branch | None, int]:
    """The branch that `run` goes on, None for a new log, and how many of its first events are held, at positions up to `position`.

    A branch that does not exist yet is made. Raises `LogGapError` or `ClockNotIncreasingError` if the run does not follow what is held, and
    `TooManyForksError` if its log has as many branches as a log may have; those at whose ends are events that cuts name come on top while they are
    not here: `awaited` is how many there may be.
    """
    first = run.first.header
    if record is not None:
        for branch in record.branches:
            if branch.tip == first.previous:
                _check_after(run.first, branch.height, branch.hlc)
                return branch, 0
            if branch.tip == run.last.id:
                return branch, len(run.events)
        return _place_by_search(connection, record, run, position, BRANCHES_MAX + awaited)
    if first.seq != 0:
        raise LogGapError(f"event {first.seq} of log {certificate.log.hex()[:12]}, of which nothing is held")
    _check_begin(certificate, run.first)
    return None, 0


def insert_branch(connection: Connection, log_no: int, parent: int | None, fork_height: int) -> Branch:
    """A new branch, without events."""
    sql = "INSERT INTO branches (log_no, parent_branch, fork_height) VALUES (?, ?, ?)"
    number = connection.execute(sql, (log_no, parent, fork_height)).lastrowid
    assert number is not None
    return Branch(number, parent, fork_height, fork_height, EventId(b""), 0, 0, 0)


def _place_by_search(connection: Connection, record: LogRecord, run: Run, position: int, branches_max: int) -> tuple[Branch | None, int]:
    """As `place_run`, for a run that overlaps what is held, or leaves a branch in its middle."""
    first = run.first
    found = find(connection, (EventId(first.header.previous), *(event.id for event in run.events)), position)
    own = {branch.number for branch in record.branches}
    found = {event_id: place for event_id, place in found.items() if place.branch in own}  # What they name may be an event of another log.
    held = next((index for index, event in enumerate(run.events) if event.id not in found), len(run.events))
    if held == len(run.events):
        last = found[run.last.id].position
        connection.execute("UPDATE events SET signature = ? WHERE position = ? AND signature IS NULL", (run.signature, last))
        return None, held
    if held:
        before = found[run.events[held - 1].id]
    elif first.header.seq == 0:
        _check_begin(record.certificate, first)
        return _fork(connection, record, (None, 0), branches_max), 0
    else:
        place = found.get(EventId(first.header.previous))
        if place is None:
            raise LogGapError(f"event {first.header.seq} of log {record.certificate.log.hex()[:12]}: the one before it is not held")
        before = place
        _check_after(first, before.height, read_event_at(connection, before.position).header.hlc)
    return _branch_after(connection, record, before, branches_max), held


def _branch_after(connection: Connection, record: LogRecord, before: Found, branches_max: int) -> Branch:
    """The branch that goes on after the event that was found: its own, if that is the tip, or another beside it, a fork."""
    branch = next(each for each in record.branches if each.number == before.branch)
    return branch if branch.height == before.height else _fork(connection, record, (before.branch, before.height), branches_max)


def _fork(connection: Connection, record: LogRecord, after: tuple[int | None, int], branches_max: int) -> Branch:
    if len(record.branches) >= branches_max:
        raise TooManyForksError(f"log {record.certificate.log.hex()[:12]} has {len(record.branches)} branches: another one waits")
    return insert_branch(connection, record.number, *after)


def _check_begin(certificate: Certificate, first: Event) -> None:
    if first.header.previous != certificate.log:
        raise LogGapError("the first event of a log does not name the certificate of the log")


def _check_after(event: Event, height: int, hlc: int) -> None:
    """Raise unless `event` may follow the event of that height and clock that it names as its previous."""
    if event.header.seq != height:
        raise LogGapError(f"event {event.header.seq} follows one of height {height}")
    if event.header.hlc <= hlc:
        raise ClockNotIncreasingError(f"the clock of event {event.header.seq} of log {event.header.log.hex()[:12]} does not increase")
