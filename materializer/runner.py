"""Keeps `views.db` up with `log.db`: reads pages of events, projects them, moves the cursor, all of a page in one transaction.

`views.db` remembers the position and the id of the last event that it has seen. If `log.db` has another event there, or the projections are of
another version, it starts again from nothing, or `side_by_side` lets another file be filled. Whoever wants to follow subscribes to the recordings
that pages touch.

Each row keeps the role by which it was judged, and each group the digest of the judgement that all of its rows agree with. When this changes, rows
that may have another role are judged anew before anything else is projected. It may change again while events are read or rows are judged: then what
was read is read again, and what was begun is judged once more.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from materializer.apart import Apart
from materializer.digest import PROJECTION_VERSION, TABLES
from materializer.events import projected_events
from materializer.judging import JudgedRow, apply_roles, find_rows, last_numbers, read_judgement, read_window, set_judgement, windows
from materializer.projector import Projector
from materializer.tables import Connection
from materializer.telling import ChangeListener, Telling
from materializer.writing import START, Cursor, EventPage, OutOfStepError, Touched, read_cursor, write_page
from peer.core.control import Role
from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import EventStore, Replica
from peer.core.judging import Changes, Judgement
from peer.errors import DiskFullError

PAGE_EVENTS_MAX = 2048
LOOK_FOR_ROOM_S = 1.0
"""How often it is tried again while the disk is full."""
SINGLE_EVENTS_PAGE = 256
TABLES_TO_CLEAR = ("progress", "groups", "digests", "receipt_blobs", *(table for table in TABLES if table != "settings"))

T = TypeVar("T")


class Views(Protocol):
    """`views.db`, open."""

    async def transaction(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one write transaction."""
        ...

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one state of the database."""
        ...


NO_CHANGES = Changes(frozenset(), frozenset())


class _Given(NamedTuple):
    """A page that another process was given, and what is to come of it."""

    page: EventPage
    touched: "asyncio.Task[Touched | None]"


class RetiredError(Exception):
    """Another materializer has taken over: ask that one."""


class Materializer:
    """The one writer of `views.db`, or of a file that is to take its place. `run` does the work until it is cancelled."""

    def __init__(self, views: Views, store: EventStore, replica: Replica, apart: Apart | None = None) -> None:
        """Does nothing yet. With `apart` another process projects what is very much."""
        self._views = views
        self._apart = apart
        self._store = store
        self._replica = replica
        self._projector = Projector()
        self._judged: dict[GroupId, Judgement] = {}
        """By which all rows of these groups were judged."""
        self._begun: dict[GroupId, Changes] = {}
        """What was being judged anew when the judgement changed once more."""
        self._cursor = START
        self._given: _Given | None = None
        self._wake = asyncio.Event()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._telling = Telling()
        self._failure: BaseException | None = None
        self.full: DiskFullError | None = None
        """Why nothing is projected, as long as the disk is full."""
        self._is_retired = False

    @property
    def position(self) -> int:
        """The position of the last event that is projected."""
        return self._cursor.position

    async def start(self) -> None:
        """Read the cursor, and start from nothing if it does not fit the log. Call before `run`."""
        if not await self.fits_log() or self.version != PROJECTION_VERSION:
            await self._clear()

    @property
    def version(self) -> int:
        """By which rules it is projected what the views hold."""
        return self._cursor.version

    async def fits_log(self) -> bool:
        """Read the cursor; whether the log has that event at that place."""
        self._cursor = await self._views.read(read_cursor)
        return await self._is_in_log(self._cursor)

    async def run(self) -> None:
        """Project what is there and what comes. Raises `StoreError` when the disk fails, but not when it is full."""
        loop = asyncio.get_running_loop()
        unsubscribe = self._store.subscribe(lambda _commit: _wake(loop, self._wake))
        try:
            while True:
                self._wake.clear()
                try:
                    await self.catch_up()
                except DiskFullError as error:
                    await self._wait_for_room(error)
                else:
                    self.full = None
                    await (self._wake.wait() if self._apart is None else self._apart.rest(self._wake))
        except BaseException as failure:
            self.end(failure)
            raise
        finally:
            unsubscribe()
            await self.end_other()

    async def reached(self, position: int) -> None:
        """Return once the event at `position` can be read in the views. Raises `RetiredError` if another one has taken over."""
        if position <= self._cursor.position:
            return
        self._check_alive()
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((position, future))
        await future

    async def _wait_for_room(self, error: DiskFullError) -> None:
        """Tell those who wait that it cannot be read now what they wrote, and let it be tried again."""
        self.full = error
        self._projector = Projector()
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(DiskFullError(f"what was written is kept, and not shown yet: {error.text}", fix=error.fix))
        self._waiting = []
        await asyncio.sleep(LOOK_FOR_ROOM_S)

    def move_to(self, views: Views, apart: Apart | None) -> None:
        """What was written so far can be read there, and what comes is written there. Not while it is at work, nor while another process is."""
        self._views, self._apart = views, apart

    async def end_other(self) -> None:
        """Let no other process be about to write."""
        if self._apart is not None:
            await self._apart.end()

    def retire(self) -> None:
        """Let whoever waits ask another one. Cancel `run` then."""
        self._is_retired = True
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(RetiredError())
        self._waiting = []

    def end(self, failure: BaseException) -> None:
        """Nothing is projected any more: nobody need wait."""
        self._failure = failure
        for _, future in self._waiting:
            if not future.done():
                future.cancel()
        self._waiting = []

    def subscribe(self, listener: ChangeListener) -> Callable[[], None]:
        """Call `listener` with the recordings that committed pages have touched; returns what ends that."""
        return self._telling.subscribe(listener)

    async def catch_up(self) -> None:
        """Project all that is in the log, and judge all rows by what holds now."""
        try:
            await self._catch_up()
        finally:
            self._telling.caught_up()

    async def _catch_up(self) -> None:
        try:
            while True:
                try:
                    if not await self._go_on():
                        return
                except OutOfStepError:
                    await self._find_place()
        finally:
            if self._given is not None:  # Something went wrong here meanwhile: nobody would hear the answer.
                given, self._given = self._given, None
                given.touched.cancel()
                await self.end_other()

    async def _go_on(self) -> bool:
        """One step. False if nothing is left to do."""
        judgements = {group: view.judgement for group, view in self._replica.groups.items()}
        if any(self._judged.get(group) is not judgement for group, judgement in judgements.items()):
            await self._take(None)  # Before rows are judged anew.
        if not await self._judge_anew(judgements):
            return True
        before = self._given.page.after if self._given is not None else self._cursor
        events = await self._store.events_after(before.position, PAGE_EVENTS_MAX)
        if not self._are_current(judgements):
            return True  # The events may have roles by either judgement.
        if events:
            page = projected_events(events)
            digests = {group: judgements[group].digest for group in {event.group for event in page}}
            await self._project(EventPage(before, Cursor(PROJECTION_VERSION, events[-1].position, page[-1].id), digests, page))
            return True
        is_done = self._given is None
        await self._take(None)
        return not is_done

    async def _project(self, page: EventPage) -> None:
        """Have one page written in one transaction. Another process has it ready then, while it still writes the one before."""
        if self._apart is not None and self._apart.is_ready():
            self._projector = Projector()  # Of what others write this one does not know.
            await self._take(_Given(page, asyncio.create_task(self._apart.project(page))))
            return
        await self._take(None)
        touched = await self._views.transaction(partial(write_page, projector=self._projector, page=page))
        if self._apart is not None:
            self._apart.count(len(page.events))
        self._wrote(page, touched)

    async def _take(self, following: "_Given | None") -> None:
        """Wait for the page that another process was given last. Raises `OutOfStepError` if nobody knows whether it was written."""
        given, self._given = self._given, following
        if given is None:
            return
        touched = await given.touched
        if touched is None:
            raise OutOfStepError
        self._wrote(given.page, touched)

    def _wrote(self, page: EventPage, touched: Touched) -> None:
        self._cursor = page.after
        self._telling.touched(touched, len(page.events))
        self._tell_waiting()

    async def _find_place(self) -> None:
        """Go on from where the views are: another process may have written more than is known of."""
        if self._given is not None:
            await self._given.touched
            self._given = None
        if not await self.fits_log() or self.version != PROJECTION_VERSION:
            await self._clear()
        self._forget_rows()
        self._judged = {}
        self._telling.tell_everything()
        self._tell_waiting()

    def _forget_rows(self) -> None:
        self._projector.forget()
        if self._apart is not None:
            self._apart.forget()

    async def _judge_anew(self, judgements: Mapping[GroupId, Judgement]) -> bool:
        """Let the rows of all groups be judged by these judgements. False if one of them changed meanwhile."""
        for group, judgement in judgements.items():
            if self._judged.get(group) is not judgement and not await self._judge_group(group, judgement):
                return False
        return self._are_current(judgements)

    async def _judge_group(self, group: GroupId, judgement: Judgement) -> bool:
        before = self._judged.get(group)
        changes: Changes | None = None
        if before is not None and before.digest == judgement.digest and group not in self._begun:
            self._judged[group] = judgement
            return True
        if before is not None:
            changes = _joined(judgement.changes_since(before), self._begun.get(group, NO_CHANGES))
            self._begun[group] = changes
        elif await self._views.read(lambda connection: read_judgement(connection, group)) in (None, judgement.digest):
            changes = NO_CHANGES
        changed, rows_found = False, self._rows_of(group, changes)
        async for rows in rows_found:
            roles = await self._store.roles(group, [row.event_id for row in rows])
            if self._replica.groups[group].judgement is not judgement:
                await rows_found.aclose()
                return False
            new = [(row, role) for row in rows if (role := roles.get(row.event_id, Role.NONE)) is not row.role]
            if new:
                self._forget_rows()
                await self._views.transaction(partial(apply_roles, group=group, changes=new))
                changed = True
        await self._views.transaction(partial(set_judgement, group=group, digest=judgement.digest))
        self._judged[group] = judgement
        self._begun.pop(group, None)
        if changed:
            self._telling.tell_everything()
        return True

    async def _rows_of(self, group: GroupId, changes: Changes | None) -> AsyncGenerator[list[JudgedRow], None]:
        """The rows that may have another role, in parts of bounded size; all rows of the group for None."""
        authors: AbstractSet[PeerId] | None = None
        if changes is not None:
            events = sorted(changes.events)
            for start in range(0, len(events), SINGLE_EVENTS_PAGE):
                stored = [await self._store.event(event) for event in events[start : start + SINGLE_EVENTS_PAGE]]
                here = [each for each in stored if each is not None and each.group == group]
                if rows := await self._views.read(partial(find_rows, group=group, events=here)):
                    yield rows
            authors = changes.authors
            if not authors:
                return
        for table, after in windows(await self._views.read(last_numbers)):
            rows = await self._views.read(partial(read_window, group=group, table=table, after=after))
            if rows := [row for row in rows if authors is None or row.author in authors]:
                yield rows

    def _are_current(self, judgements: Mapping[GroupId, Judgement]) -> bool:
        return all(judgements.get(group) is view.judgement for group, view in self._replica.groups.items())

    async def _clear(self) -> None:
        await self._views.transaction(_clear)
        self._projector = Projector()
        self._forget_rows()
        self._judged, self._begun = {}, {}
        self._cursor = START

    async def _is_in_log(self, cursor: Cursor) -> bool:
        if cursor.position == 0:
            return cursor == START
        found = await self._store.events_after(cursor.position - 1, 1)
        return bool(found) and (found[0].position, found[0].event.id) == (cursor.position, cursor.event_id)

    def _check_alive(self) -> None:
        if self._is_retired:
            raise RetiredError
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


def _wake(loop: asyncio.AbstractEventLoop, wake: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
        loop.call_soon_threadsafe(wake.set)


def _joined(one: Changes, other: Changes) -> Changes:
    return Changes(one.authors | other.authors, one.events | other.events)


def _clear(connection: Connection) -> None:
    for table in TABLES_TO_CLEAR:
        connection.execute(f"DELETE FROM {table}")  # noqa: S608  (names of our own tables)
