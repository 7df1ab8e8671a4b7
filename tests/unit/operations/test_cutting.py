"""Cuts by time: of each line of each log what says that it was written before, whatever the log looks like."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from peer.core.control import Point
from peer.core.identity import EventId, LogId
from peer.core.interfaces import Page
from peer.core.run import Run
from peer.operations import cutting
from tests.samples import GROUP, START_MS, SampleLog, key_pair, note

BOB = key_pair("bob").peer_id


class Store:
    """Logs in memory that are read a run at a time."""

    def __init__(self, runs: dict[LogId, list[Run]]) -> None:
        self._runs = runs

    async def read_after(self, _group: bytes, log: LogId, have: Sequence[EventId], _size_max: int) -> Page:
        left = [run for run in self._runs[log] if not self._is_under(log, run.last.id, have)]
        return Page(left[:1], complete=len(left) <= 1)

    def _is_under(self, log: LogId, event_id: EventId, have: Sequence[EventId]) -> bool:
        """True if it is one of `have` or an ancestor of one."""
        previous = {event.id: event.header.previous for run in self._runs[log] for event in run.events}
        lines = set[bytes]()
        for each in have:
            line: bytes = each
            while line in previous:
                lines.add(line)
                line = previous[EventId(line)]
        return event_id in lines


async def tips(*logs: list[Run], since_ms: int) -> set[tuple[int, EventId]]:
    """Where a cut by time is, in logs of bob."""
    runs = {run[0].log: run for run in logs}
    view: Any = SimpleNamespace(certificates={log: SimpleNamespace(peer=BOB) for log in runs} | {LogId(bytes(32)): SimpleNamespace(peer=b"other")})
    store: Any = Store(runs)
    points = await cutting.cut_before(store, GROUP, view, BOB, since_ms)
    assert points == sorted(points)
    assert all(isinstance(point, Point) and point.log in runs for point in points)
    return {(point.height, point.event_id) for point in points}


async def test_of_a_log_stays_what_was_written_before() -> None:
    log = SampleLog("bob")
    runs = [log.write(note(number)) for number in range(6)]  # The clock of the first is one millisecond above the start.

    assert await tips(runs, since_ms=START_MS + 4) == {(3, runs[2].last.id)}
    assert await tips(runs, since_ms=START_MS + 100) == {(6, runs[5].last.id)}
    assert await tips(runs, since_ms=START_MS + 1) == set()
    assert await tips(runs, since_ms=0) == set()


async def test_a_time_in_the_middle_of_a_run_cuts_there() -> None:
    run = SampleLog("bob").write_notes(5)

    assert await tips([run], since_ms=START_MS + 3) == {(2, run.events[1].id)}


async def test_both_lines_of_a_forked_log_are_cut() -> None:
    log = SampleLog("bob")
    trunk = log.write_notes(2)
    left = log.write_notes(3)
    log.tip = trunk.last
    right = log.write_notes(3)

    assert await tips([trunk, left, right], since_ms=START_MS + 100) == {(5, left.last.id), (5, right.last.id)}
    assert await tips([trunk, left, right], since_ms=START_MS + 7) == {(5, left.last.id), (3, right.events[0].id)}
    assert await tips([trunk, left, right], since_ms=START_MS + 4) == {(3, left.events[0].id)}


async def test_each_log_is_cut_by_itself() -> None:
    first, second = SampleLog("bob"), SampleLog("bob", label="second")
    second.clock_ms += 3
    runs, later = [first.write_notes(4)], [second.write_notes(4)]

    assert await tips(runs, later, since_ms=START_MS + 5) == {(4, runs[0].last.id), (1, later[0].events[0].id)}


async def check_cuts(_: Path) -> None:
    """All of the above, for planted bugs."""
    await test_of_a_log_stays_what_was_written_before()
    await test_a_time_in_the_middle_of_a_run_cuts_there()
    await test_both_lines_of_a_forked_log_are_cut()
    await test_each_log_is_cut_by_itself()
