"""Seals that name what they should not: logs of others, and logs that seal them in turn."""

from pathlib import Path

import pytest

from peer.core.certificate import Certificate, LogKind
from peer.core.control import Role, log_seal, member_set
from peer.core.frontier import Tip
from peer.core.run import Draft, Run
from peer.errors import TooManyForksError, TooManyLogsError
from peer.store.placing import BRANCHES_MAX
from peer.store.sealing import UNSEALED_LOGS_MAX
from tests.integration.store_site import read_log, running_store
from tests.integration.test_judged_events import BOB, decide, left, point, view, with_bob
from tests.samples import GROUP, SampleLog, genesis, key_pair


def owned(draft: Draft, label: str = "elsewhere") -> tuple[Certificate, Run]:
    """What alice decides on another machine."""
    log = SampleLog("alice", kind=LogKind.CONTROL, label=label)
    return log.certificate, log.write(draft)


@pytest.mark.parametrize("role", [Role.NONE, Role.READER])
async def test_what_a_decision_names_is_taken_though_its_author_had_too_many_logs(tmp_path: Path, role: Role) -> None:
    log = SampleLog("bob", label="named")
    run = log.write_notes(3)
    async with running_store(tmp_path / "site") as store:
        joined = await with_bob(store)
        for number in range(UNSEALED_LOGS_MAX):
            other = SampleLog("bob", label=str(number))
            await store.append(other.certificate, other.write_notes(1))
        with pytest.raises(TooManyLogsError):
            await store.append(log.certificate, run)
        await decide(store, member_set(BOB, "bob", role, replaces=[joined], cut=[point(run.events[2])]))

        await store.append(log.certificate, run)

        assert set((await store.roles(GROUP, [event.id for event in run.events])).values()) == {Role.WRITER}


async def test_the_branches_that_a_decision_names_are_taken_though_the_log_had_too_many(tmp_path: Path) -> None:
    log = SampleLog("bob", kind=LogKind.CONTROL)
    first = log.write_notes(1)
    branches = [left(log, first.last, 2) for _ in range(2 * BRANCHES_MAX)]
    ours, theirs = branches[:BRANCHES_MAX], branches[BRANCHES_MAX:]
    async with running_store(tmp_path / "a") as a, running_store(tmp_path / "b") as b:
        for store, runs in ((a, ours), (b, theirs)):
            await store.create_group(genesis())
            await store.append(*owned(member_set(BOB, "bob", Role.ADMIN)))
            for run in (first, *runs):
                await store.append(log.certificate, run)
        with pytest.raises(TooManyForksError):
            await b.append(log.certificate, ours[0])

        removal = owned(member_set(BOB, "bob", Role.NONE, cut=await a.cut(GROUP, BOB)), "removal")
        for store in (a, b):
            await store.append(*removal)
        for run in await read_log(a, log, await b.locator(GROUP, log.certificate.log)):
            await b.append(log.certificate, run)

        assert view(a).tips == view(b).tips
        assert view(a).quarantined == 0
        assert view(b).quarantined == 2 * BRANCHES_MAX


async def test_a_control_log_that_is_sealed_is_told_whole_for_a_seal_in_it_may_say_that_this_one_does_not_count(tmp_path: Path) -> None:
    one, other = SampleLog("bob", kind=LogKind.CONTROL), SampleLog("bob", kind=LogKind.CONTROL, label="other")
    first = one.write(log_seal(other.certificate.log, []))
    second = other.write(log_seal(one.certificate.log, []))
    async with running_store(tmp_path / "a") as a, running_store(tmp_path / "b") as b:
        for store in (a, b):
            await store.create_group(genesis())
            await store.append(*owned(member_set(BOB, "bob", Role.READER)))
        await a.append(one.certificate, first)
        await b.append(other.certificate, second)

        assert a.replica.groups[GROUP].reach(other.certificate) is None
        assert b.replica.groups[GROUP].reach(one.certificate) is None
        for giver, taker, log in ((a, b, one), (b, a, other)):
            for run in await read_log(giver, log):
                await taker.append(log.certificate, run)

        assert view(a).roster == view(b).roster
        assert view(a).tips == view(b).tips
        assert view(a).tips.keys() >= {one.certificate.log, other.certificate.log}
        assert view(a).quarantined == view(b).quarantined == 0


async def test_what_others_name_of_a_log_changes_nothing_of_it(tmp_path: Path) -> None:
    log, mallory = SampleLog("bob"), SampleLog("mallory", kind=LogKind.CONTROL)
    async with running_store(tmp_path / "site") as store:
        joined = await with_bob(store)
        await decide(store, member_set(key_pair("mallory").peer_id, "mallory", Role.READER))
        run = log.write_notes(5)
        await store.append(log.certificate, run)
        await decide(store, member_set(BOB, "bob", Role.NONE, replaces=[joined], cut=[point(run.events[2])]))
        offered = view(store).tips[log.certificate.log]

        for event in (run.events[1], run.events[4]):
            await store.append(mallory.certificate, mallory.write(log_seal(log.certificate.log, [point(event)])))

        assert view(store).tips[log.certificate.log] == offered == (Tip(3, run.events[2].id),)
        before = view(store).judgement
    async with running_store(tmp_path / "site") as store:
        assert view(store).tips[log.certificate.log] == offered
        assert view(store).judgement.digest == before.digest
