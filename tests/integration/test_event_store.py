"""What only the store on a disk has: group commit, positions, reads in bounded pages, and what it refuses."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from peer.core.certificate import LogKind
from peer.core.event import BODY_SIZE_MAX, link_event
from peer.core.identity import EventId
from peer.core.run import RUN_EVENTS_MAX, Draft, Run, sign_run
from peer.errors import (
    ClockNotIncreasingError,
    EventRejectedError,
    LogGapError,
    NotFoundError,
    StoreError,
    WrongLogError,
)
from peer.store import events as store_events
from peer.store.events import SqliteEventStore
from peer.store.peers import KnownPeer
from tests.integration.store_site import events_of, fork, read_log, running_store
from tests.samples import GROUP, START_MS, SampleLog, genesis, key_pair, note

MINUTE_MS = 60_000


def own_log(store: SqliteEventStore, kind: LogKind = LogKind.DATA) -> list[bytes]:
    """The logs of this store's peer in the group, in the order in which they appeared."""
    return [log for log, certificate in store.replica.groups[GROUP].certificates.items() if certificate.kind is kind]


async def test_appends_that_wait_together_share_a_transaction(tmp_path: Path) -> None:
    """A thousand appends, each awaited by somebody else, are a handful of syncs of the disk."""
    logs = [SampleLog("alice", label=str(number)) for number in range(50)]
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        before = store.transactions

        await asyncio.gather(*(store.append(log.certificate, log.write_notes(1)) for _ in range(20) for log in logs))

        assert store.counts(GROUP).events == 1000
        assert store.transactions - before <= 3


async def test_a_transaction_has_a_limit_however_much_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_events, "COMMIT_EVENTS_MAX", 100)
    log = SampleLog("alice")
    runs = [log.write_notes(50) for _ in range(10)]
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        before = store.transactions

        await asyncio.gather(*(store.append(log.certificate, run) for run in runs))

        assert store.transactions - before == 5


async def test_a_full_queue_makes_appends_wait_and_keeps_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_events, "QUEUE_REQUESTS_MAX", 3)
    log = SampleLog("alice")
    runs = [log.write_notes(1) for _ in range(50)]
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        before = store.transactions

        await asyncio.gather(*(store.append(log.certificate, run) for run in runs))

        assert events_of(await read_log(store, log)) == events_of(runs)
        assert store.transactions - before >= 50 / 4


async def test_one_bad_run_does_not_fail_the_others_of_its_transaction(tmp_path: Path) -> None:
    logs = [SampleLog("alice", label=str(number)) for number in range(6)]
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        for log in logs[::2]:
            log.write_notes(1)  # Lost on the way: what comes next is a gap.
        before = store.transactions

        results = await asyncio.gather(*(store.append(log.certificate, log.write_notes(2)) for log in logs), return_exceptions=True)

        assert [type(result) for result in results] == [LogGapError, type(None)] * 3
        assert store.transactions - before == 1
        assert store.counts(GROUP) == (6, 3, 0)
        assert (await store.verify()).ok


async def test_an_event_of_an_unknown_group_or_under_a_foreign_certificate_is_refused(tmp_path: Path) -> None:
    stranger = SampleLog("alice", genesis("bob", name="other").group)
    log = SampleLog("alice")
    thief = SampleLog("mallory")
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        with pytest.raises(WrongLogError):
            await store.append(stranger.certificate, stranger.write_notes(1))
        await store.append(log.certificate, log.write_notes(1))

        thief.certificate = thief.certificate._replace(key=log.certificate.key)
        with pytest.raises(WrongLogError):
            await store.append(thief.certificate, log.write_notes(1))


