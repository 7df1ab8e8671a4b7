"""Waits that end. What takes too long says where it stands, and the test fails: one that hangs tells nobody anything."""

import asyncio
import contextlib
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator
from typing import Any

PATIENCE_S = 60.0
"""Far more than anything needs, on a machine that does much else as well."""


@contextlib.contextmanager
def mortal(process: "subprocess.Popen[Any]", seconds: float = PATIENCE_S) -> Iterator[None]:
    """Abort `process` if the block takes longer: what is read from it ends then. With PYTHONFAULTHANDLER it says where it was."""
    timer = threading.Timer(seconds, process.send_signal, [signal.SIGABRT])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def status_of(process: "subprocess.Popen[Any]", seconds: float = PATIENCE_S) -> int:
    """How `process` ends. One that does not is aborted: that is no status that a test expects."""
    with mortal(process, seconds):
        return process.wait(timeout=2 * seconds)


async def ended(task: "asyncio.Task[Any]", what: str, seconds: float = PATIENCE_S) -> None:
    """Wait for the end of `task`, and raise what it raises."""
    done, _ = await asyncio.wait([task], timeout=seconds)
    if not done:
        raise AssertionError(f"{what} does not end:\n{shown(asyncio.all_tasks())}")
    await task


def shown(tasks: Iterable["asyncio.Task[Any]"]) -> str:
    """What each task waits for, from the outermost coroutine to the innermost."""
    return "\n".join(f"{task.get_name()}: {' > '.join(_places(task))}" for task in tasks if not task.done())


def _places(task: "asyncio.Task[Any]") -> Iterator[str]:
    waiting: Any = task.get_coro()
    while waiting is not None:
        kind = next((each for each in ("cr", "gi", "ag") if hasattr(waiting, f"{each}_frame")), None)
        if kind is None:
            yield repr(waiting)
            return
        frame = getattr(waiting, f"{kind}_frame")
        if frame is not None:
            yield f"{waiting.__qualname__}:{frame.f_lineno}"
        waiting = getattr(waiting, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
