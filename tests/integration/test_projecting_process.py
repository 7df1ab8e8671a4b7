"""The process that projects for a peer, for itself: what it loads, what it holds, and what does not end it."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from materializer.apart import WorkerFailedError
from materializer.writing import START, Cursor, EventPage
from peer.core.identity import EventId
from peer.store.database import open_database
from peer.wiring import projecting
from peer.wiring.projecting import ProjectingProcess
from tests.patience import PATIENCE_S

PAGE = EventPage(START, Cursor(START.version, 1, EventId(b"1" * 32)), {}, [])
HANGING = """
import pathlib, signal, sys
from peer.store.database import connect_for_writing
from peer.wiring.projecting import GREETING, _receive, _send
connection = connect_for_writing(pathlib.Path(sys.argv[1]))
_send(1, GREETING)
_receive(0)
connection.execute("BEGIN IMMEDIATE")
sys.stderr.write("hangs")
sys.stderr.flush()
signal.pause()
"""
"""It hangs in the middle of a page."""


async def test_it_loads_nothing_from_the_folder_in_which_the_peer_was_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else may write there."""
    foreign = tmp_path / "foreign"
    (foreign / "materializer").mkdir(parents=True)
    for name in ("psutil.py", "aiosqlite.py", "materializer/__init__.py"):
        (foreign / name).write_text(f"open({str(tmp_path / 'loaded')!r}, 'w').close()\n")
    monkeypatch.chdir(foreign)
    async with await open_database(tmp_path / "views.db", "views"):
        begun = await ProjectingProcess.start(tmp_path / "views.db")
        await begun.end()
    assert begun.process.returncode == 0
    assert not (tmp_path / "loaded").exists()


async def test_who_else_writes_to_the_file_outlasts_one_that_hangs_in_the_middle_of_a_page(tmp_path: Path) -> None:
    path = tmp_path / "views.db"
    async with await open_database(path, "views") as database:
        process = subprocess.Popen(  # noqa: ASYNC220  (it takes no time)
            [sys.executable, "-c", HANGING, str(path)], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        hanging = ProjectingProcess(process)
        await hanging._received(PATIENCE_S)
        given = asyncio.create_task(hanging.project(PAGE, anew=True))
        assert process.stderr is not None
        assert await asyncio.to_thread(process.stderr.read, 5) == b"hangs"
        await database.transaction(lambda connection: connection.execute("DELETE FROM progress").fetchall())
        with pytest.raises(WorkerFailedError, match="does not answer"):
            await given
        await hanging.end()
        process.stderr.close()


async def test_a_key_pressed_at_the_terminal_is_for_the_peer_alone(tmp_path: Path) -> None:
    """From its first moment on, before it could ignore anything."""
    async with await open_database(tmp_path / "views.db", "views"):
        begun = await ProjectingProcess.start(tmp_path / "views.db")
        assert os.getpgid(begun.process.pid) != os.getpgid(0)
        for number in (signal.SIGINT, signal.SIGTERM):
            begun.process.send_signal(number)
        await begun.end()
    assert begun.process.returncode == 0


async def test_pipes_that_may_not_be_large_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each user may have so many large ones, and no descriptor stays open where they may not."""
    monkeypatch.setattr(projecting, "PIPE_BYTES", 2**31 - 1)  # More than anybody may have.
    async with await open_database(tmp_path / "views.db", "views"):
        before = psutil.Process().num_fds()
        begun = await ProjectingProcess.start(tmp_path / "views.db")
        await begun.end()
        assert psutil.Process().num_fds() == before
    assert begun.process.returncode == 0


def test_there_is_one_where_the_system_tells_only_how_many_cores_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    for cores, is_there in ((1, False), (2, True), (None, False)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        assert (projecting.projecting_apart(print) is not None) is is_there
