"""A process of its own projects while very many events come. Whatever happens to it, the views are what the log says."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest

from materializer import apart, runner
from materializer.apart import Apart, WorkerFailedError
from materializer.edits import recording_tag
from materializer.events import projected_events
from materializer.writing import START, Cursor, EventPage, Touched
from peer.core.interfaces import StoredEvent
from peer.errors import DiskFullError
from peer.store.database import open_database
from peer.store.events import SqliteEventStore
from peer.wiring import projecting
from peer.wiring.projecting import ProjectingProcess
from tests.integration.test_materializer import state, store_recordings
from tests.integration.views_site import ViewsSite, running_views
from tests.patience import PATIENCE_S
from tests.samples import GROUP, SampleLog

ROOT = Path(__file__).parents[2]
MANY = 48
PAGE = 16
"""Events."""
LONELY = """
import asyncio, pathlib, sys
from peer.wiring.projecting import ProjectingProcess
begun = asyncio.run(ProjectingProcess.start(pathlib.Path(sys.argv[1])))
print(begun.process.pid, flush=True)
sys.stdin.read()
"""
"""A peer that begins one and is killed."""


class Counted(ProjectingProcess):
    """One that counts the pages that it wrote."""

    pages = 0

    async def project(self, page: EventPage, *, anew: bool) -> Touched:
        touched = await super().project(page, anew=anew)
        self.pages += 1
        return touched


class Beginning:
    """Begins other processes, and remembers them."""

    def __init__(self) -> None:
        self.begun: list[Counted] = []
        self.said: list[str] = []
        self.once = asyncio.Event()

    def apart(self, path: Path) -> Apart:
        return Apart(path, self.start, self.said.append, many=MANY)

    async def start(self, path: Path) -> Counted:
        self.begun.append(await Counted.start(path))
        self.once.set()
        return self.begun[-1]

    @property
    def pages(self) -> int:
        return sum(each.pages for each in self.begun)

    @property
    def last(self) -> subprocess.Popen[bytes]:
        return self.begun[-1].process


@pytest.fixture
async def beginning(monkeypatch: pytest.MonkeyPatch) -> Beginning:
    """Of processes that nothing ends but what a test does to them, and that are begun however slow this machine is."""
    monkeypatch.setattr(runner, "PAGE_EVENTS_MAX", PAGE)
    monkeypatch.setattr(apart, "REST_S", PATIENCE_S)
    monkeypatch.setattr(apart, "KEPT_S", PATIENCE_S)
    return Beginning()


@asynccontextmanager
async def helped(root: Path, beginning: Beginning) -> AsyncIterator[tuple[ViewsSite, SampleLog]]:
    """A site for which another process has begun to project."""
    log = SampleLog("alice")
    async with running_views(root, apart=beginning.apart) as site:
        await store_recordings(site, log, MANY, "first")
        async with asyncio.timeout(PATIENCE_S):
            await beginning.once.wait()
        yield site, log


async def write(site: ViewsSite, log: SampleLog, name: str = "then") -> None:
    """Several pages, about recordings that are new and about those that are there."""
    recordings = await store_recordings(site, log, 2 * PAGE, name)
    early = [view.recording for view in await site.views.recordings([GROUP]) if view.recording not in recordings][:PAGE]
    run = log.write(*(recording_tag(each, f"{name}-{number}", present=True) for each in (*recordings, *early) for number in range(2)))
    await site.store.append(log.certificate, run)
    await site.materializer.reached(site.store.position)


async def check(site: ViewsSite) -> None:
    """The views are what they would be if they were computed from nothing by one process."""
    found = await state(site)
    await site.materializer.rebuild()
    assert await state(site) == found


async def gone(process: subprocess.Popen[bytes]) -> None:
    await asyncio.to_thread(process.wait, PATIENCE_S)


async def test_another_process_projects_while_very_many_events_come(tmp_path: Path, beginning: Beginning) -> None:
    heard = set[object]()
    async with helped(tmp_path, beginning) as (site, log):
        site.materializer.subscribe(heard.update)
        await write(site, log)
        assert beginning.begun[0].pages >= 4
        heard_of = {recording for _, recording in heard}  # type: ignore[misc, attr-defined]
        assert {view.recording for view in await site.views.recordings([GROUP]) if view.tags} <= heard_of
        await check(site)

    assert beginning.said == []
    assert [each.process.poll() for each in beginning.begun] == [0] * len(beginning.begun), "they end with the peer, by themselves"


@pytest.mark.parametrize("point", ["apart.before_commit", "apart.after_commit"])
@pytest.mark.parametrize("passage", [1, 3])
async def test_one_that_is_killed_at_a_commit_takes_nothing_along(
    tmp_path: Path, beginning: Beginning, monkeypatch: pytest.MonkeyPatch, point: str, passage: int
) -> None:
    """Neither is a page missing then, nor is one there twice."""
    hits = tmp_path / "hits"
    monkeypatch.setenv("RECMESH_FAILPOINT", f"{point}:{passage}")
    monkeypatch.setenv("RECMESH_FAILPOINT_FILE", str(hits))
    async with helped(tmp_path / "site", beginning) as (site, log):
        await write(site, log)
        assert beginning.last.poll() == -signal.SIGKILL
        assert hits.read_text().split() == [point]
        assert beginning.said == ["another process that wrote projections is gone"]
        await write(site, log, "later")
        await check(site)

    assert len(beginning.begun) == 1, "it is not tried again at once"


async def test_one_that_died_while_it_had_nothing_to_do_is_missed_by_nobody(tmp_path: Path, beginning: Beginning) -> None:
    async with helped(tmp_path, beginning) as (site, log):
        beginning.last.kill()
        await gone(beginning.last)
        await write(site, log)
        assert len(beginning.said) == 1
        await check(site)


async def test_one_that_does_not_answer_is_not_waited_for(tmp_path: Path, beginning: Beginning, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projecting, "ANSWER_TIMEOUT_S", 5.0)
    monkeypatch.setattr(projecting, "END_TIMEOUT_S", 0.1)
    async with helped(tmp_path, beginning) as (site, log):
        await write(site, log)
        beginning.last.send_signal(signal.SIGSTOP)
        await write(site, log, "later")
        assert beginning.last.poll() == -signal.SIGKILL
        await check(site)


async def test_one_that_has_nothing_to_do_is_ended_and_begun_again_when_much_comes(
    tmp_path: Path, beginning: Beginning, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with helped(tmp_path, beginning) as (site, log):
        monkeypatch.setattr(apart, "KEPT_S", 0.01)
        await write(site, log)
        await gone(beginning.last)
        monkeypatch.setattr(apart, "KEPT_S", PATIENCE_S)
        beginning.once.clear()
        await write(site, log, "later")
        async with asyncio.timeout(PATIENCE_S):
            await beginning.once.wait()
        await check(site)

    assert beginning.said == []


async def test_a_peer_that_ends_right_after_it_began_one_leaves_none_behind(tmp_path: Path, beginning: Beginning) -> None:
    before = psutil.Process().children()  # Whatever other tests began in this worker.
    async with running_views(tmp_path, apart=beginning.apart) as site:
        await store_recordings(site, SampleLog("alice"), MANY)

    assert [each for each in psutil.Process().children() if each not in before] == []


async def test_one_whose_peer_is_killed_ends(tmp_path: Path) -> None:
    async with await open_database(tmp_path / "views.db", "views"):
        with subprocess.Popen(  # noqa: ASYNC220  (it takes no time)
            [sys.executable, "-c", LONELY, str(tmp_path / "views.db")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        ) as peer:
            assert peer.stdout is not None
            its = psutil.Process(int(await asyncio.to_thread(peer.stdout.readline)))
            peer.kill()
        await asyncio.to_thread(psutil.wait_procs, [its], PATIENCE_S)
        assert not its.is_running() or its.status() == psutil.STATUS_ZOMBIE


async def test_a_page_that_does_not_follow_what_is_there_is_not_written(tmp_path: Path, beginning: Beginning) -> None:
    """As from a peer that was killed and begun again, while that of the former peer still had a page."""
    async with helped(tmp_path, beginning) as (site, _log):
        late = await ProjectingProcess.start(site.database.path)
        events = await site.store.events_after(0, PAGE)
        judged = {GROUP: site.store.replica.groups[GROUP].judgement.digest}
        page = EventPage(START, Cursor(START.version, events[-1].position, events[-1].event.id), judged, projected_events(events))
        with pytest.raises(WorkerFailedError):
            await late.project(page, anew=False)
        await late.end()
        await check(site)


async def test_nothing_is_written_to_rows_that_were_judged_otherwise_meanwhile(tmp_path: Path, beginning: Beginning) -> None:
    async with helped(tmp_path, beginning) as (site, log):
        here = site.materializer.position
        late = await ProjectingProcess.start(site.database.path)
        (last,) = await site.store.events_after(here - 1, 1)
        before = Cursor(START.version, here, last.event.id)
        page = EventPage(before, before._replace(position=here + 1), {GROUP: b"of others"}, projected_events([last]))
        with pytest.raises(WorkerFailedError):
            await late.project(page, anew=False)
        await late.end()
        await write(site, log)
        await check(site)


async def test_a_peer_goes_on_from_where_somebody_else_has_come(tmp_path: Path) -> None:
    """What the process of a peer before it still wrote is not projected twice."""
    log, everything = SampleLog("alice"), list[frozenset[object]]()
    async with running_views(tmp_path) as site:
        site.materializer.subscribe(lambda recordings: everything.append(frozenset(recordings)))
        await store_recordings(site, log, 3)
        here = site.materializer.position
        materializer = site.materializer._current
        materializer._cursor = (await first(site, here - 1, materializer._cursor.version)) if here > 1 else START
        await store_recordings(site, log, 3, "later")
        assert frozenset() in everything, "whoever listens looks at everything"
        await check(site)


async def first(site: ViewsSite, position: int, version: int) -> Cursor:
    """The place in the log after so many events."""
    (stored,) = await site.store.events_after(position - 1, 1)
    return Cursor(version, stored.position, stored.event.id)


async def test_trouble_of_the_peer_while_another_process_writes_costs_nothing(
    tmp_path: Path, beginning: Beginning, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is a page missing then, nor is what that process still answers taken for something else."""
    monkeypatch.setattr(runner, "LOOK_FOR_ROOM_S", 0.0)
    read, troubles = SqliteEventStore.events_after, ["no room to read"]

    async def fail_once(store: SqliteEventStore, position: int, count_max: int) -> Sequence[StoredEvent]:
        if troubles and beginning.pages:
            raise DiskFullError(troubles.pop())
        return await read(store, position, count_max)

    async with helped(tmp_path, beginning) as (site, log):
        monkeypatch.setattr(SqliteEventStore, "events_after", fail_once)
        with suppress(DiskFullError):
            await write(site, log)
        await until_read(site)
        assert not troubles, "they came"
        assert beginning.begun[0].process.poll() == 0, "what it may still answer is not read"
        await write(site, log, "later")
        await check(site)


async def until_read(site: ViewsSite) -> None:
    """All that is in the log can be read in the views."""
    async with asyncio.timeout(PATIENCE_S):
        while site.materializer.position < site.store.position:
            with suppress(DiskFullError):
                await site.materializer.reached(site.store.position)


async def test_views_that_are_deleted_come_back_while_another_process_writes_to_them(tmp_path: Path, beginning: Beginning) -> None:
    async with helped(tmp_path, beginning) as (site, log):
        for name in ("views.db", "views.db-wal", "views.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        await write(site, log)
        async with asyncio.timeout(PATIENCE_S):
            while not site.database.is_in_place:  # noqa: ASYNC110  (a file has no event)
                await asyncio.sleep(0.01)
        await write(site, log, "later")
        await check(site)


def test_there_is_none_where_it_would_have_no_core_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    begins: Callable[[Path], Apart] | None
    for cores, is_there in (({0}, False), ({0, 1}, True)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid, cores=cores: cores)
        begins = projecting.projecting_apart(print)
        assert (begins is not None) is is_there
