"""When another process projects, and when it does not."""

import asyncio
from pathlib import Path

import pytest

from materializer import apart
from materializer.apart import Apart, WorkerFailedError
from materializer.writing import START, EventPage, Touched

MANY = 100
PAGE = EventPage(START, START, {}, [])


class Worker:
    """Does as a test says, and tells what was done to it."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.anew: list[bool] = []
        self.ended = 0

    async def project(self, _page: EventPage, *, anew: bool) -> Touched:
        self.anew.append(anew)
        if self.fails:
            raise WorkerFailedError("no more")
        return set()

    async def end(self) -> None:
        self.ended += 1


class Case:
    """Decides about workers that begin at once."""

    def __init__(self, *workers: Worker) -> None:
        self.waiting = list(workers)
        self.said: list[str] = []
        self.apart = Apart(Path("views.db"), self.start, self.said.append, many=MANY)

    async def start(self, _path: Path) -> Worker:
        if not self.waiting:
            raise WorkerFailedError("none to be had")
        return self.waiting.pop(0)

    async def count(self, events: int) -> None:
        self.apart.count(events)
        await asyncio.sleep(0)

    async def project(self) -> Touched | None:
        return await self.apart.project(PAGE) if self.apart.is_ready() else None


async def test_few_events_are_nobody_elses_matter() -> None:
    case = Case(Worker())
    await case.count(MANY - 1)
    assert not case.apart.is_begun
    assert await case.project() is None


async def test_very_many_are_in_several_pages_too() -> None:
    case = Case(Worker())
    await case.count(MANY - 1)
    await case.count(1)
    assert await case.project() == set()


async def test_events_that_come_now_and_then_are_not_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "REST_S", -1.0)
    case = Case(Worker())
    for _ in range(MANY):
        await case.count(MANY - 1)
    assert not case.apart.is_begun


async def test_it_forgets_what_it_knew_before_and_what_was_changed_by_others() -> None:
    worker = Worker()
    case = Case(worker)
    await case.count(MANY)
    for _ in range(2):
        await case.project()
    case.apart.forget()
    for _ in range(2):
        await case.project()
    assert worker.anew == [True, False, True, False]


async def test_one_that_failed_is_ended_told_of_and_not_followed_by_another() -> None:
    failing, other = Worker(fails=True), Worker()
    case = Case(failing, other)
    await case.count(MANY)
    assert await case.project() is None
    await case.count(MANY)
    assert (failing.ended, case.said, case.apart.is_begun) == (1, ["no more"], False)


async def test_another_one_is_tried_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "NOT_AGAIN_S", 0.0)
    case = Case(Worker(fails=True), Worker())
    await case.count(MANY)
    await case.project()
    await case.count(MANY)
    assert await case.project() == set()


async def test_where_none_can_begin_the_peer_says_so_and_goes_on() -> None:
    case = Case()
    await case.count(MANY)
    assert await case.project() is None
    assert (case.said, case.apart.is_begun) == (["none to be had"], False)


async def test_one_that_has_begun_and_was_given_nothing_is_ended() -> None:
    worker = Worker()
    case = Case(worker)
    await case.count(MANY)
    await case.apart.end()
    assert worker.ended == 1


async def test_one_that_is_beginning_is_not_waited_for() -> None:
    case = Case(Worker())
    case.apart.count(MANY)
    await case.apart.end()
    assert not case.apart.is_begun
    assert case.waiting, "it did not begin"


async def test_it_is_kept_while_events_come_and_ended_in_a_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    worker, wake = Worker(), asyncio.Event()
    case = Case(worker)
    await case.count(MANY)
    await case.project()
    wake.set()
    await case.apart.rest(wake)
    assert not worker.ended
    wake.clear()
    monkeypatch.setattr(apart, "KEPT_S", 0.0)
    resting = asyncio.create_task(case.apart.rest(wake))
    while not worker.ended:  # noqa: ASYNC110  (it tells nobody)
        await asyncio.sleep(0)
    assert not resting.done()
    wake.set()
    async with asyncio.timeout(60):
        await resting