async def test_events_are_read_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    logs = [SampleLog("alice", label=str(number)) for number in range(3)]
    runs = [(log, log.write_notes(3)) for _ in range(4) for log in logs]
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        for log, run in runs:
            await store.append(log.certificate, run)

        everything = await store.events_after(0, 1000)
        assert [stored.event.id for stored in everything] == events_of([run for _, run in runs])
        assert [stored.position for stored in everything] == list(range(1, 37))
        assert {stored.author for stored in everything} == {key_pair("alice").peer_id}
        assert [stored.position for stored in await store.events_after(30, 4)] == [31, 32, 33, 34]
        assert await store.events_after(36, 10) == ()
        found = await store.event(runs[5][1].events[1].id)
        assert found is not None
        assert (found.position, found.event.header_bytes) == (17, runs[5][1].events[1].header_bytes)
        assert await store.event(EventId(bytes(32))) is None


async def test_events_of_one_group_are_read_without_those_of_the_others(tmp_path: Path) -> None:
    other_genesis = genesis("bob", name="other")
    mine = [SampleLog("alice", label=str(number)) for number in range(3)]
    other = SampleLog("bob", other_genesis.group)
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        await store.create_group(other_genesis)
        expected: list[EventId] = []
        for _ in range(20):
            for log in mine:
                run = log.write_notes(2)
                expected += events_of([run])
                await store.append(log.certificate, run)
                await store.append(other.certificate, other.write_notes(3))

        found: list[EventId] = []
        position = 0
        while page := await store.group_events(GROUP, position, 7):
            found += [stored.event.id for stored in page]
            position = page[-1].position
        assert found == expected
        assert store.counts(GROUP) == (120, 3, 0)
        with pytest.raises(NotFoundError):
            await store.group_events(SampleLog("x", other_genesis.group).certificate.group[::-1], 0, 1)  # type: ignore[arg-type]


async def test_a_read_of_large_events_is_bounded_in_bytes(tmp_path: Path) -> None:
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        await store.write(GROUP, LogKind.DATA, [Draft("large", b"x" * BODY_SIZE_MAX)] * 200)

        assert 60 <= len(await store.events_after(0, 4096)) <= 70


async def test_reading_a_log_page_by_page_never_holds_back_a_checkpoint(tmp_path: Path) -> None:
    log = SampleLog("alice")
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        for _ in range(4):
            await store.append(log.certificate, log.write_notes(RUN_EVENTS_MAX))
        have: list[EventId] = []
        for _ in range(4):
            page = await store.read_after(GROUP, log.certificate.log, have, 1)
            have = [page.runs[-1].last.id]
            assert checkpoint_is_free(tmp_path / "site" / "log.db")


