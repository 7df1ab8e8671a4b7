"""Leaving a group: a request in one's own control log, which an admin's peer answers by a removal that keeps everything; then the group is forgotten.

Nobody decides on itself, so leaving is not done by who leaves. The request stands until it is answered, also if that takes days; who cannot wait
forgets the group at once, and stays on the roster until an admin takes it off. An owner stays an owner for ever: the group's id names it.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from peer.core.certificate import LogKind
from peer.core.control import Role, member_leave
from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import Commit, EventStore, GroupView, Replica
from peer.errors import NoChangeError, NotAllowedError, RequestError
from peer.operations.deciding import admins
from peer.operations.json_form import Json
from peer.operations.membership import Membership
from peer.operations.references import find_group

POLL_S = 0.02
ANSWER_DELAY_S = 2.0
"""How much longer each admin waits for the more senior ones to answer."""

ADMINS_WAITED_FOR_MAX = 5
SENDING_MS = 2_000
"""How long the request of somebody who does not wait for the answer has to reach others: forgotten sooner it would have been written for nobody."""


class LeavingStore(EventStore, Protocol):
    """The store, as far as it keeps what this site has left."""

    async def forget_group(self, group: GroupId) -> None:
        """Do as if `group` were not here."""
        ...

    async def leaving(self) -> Sequence[GroupId]:
        """Groups that this site has asked to leave."""
        ...

    async def begin_leaving(self, group: GroupId) -> None:
        """Remember that this site wants to leave `group`."""
        ...


class Book(Protocol):
    """Who is expected to share what."""

    async def forget_group(self, group: GroupId) -> None:
        """Nobody is expected to share `group` any more."""
        ...


class Leaving:
    """Leaves groups, and answers those who want to leave."""

    def __init__(self, peer: PeerId, parts: tuple[LeavingStore, Replica, Book, Membership], report: Callable[[str, BaseException], None]) -> None:
        """For the site `peer`. `report` is told of requests that could not be answered."""
        self._peer = peer
        self._store, self._replica, self._book, self._membership = parts
        self._report = report
        self._changed = asyncio.Event()
        self._forgetting = asyncio.Lock()

    async def leave(self, reference: str, *, now: bool, timeout_ms: int) -> Json:
        """Ask to be removed, wait for the answer, and forget the group. With `now` it is forgotten as soon as others may have heard."""
        if timeout_ms < 0:
            raise RequestError("a time to wait is 0 or more", fix="leave it out")
        group, view = find_group(self._replica, reference)
        role = view.roster.role(self._peer)
        asked = role not in (Role.NONE, Role.OWNER)
        if asked:
            await self._store.begin_leaving(group)
            await self._ask(group, view)
        if asked:
            await self._until_removed(group, SENDING_MS if now else timeout_ms)
        removed = view.roster.role(self._peer) is Role.NONE
        if removed or now or not asked:
            await self._forget(group)
        return {
            "group_id": group.hex(),
            "name": view.genesis.name,
            "role": role.label,
            "asked": asked,
            "removed": removed,
            "forgotten": group not in self._replica.groups,
        }

    def is_leaving(self, view: GroupView) -> bool:
        """True while a request of this site waits for an answer."""
        return self._peer in view.roster.leaving

    async def run(self) -> None:
        """Forget what this site has left, and answer others, until cancelled."""
        end = self._store.subscribe(self._committed)
        try:
            while True:
                self._changed.clear()
                try:
                    await self._finish()
                    await self._answer_all()
                except RequestError as error:
                    self._report("what somebody asked for when leaving could not be done yet", error)  # The next change tries again.
                await self._changed.wait()
        finally:
            end()

    def _committed(self, commit: Commit) -> None:
        if commit.certificate.kind is LogKind.CONTROL:
            self._changed.set()

    async def _ask(self, group: GroupId, view: GroupView) -> None:
        if not self.is_leaving(view):
            await self._store.write(group, LogKind.CONTROL, [member_leave(view.roster.standing(self._peer).now.live)])

    async def _until_removed(self, group: GroupId, timeout_ms: int) -> None:
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                while (view := self._replica.groups.get(group)) and view.roster.role(self._peer) is not Role.NONE:  # noqa: ASYNC110
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            return

    async def _finish(self) -> None:
        """Groups that this site wanted to leave: forget those that it was removed from, ask again where a crash came between."""
        for group in await self._store.leaving():
            view = self._replica.groups.get(group)
            if view is not None and view.roster.role(self._peer) is Role.NONE:
                await self._forget(group)
            elif view is not None:
                await self._ask(group, view)

    async def _forget(self, group: GroupId) -> None:
        async with self._forgetting:
            if group in self._replica.groups:
                await self._store.forget_group(group)
                await self._book.forget_group(group)

    async def _answer_all(self) -> None:
        for group, view in list(self._replica.groups.items()):
            if view.roster.role(self._peer) >= Role.ADMIN:
                for peer in sorted(view.roster.leaving - {self._peer}):
                    await self._answer(group, view, peer)

    async def _answer(self, group: GroupId, view: GroupView, peer: PeerId) -> None:
        """The most senior admin first: others find it done. One answer too many would do no harm."""
        above = min(admins(view).index(self._peer), ADMINS_WAITED_FOR_MAX) if self._peer in admins(view) else 0
        await asyncio.sleep(above * ANSWER_DELAY_S)
        if peer not in view.roster.leaving:
            return
        try:
            await self._membership.remove(group.hex(), peer.hex(), since_ms=None, dry_run=False)
        except (NotAllowedError, NoChangeError):
            return  # Somebody more senior answers, or has.
