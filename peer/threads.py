"""Work on files in threads, so that the event loop stays free. A cancelled caller waits until its thread has let go of the files.

So no thread works in a data directory that another process may have locked since. `asyncio.to_thread` is for what only reads.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(executor: Executor | None, work: Callable[[threading.Event], T]) -> T:
    """The result of `work`, which should look at the event it is given from time to time and raise when it is set."""
    stop = threading.Event()
    task = asyncio.get_running_loop().run_in_executor(executor, work, stop)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise


async def end_all(tasks: "Iterable[asyncio.Task[Any]]") -> None:
    """Cancel them and wait until they have let go of everything."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
