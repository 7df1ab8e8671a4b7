"""The materializer over a real log: it follows, it remembers where it was, and it starts again where that does not fit."""

import asyncio
import sqlite3
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

import pytest

from materializer import runner, telling
from materializer.bodies import recording_create
from materializer.digest import digest_of_export
from materializer.edits import recording_tag
from peer.core.certificate import LogKind
from peer.core.control import Point, Role, event_void, member_set
from peer.core.encoding import encode
from peer.core.identity import EventId, GroupId
from peer.core.run import Draft, Run, sign_run
from peer.core.views import RecordingView
from peer.store.database import SCHEMAS, remove_database
from tests.histories import Story, create_body
from tests.integration.views_site import ViewsSite, running_views
from tests.samples import GROUP, SampleLog, key_pair

VIEWS = "views.db"
DEADLINE_S = 30.0


async def store_recordings(site: ViewsSite, log: SampleLog, count: int, name: str = "run") -> list[EventId]:
    run = log.write(*(recording_create(create_body(f"{name}-{number}")) for number in range(count)))
    await site.store.append(log.certificate, run)
    await site.materializer.reached(site.store.position)
    return [event.id for event in run.events]


async def state(site: ViewsSite) -> tuple[bytes, bytes]:
    return encode(await site.views.export(GROUP)), (await site.views.group_state(GROUP)).state_digest


async def test_what_is_stored_can_be_read_once_it_is_reached(tmp_path: Path) -> None:
    async with running_views(tmp_path) as site:
        touched: list[frozenset[tuple[GroupId, EventId]]] = []
        site.materializer.subscribe(lambda recordings: touched.append(frozenset(recordings)))
        ids = await store_recordings(site, SampleLog("alice"), 3)
        assert {view.recording for view in await site.views.recordings([GROUP])} == set(ids)
        assert touched == [{(GROUP, each) for each in ids}]
        found = await site.views.group_state(GROUP)
        assert (found.events, found.poison) == (3, 0)
        assert found.state_digest == digest_of_export(await site.views.export(GROUP))


async def test_listeners_hear_of_every_recording_while_many_pages_are_projected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PAGE_EVENTS_MAX", 10)
    async with running_views(tmp_path) as site:
        touched: list[frozenset[tuple[GroupId, EventId]]] = []
        quiet = asyncio.Event()

        def hear(recordings: AbstractSet[tuple[GroupId, EventId]]) -> None:
            touched.append(frozenset(recordings))
            if sum(map(len, touched)) == 750:
                quiet.set()

        site.materializer.subscribe(hear)
        log = SampleLog("alice")
        runs = [log.write(*(recording_create(create_body("run")) for _ in range(250))) for _ in range(3)]
        await asyncio.gather(*(site.store.append(log.certificate, run) for run in runs))
        await site.materializer.reached(site.store.position)
        async with asyncio.timeout(DEADLINE_S):
            await quiet.wait()
        assert frozenset[object]().union(*touched) == {(GROUP, event.id) for run in runs for event in run.events}
        assert len(touched) < 15, "listeners hear of each page by itself"


async def test_listeners_hear_of_many_recordings_before_all_is_projected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered for them has a limit."""
    monkeypatch.setattr(runner, "PAGE_EVENTS_MAX", 10)
    monkeypatch.setattr(telling, "UNTOLD_MAX", 100)
    async with running_views(tmp_path) as site:
        touched: list[int] = []
        site.materializer.subscribe(lambda recordings: touched.append(len(recordings)))
        await store_recordings(site, SampleLog("alice"), 250)
        assert touched[:2] == [100, 100]


async def test_listeners_hear_while_more_and_more_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only once it is quiet, which may be never."""
    monkeypatch.setattr(telling, "TOLD_AT_ONCE_MAX", 0)
    monkeypatch.setattr(telling, "QUIET_S", 3600.0)
    monkeypatch.setattr(telling, "TELL_AFTER_S", 0.1)
    async with running_views(tmp_path) as site:
        touched: list[frozenset[tuple[GroupId, EventId]]] = []
        site.materializer.subscribe(lambda recordings: touched.append(frozenset(recordings)))
        log = SampleLog("alice")
        async with asyncio.timeout(DEADLINE_S):
            while not touched:
                await store_recordings(site, log, 1)
        assert touched[0]


