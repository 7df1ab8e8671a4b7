"""Keeps the views up, and lets them be computed anew in another file while the present ones answer, and go on to follow the log where they can.

They are computed anew when somebody asks for it, when their file was deleted or replaced, and when they were computed by other rules. Those of other
rules answer as they are: nothing new comes into them. Whoever waits for an event waits for the new ones then. Where the disk has no room for two, the
present ones go on, and it is tried again now and then if it has to be.
"""

import asyncio
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from materializer.apart import Apart
from materializer.digest import PROJECTION_VERSION
from materializer.runner import Materializer, RetiredError, Views
from materializer.telling import ChangeListener
from peer.core.identity import EventId, GroupId
from peer.core.interfaces import EventStore, Replica
from peer.errors import DiskFullError

TRY_AGAIN_S = 60.0
"""How long after the disk was full."""
LOOK_S = 1.0
"""How often it is looked whether the file is still there."""


class File(Views, Protocol):
    """One file with projections."""

    path: Path


class Files(File, Protocol):
    """`views.db`, and a file beside it."""

    has_old_rows: bool
    """True if what an earlier process wrote can be read as it is."""

    @property
    def is_in_place(self) -> bool:
        """False if the file was deleted, or another one has its name."""
        ...

    async def begin_next(self) -> File:
        """An empty file beside it, to be filled."""
        ...

    async def swap(self) -> None:
        """Answer from what that one holds from now on."""
        ...

    async def drop_next(self) -> None:
        """Keep nothing of it."""
        ...


class Log(EventStore, Protocol):
    """`log.db`."""

    @property
    def position(self) -> int:
        """Of the last event in this peer's own order."""
        ...


class Rebuilding(NamedTuple):
    """How far the views are that are computed anew."""

    events_done: int
    events_total: int


