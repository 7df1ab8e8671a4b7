"""Who follows the log is given what was just committed, and what comes does not run away from it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from peer.core.identity import EventId
from peer.core.interfaces import StoredEvent
from peer.store import events as store_events
from peer.store import newest
from peer.store.events import SqliteEventStore
from peer.store.rows import read_events_after
from tests.integration.store_site import running_store
from tests.samples import SampleLog, genesis

DEADLINE_S = 60.0
AHEAD = 100
PAGE = 30


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "AHEAD_EVENTS_MAX", AHEAD)


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[StoredEvent]]:
    """What is read back from the disk from now on."""
    read = read_events_after
    found: list[Sequence[StoredEvent]] = []

    def counted(*arguments: object) -> list[StoredEvent]:
        page = read(*arguments)  # type: ignore[arg-type]
        found.append(page)
        return page

    monkeypatch.setattr(store_events, "read_events_after", counted)
    return found


async def follow(store: SqliteEventStore, up_to: int) -> tuple[list[EventId], int]:
    """The events in the order in which they are given, and how far they were behind at most."""
    seen: list[EventId] = []
    behind = position = 0
    woken = asyncio.Event()
    end = store.subscribe(lambda _commit: woken.set())
    while len(seen) < up_to:
        woken.clear()
        behind = max(behind, store.position - position)
        page = await store.events_after(position, PAGE)
        if page:
            position = page[-1].position
            seen += [stored.event.id for stored in page]
            await asyncio.sleep(0)
        else:
            await woken.wait()
    end()
    return seen, behind


async def test_what_comes_waits_for_who_follows_and_keeps_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_back = count_reads(monkeypatch)
    log = SampleLog("alice")
    runs = [log.write_notes(20) for _ in range(60)]
    async with asyncio.timeout(DEADLINE_S), running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        following = asyncio.create_task(follow(store, 1200))
        await asyncio.sleep(0)
        await asyncio.gather(*(store.append(log.certificate, run) for run in runs))
        seen, behind = await following
    assert seen == [event.id for run in runs for event in run.events]
    assert behind <= AHEAD + 20
    assert not read_back, "what was just committed is read again"


async def test_who_stops_following_holds_nobody_up_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its disk may be full; what it did not take is read back later."""
    monkeypatch.setattr(newest, "FOLLOWS_S", 0.2)
    monkeypatch.setattr(newest, "NEWEST_EVENTS_MAX", 200)
    log = SampleLog("alice")
    runs = [log.write_notes(20) for _ in range(60)]
    async with asyncio.timeout(DEADLINE_S), running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        assert not await store.events_after(0, PAGE)
        await asyncio.gather(*(store.append(log.certificate, run) for run in runs))
        seen, _ = await follow(store, 1200)
    assert seen == [event.id for run in runs for event in run.events]


async def test_who_gives_up_waiting_for_who_follows_disturbs_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "FOLLOWS_S", 0.2)
    log, other = SampleLog("alice"), SampleLog("alice", label="other")
    runs = [log.write_notes(20) for _ in range(30)]
    async with asyncio.timeout(DEADLINE_S), running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        assert not await store.events_after(0, PAGE)
        given_up = [asyncio.create_task(store.append(other.certificate, run)) for run in [other.write_notes(20) for _ in range(30)]]
        appends = [asyncio.create_task(store.append(log.certificate, run)) for run in runs]
        await asyncio.sleep(0)
        for task in given_up[10:]:
            task.cancel()
        await asyncio.gather(*appends)
        await asyncio.gather(*given_up, return_exceptions=True)
        assert store._newest.waiting == 0
        assert not store._turn.locked()
