"""Who is dialled, and when again: one task for each peer that is to be linked, for ever, with jittered back-off between failures.

A peer with several addresses is tried at the one that worked last first. The others follow while it does not answer, so that an address where
something accepts connections and says nothing costs seconds and no more. The first to prove itself stays.
"""

import asyncio
import random
from collections.abc import Collection, Iterable, Sequence

from peer.core.identity import PeerId
from peer.core.interfaces import DialTarget
from peer.errors import AddressNotAllowedError, DuplicateLinkError, LinkBrokenError, MeshError, TransportError
from peer.sync.reconnect import delay_ms, failures_after
from peer.transport.connection import Connection, now_ms
from peer.transport.dialler import Server, dial
from peer.transport.refusals import AskedToWaitError

HEAD_START_S = 2.0
"""How long an address is tried alone before the next one is tried, too."""

NOBODY_THERE = frozenset({TransportError.code, AddressNotAllowedError.code})
"""Errors that say less than what somebody answered at another address."""


class Dialler:
    """Keeps a link to one peer."""

    def __init__(self, target: DialTarget, server: Server) -> None:
        self._target = target
        self._server = server
        self._failures = 0
        self._hurry = asyncio.Event()
        self._errors: dict[str, MeshError | None] = {}
        self._worked: str | None = None
        self._not_before_ms: dict[str, int] = {}
        """When an address may be dialled again that asked us to wait, by the clock of `now_ms`."""
        self.next_try_ms: int | None = None
        """When it dials again, by the clock of `now_ms`; None while it does."""
        self.tries = 0
        """How often all endpoints were tried."""
        self.endpoint = target.endpoints[0]
        """What was dialled last."""
        self.is_retired = False
        """True if it ends with the link that stands."""
        self.last_error: MeshError | None = None
        """Why there was no link when all were tried last: what somebody answered, else why nobody did at the best address."""

    def error_at(self, endpoint: str) -> MeshError | None:
        """Why there was no link at this address last."""
        return self._errors.get(endpoint)

    def retarget(self, target: DialTarget) -> None:
        """If the addresses changed, try them now."""
        changed = (target.endpoints, target.hints) != (self._target.endpoints, self._target.hints)
        if target.endpoints[0] != self._target.endpoints[0]:
            self._worked = None  # Another is the best now.
        self._target = target
        if changed:
            self._errors = {endpoint: error for endpoint, error in self._errors.items() if endpoint in target.endpoints}
            self._not_before_ms = {endpoint: at for endpoint, at in self._not_before_ms.items() if endpoint in target.endpoints}
            self._hurry.set()

    def hurry(self) -> None:
        """Do not wait for the next try: the operator says so."""
        self._not_before_ms.clear()
        self._hurry.set()

    async def run(self) -> None:
        """Dial whenever there is no link."""
        while True:
            while self._server.is_linked(self._target.peer):
                await self._server.changed()
            if self.is_retired:
                return
            await self._try_all()
            self.tries += 1
            self.last_error = self._telling_error()
            if not self.is_retired and not self._server.is_linked(self._target.peer):
                await self._wait()

    async def _try_all(self) -> None:
        """Try the addresses, each after a head start of the one before; where a link comes of it, return when that has ended."""
        self.next_try_ms = None
        attempts: dict[str, asyncio.Task[bool]] = {}
        linked = asyncio.create_task(self._linked())
        try:
            for endpoint in self._due():
                self.endpoint = endpoint
                attempts[endpoint] = asyncio.create_task(self._attempt(endpoint))
                await asyncio.wait([attempts[endpoint], linked], timeout=HEAD_START_S, return_when=asyncio.FIRST_COMPLETED)
                if linked.done() or _was_good(attempts[endpoint]):
                    break
            while not linked.done() and (under_way := [each for each in attempts.values() if not each.done()]):
                await asyncio.wait([*under_way, linked], return_when=asyncio.FIRST_COMPLETED)
            await self._stay(attempts)
        finally:
            await _cancel([linked, *attempts.values()])

    async def _stay(self, attempts: dict[str, "asyncio.Task[bool]"]) -> None:
        """Leave only the link that stands, until it ends; count how it went."""
        link = self._server.link_to(self._target.peer)
        winner = link.endpoint if link is not None else None
        if winner in attempts:
            self._worked = self.endpoint = winner
        await _cancel([task for endpoint, task in attempts.items() if endpoint != winner and link is not None])
        ended = await asyncio.gather(*attempts.values(), return_exceptions=True)
        if attempts and (link is None or winner in attempts):
            self._failures = failures_after(self._failures, was_up_to_date=True in ended)

    async def _attempt(self, endpoint: str) -> bool:
        """Whether a link came of it that reached the end of its backfill, once that has ended."""
        peer, proved, was_up_to_date = self._target.peer, False, False
        self._not_before_ms.pop(endpoint, None)
        try:
            connection = await dial(self._server, peer, endpoint, is_hint=endpoint in self._target.hints)
        except MeshError as error:
            self._errors[endpoint] = error
            if isinstance(error, AskedToWaitError):
                self._not_before_ms[endpoint] = now_ms() + error.wait_ms
        except Exception as error:  # noqa: BLE001  (a bug of ours must not end the trying)
            self._server.report(error)
            self._errors[endpoint] = TransportError("an error of this peer; its log says more")
        else:
            proved, was_up_to_date = connection.remote is not None, connection.session.was_up_to_date
            self._errors = {**({} if proved else self._errors), endpoint: _ending(connection)}
        if proved:
            self._worked = endpoint
        else:
            failure = self._errors[endpoint]
            self._server.neighbours.tried(peer, endpoint, failure.code if failure else LinkBrokenError.code)
        return was_up_to_date

    def _due(self) -> list[str]:
        """The addresses that did not ask us to wait, the one that worked last first."""
        due = [endpoint for endpoint in self._target.endpoints if self._not_before_ms.get(endpoint, 0) <= now_ms()]
        return sorted(due, key=lambda endpoint: endpoint != self._worked)

    def _telling_error(self) -> MeshError | None:
        errors = [error for endpoint in self._target.endpoints if (error := self._errors.get(endpoint)) is not None]
        return next((error for error in errors if error.code not in NOBODY_THERE), errors[0] if errors else None)

    async def _linked(self) -> None:
        while not self._server.is_linked(self._target.peer):
            await self._server.changed()

    async def _wait(self) -> None:
        """Until it is time again: for those that asked us to wait when they said, exactly."""
        now = now_ms()
        waits = [at - now for at in self._not_before_ms.values() if at > now]
        if len(waits) < len(self._target.endpoints):
            waits.append(delay_ms(max(0, self._failures - 1), random.random()))  # noqa: S311  (spreads retries)
        wait_ms = min(waits)
        self.next_try_ms = now + wait_ms
        self._hurry.clear()
        try:
            async with asyncio.timeout(wait_ms / 1000):
                await self._hurry.wait()
        except TimeoutError:
            return


