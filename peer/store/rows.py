"""Reading events out of `log.db`: functions that run in the thread of a connection.

What is stored was verified when it came, so headers are only decoded here, and ids are taken as they stand: `verification.py` is what doubts them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import NamedTuple

from peer.core.control import Role
from peer.core.event import Event, held_event
from peer.core.identity import ID_SIZE, EventId, GroupId
from peer.core.interfaces import Page, StoredEvent
from peer.core.run import RUN_BYTES_MAX, RUN_EVENTS_MAX, Run
from peer.errors import StoreCorruptError
from peer.store.database import Connection
from peer.store.groups import Branch, GroupRecord, LogRecord

IDS_PER_QUERY = 256
READ_BYTES_MAX = 4 * 1024 * 1024
"""About as much is read at once, whatever number of events was asked for."""

PREFIX_MATCHES_MAX = 16
"""More that begin with the same digits are not looked at: one of them cannot be meant."""

COLUMNS = "position, branch_no, id, header, body"

Place = tuple[GroupRecord, LogRecord]
BranchLookup = Callable[[int], Place]
EventRow = tuple[int, int, bytes, bytes, bytes]
RunRow = tuple[bytes, bytes, bytes, bytes | None]
"""Id, header, body, signature."""


class Found(NamedTuple):
    """Where an event lies."""

    position: int
    branch: int
    height: int


class Span(NamedTuple):
    """The events of one branch at `above < height <= height`."""

    branch: int
    above: int
    height: int


def find(connection: Connection, events: Iterable[EventId], position_max: int) -> dict[EventId, Found]:
    """Where those of `events` lie that are held at positions up to `position_max`."""
    wanted = set(events)
    rest = iter(wanted)
    found: dict[EventId, Found] = {}
    while ids := list(islice(rest, IDS_PER_QUERY)):
        marks = ",".join("?" * len(ids))
        sql = f"SELECT id, position, branch_no, height FROM events WHERE substr(id, 1, 8) IN ({marks})"  # noqa: S608  (question marks)
        for event_id, position, branch, height in connection.execute(sql, [event_id[:8] for event_id in ids]):
            if event_id in wanted and position <= position_max:
                found[event_id] = Found(position, branch, height)
    return found


def role_at(event_id: EventId, found: Found, group: GroupId, of_branch: BranchLookup) -> Role | None:
    """The role at an event that was found, None if that is in another group."""
    record, log = of_branch(found.branch)
    certificate = log.certificate
    return record.judgement.role(certificate.peer, certificate.log, found.branch, found.height, event_id) if record.group == group else None


def read_event_at(connection: Connection, position: int) -> Event:
    """The event at `position`, which is held."""
    event_id, header, body = connection.execute("SELECT id, header, body FROM events WHERE position = ?", (position,)).fetchone()
    return held_event(header, event_id, body)


def stored_events(rows: Iterable[EventRow], of_branch: BranchLookup) -> list[StoredEvent]:
    """Rows of `COLUMNS` as events, the first ones if they are large."""
    events: list[StoredEvent] = []
    size = 0
    for position, branch, event_id, header, body in rows:
        group, log = of_branch(branch)
        certificate = log.certificate
        event = held_event(header, EventId(event_id), body)
        role = group.judgement.role(certificate.peer, certificate.log, branch, event.height, event.id)
        events.append(StoredEvent(position, group.group, certificate.kind, certificate.peer, event, role))
        size += len(header) + len(body)
        if size >= READ_BYTES_MAX:
            break
    return events


def read_one_event(connection: Connection, event_id: EventId, position_max: int, of_branch: BranchLookup) -> StoredEvent | None:
    """The event with this id, if it is held at a position up to `position_max`."""
    found = find(connection, (event_id,), position_max).get(event_id)
    if found is None:
        return None
    sql = f"SELECT {COLUMNS} FROM events WHERE position = ?"  # noqa: S608  (a constant)
    return stored_events(connection.execute(sql, (found.position,)), of_branch)[0]


def find_by_prefix(connection: Connection, digits: str, position_max: int, of_branch: BranchLookup) -> list[StoredEvent]:
    """The first few events whose ids begin with `digits` that are held at positions up to `position_max`."""
    lowest, highest = (bytes.fromhex(digits.ljust(2 * ID_SIZE, fill)) for fill in "0f")
    sql = (
        f"SELECT {COLUMNS} FROM events WHERE substr(id, 1, 8) BETWEEN ? AND ? AND id BETWEEN ? AND ? AND position <= ? "  # noqa: S608  (a constant)
        f"ORDER BY substr(id, 1, 8) LIMIT {PREFIX_MATCHES_MAX}"
    )
    return stored_events(connection.execute(sql, (lowest[:8], highest[:8], lowest, highest, position_max)), of_branch)


def read_events_after(connection: Connection, between: tuple[int, int], count_max: int, of_branch: BranchLookup) -> list[StoredEvent]:
    """Events of all groups at positions above the first and up to the second of `between`, at most `count_max`."""
    sql = f"SELECT {COLUMNS} FROM events WHERE position > ? AND position <= ? ORDER BY position LIMIT ?"  # noqa: S608  (a constant)
    return stored_events(connection.execute(sql, (*between, count_max)), of_branch)


def read_group_events(connection: Connection, branches: Sequence[Branch], after: int, count_max: int, of_branch: BranchLookup) -> list[StoredEvent]:
    """Events on `branches` at positions above `after`, in the order of positions, at most `count_max`: no scan over those of other groups."""
    lines = [_positions(connection, branch, after, count_max) for branch in branches if branch.position > after]
    positions = list(islice(merge(*lines), count_max))
    return stored_events(_rows_at(connection, positions), of_branch)


def read_page(connection: Connection, log: LogRecord, have: Sequence[EventId], position_max: int, size_max: int) -> Page:
    """The events of `log` that are no ancestors of those of `have` that are held, as `EventStore.read_after` gives them."""
    tips = {branch.tip: Found(branch.position, branch.number, branch.height) for branch in log.branches if not branch.is_empty}
    found = [tips[event_id] for event_id in have if event_id in tips]
    found += find(connection, (event_id for event_id in have if event_id not in tips), position_max).values()
    runs: list[Run] = []
    size = 0
    for span in missing_spans(log, found):
        for rows, run_size in _cut(_run_rows(connection, _up_to_signature(connection, span))):
            if runs and size + run_size > size_max:
                return Page(runs, complete=False)
            runs.append(_run(rows))
            size += run_size
    return Page(runs, complete=True)


def missing_spans(log: LogRecord, have: Iterable[Found]) -> list[Span]:
    """What is left of `log` without the events of `have` and their ancestors, parents before children."""
    branches = {branch.number: branch for branch in log.branches}
    covered: dict[int, int] = {}
    for place in have:
        for number, height in ancestors(branches, place.branch, place.height):
            covered[number] = max(covered.get(number, 0), height)
    spans = [Span(each.number, max(covered.get(each.number, 0), each.fork_height), each.height) for each in log.branches]
    return [span for span in spans if span.above < span.height]


def ancestors(branches: Mapping[int, Branch], number: int | None, height: int) -> Iterator[tuple[int, int]]:
    """The branches on the way from `height` of branch `number` down to the begin of the log, each with the height up to which it is on it."""
    while number is not None and number in branches:
        yield number, height
        height = branches[number].fork_height
        number = branches[number].parent


def read_locator(connection: Connection, log: LogRecord) -> list[EventId]:
    """Ids on each branch of `log` at tip, tip-1, -2, -4 ... 0, without repetitions."""
    branches = {branch.number: branch for branch in log.branches}
    found: dict[EventId, None] = {}
    for branch in (each for each in log.branches if not each.is_empty):
        steps = [0, *(1 << power for power in range(64))]
        heights = [branch.height - step for step in steps if step < branch.height]
        line = list(ancestors(branches, branch.number, branch.height))
        for height in dict.fromkeys([*heights, 1]):
            number = next(number for number, top in reversed(line) if height <= top)
            row = connection.execute("SELECT id FROM events WHERE branch_no = ? AND height = ?", (number, height)).fetchone()
            found[EventId(row[0])] = None
    return list(found)


def _rows_at(connection: Connection, positions: Sequence[int]) -> Iterator[EventRow]:
    for start in range(0, len(positions), IDS_PER_QUERY):
        part = positions[start : start + IDS_PER_QUERY]
        marks = ",".join("?" * len(part))
        sql = f"SELECT {COLUMNS} FROM events WHERE position IN ({marks}) ORDER BY position"  # noqa: S608  (question marks)
        yield from connection.execute(sql, part)


def _positions(connection: Connection, branch: Branch, after: int, count_max: int) -> list[int]:
    """Positions of `branch` above `after`, lowest first: they grow with the height, so the first is found by halving."""
    low, high = branch.fork_height, branch.height
    while branch.first_position <= after and low < high:
        middle = (low + high + 1) // 2
        row = connection.execute("SELECT position FROM events WHERE branch_no = ? AND height = ?", (branch.number, middle)).fetchone()
        if row[0] <= after:
            low = middle
        else:
            high = middle - 1
    sql = "SELECT position FROM events WHERE branch_no = ? AND height > ? AND height <= ? ORDER BY height LIMIT ?"
    return [position for (position,) in connection.execute(sql, (branch.number, low, branch.height, count_max))]


def _up_to_signature(connection: Connection, span: Span) -> Span:
    """`span` with the rest of the run in whose middle it may end, where what counts of a log does."""
    sql = "SELECT height FROM events WHERE branch_no = ? AND height >= ? AND signature IS NOT NULL ORDER BY height LIMIT 1"
    row = connection.execute(sql, (span.branch, span.height)).fetchone()
    return span if row is None else span._replace(height=row[0])


def _run_rows(connection: Connection, span: Span) -> Iterator[RunRow]:
    sql = "SELECT id, header, body, signature FROM events WHERE branch_no = ? AND height > ? AND height <= ? ORDER BY height"
    return connection.execute(sql, span)


def _cut(rows: Iterator[RunRow]) -> Iterator[tuple[list[RunRow], int]]:
    """Runs as long as they may be, with their sizes: many small appends become one that ends on the last of their signatures."""
    waiting: list[RunRow] = []
    size = signed = signed_size = 0
    for row in rows:
        row_size = len(row[1]) + len(row[2])
        while waiting and (len(waiting) == RUN_EVENTS_MAX or size + row_size > RUN_BYTES_MAX):
            if not signed:
                raise StoreCorruptError("a log holds more events without a signature than a run may have", fix="run: recmesh verify")
            yield waiting[:signed], signed_size
            waiting, size = waiting[signed:], size - signed_size
            signed = signed_size = 0
        waiting.append(row)
        size += row_size
        if row[3] is not None:
            signed, signed_size = len(waiting), size
    if signed:
        yield waiting[:signed], signed_size


def _run(rows: Sequence[RunRow]) -> Run:
    signature = rows[-1][3]
    assert signature is not None
    return Run([held_event(header, EventId(event_id), body) for event_id, header, body, _ in rows], signature)
