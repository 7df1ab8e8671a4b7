"""The event store: one writer, group commit, and reads that never see more than was announced.

Appends wait in a bounded queue. The writer takes everything that waits, up to a limit, and makes it one transaction: under load hundreds of appends
share one sync of the disk. After the commit, and only then, tips and rosters change, listeners hear of it, and the appends return. Once a commit has
failed nobody knows what the disk holds: the store refuses everything until the process starts anew; on a full disk, until there is room again.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple, NoReturn

from peer.core.certificate import Certificate, LogKind
from peer.core.control import Point, Role
from peer.core.group import Genesis
from peer.core.identity import EventId, GroupId, KeyPair, LogId, PeerId
from peer.core.interfaces import CommitListener, LaterDrafts, Page, StoredEvent
from peer.core.run import Draft, Run
from peer.errors import DiskFullError, NotFoundError, StoreError
from peer.store.database import Connection, Database
from peer.store.full_disk import LOOK_FOR_ROOM_S, can_be_written
from peer.store.groups import GroupCounts, GroupHealth, GroupRecord, Groups, LogRecord
from peer.store.judged import count_beyond, points_to_keep
from peer.store.keys import Fence, KeyFiles
from peer.store.loading import load_groups, load_own
from peer.store.newest import Newest
from peer.store.peers import KnownPeer, delete_ignored, delete_peer, read_ignored, read_peers, write_ignored, write_peer
from peer.store.requests import Append, Create, Forget, Outcome, Own, Request, Rotate, Write
from peer.store.rows import find, find_by_prefix, read_events_after, read_group_events, read_locator, read_one_event, read_page, role_at
from peer.store.verification import Verification, verify_log
from peer.store.writing import Batch

COMMIT_EVENTS_MAX = 16384
COMMIT_BYTES_MAX = 8 * 1024 * 1024
QUEUE_REQUESTS_MAX = 16384
QUEUE_BYTES_MAX = 8 * 1024 * 1024
EVENT_COUNT_MAX = 4096
"""No read returns more events than this, whatever it was asked for."""


class _Waiting(NamedTuple):
    request: Request
    events: int
    size: int
    done: asyncio.Future[Sequence[StoredEvent]]


class SqliteEventStore:
    """The `EventStore` of a running peer, and its `Replica`."""

    def __init__(self, database: Database, groups: Groups, own: Own, now_ms: Callable[[], int]) -> None:
        """Use `load_event_store` or `opened_event_store`."""
        self._database = database
        self._groups = groups
        self._own = own
        self._now_ms = now_ms
        self._listeners: list[CommitListener] = []
        self._queue: deque[_Waiting] = deque()
        self._queue_bytes = 0
        self._queued = asyncio.Event()
        self._room = asyncio.Event()
        self._turn = asyncio.Lock()
        self._closing = False
        self._failure: StoreError | None = None
        self._learn: Callable[[GroupId], Awaitable[None]] | None = None
        self._learned: set[GroupId] = set()
        self._newest = Newest()

    @property
    def replica(self) -> Groups:
        """All groups of this peer."""
        return self._groups

    @property
    def position(self) -> int:
        """This peer's position of the last event that was announced."""
        return self._own.position

    @property
    def incarnation(self) -> bytes:
        """16 random bytes, other ones after every doubt whether this directory is a copy."""
        return self._own.incarnation

    @property
    def failure(self) -> StoreError | None:
        """Why nothing can be written, None while it can. Of all reasons only a full disk goes away by itself."""
        return self._failure

    @property
    def transactions(self) -> int:
        """How many transactions were committed since the start."""
        return self._database.transactions

    async def run(self) -> None:
        """Write what is appended until `close`; the node keeps this in its task group. Raises `StoreError` when the disk fails."""
        try:
            while not (self._closing and not self._queue):
                await self._queued.wait()
                if batch := self._take():
                    try:
                        await self._commit(batch)
                    except DiskFullError as error:
                        await self._wait_for_room(error)
        except BaseException as error:
            self._fail(error)
            raise
        self._fail(StoreError("the store is closed"))

    def close(self) -> None:
        """Let `run` return once everything that waits is durable. Later appends are refused."""
        self._closing = True
        self._queued.set()

    def learn_first(self, learn: Callable[[GroupId], Awaitable[None]]) -> None:
        """Before anything is written in a group, await `learn`: others may hold events of ours that this disk has forgotten."""
        self._learn = learn

    async def append(self, certificate: Certificate, run: Run) -> None:
        """As `EventStore.append`."""
        await self._request(Append(certificate, run), len(run.events), run.size)

    async def write(self, group: GroupId, kind: LogKind, drafts: Sequence[Draft], then: Sequence[LaterDrafts] = ()) -> Sequence[StoredEvent]:
        """As `EventStore.write`. The first write of each group waits for what `learn_first` was given."""
        if self._learn is not None and group not in self._learned:
            await self._learn(group)
            self._learned.add(group)
        return await self._request(Write(group, kind, drafts, then), len(drafts) + len(then), sum(len(draft.body) for draft in drafts))

    async def create_group(self, genesis: Genesis) -> None:
        """As `EventStore.create_group`."""
        await self._request(Create(genesis), 1, 0)

    async def forget_group(self, group: GroupId) -> None:
        """Do as if `group` were not here, whose events stay stored: this site has left it. Raises `NotFoundError`."""
        await self._request(Forget(group), 1, 0)
        self._learned.discard(group)

    async def leaving(self) -> Sequence[GroupId]:
        """The groups that this site has asked to leave, and not yet left."""
        rows = await self._database.fetch("SELECT group_id FROM left_groups WHERE NOT forgotten")
        return [group for (group,) in rows if group in self._groups.groups]  # type: ignore[misc]

    async def begin_leaving(self, group: GroupId) -> None:
        """Remember that this site wants to leave `group`."""
        await self._database.write([("INSERT OR IGNORE INTO left_groups (group_id, forgotten) VALUES (?, 0)", [(group,)])])

    async def read_after(self, group: GroupId, log: LogId, have: Sequence[EventId], size_max: int) -> Page:
        """As `EventStore.read_after`."""
        record = self._offered(group, log)
        if record is None:
            return Page((), complete=True)
        position = self.position
        return await self._database.read(lambda connection: read_page(connection, record, have, position, size_max))

    async def held(self, group: GroupId, events: Sequence[EventId]) -> set[EventId]:
        """As `EventStore.held`."""
        if group not in self._groups.groups:
            return set()
        position = self.position
        found = await self._database.read(lambda connection: find(connection, events, position))
        of_branch = self._groups.of_branch()
        return {event_id for event_id, place in found.items() if of_branch(place.branch)[0].group == group}

    async def locator(self, group: GroupId, log: LogId) -> Sequence[EventId]:
        """As `EventStore.locator`."""
        record = self._offered(group, log)
        return [] if record is None else await self._database.read(lambda connection: read_locator(connection, record))

    async def events_after(self, position: int, count_max: int) -> Sequence[StoredEvent]:
        """As `EventStore.events_after`."""
        count, newest, of_branch = min(count_max, EVENT_COUNT_MAX), self.position, self._groups.of_branch()
        if position >= newest:
            self._newest.asked(position, has_all=True)
            return ()
        if (here := self._newest.after(position, count, of_branch)) is not None:
            return here
        return await self._database.read(lambda connection: read_events_after(connection, (position, newest), count, of_branch))

    async def group_events(self, group: GroupId, position: int, count_max: int) -> Sequence[StoredEvent]:
        """As `EventStore.group_events`."""
        record = self._group(group)
        branches = [branch for log in record.logs.values() for branch in log.branches]
        count, of_branch = min(count_max, EVENT_COUNT_MAX), self._groups.of_branch()
        return await self._database.read(lambda connection: read_group_events(connection, branches, position, count, of_branch))

    async def event(self, event_id: EventId) -> StoredEvent | None:
        """As `EventStore.event`."""
        position, of_branch = self.position, self._groups.of_branch()
        return await self._database.read(lambda connection: read_one_event(connection, event_id, position, of_branch))

    async def find_events(self, digits: str) -> Sequence[StoredEvent]:
        """As `EventStore.find_events`."""
        position, of_branch = self.position, self._groups.of_branch()
        return await self._database.read(lambda connection: find_by_prefix(connection, digits, position, of_branch))

    async def roles(self, group: GroupId, events: Sequence[EventId]) -> Mapping[EventId, Role]:
        """As `EventStore.roles`."""
        position, of_branch = self.position, self._groups.of_branch()
        found = await self._database.read(lambda connection: find(connection, events, position))
        return {event_id: role for event_id, place in found.items() if (role := role_at(event_id, place, group, of_branch)) is not None}

    async def rotate_log(self, group: GroupId, kind: LogKind) -> LogId | None:
        """As `EventStore.rotate_log`."""
        last = await self._request(Rotate(group, kind), 1, 0)
        return last[0].event.header.log if last else None

    async def seal_points(self, group: GroupId, log: LogId) -> Sequence[Point]:
        """As `EventStore.seal_points`."""
        record = self._log(group, log)
        if record is None:
            raise NotFoundError(f"no log {log.hex()[:12]} is held here")
        return [Point(log, tip.height, tip.event_id) for tip in record.tips]

    async def cut(self, group: GroupId, peer: PeerId) -> Sequence[Point]:
        """As `EventStore.cut`."""
        record = self._group(group)
        return await self._database.read(lambda connection: points_to_keep(connection, record, peer))

    async def events_beyond(self, group: GroupId, peer: PeerId, points: Sequence[Point]) -> Mapping[LogId, int]:
        """As `EventStore.events_beyond`."""
        record, position = self._group(group), self.position
        return await self._database.read(lambda connection: count_beyond(connection, record, peer, points, position))

    def counts(self, group: GroupId) -> GroupCounts:
        """How much of `group` is here. Raises `NotFoundError` for one that is not held."""
        return self._group(group).counts

    def health(self, group: GroupId) -> GroupHealth:
        """What is odd about what is held of `group`. Raises `NotFoundError` for one that is not held."""
        return self._group(group).health

    def subscribe(self, listener: CommitListener) -> Callable[[], None]:
        """As `EventStore.subscribe`."""
        self._listeners.append(listener)
        return partial(self._listeners.remove, listener)

    async def peers(self) -> Sequence[KnownPeer]:
        """The peers whose addresses were given, by name."""
        return await self._database.read(lambda connection: list(read_peers(connection)))

    async def put_peer(self, peer: KnownPeer) -> None:
        """Remember `peer` in place of what was told about it before."""
        await self._database.transaction(lambda connection: write_peer(connection, peer))
        self._groups.name_peer(peer.peer_id, peer.groups)

    async def remove_peer(self, peer: PeerId) -> bool:
        """Forget what was told about `peer`; False if nothing was."""
        known = await self._database.transaction(lambda connection: delete_peer(connection, peer))
        self._groups.forget_peer(peer)
        return known

    async def ignored_peers(self) -> Sequence[PeerId]:
        """Those who knocked and are not to be shown again."""
        return await self._database.read(read_ignored)

    async def ignore_peer(self, peer: PeerId) -> None:
        """Do not show `peer` again when it knocks."""
        now_ms = self._now_ms()
        await self._database.transaction(lambda connection: write_ignored(connection, peer, now_ms))

    async def notice_peer(self, peer: PeerId) -> None:
        """Ignore `peer` no more."""
        await self._database.transaction(lambda connection: delete_ignored(connection, peer))

    async def verify(self) -> Verification:
        """Verify everything that is held from the ground up, beside the running work."""
        return await verify_log(self._database.path, self._own.keys)

    async def _request(self, request: Request, events: int, size: int) -> Sequence[StoredEvent]:
        """Let `request` wait for its commit. First come, first served, also while the queue is full."""
        async with self._turn:
            await self._newest.taken()
            while self._is_full:
                self._room.clear()
                await self._room.wait()
            done = self._enqueue(request, events, size)
        return await done

    @property
    def _is_full(self) -> bool:
        return self._failure is None and (len(self._queue) >= QUEUE_REQUESTS_MAX or self._queue_bytes >= QUEUE_BYTES_MAX)

    def _enqueue(self, request: Request, events: int, size: int) -> asyncio.Future[Sequence[StoredEvent]]:
        if self._failure is not None or self._closing:
            self._refuse()
        done: asyncio.Future[Sequence[StoredEvent]] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(request, events, size, done))
        self._queue_bytes += size
        self._newest.waiting += events
        self._queued.set()
        return done

    def _take(self) -> list[_Waiting]:
        """What waits, as far as it fits one transaction."""
        batch: list[_Waiting] = []
        events = size = 0
        while self._queue and (not batch or (events < COMMIT_EVENTS_MAX and size < COMMIT_BYTES_MAX)):
            waiting = self._queue.popleft()
            self._queue_bytes -= waiting.size
            events, size = events + waiting.events, size + waiting.size
            if waiting.done.cancelled():
                self._newest.waiting -= waiting.events
            else:
                batch.append(waiting)
        if not self._queue and not self._closing:
            self._queued.clear()
        self._room.set()
        return batch

    async def _commit(self, waiting: list[_Waiting]) -> None:
        batch = Batch(self._groups, self._own, self._now_ms())
        try:
            await self._database.transaction(partial(batch.execute, [each.request for each in waiting]))
            batch.publish(tuple(self._listeners))
            for stored in batch.stored:
                self._newest.add(stored.branch, stored.run, stored.position)
        except BaseException as error:
            for each in waiting:
                _settle(each.done, _as_failure(error))
            raise
        finally:
            self._newest.waiting -= sum(each.events for each in waiting)
        for each, outcome in zip(waiting, batch.outcomes, strict=True):
            _settle(each.done, outcome)

    def _fail(self, error: BaseException) -> None:
        """Refuse everything from now on, what waits included."""
        self._failure = self._failure or _as_failure(error)
        self._newest.waiting -= sum(each.events for each in self._queue)
        while self._queue:
            _settle(self._queue.popleft().done, self._failure)
        self._queue_bytes = 0
        self._room.set()

    async def _wait_for_room(self, error: DiskFullError) -> None:
        self._fail(error)
        while not self._closing:
            await asyncio.sleep(LOOK_FOR_ROOM_S)
            if await can_be_written(self._database, self._own):
                self._failure = None
                return

    def _refuse(self) -> NoReturn:
        failure = self._failure or StoreError("the store is closed")
        kind = DiskFullError if isinstance(failure, DiskFullError) else StoreError
        raise kind(f"nothing can be written: {failure.text}", fix=failure.fix)

    def _group(self, group: GroupId) -> GroupRecord:
        record = self._groups.groups.get(group)
        if record is None:
            raise NotFoundError(f"no group {group.hex()[:12]} is held here")
        return record

    def _log(self, group: GroupId, log: LogId) -> LogRecord | None:
        record = self._groups.groups.get(group)
        return None if record is None else record.logs.get(log)

    def _offered(self, group: GroupId, log: LogId) -> LogRecord | None:
        record = self._groups.groups.get(group)
        return None if record is None else record.offered(log)