class Dialling:
    """The diallers of a peer, one for each that is to be linked."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._running: dict[PeerId, tuple[Dialler, asyncio.Task[None]]] = {}
        self._retired: set[asyncio.Task[None]] = set()
        self.targets: dict[PeerId, DialTarget] = {}
        self.resting: Collection[PeerId] = ()

    def set_targets(self, targets: Iterable[DialTarget], resting: Collection[PeerId] = ()) -> None:
        """Dial these from now on, and nobody else; those that are `resting` are known, and not dialled now."""
        wanted = {target.peer: target for target in targets}
        for peer in self.targets.keys() - wanted.keys():
            self._let_go(peer)
        self.targets, self.resting = wanted, resting
        for peer, target in wanted.items():
            known = self._running.get(peer)
            if target.paused or not target.endpoints or peer in resting:
                self._stop(peer)
            elif known is not None:
                known[0].retarget(target)
            else:
                dialler = Dialler(target, self._server)
                self._running[peer] = (dialler, asyncio.create_task(dialler.run()))

    def shown(self) -> list[PeerId]:
        """Who is dialled, or was named by the operator."""
        return [peer for peer, target in self.targets.items() if peer not in self.resting or target.source == "manual"]

    def of(self, peer: PeerId) -> Dialler | None:
        """Who keeps dialling `peer`."""
        return self._running[peer][0] if peer in self._running else None

    def tasks(self) -> list["asyncio.Task[None]"]:
        """What is under way, to be ended."""
        return [*(task for _, task in self._running.values()), *self._retired]

    def _let_go(self, peer: PeerId) -> None:
        """Nobody knows any more where `peer` is. A link over which a group is spoken about stays for as long as it stands."""
        link = self._server.link_to(peer)
        if link is None or peer not in self._running or not link.session.shared_groups():
            self._stop(peer)
            return
        dialler, task = self._running.pop(peer)
        dialler.is_retired = True
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)

    def _stop(self, peer: PeerId) -> None:
        known = self._running.pop(peer, None)
        if known is not None:
            known[1].cancel()


def _ending(connection: Connection) -> MeshError | None:
    """Why a link ended, as something to show."""
    if connection.end is None or connection.end.code == DuplicateLinkError.code:
        return None
    error = TransportError(connection.end.text)
    error.code = connection.end.code
    return error


def _was_good(attempt: "asyncio.Task[bool]") -> bool:
    return attempt.done() and not attempt.cancelled() and attempt.exception() is None and attempt.result()


async def _cancel(tasks: Sequence["asyncio.Task[object]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
