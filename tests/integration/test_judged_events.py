"""What counts, at a store on a disk: roles at events, cuts, seals, voids, forks, and the limits on logs. The site is alice, who owns the group."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from peer.core.certificate import LogKind
from peer.core.control import ControlEvent, LogSeal, Point, Role, event_void, log_seal, member_set
from peer.core.event import Event
from peer.core.frontier import Tip
from peer.core.identity import EventId, LogId
from peer.core.interfaces import Commit, Fork, StoredEvent
from peer.core.run import Draft, Run
from peer.errors import RemovedFromGroupError, TooManyLogsError
from peer.store import writing
from peer.store.events import SqliteEventStore
from peer.store.groups import GroupRecord
from tests.integration.store_site import events_of, read_log, running_store
from tests.samples import GROUP, SampleLog, genesis, key_pair, note

BOB = key_pair("bob").peer_id


async def decide(store: SqliteEventStore, *drafts: Draft) -> Sequence[StoredEvent]:
    """Alice decides something."""
    return await store.write(GROUP, LogKind.CONTROL, drafts)


async def with_bob(store: SqliteEventStore, role: Role = Role.WRITER) -> EventId:
    """The group, with bob in it. Returns the decision that let him in."""
    await store.create_group(genesis())
    [stored] = await decide(store, member_set(BOB, "bob", role))
    return stored.event.id


def view(store: SqliteEventStore) -> GroupRecord:
    """The group."""
    return store.replica.groups[GROUP]


def point(event: Event) -> Point:
    """The point that names an event."""
    return Point(event.header.log, event.height, event.id)


async def roles(store: SqliteEventStore, run: Run) -> list[Role]:
    """The roles at the events of a run."""
    found = await store.roles(GROUP, [event.id for event in run.events])
    return [found[event.id] for event in run.events]


def left(log: SampleLog, after: Event | None, count: int) -> Run:
    """A fork: some notes in `log` after an earlier event."""
    log.tip = after
    return log.write_notes(count)


async def test_a_removal_with_a_cut_leaves_what_was_before_and_nothing_that_comes_later(tmp_path: Path) -> None:
    log, other = SampleLog("bob"), SampleLog("bob", label="of which the cut says nothing")
    commits: list[Commit] = []
    async with running_store(tmp_path / "site") as store:
        joined = await with_bob(store)
        run = log.write_notes(5)
        await store.append(log.certificate, run)
        assert await roles(store, run) == [Role.WRITER] * 5
        store.subscribe(commits.append)

        await decide(store, member_set(BOB, "bob", Role.NONE, replaces=[joined], cut=[point(run.events[2])]))
        later, elsewhere = log.write_notes(4), other.write_notes(2)
        await store.append(log.certificate, later)
        await store.append(other.certificate, elsewhere)

        assert await roles(store, run) == [Role.WRITER] * 3 + [Role.NONE] * 2
        assert await roles(store, later) + await roles(store, elsewhere) == [Role.NONE] * 6
        assert view(store).tips[log.certificate.log] == commits[1].tips == (Tip(3, run.events[2].id),)
        assert other.certificate.log not in view(store).tips
        assert commits[2].tips == ()
        assert view(store).quarantined == 8
        assert (view(store).reach(log.certificate), view(store).reach(other.certificate)) == (3, 0)
        assert {each.event.id: each.role for each in await store.group_events(GROUP, 0, 100)}[run.events[3].id] is Role.NONE
        assert events_of(await read_log(store, log)) == events_of([run])  # Whole: no signature is held at the cut.
        assert (await store.read_after(GROUP, other.certificate.log, [], 1 << 20)).runs == ()


async def test_who_is_let_in_again_counts_with_all_that_was_written(tmp_path: Path) -> None:
    log = SampleLog("bob")
    async with running_store(tmp_path / "site") as store:
        joined = await with_bob(store)
        run = log.write_notes(3)
        await store.append(log.certificate, run)
        [removed] = await decide(store, member_set(BOB, "bob", Role.NONE, replaces=[joined]))
        assert await roles(store, run) == [Role.NONE] * 3
        before = view(store).judgement

        await decide(store, member_set(BOB, "bob", Role.READER, replaces=[removed.event.id]))

        assert await roles(store, run) == [Role.READER] * 3
        assert view(store).tips[log.certificate.log] == (Tip(3, run.last.id),)
        assert view(store).quarantined == 0
        assert view(store).judgement.changes_since(before).authors == {BOB}


async def test_a_fork_below_a_cut_changes_nothing(tmp_path: Path) -> None:
    log = SampleLog("bob")
    async with running_store(tmp_path / "site") as store:
        joined = await with_bob(store)
        run = log.write_notes(4)
        await store.append(log.certificate, run)
        await decide(store, member_set(BOB, "bob", Role.NONE, replaces=[joined], cut=[point(run.events[3])]))

        branch = left(log, run.events[1], 1)
        await store.append(log.certificate, branch)

        assert await roles(store, branch) == [Role.NONE]
        assert await roles(store, run) == [Role.WRITER] * 4
        assert view(store).tips[log.certificate.log] == (Tip(4, run.last.id),)


@pytest.mark.parametrize("restart", [False, True])
async def test_while_the_event_at_a_cut_is_not_here_what_may_lead_to_it_counts(tmp_path: Path, *, restart: bool) -> None:
    log = SampleLog("bob")
    async with running_store(tmp_path / "site") as store:
        joined = await with_bob(store)
        begin, middle, end = log.write_notes(2), log.write_notes(2), log.write_notes(1)
        branch = left(log, begin.last, 3)  # As high as the cut, and not its event.
        await decide(store, member_set(BOB, "bob", Role.NONE, replaces=[joined], cut=[point(end.last)]))
        await store.append(log.certificate, begin)
        assert await roles(store, begin) == [Role.WRITER] * 2
        await store.append(log.certificate, branch)
        assert await roles(store, begin) + await roles(store, branch) == [Role.NONE] * 5
        await store.append(log.certificate, middle)
        assert await roles(store, begin) + await roles(store, middle) == [Role.WRITER] * 4
        assert view(store).tips[log.certificate.log] == (Tip(4, middle.last.id), Tip(5, branch.last.id)), "others need the other branch to see that"
        if not restart:
            await store.append(log.certificate, end)
            assert await roles(store, end) + await roles(store, branch) == [Role.WRITER] + [Role.NONE] * 3
    if restart:
        async with running_store(tmp_path / "site") as store:
            assert view(store).tips[log.certificate.log] == (Tip(4, middle.last.id), Tip(5, branch.last.id))
            await store.append(log.certificate, end)
    async with running_store(tmp_path / "site") as store:
        assert await roles(store, end) == [Role.WRITER]
        assert await roles(store, branch) == [Role.NONE] * 3
        assert view(store).tips[log.certificate.log] == (Tip(5, end.last.id),)


async def test_events_are_voided_by_their_author_or_an_admin_before_or_after_they_come(tmp_path: Path) -> None:
    log, control, foreign = SampleLog("bob"), SampleLog("bob", kind=LogKind.CONTROL), SampleLog("carol", kind=LogKind.CONTROL)
    carol = SampleLog("carol")
    async with running_store(tmp_path / "site") as store:
        await with_bob(store)
        await decide(store, member_set(key_pair("carol").peer_id, "carol", Role.WRITER))
        run, hers = log.write_notes(3), carol.write_notes(1)
        await store.append(control.certificate, control.write(event_void(run.events[0].id), event_void(hers.last.id)))
        await store.append(log.certificate, run)
        await store.append(carol.certificate, hers)
        before = view(store).judgement
        assert await roles(store, run) == [Role.NONE, Role.WRITER, Role.WRITER]

        [voided] = await decide(store, event_void(run.events[1].id))
        await store.append(foreign.certificate, foreign.write(event_void(run.events[2].id)))
        await decide(store, event_void(voided.event.id))

        assert await roles(store, run) == [Role.NONE, Role.NONE, Role.WRITER], "not by somebody else who is a writer"
        assert await roles(store, hers) == [Role.WRITER]
        assert await store.roles(GROUP, [voided.event.id]) == {voided.event.id: Role.OWNER}, "control events cannot be voided"
        assert view(store).judgement.changes_since(before) == (frozenset(), {run.events[1].id})
        assert view(store).quarantined == 2
        assert view(store).tips[log.certificate.log] == (Tip(3, run.last.id),), "what is voided is passed on"
    async with running_store(tmp_path / "site") as store:
        assert await roles(store, run) == [Role.NONE, Role.NONE, Role.WRITER]
        assert view(store).quarantined == 2


async def test_a_cut_that_keeps_everything_and_what_another_one_leaves_out(tmp_path: Path) -> None:
    log, forked = SampleLog("bob"), SampleLog("bob", label="with two branches")
    async with running_store(tmp_path / "site") as store:
        joined = await with_bob(store)
        run, first = log.write_notes(5), forked.write_notes(4)
        second = left(forked, first.events[1], 3)
        for certificate, each in ((log.certificate, run), (forked.certificate, first), (forked.certificate, second)):
            await store.append(certificate, each)

        cut = await store.cut(GROUP, BOB)
        assert set(cut) == {point(run.last), point(first.last), point(second.last)}
        assert await store.events_beyond(GROUP, BOB, cut) == {}
        less = [point(run.events[3]), point(first.last)]
        assert await store.events_beyond(GROUP, BOB, less) == {log.certificate.log: 1, forked.certificate.log: 3}
        assert await store.events_beyond(GROUP, BOB, []) == {log.certificate.log: 5, forked.certificate.log: 7}

        [removed] = await decide(store, member_set(BOB, "bob", Role.NONE, replaces=[joined], cut=cut))
        assert view(store).quarantined == 0
        assert set(await store.cut(GROUP, BOB)) == set(cut), "what counts after a removal is kept by the next decision"
        await decide(store, member_set(BOB, "bob", Role.NONE, replaces=[removed.event.id], cut=less))
        assert view(store).quarantined == 4
        assert set(await store.cut(GROUP, BOB)) == set(less)


async def test_a_cut_that_would_not_fit_a_decision_keeps_the_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody escapes a removal by making branches without end; what is left out is told before."""
    monkeypatch.setattr("peer.store.judged.POINTS_MAX", 2)
    log = SampleLog("bob")
    async with running_store(tmp_path / "site") as store:
        await with_bob(store)
        run = log.write_notes(2)
        branches = [run, left(log, run.events[0], 1), left(log, run.events[0], 3)]
        for each in branches:
            await store.append(log.certificate, each)

        cut = await store.cut(GROUP, BOB)

        assert set(cut) == {point(branches[0].last), point(branches[2].last)}
        assert await store.events_beyond(GROUP, BOB, cut) == {log.certificate.log: 1}