async def load_event_store(database: Database, keys: KeyFiles, peer: KeyPair, now_ms: Callable[[], int]) -> SqliteEventStore:
    """The event store in `database`; somebody has to `run` it."""
    groups, own = await database.transaction(partial(_load, database, keys, peer))
    return SqliteEventStore(database, groups, own, now_ms)


@asynccontextmanager
async def opened_event_store(database: Database, keys: KeyFiles, peer: KeyPair, now_ms: Callable[[], int]) -> AsyncIterator[SqliteEventStore]:
    """The event store in `database`, running until the block ends, when everything that waits is made durable."""
    store = await load_event_store(database, keys, peer, now_ms)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(store.run())
        try:
            yield store
        finally:
            store.close()


def _load(database: Database, keys: KeyFiles, peer: KeyPair, connection: Connection) -> tuple[Groups, Own]:
    groups = load_groups(connection)
    status = database.path.stat()
    return groups, load_own(connection, groups, keys, peer, Fence(status.st_ino, status.st_ctime_ns))


def _settle(done: asyncio.Future[Sequence[StoredEvent]], outcome: Outcome | StoreError) -> None:
    if done.done():
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)


def _as_failure(error: BaseException) -> StoreError:
    return error if isinstance(error, StoreError) else StoreError(f"the store has stopped: {error!r}", fix="start the peer again")
