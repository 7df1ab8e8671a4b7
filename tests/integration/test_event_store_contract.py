"""What every event store does, whether it lies on a disk or in the memory of a simulation.

A store joins by an entry in `STORES`: a function from a path to an asynchronous context with a store in it. The memory of the simulator has no
event loop, so it is wrapped; what it does not have (own events, positions) is asked of SQLite alone, in `test_event_store.py`.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest

from peer.core.certificate import Certificate, LogKind
from peer.core.control import Role, member_set
from peer.core.frontier import Tip
from peer.core.group import Genesis
from peer.core.identity import EventId, GroupId, LogId
from peer.core.interfaces import Commit, Page, Replica
from peer.core.run import RUN_BYTES_MAX, RUN_EVENTS_MAX, Draft, Run, read_run
from peer.errors import ClockNotIncreasingError, LogGapError
from tests.integration.store_site import events_of, fork, read_log, running_store
from tests.samples import GROUP, START_MS, SampleLog, genesis, key_pair, parts
from tests.simulation.memory_store import MemoryStore


class Store(Protocol):
    """The part of `EventStore` that all of them have."""

    @property
    def replica(self) -> Replica: ...
    async def append(self, certificate: Certificate, run: Run) -> None: ...
    async def create_group(self, genesis: Genesis) -> None: ...
    async def read_after(self, group: GroupId, log: LogId, have: Sequence[EventId], size_max: int) -> Page: ...
    async def held(self, group: GroupId, events: Sequence[EventId]) -> set[EventId]: ...
    async def locator(self, group: GroupId, log: LogId) -> Sequence[EventId]: ...
    def subscribe(self, listener: Callable[[Commit], None]) -> Callable[[], None]: ...


class WrappedMemory:
    """The simulator's store with the calls of a real one."""

    def __init__(self) -> None:
        self._memory = MemoryStore()
        self._listeners: list[Callable[[Commit], None]] = []
        self.replica = self._memory

    async def append(self, certificate: Certificate, run: Run) -> None:
        if commit := self._memory.commit(certificate, run):
            for listener in self._listeners:
                listener(commit)

    async def create_group(self, genesis: Genesis) -> None:
        self._memory.create_group(genesis)

    async def read_after(self, group: GroupId, log: LogId, have: Sequence[EventId], size_max: int) -> Page:
        return self._memory.read_after(group, log, have, size_max)

    async def held(self, group: GroupId, events: Sequence[EventId]) -> set[EventId]:
        return set(self._memory.held(group, events))

    async def locator(self, group: GroupId, log: LogId) -> Sequence[EventId]:
        return self._memory.locator(group, log)

    def subscribe(self, listener: Callable[[Commit], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)


@asynccontextmanager
async def memory(_path: Path) -> AsyncIterator[Store]:
    yield WrappedMemory()


STORES: dict[str, Callable[[Path], AbstractAsyncContextManager[Store]]] = {"sqlite": running_store, "memory": memory}


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with STORES[request.param](tmp_path / "site") as opened:
        await opened.create_group(genesis())
        yield opened


async def test_what_was_appended_is_read_back_byte_by_byte(store: Store) -> None:
    log = SampleLog("alice")
    runs = [log.write_notes(3), log.write_notes(1), log.write_notes(300 - 44)]
    for run in runs:
        await store.append(log.certificate, run)

    found = await read_log(store, log)

    assert [part for run in found for part in parts(run)] == [part for run in runs for part in parts(run)]
    assert store.replica.groups[GROUP].tips[log.certificate.log] == (Tip(260, runs[-1].last.id),)
    assert store.replica.groups[GROUP].certificates[log.certificate.log] == log.certificate


async def test_every_page_ends_on_a_signature_that_verifies(store: Store) -> None:
    log = SampleLog("alice")
    for count in (5, 1, 256, 30, 1, 1, 200):
        await store.append(log.certificate, log.write_notes(count))

    for run in await read_log(store, log, size_max=4096):
        read_run(log.certificate, parts(run), run.signature)


async def test_many_small_appends_are_read_as_few_long_runs(store: Store) -> None:
    log = SampleLog("alice")
    for _ in range(RUN_EVENTS_MAX * 3):
        await store.append(log.certificate, log.write_notes(1))

    runs = await read_log(store, log, size_max=1 << 24)

    assert [len(run.events) for run in runs] == [RUN_EVENTS_MAX] * 3


async def test_a_run_that_is_read_has_no_more_bytes_than_a_run_may_have(store: Store) -> None:
    log = SampleLog("alice")
    for _ in range(9):
        await store.append(log.certificate, log.write(Draft("note", b"x" * 60_000)))

    runs = await read_log(store, log, size_max=1 << 24)

    assert all(run.size <= RUN_BYTES_MAX for run in runs)
    assert [len(run.events) for run in runs] == [4, 4, 1]


async def test_a_page_has_about_the_size_that_was_asked_for_and_never_less_than_a_run(store: Store) -> None:
    log = SampleLog("alice")
    for _ in range(4):
        await store.append(log.certificate, log.write_notes(RUN_EVENTS_MAX))

    small = await store.read_after(GROUP, log.certificate.log, (), 1)
    whole = await store.read_after(GROUP, log.certificate.log, (), 1 << 24)

    assert (len(small.runs), small.complete) == (1, False)
    assert (len(whole.runs), whole.complete) == (4, True)


async def test_reading_goes_on_after_what_the_other_side_has_even_inside_a_run(store: Store) -> None:
    log = SampleLog("alice")
    run = log.write_notes(10)
    await store.append(log.certificate, run)

    found = await read_log(store, log, have=[run.events[6].id])

    assert events_of(found) == [event.id for event in run.events[7:]]


async def test_what_the_other_side_has_and_nobody_here_knows_is_passed_over(store: Store) -> None:
    log = SampleLog("alice")
    run = log.write_notes(4)
    await store.append(log.certificate, run)

    found = await read_log(store, log, have=[EventId(bytes(32)), run.events[1].id])

    assert events_of(found) == [event.id for event in run.events[2:]]


async def test_a_run_whose_begin_is_missing_is_a_gap_and_leaves_nothing_behind(store: Store) -> None:
    log = SampleLog("alice")
    first, second, third = (log.write_notes(2) for _ in range(3))

    with pytest.raises(LogGapError):
        await store.append(log.certificate, second)
    await store.append(log.certificate, first)
    with pytest.raises(LogGapError):
        await store.append(log.certificate, third)

    assert events_of(await read_log(store, log)) == events_of([first])


async def test_an_event_whose_clock_does_not_grow_is_refused(store: Store) -> None:
    log = SampleLog("alice")
    first = log.write_notes(1)
    log.clock_ms = START_MS - 10
    late = log.write_notes(1)
    await store.append(log.certificate, first)

    with pytest.raises(ClockNotIncreasingError):
        await store.append(log.certificate, late)


async def test_duplicates_are_passed_over_and_announced_to_nobody(store: Store) -> None:
    log = SampleLog("alice")
    commits: list[Commit] = []
    store.subscribe(commits.append)
    run = log.write_notes(5)

    for _ in range(3):
        await store.append(log.certificate, run)

    assert len(commits) == 1
    assert events_of(await read_log(store, log)) == events_of([run])


async def test_only_the_new_events_of_an_overlapping_run_are_announced(store: Store) -> None:
    log = SampleLog("alice")
    commits: list[Commit] = []
    store.subscribe(commits.append)
    first, second = log.write_notes(5), log.write_notes(3)
    await store.append(log.certificate, first)

    await store.append(log.certificate, Run([*first.events[2:], *second.events], second.signature))

    assert events_of([commits[-1].run]) == events_of([second])
    assert commits[-1].tips == (Tip(8, second.last.id),)


async def test_both_branches_of_a_fork_are_kept_and_read_parents_first(store: Store) -> None:
    log = SampleLog("alice")
    base = log.write_notes(4)
    left = log.write_notes(2)
    right_log = fork(log, base.events[1], "right")
    right, deeper = right_log.write_notes(3), right_log.write_notes(1)
    third = fork(log, right.events[0], "third").write_notes(1)
    for run in (base, left, right, deeper, third):
        await store.append(log.certificate, run)

    tips = store.replica.groups[GROUP].tips[log.certificate.log]
    found = events_of(await read_log(store, log))

    assert set(tips) == {Tip(6, left.last.id), Tip(6, deeper.last.id), Tip(4, third.last.id)}
    assert list(tips) == sorted(tips)
    assert sorted(found) == sorted(events_of([base, left, right, deeper, third]))
    seen: set[bytes] = {log.certificate.log}
    for run in await read_log(store, log, size_max=1):
        assert run.first.header.previous in seen
        seen.update(event.id for event in run.events)


async def test_a_log_may_fork_at_its_first_event(store: Store) -> None:
    log = SampleLog("alice")
    one = log.write_notes(2)
    other = fork(log, None, "from the begin").write(Draft("other", b""))
    await store.append(log.certificate, one)
    await store.append(log.certificate, other)

    assert sorted(events_of(await read_log(store, log))) == sorted(events_of([one, other]))
    assert events_of(await read_log(store, log, have=[one.last.id])) == events_of([other])


async def test_who_has_one_branch_is_sent_the_other_from_where_it_leaves(store: Store) -> None:
    log = SampleLog("alice")
    base, left = log.write_notes(4), log.write_notes(2)
    right = fork(log, base.events[1], "right").write_notes(3)
    for run in (base, left, right):
        await store.append(log.certificate, run)

    assert events_of(await read_log(store, log, have=[left.last.id])) == events_of([right])
    assert events_of(await read_log(store, log, have=[right.last.id])) == [*(event.id for event in base.events[2:]), *events_of([left])]
    assert await read_log(store, log, have=[left.last.id, right.last.id]) == []


async def test_another_store_can_take_the_pages_of_a_forked_log_in_their_order(store: Store, tmp_path: Path) -> None:
    log = SampleLog("alice")
    base, left = log.write_notes(300 - 44), log.write_notes(20)
    right_log = fork(log, base.events[100], "right")
    for run in (base, left, right_log.write_notes(30), right_log.write_notes(40)):
        await store.append(log.certificate, run)

    async with running_store(tmp_path / "other") as other:
        await other.create_group(genesis())
        for run in await read_log(store, log, size_max=8192):
            await other.append(log.certificate, read_run(log.certificate, parts(run), run.signature))

        assert other.replica.groups[GROUP].tips == store.replica.groups[GROUP].tips


async def test_held_names_those_that_are_here(store: Store) -> None:
    log = SampleLog("alice")
    run, later = log.write_notes(3), log.write_notes(1)
    await store.append(log.certificate, run)

    assert await store.held(GROUP, [run.events[0].id, later.last.id, run.last.id]) == {run.events[0].id, run.last.id}
    assert await store.held(GroupId(bytes(32)), [run.last.id]) == set()


async def test_a_locator_steps_back_in_powers_of_two_to_the_begin(store: Store) -> None:
    log = SampleLog("alice")
    runs = [log.write_notes(20), log.write_notes(20)]
    for run in runs:
        await store.append(log.certificate, run)
    events = [event for run in runs for event in run.events]

    locator = await store.locator(GROUP, log.certificate.log)

    assert locator == [events[39 - step].id for step in (0, 1, 2, 4, 8, 16, 32)] + [events[0].id]


async def test_a_locator_follows_a_branch_into_its_parent(store: Store) -> None:
    log = SampleLog("alice")
    base = log.write_notes(20)
    right = fork(log, base.events[9], "right").write_notes(2)
    await store.append(log.certificate, base)
    await store.append(log.certificate, right)

    locator = await store.locator(GROUP, log.certificate.log)

    line = [*base.events[:10], *right.events]
    assert {line[11 - step].id for step in (0, 1, 2, 4, 8)} | {base.events[19 - step].id for step in (0, 1, 2, 4, 8, 16)} <= set(locator)
    assert base.events[0].id in locator
    assert len(set(locator)) == len(locator)


async def test_a_control_event_changes_the_roster_before_anybody_is_told(store: Store) -> None:
    log = SampleLog("alice", kind=LogKind.CONTROL)
    bob = key_pair("bob").peer_id
    seen: list[Role] = []
    store.subscribe(lambda commit: seen.append(store.replica.groups[commit.group].roster.role(bob)))

    await store.append(log.certificate, log.write(member_set(bob, "bob", Role.WRITER)))

    assert seen == [Role.WRITER]
    assert store.replica.shares(GROUP, bob)
    assert not store.replica.shares(GROUP, key_pair("mallory").peer_id)


async def test_commits_are_told_in_order_each_with_the_tips_of_its_own_moment(store: Store) -> None:
    log = SampleLog("alice")
    commits: list[tuple[Commit, object]] = []
    store.subscribe(lambda commit: commits.append((commit, store.replica.groups[GROUP].tips[log.certificate.log])))
    runs = [log.write_notes(2) for _ in range(5)]
    for run in runs:
        await store.append(log.certificate, run)

    assert [commit.run.last.id for commit, _ in commits] == [run.last.id for run in runs]
    assert all(commit.tips == tips == (Tip(commit.run.last.height, commit.run.last.id),) for commit, tips in commits)
    positions = [commit.position for commit, _ in commits]
    assert positions == sorted(set(positions))


async def test_a_listener_that_left_is_told_nothing(store: Store) -> None:
    log = SampleLog("alice")
    commits: list[Commit] = []
    leave = store.subscribe(commits.append)
    leave()

    await store.append(log.certificate, log.write_notes(1))

    assert commits == []


async def test_a_group_that_is_held_is_not_begun_again(store: Store) -> None:
    log = SampleLog("alice")
    await store.append(log.certificate, log.write_notes(1))

    await store.create_group(genesis())

    assert len(events_of(await read_log(store, log))) == 1