async def test_both_branches_of_a_fork_count_and_it_is_shown(tmp_path: Path) -> None:
    log = SampleLog("bob")
    async with running_store(tmp_path / "site") as store:
        await with_bob(store)
        run = log.write_notes(3)
        branch = left(log, run.events[0], 1)
        await store.append(log.certificate, run)
        await store.append(log.certificate, branch)

        assert await roles(store, run) + await roles(store, branch) == [Role.WRITER] * 4
        assert view(store).forks == [Fork(log.certificate.log, BOB, LogKind.DATA, 1)]
        result = await store.verify()
        assert (result.ok, result.checked["forks"]) == (True, 1)


# Logs of this peer


def own_logs(store: SqliteEventStore, kind: LogKind = LogKind.DATA) -> list[LogId]:
    """The logs of this peer, oldest first."""
    return [
        log for log, certificate in view(store).certificates.items() if certificate.kind is kind and certificate.peer == key_pair("alice").peer_id
    ]


async def test_a_rotated_log_is_not_written_on_and_loses_nothing_when_it_is_sealed(tmp_path: Path) -> None:
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        assert await store.rotate_log(GROUP, LogKind.DATA) is None
        await store.write(GROUP, LogKind.DATA, [note(1), note(2)])
        [old] = own_logs(store)

        assert await store.rotate_log(GROUP, LogKind.DATA) == old
        await decide(store, log_seal(old, await store.seal_points(GROUP, old)))
        assert view(store).quarantined == 0
        [stored] = await store.write(GROUP, LogKind.DATA, [note(3)])

        assert stored.event.header.log != old
        assert view(store).tips[old][0].height == 2
        assert view(store).reach(view(store).certificates[old]) == 2
    async with running_store(tmp_path / "site") as store:
        [again] = await store.write(GROUP, LogKind.DATA, [note(4)])
        assert again.event.header.log == stored.event.header.log, "the new log is written on after a restart"


