"""One link over one carrier: performs what its session asks for, and decides nothing.

Frames out wait in a bounded queue; events among them are bounded by credit already. What goes wrong here ends this link, but for a failing disk: that
ends the node.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import NamedTuple, Protocol, assert_never

from peer.core.group import read_genesis
from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import EventStore
from peer.core.mesh import Caller
from peer.core.neighbours import Neighbours
from peer.core.relaying import WantedPart
from peer.errors import (
    DiskFullError,
    EventRejectedError,
    LinkBrokenError,
    LocalProtocolError,
    MeshError,
    ReaderTooSlowError,
    RequestError,
    StoreError,
)
from peer.failpoints import failpoint
from peer.sync import effects as fx
from peer.sync.blob_messages import PossessionWant
from peer.sync.digests import DigestMessage
from peer.sync.possession import Custody, PossessionArrived, ReadPossession, RoundsHeard
from peer.sync.session import SyncSession
from peer.transport.asked import BytesAsked, proven
from peer.transport.carrier import Carrier
from peer.transport.outgoing import Outgoing
from peer.transport.pace import Pace

OpenGroupCall = Callable[[GroupId, bytes], Awaitable[None]]
DecideJoinCall = Callable[[GroupId, bytes, PeerId, str], Awaitable[None]]
TakeOfferCall = Callable[[PeerId, GroupId, bytes], Awaitable[bool]]
"""Begin to hold a group that a member offers, given its checked genesis record; False if nobody here wants it. Raises what stands against it."""

ReadBlobCall = Callable[[PeerId, WantedPart], Awaitable[bytes | None]]
"""A part of a blob, for that peer; None if it is not here, or not in that group."""


class JoinAttempt(NamedTuple):
    """What a link is to do first that is dialled with an invitation."""

    request: fx.UsedInvitation
    open_group: OpenGroupCall
    """Begin to hold the group, given its checked genesis record."""
    ended: asyncio.Future[None]
    """Is told how it went."""


class Owner(Protocol):
    """Who keeps the connections of this peer."""

    def established(self, connection: "Connection", effect: fx.Established) -> None:
        """Both sides have proved who they are."""
        ...

    def failed(self, error: StoreError) -> None:
        """The disk is not to be written any more."""
        ...

    def report(self, error: Exception) -> None:
        """A bug of ours ended a link: tell the operator."""
        ...

    def queued_bytes(self) -> int:
        """What waits to be sent on all links."""
        ...

    def pass_on(self, fact: fx.JoinPassed, connection: "Connection") -> None:
        """Give a request to join that came over `connection` to all others."""
        ...

    def return_refusal(self, effect: fx.ReturnRefusal) -> None:
        """Give a refusal to the connection that waits for it."""
        ...

    def knocked(self, effect: fx.Knocked, address: str) -> None:
        """Somebody who is a member of nothing here dialled."""
        ...


class Performers(Protocol):
    """Who does what a session asks for beside sending."""

    store: EventStore
    decide_join: DecideJoinCall
    take_offer: TakeOfferCall
    read_blob: ReadBlobCall
    pace: Pace
    neighbours: Neighbours
    custody: Custody
    hear_digests: Callable[[PeerId, DigestMessage], None]


def now_ms() -> int:
    """Time for sessions: it only ever grows, and means nothing outside this process."""
    return time.monotonic_ns() // 1_000_000


class Connection:
    """A session with its carrier."""

    def __init__(
        self,
        carrier: Carrier,
        session: SyncSession,
        owner: Owner,
        performers: Performers,
        *,
        number: int,
        attempt: JoinAttempt | None = None,
    ) -> None:
        """`attempt` is the join that this connection is for, if it is for one."""
        self.number = number
        self.came_from: str | None = None
        """Whom it is counted to while nobody has proved anything."""
        self.endpoint: str | None = None
        """What was dialled, if we did."""
        self.caller: Caller | None = None
        """The machine of the mesh at the other end, as far as that is known."""
        self.knocked: fx.Knocked | None = None
        """Who is there, if that is nobody's member."""
        self.session = session
        self.remote: fx.Established | None = None
        self.end: fx.CloseLink | None = None
        self.carrier = carrier
        self._owner = owner
        self._performers = performers
        self._attempt = attempt
        self._outgoing = Outgoing(carrier, owner.queued_bytes)
        self._tasks: set[asyncio.Task[None]] = set()
        self._answering: set[asyncio.Task[None]] = set()
        """Those of them that nobody waits for when the link ends."""
        self._pages_read = 0
        self._is_broken = False
        self._asked = BytesAsked(self.feed)
        self._sender: asyncio.Task[None] | None = None
        self._events_received = 0

    async def run(self) -> None:
        """Serve until either side ends it."""
        self._sender = asyncio.create_task(self._outgoing.run())
        try:
            self.feed(fx.Opened())
            await self._receive_all()
        finally:
            self._outgoing.close()
            await self._finish()
            self._outgoing.ended()

    def feed(self, fact: fx.Fact) -> None:
        """Give a fact to the session and do what it asks for. Raises nothing: who tells of a commit has others to tell."""
        if self._is_broken:
            return
        pushing = isinstance(fact, fx.Committed)
        try:
            for effect in self.session.handle(fact, now_ms()):
                self._perform(effect, pushing=pushing)
        except Exception as error:  # noqa: BLE001  (a bug of ours must not end more than this link)
            self._broke(error)

    def close(self, code: str, text: str) -> None:
        """End it from this side."""
        if self.end is None:
            self.end = fx.CloseLink(code, text)
        self._outgoing.close()

    @property
    def _remote(self) -> PeerId:
        assert self.remote is not None
        return self.remote.remote

    @property
    def queued_bytes(self) -> int:
        """What waits to be sent."""
        return self._outgoing.waiting

    async def _receive_all(self) -> None:
        try:
            while (frame := await self.carrier.receive()) is not None and self.end is None:
                self.feed(fx.FrameReceived(frame))
                await self._keep_pace(len(frame))
        except MeshError as error:
            self.close(error.code, error.text)

    async def _keep_pace(self, size: int) -> None:
        """Let them wait who send faster than they may: what they send stays in their own queue meanwhile."""
        events, self._events_received = self._events_received, 0
        if self.remote is None:
            return
        wait_ms = self._performers.pace.take(self.remote.remote, events=events, size=size)
        if wait_ms:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_ms / 1000):
                    await self._outgoing.closing.wait()

    async def _finish(self) -> None:
        """Wait for what is under way; runs that the store took are stored whatever becomes of the link. What was to be answered need not be read."""
        assert self._sender is not None
        for task in self._answering:
            task.cancel()
        self._asked.broken()
        await asyncio.gather(self._sender, *self._tasks, return_exceptions=True)
        if self._outgoing.error is not None and self.end is None:
            self.end = fx.CloseLink(self._outgoing.error.code, self._outgoing.error.text)
        end = self.end or fx.CloseLink(LinkBrokenError.code, "the connection broke")
        self._join_ended(end.code, end.text)

    def _perform(self, effect: fx.Effect, *, pushing: bool) -> None:  # noqa: C901, PLR0912  (every effect in one place)
        match effect:
            case fx.SendFrame(frame, may_wait):
                self._enqueue(frame, pushing=pushing, may_wait=may_wait)
            case fx.CloseLink(code, text):
                self.close(code, text)
            case fx.Established():
                self.remote = effect
                self._owner.established(self, effect)
            case fx.StoreRun():
                self._events_received += len(effect.run.events)
                self._spawn(self._store_run(effect))
            case fx.ReadRuns():
                self._spawn(self._read_runs(effect), answers=True)
            case fx.FindEvents():
                self._spawn(self._find_events(effect), answers=True)
            case fx.ReadLocator():
                self._spawn(self._read_locator(effect), answers=True)
            case fx.DecideJoin():
                self._spawn(self._decide_join(effect))
            case fx.PassJoin(asked):
                self._owner.pass_on(fx.JoinPassed(asked), self)
            case fx.ReturnRefusal():
                self._owner.return_refusal(effect)
            case fx.TakeOffer():
                self._spawn(self._take_offer(effect))
            case fx.Knocked():
                self.knocked = effect
                self._owner.knocked(effect, self.carrier.address)
            case fx.OpenGroup():
                self._spawn(self._begin_group(effect))
            case fx.ReadBlob() | ReadPossession():
                self._spawn(self._read(effect), answers=True)
            case fx.BlobArrived() | PossessionArrived():
                self._asked.arrived(effect)
            case RoundsHeard(message):
                self._performers.custody.hear_rounds(self._remote, message)
            case fx.RecordsHeard(group, entries):
                self._performers.neighbours.hear_records(self._remote, group, entries)
            case fx.SitesHeard(group, entries):
                self._performers.neighbours.hear_sites(self._remote, group, entries)
            case fx.DigestsHeard(message):
                self._performers.hear_digests(self._remote, message)
            case fx.JoinEnded(_, code, text):
                self._join_ended(code, text)
            case fx.BackfillEnded() | fx.PhaseChanged():
                pass
            case _:
                assert_never(effect)

    def _enqueue(self, frame: bytes, *, pushing: bool, may_wait: bool) -> None:
        if pushing:
            failpoint("push.before_send")
        if not self._outgoing.put(frame, may_wait=may_wait):
            self.close(ReaderTooSlowError.code, "the other side does not read what it is sent")
            return
        if pushing:
            failpoint("push.after_send")

    def _spawn(self, work: Coroutine[None, None, None], *, answers: bool = False) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # Cancelled before it began it would be missed.
        if answers:
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except StoreError as error:
            self._owner.failed(error)
            self.close(error.code, "the disk is full" if isinstance(error, DiskFullError) else error.text)
        except Exception as error:  # noqa: BLE001  (see `feed`)
            self._broke(error)

    def _broke(self, error: Exception) -> None:
        self._is_broken = True
        self._owner.report(error)
        self.close(LocalProtocolError.code, "an error of this peer; its log says more")

    async def _store_run(self, effect: fx.StoreRun) -> None:
        code: str | None = None
        try:
            await self._performers.store.append(effect.certificate, effect.run)
        except EventRejectedError as error:
            code = error.code
        failpoint("sync.after_store")
        self.feed(fx.RunStored(effect, code))

    async def _read_runs(self, effect: fx.ReadRuns) -> None:
        if self._pages_read:
            failpoint("sync.between_pages")
        self._pages_read += 1
        page = await self._performers.store.read_after(effect.group, effect.log, effect.positions, effect.size_max)
        self.feed(fx.RunsRead(effect, page))

    async def _find_events(self, effect: fx.FindEvents) -> None:
        held = await self._performers.store.held(effect.group, effect.events)
        self.feed(fx.EventsFound(effect, frozenset(held)))

    async def _read_locator(self, effect: fx.ReadLocator) -> None:
        self.feed(fx.LocatorRead(effect, await self._performers.store.locator(effect.group, effect.log)))

    async def ask_blob(self, part: WantedPart) -> bytes:
        """A part of a blob of theirs. Raises `TransportError` if it does not come."""
        self._check_open()
        return await self._asked.blob(part)

    async def ask_possession(self, want: PossessionWant) -> Sequence[bytes]:
        """Their proofs, whatever number `want` has. Raises `TransportError`, with the code of what stands against them."""
        self._check_open()
        return await self._asked.possession(want)

    def _check_open(self) -> None:
        if self.end is not None or self.remote is None or self._outgoing.closing.is_set():
            raise LinkBrokenError("there is no link to ask on")

    async def _read(self, effect: fx.ReadBlob | ReadPossession) -> None:
        if isinstance(effect, fx.ReadBlob):
            self.feed(fx.BlobSlice(effect, await self._performers.read_blob(self._remote, effect.part)))
        else:
            self.feed(await proven(self._performers.custody, self._remote, effect))

    async def _decide_join(self, effect: fx.DecideJoin) -> None:
        code, text = None, ""
        try:
            await self._performers.decide_join(effect.asked.group, effect.asked.key, effect.asked.peer, effect.asked.name)
        except RequestError as error:
            code, text = error.code, error.text
        self.feed(fx.JoinDecided(effect, code, text))

    async def _take_offer(self, effect: fx.TakeOffer) -> None:
        taken, code, text = False, None, ""
        try:
            read_genesis(effect.genesis, effect.group)
            taken = await self._performers.take_offer(effect.remote, effect.group, effect.genesis)
        except StoreError:
            raise
        except MeshError as error:
            code, text = error.code, error.text
        self.feed(fx.OfferDecided(effect, taken, code, text))

    async def _begin_group(self, effect: fx.OpenGroup) -> None:
        code, text = None, ""
        try:
            assert self._attempt is not None
            read_genesis(effect.genesis, effect.group)
            await self._attempt.open_group(effect.group, effect.genesis)
        except StoreError:
            raise
        except MeshError as error:
            code, text = error.code, error.text
        self.feed(fx.GroupOpened(effect, code, text))

    def _join_ended(self, code: str | None, text: str) -> None:
        if self._attempt is None or self._attempt.ended.done():
            return
        if code is None:
            self._attempt.ended.set_result(None)
        else:
            self._attempt.ended.set_exception(_join_error(code, text))


def _join_error(code: str, text: str) -> MeshError:
    """The error that a joiner is shown, with the other side's code."""
    error = RequestError(text, fix="ask whoever sent the invitation")
    error.code = code
    return error
