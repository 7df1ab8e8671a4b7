"""What a running peer does for its log without being asked: keeps `known.json`, looks through the log for damage, brings in what waited for others.

After a loss the members that `known.json` names are let in until the group's own decisions are back: else nobody could bring them who is not dialled.
"""

import asyncio
import time
from collections.abc import Mapping

from peer.core.certificate import LogKind
from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import Commit
from peer.store.directory import DataDirectory
from peer.store.events import SqliteEventStore
from peer.store.keys import KeyFiles
from peer.store.known import KNOWN_FILE, Known, KnownKeeper, read_known
from peer.store.recovery import CHECKED_AT_START_MAX, damage_in, waiting_path
from peer.store.salvage import Debris
from peer.store.verification import verify_log

PATROL_EVERY_S = 24 * 3600.0
PATROL_SHARE = 9.0
"""Looking through the log rests this many times as long as it works."""

REFILL_EVERY_S = 2.0
LET_IN_S = 30.0
"""How long after the first decision of a group has come members are still let in on the word of `known.json`."""


class Upkeep:
    """Of one data directory, beside its running store."""

    def __init__(self, directory: DataDirectory, store: SqliteEventStore) -> None:
        """Reads what was known before anything is written."""
        self.keeper = KnownKeeper(directory.root / KNOWN_FILE, store)
        self._directory = directory
        self._store = store
        self._known = read_known(directory.root / KNOWN_FILE)

    async def run(self) -> None:
        """Go on until cancelled. Raises `StoreCorruptError` when the log turns out to be damaged."""
        async with asyncio.TaskGroup() as tasks:
            if self._known is not None:
                await self._let_members_in(self._known, tasks)
            tasks.create_task(self.keeper.run())
            tasks.create_task(self._patrol())
            tasks.create_task(self._refill())

    async def _let_members_in(self, known: Known, tasks: asyncio.TaskGroup) -> None:
        told = {each.peer_id: frozenset(each.groups) for each in await self._store.peers()}
        for group, record in self._store.replica.groups.items():
            missing = known.members.get(group, frozenset()) - set(record.roster.members)
            if missing:
                tasks.create_task(self._let_in(group, missing, told))

    async def _let_in(self, group: GroupId, members: frozenset[PeerId], told: Mapping[PeerId, frozenset[GroupId]]) -> None:
        """Let `members` speak about `group`, until its decisions say who may."""
        decided = asyncio.Event()

        def committed(commit: Commit) -> None:
            if commit.group == group and commit.certificate.kind is LogKind.CONTROL:
                decided.set()

        replica = self._store.replica
        for peer in members:
            replica.name_peer(peer, told.get(peer, frozenset()) | {group})
        end = self._store.subscribe(committed)
        try:
            await decided.wait()
            await asyncio.sleep(LET_IN_S)
        finally:
            end()
        for peer in members:
            replica.name_peer(peer, told.get(peer, frozenset()))

    async def _patrol(self) -> None:
        """Look through the whole log now and then, slowly; at once where it was too large to be verified at the start."""
        directory = self._directory
        if directory.log_database.stat().st_size <= CHECKED_AT_START_MAX:
            await asyncio.sleep(PATROL_EVERY_S)
        while True:
            damage = damage_in(await verify_log(directory.log_database, KeyFiles(directory.keys), _Rest()))
            if damage is not None:
                raise damage
            await asyncio.sleep(PATROL_EVERY_S)

    async def _refill(self) -> None:
        """Append what waited for events that others have, once these are here."""
        path, seen = waiting_path(self._directory), -1
        while path.exists():
            if seen != self._store.position:
                with Debris(path) as debris:
                    await debris.append_to(self._store)
                    await asyncio.to_thread(debris.forget_held)
                    left = debris.waiting
                if not left:
                    path.unlink()
                    return
                seen = self._store.position
            await asyncio.sleep(REFILL_EVERY_S)


class _Rest:
    """Sleeps as long as its share, after each piece of work."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    async def __call__(self) -> None:
        await asyncio.sleep(PATROL_SHARE * (time.monotonic() - self._since))
        self._since = time.monotonic()