@pytest.mark.parametrize("together", [False, True])
async def test_a_log_that_is_sealed_while_it_is_open_is_not_written_on(tmp_path: Path, *, together: bool) -> None:
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        await store.write(GROUP, LogKind.DATA, [note(1)])
        [old] = own_logs(store)
        seal = log_seal(old, await store.seal_points(GROUP, old))

        if together:
            before = store.transactions
            _, [stored] = await asyncio.gather(decide(store, seal), store.write(GROUP, LogKind.DATA, [note(2)]))
            assert store.transactions == before + 1
        else:
            await decide(store, seal)
            [stored] = await store.write(GROUP, LogKind.DATA, [note(2)])

        assert stored.event.header.log != old
        assert view(store).quarantined == 0


async def test_a_log_that_was_sealed_elsewhere_is_not_written_on(tmp_path: Path) -> None:
    """Another machine with our key sealed it: what we wrote after the seal waits for another one, what comes next counts."""
    elsewhere = SampleLog("alice", kind=LogKind.CONTROL, label="elsewhere")
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        first, second = await store.write(GROUP, LogKind.DATA, [note(1), note(2)])
        [old] = own_logs(store)
        await store.append(elsewhere.certificate, elsewhere.write(log_seal(old, [point(first.event)])))

        [third] = await store.write(GROUP, LogKind.DATA, [note(3)])

        assert third.event.header.log != old
        assert await store.roles(GROUP, [first.event.id, second.event.id, third.event.id]) == {
            first.event.id: Role.OWNER,
            second.event.id: Role.NONE,
            third.event.id: Role.OWNER,
        }
        await decide(store, log_seal(old, await store.seal_points(GROUP, old)))
        assert view(store).quarantined == 0, "seals add up"


