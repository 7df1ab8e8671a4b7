"""Projecting in a process of its own while very many events come: one interpreter cannot check, store and project them at the same time.

That process writes into `views.db` what it is given, page by page, and knows nothing else. It may be killed at any moment: a page is one transaction
together with the place in the log that it leads to, and whoever goes on reads that place first. Whatever goes wrong with it ends it, and the peer
projects by itself: it meets the same trouble then, if it is one of the file or the disk, and tells of it as always.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from materializer.writing import EventPage, Touched

MANY_EVENTS = 4096
"""Without a rest in between. Fewer are projected before another process has begun."""
REST_S = 1.0
"""So long no events come before they are counted from nothing again."""
KEPT_S = 5.0
"""So long another process waits for more of them before it is ended."""
NOT_AGAIN_S = 60.0
"""After trouble with one."""


class WorkerFailedError(Exception):
    """Another process did not do, as far as is known here, what it was asked."""


class Worker(Protocol):
    """Another process that projects into one file. It has failed for good once it raised `WorkerFailedError`."""

    async def project(self, page: EventPage, *, anew: bool) -> Touched:
        """Write this page in a transaction; `anew` if nothing of what it remembers of the rows counts any more."""
        ...

    async def end(self) -> None:
        """Let it finish, and return when it is no more."""
        ...


StartWorker = Callable[[Path], Coroutine[Any, Any, Worker]]
"""Begins one for the file at this path, which is there. Raises `WorkerFailedError`."""

Report = Callable[[str], None]
"""Is told why the peer goes on by itself."""


class Apart:
    """Decides when another process projects, and begins and ends it. For one file."""

    def __init__(self, path: Path, start: StartWorker, report: Report, many: int = MANY_EVENTS) -> None:
        """Nothing is begun yet."""
        self._path = path
        self._start = start
        self._report = report
        self._many = many
        self._worker: Worker | None = None
        self._starting: asyncio.Task[Worker] | None = None
        self._events = 0
        self._last_s = 0.0
        self._not_before_s = 0.0
        self._anew = True

    @property
    def is_begun(self) -> bool:
        """True while there is another process, or is about to be."""
        return self._worker is not None or self._starting is not None

    def forget(self) -> None:
        """Rows were changed in other ways than by pages that it was given."""
        self._anew = True

    def count(self, events: int) -> None:
        """So many were projected here. After very many another process is begun, while these go on."""
        now_s = time.monotonic()
        self._events = events if now_s > self._last_s + REST_S else self._events + events
        self._last_s = now_s
        if self._events >= self._many and not self.is_begun and now_s >= self._not_before_s:
            self._starting = asyncio.create_task(self._start(self._path))

    def is_ready(self) -> bool:
        """True if another process can be given pages. One that has begun meanwhile can, and one that could not begin is told of."""
        if self._starting is not None and self._starting.done():
            starting, self._starting = self._starting, None
            try:
                self._worker, self._anew = starting.result(), True
            except WorkerFailedError as error:
                self._tell(error)
        return self._worker is not None

    async def project(self, page: EventPage) -> Touched | None:
        """What a page touched that another process has projected; None if nothing is known of it, because that process is no more.

        The next page may be given before the answer to the one before, which it follows.
        """
        worker, anew, self._anew = self._worker, self._anew, False
        if worker is None:
            return None
        try:
            return await worker.project(page, anew=anew)
        except WorkerFailedError as error:
            if worker is self._worker:
                self._tell(error)
                await self.end()
            return None

    async def rest(self, wake: asyncio.Event) -> None:
        """Wait until `wake` is set. A process that has had nothing to do for long is ended."""
        if self.is_begun:
            with suppress(TimeoutError):
                async with asyncio.timeout(KEPT_S):
                    await wake.wait()
                return
            await self.end()
        await wake.wait()

    async def end(self) -> None:
        """No other process writes to the file any more."""
        starting, self._starting = self._starting, None
        worker, self._worker = self._worker, None
        if starting is not None:
            starting.cancel()
            await asyncio.wait([starting])
            if not starting.cancelled() and starting.exception() is None:
                worker = starting.result()  # It had begun already.
        if worker is not None:
            await worker.end()

    def _tell(self, error: WorkerFailedError) -> None:
        self._report(str(error))
        self._events = 0
        self._not_before_s = time.monotonic() + NOT_AGAIN_S
