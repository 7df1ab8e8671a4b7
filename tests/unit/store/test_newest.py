"""What was committed just now is given as it was read from the disk, or not at all."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from peer.core.control import Role
from peer.core.event import Event
from peer.core.identity import GroupId
from peer.core.run import Run
from peer.store import newest
from peer.store.groups import GroupRecord, LogRecord
from peer.store.newest import Newest
from tests.samples import GROUP, SampleLog, note

LOG = SampleLog("alice")


class _Judgement:
    def roles(self, _author: object, _log: object, _line: object, events: Sequence[Event]) -> list[Role]:
        return [Role.WRITER] * len(events)


class _Group:
    group: GroupId = GROUP
    judgement = _Judgement()


class _Log:
    certificate = LOG.certificate


def of_branch(branch: int) -> tuple[GroupRecord, LogRecord]:
    assert branch == 7
    return cast("Any", _Group()), cast("Any", _Log())


def positions(known: Newest, after: int, count: int = 100) -> list[int] | None:
    found = known.after(after, count, of_branch)
    return None if found is None else [stored.position for stored in found]


def run(count: int) -> Run:
    return LOG.write(*(note(number) for number in range(count)))


def test_events_follow_the_one_that_was_seen_last() -> None:
    known = Newest()
    known.add(7, first := run(3), 3)
    known.add(7, run(2), 5)
    found = known.after(0, 100, of_branch)
    assert found is not None
    assert [stored.event for stored in found[:3]] == list(first.events)
    assert [stored.position for stored in found] == [1, 2, 3, 4, 5]
    assert {(stored.group, stored.author, stored.role) for stored in found} == {(GROUP, LOG.certificate.peer, Role.WRITER)}
    assert positions(known, 0, 2) == [1, 2], "who asks again for the same gets it"
    assert positions(known, 2) == [3, 4, 5], "from the middle of a run"
    assert positions(known, 2, 2) == [3, 4]


def test_who_asks_for_what_is_not_here_goes_to_the_disk() -> None:
    known = Newest()
    assert positions(known, 0) is None
    known.add(7, run(3), 13)
    assert positions(known, 5) is None, "some are missing in between"
    assert positions(known, 10) == [11, 12, 13]
    assert positions(known, 13) is None


def test_a_gap_begins_anew() -> None:
    known = Newest()
    known.add(7, run(3), 3)
    known.add(7, run(1), 5)
    assert positions(known, 0) is None
    assert positions(known, 4) == [5]


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "NEWEST_EVENTS_MAX", 4)
    known = Newest()
    known.add(7, run(3), 3)
    known.add(7, run(3), 6)
    assert positions(known, 2) is None
    assert positions(known, 3) == [4, 5, 6]
    monkeypatch.setattr(newest, "NEWEST_BYTES_MAX", 1)
    known.add(7, run(3), 9)
    assert positions(known, 8) is None