async def test_a_peer_never_has_more_than_32_unsealed_logs_and_loses_nothing(tmp_path: Path) -> None:
    written: list[EventId] = []
    for _ in range(2):
        async with running_store(tmp_path / "site") as store:
            await store.create_group(genesis())
            for number in range(25):
                await store.rotate_log(GROUP, LogKind.DATA)
                if number % 10 == 0:
                    await store.rotate_log(GROUP, LogKind.CONTROL)
                written += [stored.event.id for stored in await store.write(GROUP, LogKind.DATA, [note(number)])]
                sealed = view(store).sealed(key_pair("alice").peer_id)
                assert len(view(store).logs.keys() - sealed) <= 32
    async with running_store(tmp_path / "site") as store:
        assert len(own_logs(store)) == 50
        assert view(store).quarantined == 0
        assert set((await store.roles(GROUP, written)).values()) == {Role.OWNER}
        facts = [
            ControlEvent(stored.event, stored.author).fact for stored in await store.group_events(GROUP, 0, 4096) if stored.kind is LogKind.CONTROL
        ]
        assert [fact.log for fact in facts if isinstance(fact, LogSeal)][:10] == own_logs(store)[:10], "the oldest first"


async def test_above_64_unsealed_logs_of_somebody_the_rest_wait_until_others_are_sealed(tmp_path: Path) -> None:
    logs = [SampleLog("bob", label=str(number)) for number in range(66)]
    control = SampleLog("bob", kind=LogKind.CONTROL)
    async with running_store(tmp_path / "site") as store:
        await with_bob(store)
        for log in logs[:64]:
            await store.append(log.certificate, log.write_notes(1))
        runs = [log.write_notes(1) for log in logs[64:]]
        for log, run in zip(logs[64:], runs, strict=True):
            with pytest.raises(TooManyLogsError) as refused:
                await store.append(log.certificate, run)
            assert refused.value.code == "too_many_logs"
        await store.append(logs[0].certificate, logs[0].write_notes(1))
        assert view(store).waiting_logs == 2
        assert view(store).quarantined == 0

        sealed = [log.certificate.log for log in logs[3:5]]
        seals = [log_seal(log, await store.seal_points(GROUP, log)) for log in sealed]
        await store.append(control.certificate, control.write(*seals))  # The 65th log: what seals others may always come.
        await store.append(logs[64].certificate, runs[0])
        with pytest.raises(TooManyLogsError):
            await store.append(logs[65].certificate, runs[1])
        assert view(store).waiting_logs == 1
        assert await roles(store, runs[0]) == [Role.WRITER]