async def test_many_pages_are_projected_once_each(tmp_path: Path) -> None:
    async with running_views(tmp_path) as site:
        log = SampleLog("alice")
        for _ in range(12):
            run = log.write(*(recording_create(create_body("run")) for _ in range(200)))
            await site.store.append(log.certificate, run)
        await site.materializer.reached(site.store.position)
        assert (await site.views.group_state(GROUP)).events == 2400
        assert len(await site.views.recordings([GROUP])) == 2400


async def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    log = SampleLog("alice")
    async with running_views(tmp_path) as site:
        await store_recordings(site, log, 3)
        before = await state(site)
    async with running_views(tmp_path) as site:
        assert site.database.transactions == 0, "nothing is projected again"
        assert await state(site) == before
        await store_recordings(site, log, 1, "later")
        assert len(await site.views.recordings([GROUP])) == 4


async def test_deleted_views_come_back_the_same(tmp_path: Path) -> None:
    async with running_views(tmp_path) as site:
        await store_recordings(site, SampleLog("alice"), 5)
        before = await state(site)
    remove_database(tmp_path / VIEWS)
    async with running_views(tmp_path) as site:
        assert await state(site) == before


@pytest.mark.parametrize(
    "damage", ["UPDATE progress SET event_id = x'00'", "UPDATE progress SET version = 0", "UPDATE progress SET position = 99999"]
)
async def test_views_that_do_not_fit_the_log_are_computed_anew(tmp_path: Path, damage: str) -> None:
    """Another log, another version of the projections, or a log that was restored from a backup."""
    async with running_views(tmp_path) as site:
        await store_recordings(site, SampleLog("alice"), 5)
        before = await state(site)
    with sqlite3.connect(tmp_path / VIEWS) as connection:
        connection.execute(damage)
        connection.execute("UPDATE recordings SET machine = 'wrong'")
    connection.close()
    async with running_views(tmp_path) as site:
        assert await state(site) == before
        assert (await site.views.group_state(GROUP)).events == 5


async def test_views_of_the_first_schema_are_computed_anew(tmp_path: Path) -> None:
    async with running_views(tmp_path) as site:
        await store_recordings(site, SampleLog("alice"), 5)
        before = await state(site)
        position = site.store.position
    remove_database(tmp_path / VIEWS)
    with sqlite3.connect(tmp_path / VIEWS) as connection:
        connection.executescript((SCHEMAS / "views" / "0001_views.sql").read_text())
        connection.execute("PRAGMA user_version = 1")
        connection.execute("INSERT INTO progress VALUES (1, 1, ?, x'00')", (position,))
        connection.execute("INSERT INTO groups VALUES (1, ?, 17)", (GROUP,))
    connection.close()
    async with running_views(tmp_path) as site:
        assert await state(site) == before
        assert (await site.views.group_state(GROUP)).events == 5


async def test_rebuild_gives_the_same_while_the_peer_runs(tmp_path: Path) -> None:
    async with running_views(tmp_path) as site:
        await store_recordings(site, SampleLog("alice"), 5)
        before = await state(site)
        await site.database.transaction(lambda connection: connection.execute("UPDATE recordings SET machine = 'wrong'"))
        assert (await state(site))[0] != before[0]
        await site.materializer.rebuild()
        assert await state(site) == before


async def test_a_member_that_is_appointed_later_has_its_recordings_shown(tmp_path: Path) -> None:
    async with running_views(tmp_path) as site:
        ids = await store_recordings(site, SampleLog("bob"), 2)
        assert not await site.views.recordings([GROUP])
        everything: list[bool] = []
        site.materializer.subscribe(lambda recordings: everything.append(not recordings))
        control = SampleLog("alice", kind=LogKind.CONTROL)
        await site.store.append(control.certificate, control.write(member_set(key_pair("bob").peer_id, "bob", Role.WRITER)))
        await site.materializer.reached(site.store.position)
        assert {view.recording for view in await site.views.recordings([GROUP])} == set(ids)
        assert everything == [True]


async def test_tags_and_blobs_of_a_recording_can_be_asked_for(tmp_path: Path) -> None:
    async with running_views(tmp_path) as site:
        log = SampleLog("alice")
        (recording,) = await store_recordings(site, log, 1)
        await site.store.append(log.certificate, log.write(recording_tag(recording, "good", present=True)))
        await site.materializer.reached(site.store.position)
        view = await site.views.recording(GROUP, recording)
        assert view is not None
        assert (view.tags, view.finalized, view.manifest_id) == (["good"], False, None)
        assert await site.views.wanted_blobs(GROUP) == []
        assert await site.views.recording(GROUP, EventId(bytes(32))) is None
        assert (await site.views.group_state(GroupId(bytes(32)))).events == 0


