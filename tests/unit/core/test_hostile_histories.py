"""What one member can write to make the roster dear to compute: each cost grows with what was written, not with its square.

Calls are counted, not seconds: twice as much written may cost little more than twice the calls.
"""

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from peer.core.control import Point, Role, event_void, log_seal, member_set
from peer.core.identity import EventId
from peer.core.roster import Roster, evaluate
from tests.control_histories import History, peer_id, point_at

OWNER, READER = peer_id(0), peer_id(1)
FEW = 100
GROWTH_MAX = 2.6
"""Of calls, for twice as much written: sorting adds a little to two."""
VOID = event_void(EventId(b"1" * 32))


class Written(History):
    """Nothing but what is asked for: a group of one owner with one reader in it."""

    def __init__(self) -> None:
        """The reader is in."""
        super().__init__(0)
        self.chance.random = lambda: 0.99  # type: ignore[method-assign]
        self.write(self.open_log(OWNER), member_set(READER, "bob", Role.READER))


def nowhere(history: Written, log_number: int, count: int) -> list[Point]:
    """Points of a log of which nothing is here at those heights."""
    return [Point(history.logs[log_number].log, 2 + number, EventId(bytes([number % 250]) * 32)) for number in range(count)]


def forked_log_under_many_points(history: Written, count: int) -> None:
    """Many voids in a log that forks low, which another log of the reader seals at many points that are not here."""
    log, other = history.open_log(READER), history.open_log(READER)
    first = history.write(log, VOID)
    for _ in range(count):
        history.write(log, VOID)
    history.write(log, VOID, after=first.event)
    for _ in range(3):
        history.write(other, log_seal(log.log, nowhere(history, -2, count)))


def seals_that_wait_for_one_another(history: Written, count: int) -> None:
    """Each seal counts only once the one before does: it lies in a log that this one seals."""
    log = history.open_log(READER)
    event = history.write(log, VOID).event
    for _ in range(count):
        other = history.open_log(READER)
        event = history.write(other, log_seal(log.log, [point_at(event)])).event
        log = other


def many_seals_of_one_log(history: Written, count: int) -> None:
    """Voids in a log that is sealed often."""
    log, other = history.open_log(READER), history.open_log(READER)
    for _ in range(count):
        event = history.write(log, VOID).event
        history.write(other, log_seal(log.log, [point_at(event)]))


def calls(write: Callable[[Written, int], None], count: int) -> tuple[int, Roster]:
    """How many calls of functions the roster costs."""
    history = Written()
    write(history, count)
    made = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal made
        made += event == "call"

    for entry in history.events:
        assert entry.fact is not None  # Decoded before: that is done once in the life of an event.
    sys.setprofile(note)
    try:
        roster = evaluate([OWNER], history.events)
    finally:
        sys.setprofile(None)
    return made, roster


@pytest.mark.parametrize("write", [forked_log_under_many_points, seals_that_wait_for_one_another, many_seals_of_one_log])
def test_what_a_reader_writes_costs_no_more_than_its_share(write: Callable[[Written, int], None]) -> None:
    few, roster = calls(write, FEW)
    many, _ = calls(write, 2 * FEW)

    assert roster.role(READER) is Role.READER
    assert roster.standing(READER).seals
    assert many < few * GROWTH_MAX, f"{few} calls for {FEW}, {many} for {2 * FEW}"
