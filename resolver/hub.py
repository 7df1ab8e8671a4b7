"""Peers that a hub tells of. A convenience and never a need: what it told is kept, and a dead hub changes nothing.

Its word is a hint. Only who is on the roster of one of our groups, or was named by the operator for a group, is dialled by it, and only where hints
may lead; who is there is proved in the handshake. So a hub cannot make us speak of a group to anybody else.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from peer.core.control import Role
from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import Replica
from peer.core.names import hive_of
from peer.errors import MeshError, ResolveError
from peer.sync.reconnect import delay_ms
from resolver.base import ChangeListener, KnownPeer, Listeners, PeerResolver, SourceState
from resolver.hub_answers import describe, read_peers
from resolver.hub_cache import CacheFile, Kept, Seen, read_kept, write_kept
from resolver.hub_client import HubClient
from resolver.hub_events import PING_S, hear
from resolver.hub_presence import HubPresence

SOURCE = "hub"
GAP_S = 5.0
"""Between two looks, however much is announced."""

LOOKS_MAX = 10
"""How many peers are asked for by name in one look; the others wait for the next."""

LOOK_AGAIN_S = 600.0
"""How long what a peer says of itself is taken as it is, and how long one that says nothing of use is not asked for again."""

ENDPOINTS_MAX = 8
SHORT_DIGITS = 8
LATE = 3
"""After how many intervals without a look nobody is known to be online or not."""


class Pace(NamedTuple):
    """How often the hub is spoken to, in seconds."""

    interval_s: float
    gap_s: float = GAP_S
    ping_s: float = PING_S


class Known(NamedTuple):
    """What tells which peers are of use here."""

    replica: Replica
    operator: PeerResolver
    """What the operator said: which groups are expected from whom."""
    report: Callable[[str, Exception], None]
    """Takes what happened, as a constant, and the error: for the log."""


class HubPeerResolver(PeerResolver):
    """One hub, asked now and then."""

    def __init__(self, client: HubClient, presence: HubPresence, known: Known, cache: CacheFile, *, pace: Pace, ttl: int) -> None:
        """Says from the start what is in the cache."""
        self._client, self._presence, self._known, self._cache, self._pace, self._ttl = client, presence, known, cache, pace, ttl
        self._hub = client.endpoint.url
        kept = read_kept(cache.load(), self._hub)
        presence.swarm, presence.joined = kept.swarm, kept.joined
        self._seen = {each.listed.swarm: each for each in kept.seen}
        self._written = write_kept(self._hub, kept)
        self._listeners = Listeners()
        self._hint = asyncio.Event()
        self._channels: tuple[str, ...] = ()
        self._channels_changed = asyncio.Event()
        self._state = SourceState(SOURCE, "ok")
        self._beaten_s = self._looked_s = float("-inf")
        self._peers: tuple[KnownPeer, ...] = ()
        self._online: Mapping[PeerId, bool] = {}
        self.publish()

    def peers(self) -> Sequence[KnownPeer]:
        """Everybody of use that the hub told of last."""
        return self._peers

    def is_online(self, peer: PeerId) -> bool | None:
        """What the hub said, if it did so lately."""
        is_late = time.monotonic() - self._looked_s > LATE * self._pace.interval_s + self._pace.gap_s
        return None if is_late else self._online.get(peer)

    def states(self) -> Sequence[SourceState]:
        """Whether the hub answers."""
        return [self._state]

    def subscribe(self, listener: ChangeListener) -> Callable[[], None]:
        """Call `listener` when the hub tells something new, or a roster makes it of use."""
        return self._listeners.subscribe(listener)

    def roster_changed(self) -> None:
        """Others may be of use now, and other hives."""
        self.publish()
        if self._wanted() != self._presence.joined:
            self._hint.set()

    def publish(self) -> None:
        """Say what is of use now."""
        peers = tuple(self._of_use())
        online = {
            each.described.peer: each.listed.online for each in self._seen.values() if each.described is not None and each.listed.online is not None
        }
        changed = (peers, online) != (self._peers, self._online)
        self._peers, self._online = peers, online
        if changed:
            self._listeners.tell()

    async def run(self) -> None:
        """Ask and listen until cancelled."""
        listening = asyncio.create_task(self._listen_forever())
        try:
            await self._ask_forever()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await self._client.close()

    async def _ask_forever(self) -> None:
        failures = 0
        while True:
            self._hint.clear()
            try:
                await self._ask()
                refused = [self._presence.refused[hive] for hive in sorted(self._presence.refused)]
                self._state = SourceState(SOURCE, "failing" if refused else "ok", refused[0] if refused else None)
                failures = 0
            except ResolveError as error:
                failures += 1
                self._state = SourceState(SOURCE, "failing", f"{error.text}; {error.fix} [{error.code}]")
            except Exception as error:  # noqa: BLE001  (a bug of ours must end neither the asking nor the peer)
                failures += 1
                self._known.report("asking the hub ended by an error of this peer", error)
                self._state = SourceState(SOURCE, "failing", "an error of this peer; its log says more")
            await self._keep()
            await self._wait(failures)

    async def _wait(self, failures: int) -> None:
        """After a failure nothing hurries the next try; else a hint does."""
        if failures:
            wait_s = delay_ms(failures - 1, random.random()) / 1000  # noqa: S311  (spreads retries)
            await asyncio.sleep(max(wait_s, self._client.quiet_s))
            return
        await asyncio.sleep(self._pace.gap_s)
        left_s = self._pace.interval_s * (0.75 + random.random() / 2) - self._pace.gap_s  # noqa: S311  (spreads the calls of many peers)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, left_s)):
                await self._hint.wait()

    async def _ask(self) -> None:
        presence = self._presence
        await presence.register()
        if time.monotonic() - self._beaten_s > self._pace.interval_s / 2:
            await presence.beat()
            self._beaten_s = time.monotonic()
        await presence.join(self._wanted())
        await self._look()
        channels = ("map:discovery", *(f"map:hive:{each}" for each in sorted(presence.hive_ids.values())))
        if channels != self._channels:
            self._channels = channels
            self._channels_changed.set()

    async def _look(self) -> None:
        """Who is there, and what those say of themselves who are new or were not asked for long."""
        answer = await self._client.call("GET", f"/map/peers/{self._presence.swarm}")
        if not answer.is_ok:
            raise self._presence.lost(answer, "the list of peers")
        seen = {}
        for listed in read_peers(answer.document):
            old = self._seen.get(listed.swarm)
            moved = old is None or old.listed.endpoint != listed.endpoint
            seen[listed.swarm] = Seen(listed, old.described if old else None, float("-inf") if old is None or moved else old.looked_s)
        self._seen = seen
        self._looked_s = time.monotonic()
        self.publish()  # Who left goes at once, whatever becomes of the rest.
        due = sorted((each for each in seen.values() if time.monotonic() - each.looked_s > LOOK_AGAIN_S), key=lambda each: each.looked_s)
        for each in due[:LOOKS_MAX]:
            swarm = each.listed.swarm
            found = await self._client.call("GET", f"/map/swarms/{swarm}")
            seen[swarm] = Seen(each.listed, describe(found.document) if found.is_ok else None, time.monotonic())
            self.publish()
        if len(due) > LOOKS_MAX:
            self._hint.set()

    async def _listen_forever(self) -> None:
        failures = 0
        while True:
            while not self._channels:
                await self._channels_changed.wait()
            self._channels_changed.clear()
            hearing = asyncio.create_task(self._listen(self._channels))
            changing = asyncio.create_task(self._channels_changed.wait())
            started_s = time.monotonic()
            try:
                await asyncio.wait([hearing, changing], return_when=asyncio.FIRST_COMPLETED)
            finally:
                hearing.cancel()
                changing.cancel()
                await asyncio.gather(hearing, changing, return_exceptions=True)
            self._hint.set()  # Something may have been announced while nobody listened.
            failures = 0 if time.monotonic() - started_s > self._pace.ping_s else failures + 1
            await asyncio.sleep(max(self._pace.gap_s, delay_ms(failures, random.random()) / 1000))  # noqa: S311  (spreads retries)

    async def _listen(self, channels: Sequence[str]) -> None:
        with contextlib.suppress(MeshError, OSError):
            await self._client.pace()
            context = await self._client.context()
            await hear(self._hub, context, self._client.key, channels, self._hint.set, ping_s=self._pace.ping_s)

    async def _keep(self) -> None:
        kept = Kept(self._presence.swarm, self._presence.joined, tuple(self._seen.values()))
        data = write_kept(self._hub, kept)
        if data != self._written:
            await asyncio.to_thread(self._cache.save, data)
            self._written = data

    def _names(self) -> Iterable[str]:
        """Of our groups, and of those that are to be."""
        replica = self._known.replica
        yield from (view.genesis.name for view in replica.groups.values() if view.roster.role(self._presence.peer) is not Role.NONE)
        for entry in self._known.operator.peers():
            yield from entry.expects

    def _wanted(self) -> frozenset[str]:
        return frozenset(hive_of(name) for name in self._names())

    def _of_use(self) -> Iterable[KnownPeer]:
        """Those of the peers that were seen who may share something with us."""
        expected = {entry.peer: {hive_of(name) for name in entry.expects} for entry in self._known.operator.peers()}
        found: dict[PeerId, list[Seen]] = {}
        for each in self._seen.values():
            if each.described is not None and each.described.peer != self._presence.peer:
                found.setdefault(each.described.peer, []).append(each)
        for peer in sorted(found):
            hives = frozenset().union(*(each.listed.hives for each in found[peer]))
            groups = frozenset(
                group
                for group, view in self._known.replica.groups.items()
                if hive_of(view.genesis.name) in hives and view.roster.role(peer) is not Role.NONE
            )
            if groups or hives & expected.get(peer, set()):
                yield _known_peer(peer, found[peer], groups, self._ttl)


def _known_peer(peer: PeerId, seen: Sequence[Seen], groups: frozenset[GroupId], ttl: int) -> KnownPeer:
    """One peer of what its swarms say. Its own signed word, the newest, goes before what anybody may have written."""
    described = sorted((each.described for each in seen if each.described is not None), key=lambda each: -1 if each.seq is None else each.seq)
    newest = described[-1]
    if newest.seq is not None:
        endpoints = newest.endpoints
    else:
        endpoints = tuple(dict.fromkeys(endpoint for each in described for endpoint in each.endpoints))[:ENDPOINTS_MAX]
    return KnownPeer(peer, newest.name or peer.hex()[:SHORT_DIGITS], endpoints, groups, SOURCE, hints=frozenset(endpoints), ttl=ttl)
