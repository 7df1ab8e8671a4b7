"""Views are computed anew beside the present ones, which answer meanwhile; and they come back whatever happens to their file."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from materializer import side_by_side
from materializer.digest import PROJECTION_VERSION
from materializer.digest_parts import read_summary
from materializer.runner import Materializer
from peer.core.encoding import encode
from peer.core.identity import EventId
from peer.errors import DiskFullError
from peer.store.database import SCHEMAS, remove_database
from peer.store.views_files import ViewsFiles
from tests.integration.test_materializer import state, store_recordings
from tests.integration.views_site import ViewsSite, running_views
from tests.patience import PATIENCE_S
from tests.samples import GROUP, SampleLog

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0
VIEWS = "views.db"
FILES = ("views.db", "views.db-wal", "views.db-shm")


class Held:
    """Keeps views that were computed anew from being taken, or from being begun, until it is let go."""

    def __init__(self, patch: pytest.MonkeyPatch, name: str = "swap") -> None:
        self.reached = asyncio.Event()
        self.let_go = asyncio.Event()
        step = getattr(ViewsFiles, name)

        async def wait(files: ViewsFiles) -> object:
            self.reached.set()
            await self.let_go.wait()
            return await step(files)

        patch.setattr(ViewsFiles, name, wait)

    async def __aenter__(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            await self.reached.wait()

    async def __aexit__(self, *_: object) -> None:
        self.let_go.set()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  (files change without telling anybody)
            await asyncio.sleep(0.01)


def spoil(root: Path, version: int = PROJECTION_VERSION) -> None:
    """Let the views say something that the log does not, by rules of this version."""
    with closing(sqlite3.connect(root / VIEWS, isolation_level=None)) as connection:
        connection.execute("UPDATE recordings SET machine = 'wrong'")
        connection.execute("UPDATE progress SET version = ?", (version,))


async def machines(site: ViewsSite) -> set[str]:
    return {view.machine for view in await site.views.recordings([GROUP])}


async def test_the_present_views_answer_and_follow_while_others_are_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = SampleLog("alice")
    async with running_views(tmp_path) as site:
        await store_recordings(site, log, 5)
        before = await state(site)
        spoil(tmp_path)
        assert site.materializer.rebuilding is None
        held = Held(monkeypatch, "begin_next")
        computing = asyncio.create_task(site.materializer.rebuild())
        async with held:
            assert await machines(site) == {"wrong"}
            ids = await store_recordings(site, log, 2, "meanwhile")
            assert {view.recording for view in await site.views.recordings([GROUP])} >= set(ids), "what is written meanwhile can be read at once"
        async with asyncio.timeout(DEADLINE_S):
            await computing
        assert "wrong" not in await machines(site)
        assert len(await site.views.recordings([GROUP])) == 7
        assert site.materializer.rebuilding is None
        assert not (tmp_path / "views.db.new").exists()
        assert await state(site) != before
        after = await state(site)
    async with running_views(tmp_path) as site:
        assert site.database.transactions == 0, "what was computed is kept"
        assert await state(site) == after


async def test_it_is_told_how_far_the_new_views_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_views(tmp_path) as site:
        await store_recordings(site, SampleLog("alice"), 5)
        held = Held(monkeypatch)
        computing = asyncio.create_task(site.materializer.rebuild())
        async with held:
            assert site.materializer.rebuilding == (5, 5)
        await computing


async def test_who_waits_for_an_event_while_views_change_places_sees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = SampleLog("alice")
    async with running_views(tmp_path) as site:
        await store_recordings(site, log, 3)
        held = Held(monkeypatch)
        computing = asyncio.create_task(site.materializer.rebuild())
        async with held:
            storing = asyncio.create_task(store_recordings(site, log, 1, "late"))
            await until(lambda: site.store.position == 4)
        async with asyncio.timeout(DEADLINE_S):
            (late,) = await storing
            await computing
        assert await site.views.recording(GROUP, late) is not None


async def test_what_came_last_is_in_the_new_views_when_they_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could be read once can be read from then on."""
    log = SampleLog("alice")
    async with running_views(tmp_path) as site:
        await store_recordings(site, log, 3)
        late: list[EventId] = []
        catch_up = Materializer.catch_up

        async def slow(materializer: Materializer) -> None:
            """After the new views have caught up first, something comes that the present ones show."""
            await catch_up(materializer)
            if site.materializer.rebuilding is not None and not late:
                late.append(EventId(bytes(32)))
                late[:] = await store_recordings(site, log, 1, "late")

        monkeypatch.setattr(Materializer, "catch_up", slow)
        begun = ViewsFiles.swap

        async def look_at_once(files: ViewsFiles) -> None:
            await begun(files)
            assert len(await site.views.recordings([GROUP])) == 4

        monkeypatch.setattr(ViewsFiles, "swap", look_at_once)
        async with asyncio.timeout(DEADLINE_S):
            await site.materializer.rebuild()
        assert await site.views.recording(GROUP, *late) is not None


