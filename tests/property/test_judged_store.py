"""Whatever is decided, sealed, voided and forked, in whatever order it comes: SQLite and memory judge the same, after a restart as well."""

import asyncio
import random
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from peer.core.certificate import Certificate
from peer.core.control import Role
from peer.core.identity import EventId, LogId, PeerId
from peer.core.judging import Judgement
from peer.core.run import Run, read_run
from peer.errors import LogGapError
from peer.store.events import SqliteEventStore
from tests.conftest import LONG
from tests.integration.store_site import running_store
from tests.samples import GROUP, genesis, parts
from tests.signed_histories import SignedHistory
from tests.simulation.memory_store import MemoryGroup, MemoryStore

HISTORIES = 1000 if LONG else 80
BATCHES = 4
WRITES = 40


async def follow(seed: int, seen: Counter[str]) -> None:
    history = SignedHistory(seed)
    history.write_at_random(WRITES)
    chance = random.Random(seed)
    memory = MemoryStore()
    memory.create_group(genesis())
    with tempfile.TemporaryDirectory() as folder:
        async with running_store(Path(folder) / "site") as store:
            await store.create_group(genesis())
            waiting = chance.sample(history.runs, len(history.runs))
            before: list[tuple[Judgement, dict[EventId, Role]]] = []
            while waiting:
                now, waiting = waiting[:12], waiting[12:]
                waiting += await deliver(now, store, memory)
                await compare(store, memory.groups[GROUP], seen)
                before.append((store.replica.groups[GROUP].judgement, all_roles(memory.groups[GROUP])))
            authors = {each: memory.groups[GROUP].certificates[log].peer for log, events in memory.groups[GROUP].events.items() for each in events}
            check_changes(before, authors, seen)
            await check_pages(store, memory, history.runs, seen)
            judgement = store.replica.groups[GROUP].judgement
        async with running_store(Path(folder) / "site") as store:
            await compare(store, memory.groups[GROUP], seen)
            assert store.replica.groups[GROUP].judgement.digest == judgement.digest
            assert (await store.verify()).problems == []
    seen += history.seen


async def deliver(runs: list[tuple[Certificate, Run]], store: SqliteEventStore, memory: MemoryStore) -> list[tuple[Certificate, Run]]:
    """Append `runs` to both; those that come too early."""
    results = await asyncio.gather(*(store.append(certificate, run) for certificate, run in runs), return_exceptions=True)
    early = []
    for (certificate, run), result in zip(runs, results, strict=True):
        try:
            memory.commit(certificate, run)
        except LogGapError:
            assert isinstance(result, LogGapError)
            early.append((certificate, run))
        else:
            assert result is None
    return early


def all_roles(group: MemoryGroup) -> dict[EventId, Role]:
    """The roles at all events that are held."""
    return {event_id: role for log in group.certificates for event_id, role in group.roles(log).items()}


async def compare(store: SqliteEventStore, memory: MemoryGroup, seen: Counter[str]) -> None:
    """Both say the same of all that they hold."""
    group, roles = store.replica.groups[GROUP], all_roles(memory)
    assert group.roster == memory.roster
    assert group.tips == memory.tips
    assert group.forks == memory.forks
    assert group.quarantined == memory.quarantined == sum(role is Role.NONE for role in roles.values())
    assert {log: group.reach(certificate) for log, certificate in group.certificates.items()} == {
        log: memory.reach(certificate) for log, certificate in memory.certificates.items()
    }
    assert await store.roles(GROUP, list(roles)) == roles
    stored = await store.group_events(GROUP, 0, 4096)
    assert {each.event.id: each.role for each in stored} == roles
    seen["quarantined"] += group.quarantined
    seen["logs that are clipped"] += sum(group.tips.get(log) != record.tips for log, record in group.logs.items())
    seen["voided"] += len(group.judgement.voided)


def check_changes(before: list[tuple[Judgement, dict[EventId, Role]]], authors: dict[EventId, PeerId], seen: Counter[str]) -> None:
    """Of each two judgements the later one tells whose roles have changed, and the digests are the same only if none has."""
    for judgement, roles in before:
        for old, old_roles in before:
            if old is judgement:
                break
            changed = {event_id for event_id, role in old_roles.items() if roles[event_id] is not role}
            assert not changed or judgement.digest != old.digest
            changes = judgement.changes_since(old)
            assert {event_id for event_id in changed - changes.events if authors[event_id] not in changes.authors} == set()
            seen["roles that changed"] += len(changed)
            seen["roles that did not, of those who are named"] += sum(authors[each] in changes.authors for each in old_roles.keys() - changed)
            seen["changes of single events"] += len(changes.events)


async def check_pages(store: SqliteEventStore, memory: MemoryStore, runs: list[tuple[Certificate, Run]], seen: Counter[str]) -> None:
    """What is sent of each log ends where what counts does, or with the run that goes over that."""
    view, group, chance = store.replica.groups[GROUP], memory.groups[GROUP], random.Random(0)
    for log, certificate in group.certificates.items():
        have = [event_id for event_id in group.events[log] if chance.random() < 0.1]
        found = await ids_after(store, log, certificate, have, seen)
        expected = {event.id for run in memory.read_after(GROUP, log, have, 1 << 24).runs for event in run.events}
        reached = {event_id for tip in view.tips.get(log, ()) for event_id in memory_line(group, log, tip.event_id)}
        assert found & reached == expected & reached
        assert set(memory.locator(GROUP, log)) <= set(await store.locator(GROUP, log)) <= reached
        whole = await ids_after(store, log, certificate, [], seen)
        roles = group.roles(log)
        assert {event_id for event_id, role in roles.items() if role is not Role.NONE} - view.judgement.voided <= whole
        assert reached <= whole
        for ids in ({event.id for event in run.events} for of, run in runs if of is certificate):
            assert not ids & whole or ids & reached, "a run of which nothing counts is sent"
        seen["events beyond what counts in a run that is sent whole"] += len(whole - reached)
        seen["events that are kept back"] += len(group.events[log].keys() - whole)


def memory_line(group: MemoryGroup, log: LogId, event_id: EventId) -> set[EventId]:
    """An event and its ancestors."""
    line: set[EventId] = set()
    while event_id in group.events[log]:
        line.add(event_id)
        event_id = EventId(group.events[log][event_id].header.previous)
    return line


async def ids_after(store: SqliteEventStore, log: LogId, certificate: Certificate, have: list[EventId], seen: Counter[str]) -> set[EventId]:
    """What another peer gets that holds `have`; all of it verifies."""
    found: set[EventId] = set()
    known, complete = list(have), False
    while not complete:
        page = await store.read_after(GROUP, log, known, 300)
        for run in page.runs:
            read_run(certificate, parts(run), run.signature)
            found.update(event.id for event in run.events)
        known += [run.last.id for run in page.runs]
        complete = page.complete
        seen["pages"] += 1
    return found


@pytest.mark.parametrize("batch", range(BATCHES))
def test_the_disk_and_the_memory_judge_the_same(batch: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(batch, HISTORIES, BATCHES):
        try:
            asyncio.run(follow(seed, seen))
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
    print(dict(sorted(seen.items())))  # noqa: T201
    least = HISTORIES // BATCHES
    assert all(seen[kind] >= least for kind in ("forks", "cuts", "seals", "voids", "voided", "quarantined", "roles that changed"))
    assert all(seen[kind] >= least for kind in ("logs that are clipped", "events that are kept back"))
    assert seen["events beyond what counts in a run that is sent whole"] >= least // 2
    assert seen["points that are nowhere"] >= least // 10
