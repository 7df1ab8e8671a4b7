"""Keeps `views.db` up with `log.db`: reads pages of events, projects them, moves the cursor, all of a page in one transaction.

`views.db` remembers the position and the id of the last event that it has seen. If `log.db` has another event there, or the projections are of
another version, it starts again from nothing. Whoever wants to follow subscribes to the recordings that pages touch.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from materializer.digest import PROJECTION_VERSION, TABLES
from materializer.projector import Projector
from materializer.tables import Connection
from peer.core.identity import EventId, GroupId
from peer.core.interfaces import EventStore, Replica, StoredEvent
from peer.core.roster import Roster

PAGE_EVENTS_MAX = 1024
NO_EVENT = EventId(bytes(32))
TABLES_TO_CLEAR = ("progress", "groups", "authors", "digests", *TABLES)

T = TypeVar("T")

ChangeListener = Callable[[AbstractSet[tuple[GroupId, EventId]]], None]
"""Is given the recordings that a page has touched, after it is committed. An empty set means: everything, look again."""


class Views(Protocol):
    """`views.db`, open."""

    async def transaction(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one write transaction."""
        ...

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one state of the database."""
        ...


class Cursor(NamedTuple):
    """How far the projections have come in this peer's own order."""

    version: int
    position: int
    event_id: EventId


START = Cursor(PROJECTION_VERSION, 0, NO_EVENT)


class Materializer:
    """The one writer of `views.db`. `run` does the work until it is cancelled."""

    def __init__(self, views: Views, store: EventStore, replica: Replica) -> None:
        """Does nothing yet."""
        self._views = views
        self._store = store
        self._replica = replica
        self._projector = Projector()
        self._rosters: Mapping[GroupId, Roster] = {}
        self._cursor = START
        self._wake = asyncio.Event()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._listeners: list[ChangeListener] = []
        self._rebuild_wanted: list[asyncio.Future[None]] = []
        self._failure: BaseException | None = None

    @property
    def position(self) -> int:
        """The position of the last event that is projected."""
        return self._cursor.position

    async def start(self) -> None:
        """Read the cursor, and start from nothing if it does not fit the log. Call before `run`."""
        self._cursor = await self._views.read(_read_cursor)
        if self._cursor.version != PROJECTION_VERSION or not await self._is_in_log(self._cursor):
            await self._clear()

    async def run(self) -> None:
        """Project what is there and what comes. Raises `StoreError` when the disk fails."""
        loop = asyncio.get_running_loop()
        unsubscribe = self._store.subscribe(lambda _commit: _wake(loop, self._wake))
        try:
            while True:
                self._wake.clear()
                await self._catch_up()
                await self._wake.wait()
        except BaseException as failure:
            self._failure = failure
            raise
        finally:
            unsubscribe()
            self._fail_waiting()

    async def reached(self, position: int) -> None:
        """Return once the event at `position` can be read in the views."""
        if position <= self._cursor.position:
            return
        self._check_alive()
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((position, future))
        await future

    async def rebuild(self) -> None:
        """Throw the projections away, and return once they are as far again as they were. `run` must be running."""
        self._check_alive()
        position = self._cursor.position
        future = asyncio.get_running_loop().create_future()
        self._rebuild_wanted.append(future)
        self._wake.set()
        await future
        await self.reached(position)

    def subscribe(self, listener: ChangeListener) -> Callable[[], None]:
        """Call `listener` with the recordings that each committed page has touched; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def _catch_up(self) -> None:
        while True:
            if self._rebuild_wanted:
                await self._rebuild_now()
            events = await self._store.events_after(self._cursor.position, PAGE_EVENTS_MAX)
            rosters = {group: view.roster for group, view in self._replica.groups.items()}
            if events or any(self._rosters.get(group) is not roster for group, roster in rosters.items()):
                await self._project(events, rosters)
            if not events:
                return

    async def _project(self, events: Sequence[StoredEvent], rosters: Mapping[GroupId, Roster]) -> None:
        """One page in one transaction; the rosters are as far as the page or further, and are looked at again with each page."""
        cursor = Cursor(PROJECTION_VERSION, events[-1].position, events[-1].event.id) if events else self._cursor
        new = {group: roster for group, roster in rosters.items() if self._rosters.get(group) is not roster}
        work = partial(_project, projector=self._projector, new=new, rosters=rosters, events=events, cursor=cursor)
        changed, touched = await self._views.transaction(work)
        self._cursor, self._rosters = cursor, rosters
        if changed or touched:
            for listener in list(self._listeners):
                listener(frozenset() if changed else touched)
        self._tell_waiting()

    async def _rebuild_now(self) -> None:
        wanted, self._rebuild_wanted = self._rebuild_wanted, []
        await self._clear()
        for future in wanted:
            if not future.done():
                future.set_result(None)

    async def _clear(self) -> None:
        await self._views.transaction(_clear)
        self._projector = Projector()
        self._rosters = {}
        self._cursor = START

    async def _is_in_log(self, cursor: Cursor) -> bool:
        if cursor.position == 0:
            return cursor.event_id == NO_EVENT
        found = await self._store.events_after(cursor.position - 1, 1)
        return bool(found) and (found[0].position, found[0].event.id) == (cursor.position, cursor.event_id)

    def _check_alive(self) -> None:
        if self._failure is not None:
            raise RuntimeError("the materializer has stopped") from self._failure

    def _tell_waiting(self) -> None:
        still = []
        for position, future in self._waiting:
            if future.done():
                continue
            if position <= self._cursor.position:
                future.set_result(None)
            else:
                still.append((position, future))
        self._waiting = still

    def _fail_waiting(self) -> None:
        for future in [*(future for _, future in self._waiting), *self._rebuild_wanted]:
            if not future.done():
                future.cancel()
        self._waiting, self._rebuild_wanted = [], []


def _wake(loop: asyncio.AbstractEventLoop, wake: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
        loop.call_soon_threadsafe(wake.set)


def _project(
    connection: Connection,
    *,
    projector: Projector,
    new: Mapping[GroupId, Roster],
    rosters: Mapping[GroupId, Roster],
    events: Sequence[StoredEvent],
    cursor: Cursor,
) -> tuple[set[GroupId], set[tuple[GroupId, EventId]]]:
    changed = projector.check_rosters(connection, new)
    touched = projector.apply(connection, rosters, events) if events else set()
    if events:
        connection.execute("REPLACE INTO progress VALUES (1, ?, ?, ?)", cursor)
    return changed, touched


def _read_cursor(connection: Connection) -> Cursor:
    row = connection.execute("SELECT version, position, event_id FROM progress").fetchone()
    return Cursor(*row) if row else START


def _clear(connection: Connection) -> None:
    for table in TABLES_TO_CLEAR:
        connection.execute(f"DELETE FROM {table}")  # noqa: S608  (names of our own tables)