class SideBySide:
    """What keeps the views of a peer. `run` does the work until it is cancelled."""

    def __init__(self, files: Files, log: Log, replica: Replica, apart: Callable[[Path], Apart] | None = None) -> None:
        """Does nothing yet. `apart` tells who decides when another process projects into a file."""
        self._files = files
        self._log = log
        self._replica = replica
        self._apart = apart
        self._current = self._materializer(files)
        self._next: Materializer | None = None
        self._follows = True
        """False while the present views are those of other rules."""
        self._wanted = asyncio.Event()
        self._asked: list[asyncio.Future[None]] = []
        self._switched = asyncio.Event()
        self._switched.set()
        self._listeners: list[ChangeListener] = []
        self._failure: BaseException | None = None
        self._full: DiskFullError | None = None
        self._not_before_s = 0.0

    @property
    def problem(self) -> DiskFullError | None:
        """Why views could not be computed anew, until they were, or why nothing new comes into them."""
        return self._full or self._current.full

    @property
    def position(self) -> int:
        """The position of the last event that can be read."""
        return self._current.position

    @property
    def follows(self) -> bool:
        """False while the present views are those of other rules."""
        return self._follows

    @property
    def rebuilding(self) -> Rebuilding | None:
        """How far it is while views are computed anew."""
        return Rebuilding(self._next.position, self._log.position) if self._next is not None else None

    async def start(self, *, old_may_answer: bool = False) -> None:
        """Look how far the views are; those that do not fit the log begin with nothing. Call before `run`.

        So do those of other rules, unless they may answer while others are computed.
        """
        self._current.subscribe(self._tell)
        fits = await self._current.fits_log() and self._files.has_old_rows
        if old_may_answer and fits and self._current.position > 0 and self._current.version != PROJECTION_VERSION:
            self._follows = False
            self._wanted.set()
        else:
            await self._current.start()

    async def run(self) -> None:
        """Project what is there and what comes. Raises `StoreError` when the disk fails."""
        following = asyncio.create_task(self._current.run()) if self._follows else None
        try:
            while True:
                await self._look(following)
                if self._wanted.is_set():
                    following = await self._try_to_compute_anew(following)
        except BaseException as failure:
            self._end(failure)
            raise
        finally:
            await _cancelled(following)
            await self._files.drop_next()

    async def reached(self, position: int) -> None:
        """Return once the event at `position` can be read in the views."""
        while True:
            await self._switched.wait()
            self._check_alive()
            try:
                return await self._current.reached(position)
            except RetiredError:
                continue

    async def rebuild(self) -> None:
        """Compute the projections anew, and return once they answer and are as far again as they were. `run` must be running.

        Raises `DiskFullError` if there is no room for both.
        """
        self._check_alive()
        position = self.position
        future = asyncio.get_running_loop().create_future()
        self._asked.append(future)
        self._wanted.set()
        await future
        await self.reached(position)

    def subscribe(self, listener: ChangeListener) -> Callable[[], None]:
        """Call `listener` with the recordings that committed pages have touched; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def _look(self, following: "asyncio.Task[None] | None") -> None:
        """Return when views are to be computed anew, or after a while. Raises what ended the following of the log."""
        wanted = asyncio.create_task(self._wanted.wait())
        try:
            await asyncio.wait([task for task in (wanted, following) if task is not None], timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancelled(wanted)
        if following is not None and following.done():
            await following
        if not (self._files.is_in_place and self._follows) and asyncio.get_running_loop().time() >= self._not_before_s:
            self._wanted.set()

    async def _try_to_compute_anew(self, following: "asyncio.Task[None] | None") -> "asyncio.Task[None] | None":
        """Do so, or go on as it was if the disk is full; what follows the log then."""
        self._wanted.clear()
        asked, self._asked = self._asked, []
        self._full = None
        try:
            following = await self._compute_anew(following)
        except DiskFullError as error:
            self._full = error
            self._not_before_s = asyncio.get_running_loop().time() + TRY_AGAIN_S
            await self._files.drop_next()
            following = await self._go_on(following)
        except BaseException:
            for future in asked:
                future.cancel()
            raise
        finally:
            self._next = None
            self._switched.set()
        for future in asked:
            if future.done():
                continue
            if self._full is None:
                future.set_result(None)
            else:
                future.set_exception(self._full)
        return following

    async def _compute_anew(self, following: "asyncio.Task[None] | None") -> "asyncio.Task[None]":
        """Fill another file, and let it take the place of the present one; what follows the log then."""
        self._next = computed = self._materializer(await self._files.begin_next())
        try:
            await computed.start()
            await computed.catch_up()
            self._switched.clear()
            self._current.retire()
            await _cancelled(following)
            await computed.catch_up()
        finally:
            await computed.end_other()
        await self._files.swap()
        computed.move_to(self._files, self._apart_for(self._files.path))
        self._current, self._follows = computed, True
        computed.subscribe(self._tell)
        self._tell(frozenset())
        return asyncio.create_task(computed.run())

    async def _go_on(self, following: "asyncio.Task[None] | None") -> "asyncio.Task[None] | None":
        """Nothing took the place of the present views: follow the log with them, if they can."""
        if following is not None and not following.done():
            return following
        self._current = self._materializer(self._files)
        self._current.subscribe(self._tell)
        if not self._follows:
            await self._current.fits_log()
            return None
        await self._current.start()
        return asyncio.create_task(self._current.run())

    def _materializer(self, views: File) -> Materializer:
        return Materializer(views, self._log, self._replica, self._apart_for(views.path))

    def _apart_for(self, path: Path) -> Apart | None:
        return self._apart(path) if self._apart is not None else None

    def _tell(self, recordings: AbstractSet[tuple[GroupId, EventId]]) -> None:
        for listener in list(self._listeners):
            listener(recordings)

    def _check_alive(self) -> None:
        if self._failure is not None:
            raise RuntimeError("the materializer has stopped") from self._failure

    def _end(self, failure: BaseException) -> None:
        self._failure = failure
        self._current.end(failure)
        for future in self._asked:
            future.cancel()
        self._asked = []


async def _cancelled(task: "asyncio.Task[None] | asyncio.Task[Literal[True]] | None") -> None:
    """End a task, and say nothing of how it ended."""
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