async def test_everybody_is_told_to_look_again_when_views_were_computed_anew(tmp_path: Path) -> None:
    async with running_views(tmp_path) as site:
        await store_recordings(site, SampleLog("alice"), 3)
        told: list[object] = []
        site.materializer.subscribe(lambda recordings: told.append(set(recordings)))
        await site.materializer.rebuild()
        assert told == [set()]


@pytest.mark.parametrize("step", ["begin_next", "swap"])
async def test_views_of_other_rules_answer_until_new_ones_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    log = SampleLog("alice")
    async with running_views(tmp_path) as site:
        await store_recordings(site, log, 5)
        right = await state(site)
    spoil(tmp_path, version=PROJECTION_VERSION - 1)
    held = Held(monkeypatch, step)
    async with running_views(tmp_path, old_may_answer=True) as site:
        async with held:
            assert await machines(site) == {"wrong"}
            assert (await site.database.read(lambda connection: read_summary(connection, GROUP))).version == PROJECTION_VERSION - 1
            assert not site.materializer.follows
            storing = asyncio.create_task(store_recordings(site, log, 1, "late"))
            await until(lambda: site.store.position == 6)
            assert not storing.done()
        async with asyncio.timeout(DEADLINE_S):
            (late,) = await storing
        assert site.materializer.follows
        assert "wrong" not in await machines(site)
        assert await site.views.recording(GROUP, late) is not None
        assert (await state(site))[0] != right[0]
    spoil(tmp_path, version=PROJECTION_VERSION - 1)
    async with running_views(tmp_path) as site:
        assert "wrong" not in await machines(site), "a command without a running peer waits for the new ones"


async def test_views_with_tables_of_an_older_schema_do_not_answer(tmp_path: Path) -> None:
    """Its migration empties some of them: what is left says less than the log, so the peer is ready only when all is computed."""
    async with running_views(tmp_path) as site:
        await store_recordings(site, SampleLog("alice"), 5)
        before = await state(site)
        position = site.store.position
        (last,) = await site.store.events_after(position - 1, 1)
    remove_database(tmp_path / VIEWS)
    with closing(sqlite3.connect(tmp_path / VIEWS)) as connection:
        first, second = sorted((SCHEMAS / "views").iterdir())[:2]
        connection.executescript(first.read_text() + second.read_text())
        connection.execute("PRAGMA user_version = 2")
        connection.execute("INSERT INTO progress VALUES (1, 2, ?, ?)", (position, last.event.id))
        connection.commit()
    async with running_views(tmp_path, old_may_answer=True) as site:
        assert site.materializer.follows
        assert await state(site) == before


@pytest.mark.parametrize("step", ["begin_next", "swap"])
async def test_a_disk_without_room_for_two_leaves_the_present_views_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    log = SampleLog("alice")
    async with running_views(tmp_path) as site:
        await store_recordings(site, log, 3)
        before = await state(site)

        async def fail(_: ViewsFiles) -> None:
            raise DiskFullError("no space left")

        with monkeypatch.context() as full:
            full.setattr(ViewsFiles, step, fail)
            with pytest.raises(DiskFullError):
                await site.materializer.rebuild()
        assert site.materializer.problem is not None
        assert site.materializer.rebuilding is None
        assert await state(site) == before
        assert not (tmp_path / "views.db.new").exists()
        async with asyncio.timeout(DEADLINE_S):
            await store_recordings(site, log, 1, "later")
        assert len(await site.views.recordings([GROUP])) == 4, "they go on to follow"
        await site.materializer.rebuild()
        assert site.materializer.problem is None


async def test_views_of_other_rules_go_on_to_answer_on_a_full_disk_and_are_computed_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_views(tmp_path) as site:
        await store_recordings(site, SampleLog("alice"), 3)
        before = await state(site)
    spoil(tmp_path, version=PROJECTION_VERSION - 1)
    swap, tries = ViewsFiles.swap, 0

    async def fail_first(files: ViewsFiles) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise DiskFullError("no space left")
        await swap(files)

    monkeypatch.setattr(ViewsFiles, "swap", fail_first)
    monkeypatch.setattr(side_by_side, "TRY_AGAIN_S", 2.0)
    async with running_views(tmp_path, old_may_answer=True) as site:
        await until(lambda: site.materializer.problem is not None)
        assert await machines(site) == {"wrong"}
        await until(lambda: site.materializer.follows)
        assert await state(site) == before
        assert tries == 2