def checkpoint_is_free(path: Path) -> bool:
    """True if all of the write-ahead log could be taken over and cut, which no reader may be in the way of."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    try:
        return bool(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
    finally:
        connection.close()


async def test_peers_that_the_operator_named_survive_a_restart(tmp_path: Path) -> None:
    bob = KnownPeer(key_pair("bob").peer_id, "bob", ("https://10.0.0.2:7850",), (GROUP,))
    carol = KnownPeer(key_pair("carol").peer_id, "carol", ("http://127.0.0.1:1", "https://[::1]:2"), (), "hub", paused=True)
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        await store.put_peer(carol)
        await store.put_peer(bob._replace(paused=True))
        await store.put_peer(bob)
        assert store.replica.shares(GROUP, bob.peer_id)

    async with running_store(tmp_path / "site") as store:
        assert await store.peers() == [bob, carol]
        assert store.replica.shares(GROUP, bob.peer_id)
        assert not store.replica.shares(GROUP, carol.peer_id)
        assert await store.remove_peer(bob.peer_id)
        assert not await store.remove_peer(bob.peer_id)
        assert not store.replica.shares(GROUP, bob.peer_id)
        assert await store.peers() == [carol]


async def test_what_waits_when_the_store_is_closed_becomes_durable_and_what_comes_later_is_refused(tmp_path: Path) -> None:
    log = SampleLog("alice")
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        waiting = [asyncio.create_task(store.append(log.certificate, log.write_notes(1))) for _ in range(10)]
        await asyncio.sleep(0)
        store.close()
        await asyncio.gather(*waiting)
        with pytest.raises(StoreError, match="closed"):
            await store.append(log.certificate, log.write_notes(1))

    async with running_store(tmp_path / "site") as store:
        assert store.counts(GROUP).events == 10


async def test_a_signature_that_a_duplicate_brings_is_kept_if_it_is_new(tmp_path: Path) -> None:
    """Two peers may cut one log into different runs: where a run may end is worth knowing."""
    log = SampleLog("alice")
    first, second = log.write_notes(2), log.write_notes(2)
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        await store.append(log.certificate, Run([*first.events, *second.events], second.signature))
        assert (await store.verify()).checked["signatures"] == 1

        await store.append(log.certificate, first)

        result = await store.verify()
        assert (result.ok, result.checked["signatures"]) == (True, 2)


async def test_who_gives_up_waiting_does_not_disturb_the_others(tmp_path: Path) -> None:
    log = SampleLog("alice")
    first, second = log.write_notes(1), log.write_notes(1)
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        impatient = asyncio.create_task(store.append(log.certificate, first))
        await asyncio.sleep(0)
        impatient.cancel()

        with pytest.raises(LogGapError):
            await store.append(log.certificate, second)
        await store.append(log.certificate, first)
        await store.append(log.certificate, second)

        assert store.counts(GROUP).events == 2


async def test_a_fork_with_an_old_clock_or_a_false_seq_is_refused(tmp_path: Path) -> None:
    log = SampleLog("alice")
    base = log.write_notes(4)
    old = fork(log, base.events[1], "old")
    old.clock_ms = START_MS
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        await store.append(log.certificate, base)

        with pytest.raises(ClockNotIncreasingError):
            await store.append(log.certificate, old.write_notes(1))
        skipping = fork(log, base.events[1], "skipping").write_notes(2)
        with pytest.raises(EventRejectedError):
            await store.append(log.certificate, Run(skipping.events[1:], skipping.signature))
        assert store.counts(GROUP) == (4, 1, 0)


@pytest.mark.parametrize("middle", [False, True])
async def test_an_event_that_names_the_one_before_it_but_not_its_own_height_is_a_gap(tmp_path: Path, middle: bool) -> None:  # noqa: FBT001
    log = SampleLog("alice")
    base = log.write_notes(4)
    before = base.events[1] if middle else base.last
    wrong = link_event(
        group=GROUP, log=log.certificate.log, seq=7, previous=before.id, hlc=base.last.header.hlc + 1, type_="note", refs=[], body=b"",
    )  # fmt: skip
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        await store.append(log.certificate, base)

        with pytest.raises(LogGapError):
            await store.append(log.certificate, sign_run(log.key, [wrong]))
        assert store.counts(GROUP) == (4, 1, 0)


async def test_an_event_that_names_one_of_another_log_as_its_previous_is_a_gap_and_the_store_goes_on(tmp_path: Path) -> None:
    """Height and clock fit, the signature is good, the event is held: but it is on nobody's way to this one."""
    alices, mallorys = SampleLog("alice"), SampleLog("mallory")
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        await store.append(mallorys.certificate, mallorys.write_notes(1))
        await store.append(alices.certificate, alices.write_notes(3))
        before = alices.tip
        assert before is not None
        stray = link_event(
            group=GROUP, log=mallorys.certificate.log, seq=3, previous=before.id, hlc=before.header.hlc + 1, type_="note", refs=[], body=b"",
        )  # fmt: skip

        with pytest.raises(LogGapError):
            await store.append(mallorys.certificate, sign_run(mallorys.key, [stray]))
        await store.append(alices.certificate, alices.write_notes(1))
        assert store.counts(GROUP) == (5, 2, 0)


async def test_a_clock_beyond_what_sqlite_counts_is_stored_and_followed_no_further(tmp_path: Path) -> None:
    log = SampleLog("alice")
    log.clock_ms = 2**48 - 100
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        await store.append(log.certificate, log.write_notes(3))
    async with running_store(tmp_path / "site") as store:
        (stored,) = await store.write(GROUP, LogKind.DATA, [note()])

        assert stored.event.header.hlc == (START_MS + 5 * MINUTE_MS) << 16
        assert store.replica.groups[GROUP].hlc == log.clock_ms << 16
