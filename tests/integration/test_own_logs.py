"""The logs that a peer writes itself: linked, signed, fenced, replaced after doubt."""

import asyncio
import shutil
from pathlib import Path

import pytest

from peer.core.certificate import LogKind
from peer.core.control import Role, member_set
from peer.core.event import BODY_SIZE_MAX
from peer.core.identity import EventId
from peer.core.interfaces import Commit
from peer.core.run import RUN_BYTES_MAX, RUN_EVENTS_MAX, Draft, read_run
from peer.errors import (
    HeaderInvalidError,
)
from peer.store.events import SqliteEventStore
from tests.integration.store_site import fork, running_store
from tests.samples import GROUP, START_MS, SampleLog, genesis, key_pair, note, parts

MINUTE_MS = 60_000


def own_log(store: SqliteEventStore, kind: LogKind = LogKind.DATA) -> list[bytes]:
    """The logs of this store's peer in the group, in the order in which they appeared."""
    return [log for log, certificate in store.replica.groups[GROUP].certificates.items() if certificate.kind is kind]


async def test_own_events_are_linked_signed_and_chained_however_many_write_at_once(tmp_path: Path) -> None:
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        commits: list[Commit] = []
        store.subscribe(commits.append)

        written = await asyncio.gather(*(store.write(GROUP, LogKind.DATA, [note(number), note(number)]) for number in range(50)))

        (log,) = own_log(store)
        assert [stored.event.header.seq for events in written for stored in events] == list(range(100))
        assert len(commits) == 50
        for commit in commits:
            read_run(commit.certificate, parts(commit.run), commit.run.signature)
        assert store.replica.groups[GROUP].tips[log][0].height == 100  # type: ignore[index]
        assert (await store.verify()).ok


async def test_what_does_not_fit_one_run_is_written_as_several_in_one_transaction(tmp_path: Path) -> None:
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        commits: list[Commit] = []
        store.subscribe(commits.append)
        before = store.transactions

        await store.write(GROUP, LogKind.DATA, [note(number) for number in range(600)])
        many = list(commits)
        await store.write(GROUP, LogKind.DATA, [Draft("large", b"x" * BODY_SIZE_MAX, (EventId(bytes(32)),) * 16)] * 10)

        assert [len(commit.run.events) for commit in many] == [RUN_EVENTS_MAX, RUN_EVENTS_MAX, 600 - 2 * RUN_EVENTS_MAX]
        assert all(commit.run.size <= RUN_BYTES_MAX for commit in commits)
        assert store.transactions - before == 2
        assert (await store.verify()).ok


async def test_of_drafts_that_cannot_all_be_linked_none_is_written(tmp_path: Path) -> None:
    drafts = [*(note(number) for number in range(RUN_EVENTS_MAX + 1)), Draft("too large", b"x" * (BODY_SIZE_MAX + 1))]
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())

        bad, good = await asyncio.gather(store.write(GROUP, LogKind.DATA, drafts), store.write(GROUP, LogKind.DATA, [note()]), return_exceptions=True)

        assert isinstance(bad, HeaderInvalidError)
        assert not isinstance(good, BaseException)
        assert store.counts(GROUP).events == 1


async def test_own_clocks_follow_what_was_seen_but_not_for_more_than_five_minutes(tmp_path: Path) -> None:
    ahead, far_ahead = SampleLog("alice"), SampleLog("bob")
    ahead.clock_ms += 2 * MINUTE_MS
    far_ahead.clock_ms += 60 * MINUTE_MS
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        await store.append(ahead.certificate, ahead.write_notes(1))
        (second,) = await store.write(GROUP, LogKind.DATA, [note()])
        await store.append(far_ahead.certificate, far_ahead.write_notes(1))
        (third,) = await store.write(GROUP, LogKind.DATA, [note()])

        assert second.event.header.hlc == (ahead.clock_ms << 16)
        assert third.event.header.hlc == (START_MS + 5 * MINUTE_MS) << 16


async def test_a_log_whose_clock_cannot_grow_is_replaced(tmp_path: Path) -> None:
    """A machine that once lived in the year 10889 can still write."""
    async with running_store(tmp_path / "site", now_ms=2**48 - 1) as store:
        await store.create_group(genesis())
        await store.write(GROUP, LogKind.DATA, [note()] * 65_536)
    async with running_store(tmp_path / "site", now_ms=START_MS) as store:
        (stored,) = await store.write(GROUP, LogKind.DATA, [note()])

        assert stored.event.header.seq == 0
        assert len(own_log(store)) == 2


