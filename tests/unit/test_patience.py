"""The waits of the other tests: what hangs is shown, and ends."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S, ended, mortal, status_of

SILENT = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('here', flush=True)\ntime.sleep(600)"
HANGING = """
import asyncio

async def inner():
    await asyncio.Event().wait()

async def test_it_hangs():
    await inner()
"""


async def test_a_task_that_does_not_end_is_shown_with_what_it_waits_for() -> None:
    async def inner() -> None:
        await asyncio.Event().wait()

    async def outer() -> None:
        await inner()

    task = asyncio.create_task(outer(), name="stuck")

    with pytest.raises(AssertionError, match=r"it does not end:\n(.*\n)*stuck: .*outer:\d+ > .*inner:\d+ > Event.wait:\d+"):
        await ended(task, "it", 0.05)
    task.cancel()


async def test_what_a_task_raises_is_raised() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ended(asyncio.create_task(fail()), "it")


def test_a_process_that_says_nothing_is_aborted() -> None:
    with subprocess.Popen([sys.executable, "-c", SILENT], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with mortal(process):
            assert process.stdout.readline() == "here\n"
        with mortal(process, 0.1):
            assert process.stdout.readline() == ""
        assert status_of(process) == -signal.SIGABRT


def test_a_process_that_does_not_end_is_aborted() -> None:
    with subprocess.Popen([sys.executable, "-c", SILENT], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with mortal(process):
            assert process.stdout.readline() == "here\n"
        process.terminate()
        assert status_of(process, 0.1) == -signal.SIGABRT


def test_a_test_that_hangs_ends_and_says_what_its_tasks_wait_for(tmp_path: Path) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGING)
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "pytest", "-c", str(root / "pyproject.toml"), "--rootdir", str(root), "-p", "tests.conftest"]
    limit = ("--timeout", "10", "--timeout-method", "thread")  # A tenth of it is left for looking for tasks, however busy the machine.
    done = subprocess.run([*command, *limit, str(tmp_path)], cwd=root, capture_output=True, text=True, check=False, timeout=2 * PATIENCE_S)

    assert done.returncode == 1, done.stdout + done.stderr
    assert "test_it_hangs:8 > inner:5 > Event.wait" in done.stdout + done.stderr