def delete(*names: str) -> Callable[[Path], None]:
    def do(root: Path) -> None:
        for name in names:
            (root / name).unlink(missing_ok=True)

    return do


def replace(root: Path) -> None:
    """By another file, of something else."""
    (root / "other").write_bytes(b"garbage" * 1000)
    (root / "other").replace(root / VIEWS)


def restore(root: Path) -> None:
    """By a copy of itself, as a backup tool may do."""
    shutil.copyfile(root / VIEWS, root / "other")
    (root / "other").replace(root / VIEWS)


@pytest.mark.parametrize("harm", [delete(VIEWS), delete(*FILES), replace, restore], ids=["file", "all", "garbage", "copy"])
async def test_a_running_peer_notices_that_its_views_are_gone_and_computes_them_anew(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    log = SampleLog("alice")
    async with running_views(tmp_path) as site:
        await store_recordings(site, log, 5)
        before = await state(site)
        harm(tmp_path)
        assert not site.database.is_in_place
        assert await state(site) == before, "what is open answers meanwhile"
        await until(lambda: site.database.is_in_place)
        assert await state(site) == before
        await store_recordings(site, log, 1, "later")
        after = await state(site)
    with closing(sqlite3.connect(tmp_path / VIEWS)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    async with running_views(tmp_path) as site:
        assert site.database.transactions == 0
        assert await state(site) == after


@pytest.mark.parametrize("harm", [delete(VIEWS), delete(*FILES), delete(*(f"views.db.new{end}" for end in ("", "-wal", "-shm")))])
async def test_files_that_are_deleted_while_views_are_computed_anew_do_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], None]
) -> None:
    async with running_views(tmp_path) as site:
        await store_recordings(site, SampleLog("alice"), 5)
        before = await state(site)
        held = Held(monkeypatch)
        computing = asyncio.create_task(site.materializer.rebuild())
        async with held:
            harm(tmp_path)
        async with asyncio.timeout(DEADLINE_S):
            await computing
        await until(lambda: site.database.is_in_place)
        assert await state(site) == before
    async with running_views(tmp_path) as site:
        assert await state(site) == before


@pytest.mark.parametrize("names", [[VIEWS], list(FILES), ["views.db-wal"], ["views.db-shm"], ["views.db-wal", "views.db-shm"]])
async def test_views_that_were_deleted_after_a_crash_come_back_whatever_is_left_beside_them(tmp_path: Path, names: list[str]) -> None:
    log = SampleLog("alice")
    async with running_views(tmp_path / "running") as site:
        await store_recordings(site, log, 5)
        before = await state(site)
        shutil.copytree(tmp_path / "running", tmp_path / "crashed", ignore=shutil.ignore_patterns("lock"))
    for name in names:
        (tmp_path / "crashed" / name).unlink()
    async with running_views(tmp_path / "crashed") as site:
        assert await state(site) == before


REBUILDER = """
import asyncio, sys
from pathlib import Path
from tests.integration.test_views_side_by_side import rebuild_for_ever
asyncio.run(rebuild_for_ever(Path(sys.argv[1])))
"""


async def rebuild_for_ever(root: Path) -> None:
    """For a process that is to be killed."""
    async with running_views(root) as site:
        while True:
            await site.materializer.rebuild()
            (root / VIEWS).unlink()
            await until(lambda: site.database.is_in_place)


KILLS = [("rebuild.before_commit", 1), ("rebuild.before_commit", 3), ("rebuild.after_commit", 1), ("rebuild.after_commit", 4)]
KILLS += [("rebuild.before_swap", 1), ("rebuild.before_swap", 2), ("rebuild.after_swap", 1), ("rebuild.after_swap", 2)]


async def test_a_kill_at_any_moment_leaves_the_old_views_or_the_new_ones(tmp_path: Path) -> None:
    hits: Counter[str] = Counter()
    log = SampleLog("alice")
    async with running_views(tmp_path / "site") as site:
        for _ in range(3):
            await store_recordings(site, log, 20)
        before = await state(site)
    for point, passage in KILLS:
        record = tmp_path / "hits"
        record.unlink(missing_ok=True)
        failing = {"RECMESH_FAILPOINT": f"{point}:{passage}", "RECMESH_FAILPOINT_FILE": str(record), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", REBUILDER, str(tmp_path / "site")]
        died = await asyncio.to_thread(
            subprocess.run, command, env=os.environ | failing, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
        assert died.returncode == -signal.SIGKILL, died.stderr
        hits.update(record.read_text().split())
        async with running_views(tmp_path / "site") as site:
            assert not (tmp_path / "site" / "views.db.new").exists()
            assert await state(site) == before, f"{point}:{passage}"
            assert encode(await site.views.export(GROUP)) == before[0]
    assert hits == Counter(point for point, _ in KILLS)
