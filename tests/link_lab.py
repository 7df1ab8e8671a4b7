"""Peers as far as links need them, in the test's own process: real stores, real sockets, and a listener as the test wants it."""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from peer.core.certificate import LogKind
from peer.core.control import Role, invite
from peer.core.group import Genesis, Invitation, read_genesis
from peer.core.identity import BlobId, GroupId, KeyPair, PeerId
from peer.core.neighbours import NO_NEIGHBOURS, Neighbours
from peer.core.relaying import WantedPart
from peer.errors import MeshError
from peer.operations.joining import Joining
from peer.store.database import open_database
from peer.store.events import SqliteEventStore, opened_event_store
from peer.store.keys import KeyFiles
from peer.store.peers import KnownPeer
from peer.transport.channel import NO_RULES, ChannelRules
from peer.transport.link_parts import LinkParts
from peer.transport.links import PeerLinks
from peer.transport.listener import PeerListener
from peer.transport.opening import Upgrades
from peer.transport.tls import ServerTls, own_tls
from tests.patience import ended

DEADLINE_S = 20.0
T = TypeVar("T")


@dataclass
class Site:
    """One peer, as far as links need it."""

    name: str
    key: KeyPair
    store: SqliteEventStore
    links: PeerLinks
    endpoint: str
    heard: str
    """Where its own listener is, whatever is in front of it."""
    stop: Callable[[], Awaitable[None]]
    """Take it down, links and listener."""
    admitted: list[PeerId] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    blobs: dict[BlobId, bytes] = field(default_factory=dict)
    expected: set[tuple[PeerId, str]] = field(default_factory=set)
    """From whom its operator expects a group of which name."""
    offered: list[tuple[PeerId, GroupId]] = field(default_factory=list)

    def role(self, group: GroupId, of: "Site") -> Role:
        """What it takes another site for."""
        return self.store.replica.groups[group].roster.role(of.key.peer_id)

    def hang_up(self) -> None:
        """End all its links, as a network would."""
        for connection in list(self.links._connections.values()):
            connection.close("link_broken", "the test cut it")

    def tips(self, group: GroupId) -> object:
        """What it holds."""
        return dict(self.store.replica.groups[group].tips)


class Lab:
    """Makes sites, and waits for what they do."""

    def __init__(self, folder: Path, stack: contextlib.AsyncExitStack, *, polling: bool = False) -> None:
        """With `polling`, no site even tries a WebSocket."""
        self._folder = folder
        self._stack = stack
        self._polling = polling

    async def enter(self, what: contextlib.AbstractAsyncContextManager[T]) -> T:
        """Something that is there until the sites made after it have stopped."""
        return await self._stack.enter_async_context(what)

    async def site(
        self,
        name: str,
        *,
        tls: bool | ServerTls = False,
        rules: ChannelRules = NO_RULES,
        endpoint: str | None = None,
        neighbours: Neighbours = NO_NEIGHBOURS,
    ) -> Site:
        """A running peer, reached at `endpoint` where that is not its listener."""
        folder = self._folder / name
        (folder / "keys").mkdir(parents=True)
        keys = KeyFiles(folder / "keys")
        key = keys.create_peer_key()
        database = await self._stack.enter_async_context(await open_database(folder / "log.db", "log"))
        store = await self._stack.enter_async_context(opened_event_store(database, keys, key, wall_ms))
        site: Site
        errors: list[Exception] = []

        async def decide(group: GroupId, invitation: bytes, peer: PeerId, joiner: str) -> None:
            await joining.decide(group, invitation, peer, joiner)
            site.admitted.append(peer)

        async def open_group(invitation: Invitation, genesis: bytes) -> None:
            await store.create_group(read_genesis(genesis, invitation.group))
            await store.put_peer(KnownPeer(invitation.member, "inviter", (invitation.endpoint,), (invitation.group,)))

        async def read_blob(_: PeerId, part: WantedPart) -> bytes | None:
            data = site.blobs.get(part.blob)
            return None if data is None else data[part.start : part.start + part.size]

        async def take_offer(remote: PeerId, group: GroupId, data: bytes) -> bool:
            site.offered.append((remote, group))
            genesis = read_genesis(data, group)
            if (remote, genesis.name) not in site.expected:
                return False
            await store.create_group(genesis)
            return True

        parts = LinkParts(
            key,
            name,
            lambda: store.incarnation,
            store,
            store.replica,
            decide,
            open_group,
            read_blob,
            lambda _event, error: errors.append(error),
            channel_rules=rules,
            take_offer=take_offer,
            neighbours=neighbours,
        )
        links = PeerLinks(parts)
        joining = Joining(key, store, store.replica, lambda: links, _NoAddresses())
        heard, stop = await self._listen(links, own_tls(key) if tls is True else tls or None, rules)
        links.endpoint = endpoint or heard
        site = Site(name, key, store, links, links.endpoint, heard, stop, errors=errors)
        return site

    async def _listen(self, links: PeerLinks, tls: ServerTls | None, rules: ChannelRules) -> tuple[str, Callable[[], Awaitable[None]]]:
        """Let links run and a listener bring more of them: where, and what ends both."""
        if self._polling:
            links.upgrades = _NoUpgrades()
        listener = PeerListener(links, tls=tls, rules=rules)
        await listener.start(())
        heard = await listener.listen("127.0.0.1", 0)
        running = asyncio.create_task(links.run())

        async def stop() -> None:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError, MeshError):
                await ended(running, f"the links at {heard}")
            await listener.stop()

        self._stack.push_async_callback(stop)
        return heard, stop

    async def found(self, site: Site) -> GroupId:
        """A group that `site` owns."""
        genesis = Genesis("lab", (site.key.peer_id,), os.urandom(32), wall_ms(), {})
        await site.store.create_group(genesis)
        return genesis.group

    async def invitation(self, site: Site, group: GroupId, role: Role = Role.WRITER, *, door: Site | None = None, for_ms: int = 60_000) -> Invitation:
        """From an admin, to be used at `door`, its own if there is none; good for that long."""
        seed, door = os.urandom(32), door or site
        await site.store.write(group, LogKind.CONTROL, [invite(KeyPair(seed).public, role, wall_ms() + for_ms)])
        return Invitation(group, "lab", site.key.peer_id, door.key.peer_id, door.endpoint, role, wall_ms() + 60_000, seed)

    async def wait(self, condition: Callable[[], bool]) -> None:
        """Until `condition` holds."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110  (what is waited for has no event of its own)
                await asyncio.sleep(0)


class _NoUpgrades(Upgrades):
    """A site that takes every address for one where WebSockets are refused."""

    def are_refused(self, endpoint: str, at_ms: int) -> bool:
        return bool(endpoint and at_ms)


class _NoAddresses:
    """A site of the lab is told whom to dial."""

    async def remember(self, peer: PeerId, name: str, endpoint: str, group: GroupId) -> None:
        raise AssertionError((peer, name, endpoint, group))


def wall_ms() -> int:
    """Unix time."""
    return time.time_ns() // 1_000_000


def target(site: Site, endpoint: str = "") -> "Target":
    """`site`, as somebody to dial."""
    return Target(site.key.peer_id, site.name, (endpoint or site.endpoint,))


@dataclass(frozen=True)
class Target:
    """Somebody to dial."""

    peer: PeerId
    name: str
    endpoints: tuple[str, ...]
    source: str = "manual"
    paused: bool = False
    hints: frozenset[str] = frozenset()
    learned_from: PeerId | None = None
    ttl: int | None = None