async def test_a_peer_that_was_removed_reads_on_and_is_told_why_it_cannot_write(tmp_path: Path) -> None:
    group = genesis("bob", name="of-bob")
    control = SampleLog("bob", group.group, kind=LogKind.CONTROL)
    alice = key_pair("alice").peer_id
    async with running_store(tmp_path / "site") as store:
        await store.create_group(group)
        await store.append(control.certificate, control.write(member_set(alice, "alice", Role.WRITER)))
        [stored] = await store.write(group.group, LogKind.DATA, [note(1)])
        added = control.tip
        assert added is not None
        removal = control.write(member_set(alice, "alice", Role.NONE, replaces=[added.id], cut=[point(stored.event)]))
        await store.append(control.certificate, removal)

        for kind in LogKind:
            with pytest.raises(RemovedFromGroupError) as refused:
                await store.write(group.group, kind, [note(2)])
            assert (refused.value.code, refused.value.status) == ("removed_from_group", 403)
        assert [each.event.id for each in await store.group_events(group.group, 0, 10)][1] == stored.event.id
        assert await store.roles(group.group, [stored.event.id]) == {stored.event.id: Role.WRITER}

        await store.append(control.certificate, control.write(member_set(alice, "alice", Role.WRITER, replaces=[removal.last.id])))
        [again] = await store.write(group.group, LogKind.DATA, [note(3)])
        assert await store.roles(group.group, [stored.event.id, again.event.id]) == dict.fromkeys([stored.event.id, again.event.id], Role.WRITER)


async def test_appends_to_logs_that_nobody_names_are_not_thought_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither roster nor points are looked at: what such an append costs does not depend on what was ever decided about others."""
    asked: list[int] = []
    judge_after = writing.judge_after
    log, other = SampleLog("bob"), SampleLog("alice", label="other")
    async with running_store(tmp_path / "site") as store:
        await with_bob(store)
        monkeypatch.setattr(writing, "judge_after", lambda *parts: asked.append(1) or judge_after(*parts))
        before = view(store).judgement
        await store.append(log.certificate, log.write_notes(10))
        await store.append(other.certificate, other.write_notes(10))
        assert not asked
        assert view(store).judgement is before

        await decide(store, Draft("something else", b""))
        assert asked == [1]
        assert view(store).judgement is before, "a control event that decides nothing changes no judgement"