async def test_whoever_waits_hears_when_the_materializer_stops(tmp_path: Path) -> None:
    async with running_views(tmp_path) as site:
        await store_recordings(site, SampleLog("alice"), 1)
        waiting = asyncio.create_task(site.materializer.reached(1000))
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(RuntimeError):
        await site.materializer.reached(1000)


async def decide(site: ViewsSite, log: SampleLog, draft: Draft) -> EventId:
    """Let a control event be stored and take effect."""
    run = log.write(draft)
    await site.store.append(log.certificate, run)
    await site.materializer.reached(site.store.position)
    return run.last.id


def names(views: Sequence[RecordingView]) -> list[str]:
    return sorted(view.name for view in views)


async def test_a_cut_keeps_what_is_under_it_and_hides_what_is_not(tmp_path: Path) -> None:
    """The manifest of what bob finalized before he was demoted stands; what he finalizes on the old log afterwards does not count."""
    async with running_views(tmp_path) as site:
        control, log, bob = SampleLog("alice", kind=LogKind.CONTROL), SampleLog("bob"), key_pair("bob").peer_id
        added = await decide(site, control, member_set(bob, "bob", Role.WRITER))
        story = Story()
        story.logs["bob"] = log
        first, second = story.create("bob", "first"), story.create("bob", "second")
        chunks = [story.add_chunk("bob", first), story.add_chunk("bob", second)]
        kept = story.finalize("bob", first, chunks[:1])
        story.finalize("bob", second, chunks[1:])
        for run in sign_all(log, story):
            await site.store.append(log.certificate, run)
        await site.materializer.reached(site.store.position)
        both = await site.views.recordings([GROUP])
        assert all(view.manifest_id for view in both)
        cut = member_set(bob, "bob", Role.READER, replaces=[added], cut=[Point(log.certificate.log, kept.height, kept.id)])
        demoted = await decide(site, control, cut)
        after = {view.name: view for view in await site.views.recordings([GROUP])}
        assert {name: view.manifest_id for name, view in after.items()} == {
            "first": next(view.manifest_id for view in both if view.name == "first"),
            "second": None,
        }
        await decide(site, control, member_set(bob, "bob", Role.WRITER, replaces=[demoted]))
        assert await site.views.recordings([GROUP]) == both


async def test_a_voided_recording_is_gone_until_its_admin_is_one_no_more(tmp_path: Path) -> None:
    async with running_views(tmp_path) as site:
        ids = await store_recordings(site, SampleLog("alice"), 3)
        control, carols = SampleLog("alice", kind=LogKind.CONTROL), SampleLog("carol", kind=LogKind.CONTROL)
        carol = key_pair("carol").peer_id
        added = await decide(site, control, member_set(carol, "carol", Role.ADMIN))
        before = await state(site)
        await decide(site, carols, event_void(ids[1]))
        assert names(await site.views.recordings([GROUP])) == ["run-0", "run-2"]
        await decide(site, control, member_set(carol, "carol", Role.NONE, replaces=[added]))
        assert await state(site) == before


@pytest.mark.parametrize("damage", ["", "UPDATE groups SET judgement = x''", "UPDATE groups SET judgement = x'01'"])
async def test_after_a_start_everything_is_judged_again_unless_it_was_judged_by_the_same(tmp_path: Path, damage: str) -> None:
    """As after a crash in the middle of judging: some rows have their new roles, some have not."""
    async with running_views(tmp_path) as site:
        await store_recordings(site, SampleLog("alice"), 5)
        before = await state(site)
    with sqlite3.connect(tmp_path / VIEWS) as connection:
        connection.execute("UPDATE recordings SET role = 0 WHERE recording_no % 2")
        connection.execute(damage or "SELECT 1")
    connection.close()
    async with running_views(tmp_path) as site:
        await site.materializer.reached(site.store.position)
        await store_recordings(site, SampleLog("alice", label="later"), 1, "later")
        roles = await site.database.fetch("SELECT role FROM recordings")
        assert len({role for (role,) in roles}) == (1 if damage else 2)
        assert damage or (await state(site)) != before


def sign_all(log: SampleLog, story: Story) -> list[Run]:
    """The events of a story as runs of one event each."""
    return [sign_run(log.key, [stored.event]) for stored in story.events]