async def test_after_a_restart_everything_is_there_and_the_same_log_goes_on(tmp_path: Path) -> None:
    log, control = SampleLog("alice"), SampleLog("alice", kind=LogKind.CONTROL)
    base, left = log.write_notes(5), log.write_notes(1)
    right = fork(log, base.events[2], "right").write_notes(2)
    bob = key_pair("bob").peer_id
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        for run in (base, left, right):
            await store.append(log.certificate, run)
        await store.append(control.certificate, control.write(member_set(bob, "bob", Role.READER)))
        await store.write(GROUP, LogKind.DATA, [note(1)])
        before = store.replica.groups[GROUP]
        incarnation, position = store.incarnation, store.position

    async with running_store(tmp_path / "site") as store:
        after = store.replica.groups[GROUP]
        assert (after.tips, after.certificates, after.genesis, after.roster) == (
            before.tips, before.certificates, before.genesis, before.roster,
        )  # fmt: skip
        assert (after.counts, after.hlc) == (before.counts, before.hlc)
        assert (store.incarnation, store.position) == (incarnation, position)
        (stored,) = await store.write(GROUP, LogKind.DATA, [note(2)])
        assert stored.event.header.seq == 1
        assert stored.position == position + 1
        assert (await store.verify()).ok


@pytest.mark.parametrize("what", ["whole directory", "database", "log key"])
async def test_a_copy_is_not_written_on_a_new_log_is_opened(tmp_path: Path, what: str) -> None:
    """Restored backup or cloned disk: what the original wrote on stays its own."""
    site = tmp_path / "site"
    async with running_store(site) as store:
        await store.create_group(genesis())
        await store.write(GROUP, LogKind.DATA, [note()])
        (original,) = own_log(store)
        incarnation = store.incarnation
    copies = {"whole directory": [site], "database": [site / "log.db"], "log key": list((site / "keys").glob("*-data.key"))}[what]
    (copied,) = copies
    aside = tmp_path / "aside"
    (shutil.copytree if copied.is_dir() else shutil.copy2)(copied, aside)
    (shutil.rmtree if copied.is_dir() else Path.unlink)(copied)
    aside.rename(copied)

    async with running_store(site) as store:
        (stored,) = await store.write(GROUP, LogKind.DATA, [note()])

        assert stored.event.header.seq == 0
        assert own_log(store)[0] == original
        assert len(own_log(store)) == 2
        assert store.incarnation != incarnation
        assert (await store.verify()).ok


async def test_own_events_that_come_from_elsewhere_close_the_log(tmp_path: Path) -> None:
    """The database was put back in place to an older state: the others know what was written since."""
    site = tmp_path / "site"
    async with running_store(site) as store:
        await store.create_group(genesis())
        await store.write(GROUP, LogKind.DATA, [note(1)])
        old = (site / "log.db").read_bytes(), (site / "log.db-wal").read_bytes()
    async with running_store(site) as store:
        commits: list[Commit] = []
        store.subscribe(commits.append)
        await store.write(GROUP, LogKind.DATA, [note(2)])
    (site / "log.db").write_bytes(old[0])
    (site / "log.db-wal").write_bytes(old[1])

    async with running_store(site) as store:
        incarnation = store.incarnation
        await store.append(commits[0].certificate, commits[0].run)
        (stored,) = await store.write(GROUP, LogKind.DATA, [note(3)])

        assert stored.event.header.seq == 0
        assert stored.event.header.log != commits[0].certificate.log
        assert store.incarnation != incarnation
        assert store.counts(GROUP).forks == 0


async def test_own_events_that_come_back_and_are_held_change_nothing(tmp_path: Path) -> None:
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        commits: list[Commit] = []
        store.subscribe(commits.append)
        await store.write(GROUP, LogKind.DATA, [note(1)])
        await store.append(commits[0].certificate, commits[0].run)

        (stored,) = await store.write(GROUP, LogKind.DATA, [note(2)])

        assert stored.event.header.seq == 1
