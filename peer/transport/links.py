"""All links of this peer: accepts and dials them, tells each session what was committed, and keeps one of two between the same peers.

Decisions are the sessions' and `sync.reconnect`'s; here they meet sockets, tasks and time.
"""

import asyncio
import os
import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from peer.core.certificate import LogKind
from peer.core.group import Invitation
from peer.core.identity import NONCE_SIZE, GroupId, PeerId
from peer.core.interfaces import Commit, DialTarget
from peer.core.neighbours import Told
from peer.core.relaying import WantedPart
from peer.errors import DiskFullError, DuplicateLinkError, MeshError, ShuttingDownError, StoreError, TransportError
from peer.sync import effects as fx
from peer.sync.asking import AskingOnce
from peer.sync.handshake import NO_CHANNEL_KEY, Handshake, LocalSide
from peer.sync.messages import Join
from peer.sync.reconnect import LinkFacts, new_link_stays
from peer.sync.session import SyncSession
from peer.sync.sources import Sources
from peer.sync.surroundings import Surroundings
from peer.transport.carrier import Carrier
from peer.transport.connection import Connection, JoinAttempt, now_ms
from peer.transport.dialler import dial
from peer.transport.dialling import Dialler, Dialling
from peer.transport.join_call import JoinCall
from peer.transport.link_parts import LinkParts
from peer.transport.opening import Upgrades
from peer.transport.pending import PendingPeers
from peer.transport.sightings import Sightings
from peer.transport.status import link_status

TICK_S = 1.0
LEARN_TIMEOUT_S = 5.0
LEARN_POLL_S = 0.02
UNPROVEN_MAX = 64
"""Connections at once whose other end dialled us and has not yet proved who it is."""

UNPROVEN_PER_ADDRESS_MAX = 16
"""Those of them that one address may have."""

PROCESS_SIZE = 16


class PeerLinks:
    """Every connection of this peer."""

    def __init__(self, parts: LinkParts) -> None:
        self.key = parts.key
        self.store = parts.store
        self.decide_join, self.take_offer = parts.decide_join, parts.take_offer
        self.replica, self.read_blob = parts.replica, parts.read_blob
        self.channel_rules = parts.channel_rules
        self.pace, self.neighbours = parts.pace, parts.neighbours
        self.hear_digests, self.custody, self.callers = parts.hear_digests, parts.custody, parts.callers
        self.upgrades = Upgrades()
        self._parts = parts
        self._surroundings = Surroundings(parts.replica, Sources(), is_wanted=lambda peer: peer in self._dialling.targets)
        self._pending = PendingPeers()
        self._connections: dict[int, Connection] = {}
        self._facts: dict[int, LinkFacts] = {}
        self._numbers = 0
        self._process = os.urandom(PROCESS_SIZE)
        self._dialling = Dialling(self)
        self._joins: set[asyncio.Task[None]] = set()
        self._calls: dict[int, JoinCall] = {}
        self._learned: dict[PeerId, tuple[str, ...]] = {}
        self._sightings = Sightings(parts.peer_timeout_s)
        self._failure: asyncio.Future[None] | None = None
        self._changed = asyncio.Event()
        self._is_stopping = False
        self.endpoint: str | None = None
        """Where others dial this peer; the listener knows."""

    async def run(self) -> None:
        """Keep links up until cancelled. Raises `StoreError` when the disk fails."""
        self._failure = asyncio.get_running_loop().create_future()
        unsubscribe = self.store.subscribe(self._committed)
        ticking = asyncio.create_task(self._tick_forever())
        try:
            await self._failure
        finally:
            self._is_stopping = True
            unsubscribe()
            ticking.cancel()
            await self._close_all(ticking)

    # Who is dialled

    def set_targets(self, targets: Iterable[DialTarget], resting: Collection[PeerId] = ()) -> None:
        """Dial these from now on, and nobody else; those that are `resting` are known, and not dialled now."""
        self._dialling.set_targets((target for target in targets if target.peer != self.key.peer_id), resting)
        self._sightings.look_for(self._dialling.targets)
        self._feed_all(fx.GroupsChanged())

    async def join(self, invitation: Invitation) -> None:
        """Dial the member that an invitation names and ask to be let in; returns when we are, and the link stays. Gives up when cancelled.

        Raises what the other side says, or `TransportError`.
        """

        async def open_group(_group: GroupId, genesis: bytes) -> None:
            await self._parts.open_group(invitation, genesis)

        request = fx.UsedInvitation(invitation.group, invitation.key)
        attempt = JoinAttempt(request, open_group, asyncio.get_running_loop().create_future())
        task = asyncio.create_task(self._dial_to_join(invitation, attempt))
        self._joins.add(task)
        task.add_done_callback(self._joins.discard)
        try:
            await attempt.ended
        except asyncio.CancelledError:
            task.cancel()
            raise

    async def _dial_to_join(self, invitation: Invitation, attempt: JoinAttempt) -> None:
        try:
            await dial(self, invitation.member, invitation.endpoint, attempt=attempt)
        except MeshError as error:
            if not attempt.ended.done():
                attempt.ended.set_exception(error)
        finally:
            if not attempt.ended.done():
                attempt.ended.set_exception(TransportError("the link ended before the join was decided"))

    # What the listener and the diallers bring

    async def serve(
        self,
        carrier: Carrier,
        *,
        dialled: PeerId | None,
        channel_key: bytes,
        attempt: JoinAttempt | None = None,
        came_from: str | None = None,
        endpoint: str | None = None,
    ) -> Connection:
        """Run a session on `carrier` until it ends. `dialled` is who should be at the other end, None if they dialled us; `endpoint` where.

        `came_from` is whom their connections are counted to, None for nobody.
        """
        if self._is_stopping:
            raise ShuttingDownError("this peer is stopping")  # Nobody would end this link.
        if dialled is None and not self.has_room(came_from):
            raise TransportError("too many connections that have not proved who they are")
        self._numbers += 1
        handshake = Handshake(self.local_side(channel_key), dialled)
        session = SyncSession(handshake, self._surroundings, self._numbers, now_ms(), attempt.request if attempt else None)
        connection = Connection(carrier, session, self, self, number=self._numbers, attempt=attempt)
        connection.came_from, connection.endpoint = came_from, endpoint
        if came_from is not None:
            self._surroundings.guests.dialled_from(connection.number, came_from)
        self._connections[connection.number] = connection
        try:
            await connection.run()
        finally:
            self._ended(connection)
        return connection

    def local_side(self, channel_key: bytes) -> LocalSide:
        """What this peer brings to one handshake."""
        parts = self._parts
        return LocalSide(parts.key, parts.name, os.urandom(NONCE_SIZE), parts.incarnation(), self._process, parts.record(), channel_key)

    def has_room(self, came_from: str | None) -> bool:
        """Whether one more that dialled us may try to prove who it is."""
        unproven = [each for number, each in self._connections.items() if number not in self._facts and not each.session.we_dialled]
        of_address = sum(each.came_from == came_from for each in unproven) if came_from is not None else 0
        return len(unproven) < UNPROVEN_MAX and of_address < UNPROVEN_PER_ADDRESS_MAX

    def queued_bytes(self) -> int:
        """What waits to be sent on all links."""
        return sum(each.queued_bytes for each in self._connections.values())

    def established(self, connection: Connection, effect: fx.Established) -> None:
        """Keep one link of two with the same pair of peer and incarnation."""
        dialled_by_us = connection.session.we_dialled
        ours = self.key.peer_id
        facts = LinkFacts(*((ours, effect.remote) if dialled_by_us else (effect.remote, ours)), effect.process)
        for number, old in list(self._facts.items()):
            other = self._connections[number]
            assert other.remote is not None
            if (other.remote.remote, other.remote.incarnation) == (effect.remote, effect.incarnation):
                loser = other if new_link_stays(old, facts) else connection
                loser.close(DuplicateLinkError.code, "another link to the same peer stays")
        self._facts[connection.number] = facts
        self.callers.established(connection)
        if connection.endpoint is not None:
            self.neighbours.tried(effect.remote, connection.endpoint, None)
        if self._is_known(effect.remote):
            self._learned[effect.remote] = tuple(self._parts.read_record(effect.remote, effect.record))
            self._pending.forget(effect.remote)
            self.neighbours.linked(effect.remote, effect.record, dialled_by_us=dialled_by_us)
        self._changed.set()

    def _is_known(self, peer: PeerId) -> bool:
        """Whether anything about `peer` is worth remembering: strangers are many."""
        replica = self._parts.replica
        return peer in self._dialling.targets or any(replica.shares(group, peer) for group in replica.groups)

    async def ask_to_join(self, caller: PeerId, join: Join, nonce: bytes, waits: Callable[[], None]) -> bytes:
        """`caller`, who signed a request, asks to be let in: the frame that says that it is. `nonce` is what the invitation's key signed.

        `waits` is called once others have to decide. Raises `RequestError` with the code of what stands against it.
        """
        self._numbers += 1
        number, handshake = self._numbers, Handshake(self.local_side(NO_CHANNEL_KEY)._replace(nonce=nonce), None)
        self._calls[number] = JoinCall(AskingOnce(self._surroundings, handshake, number), self, waits)
        try:
            return await self._calls[number].answer(caller, join)
        finally:
            del self._calls[number]
            self._surroundings.drop_link(number)

    def pass_on(self, fact: fx.JoinPassed, connection: object) -> None:
        """Give a request to join that came over `connection` to all others."""
        for other in list(self._connections.values()):
            if other is not connection:
                other.feed(fact)

    def return_refusal(self, effect: fx.ReturnRefusal) -> None:
        """Give a refusal to the connection that waits for it."""
        waiting = self._connections.get(effect.link) or self._calls.get(effect.link)
        if waiting is not None:
            waiting.feed(fx.RefusalReturned(effect.refused))

    def knocked(self, effect: fx.Knocked, address: str) -> None:
        """Somebody who is a member of nothing here dialled."""
        self._pending.knocked(effect.peer, effect.name, effect.groups, address, time.time_ns() // 1_000_000)

    def heard_from(self, peer: PeerId, record: bytes) -> None:
        """A member said that it is there, and where, without a link."""
        self._sightings.saw(peer)
        if record:
            self._learned[peer] = tuple(self._parts.read_record(peer, record))

    def failed(self, error: StoreError) -> None:
        """The node has to stop, unless the disk is full: nothing was acknowledged then, and it goes on when there is room."""
        if not isinstance(error, DiskFullError) and self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)

    def report(self, error: Exception) -> None:
        """A bug of ours ended a link."""
        self._parts.report("a link ended by an error of this peer", error)

    def _ended(self, connection: Connection) -> None:
        del self._connections[connection.number]
        self._facts.pop(connection.number, None)
        self.callers.ended(connection)
        if connection.remote is not None and self._is_known(connection.remote.remote):
            self._sightings.saw(connection.remote.remote)
            self.neighbours.unlinked(connection.remote.remote)
            self._parts.ended(connection.remote.remote, connection.end.code if connection.end else "")
        if self._surroundings.drop_link(connection.number):
            self._feed_all(fx.SourcesChanged())
        self._changed.set()

    # What members are told of others

    def tell_records(self, peer: PeerId, group: GroupId, entries: Told) -> None:
        """Tell `peer`, if it is linked and a member, where members of `group` can be dialled: signed peer records with their TTLs."""
        self.feed_to(peer, fx.TellRecords(group, tuple(entries)))

    def tell_sites(self, peer: PeerId, group: GroupId, entries: Told) -> None:
        """Tell `peer`, if it is linked and a member, how members of `group` are: signed statuses with the links that they came over."""
        self.feed_to(peer, fx.TellSites(group, tuple(entries)))

    def feed_to(self, peer: PeerId, fact: fx.Fact) -> None:
        """Give a fact to the session of the link to `peer`, if there is one."""
        connection = self.link_to(peer)
        if connection is not None:
            connection.feed(fact)

    # What others want to know

    def is_linked(self, peer: PeerId) -> bool:
        """True while a proven link to `peer` stands."""
        return self.link_to(peer) is not None

    async def changed(self) -> None:
        """Return when some link came or went."""
        self._changed.clear()
        await self._changed.wait()

    async def own_events_learned(self, group: GroupId) -> None:
        """Return once some peer of `group` has given us all that it had, or after a while; at once if there is nobody to dial.

        What a restored or forgetful disk has lost of our own logs comes back this way, before anything is written on top of it.
        """
        try:
            async with asyncio.timeout(LEARN_TIMEOUT_S):
                while not self._has_learned(group):  # noqa: ASYNC110  (a link has no event for the end of its backfill)
                    await asyncio.sleep(LEARN_POLL_S)
        except TimeoutError:
            return

    def _has_learned(self, group: GroupId) -> bool:
        dialled = [target for target in self._dialling.targets.values() if self._parts.replica.shares(group, target.peer) and not target.paused]
        return not dialled or any(group in connection.session.backfilled_groups() for connection in self._connections.values())

    def linked_peers(self) -> list[PeerId]:
        """Everybody with whom a group is spoken about on a link, or who is dialled and linked."""
        linked = {each.remote.remote: each.session.shared_groups() for each in self._connections.values() if each.remote is not None}
        return [peer for peer, shared in linked.items() if shared or peer in self._dialling.targets]

    def pending(self) -> Sequence[Mapping[str, object]]:
        """Who dialled with a proven key and is a member of nothing here, the latest first; ids in hex."""
        return self._pending.shown()

    def forget_pending(self, peer: PeerId) -> bool:
        """Show `peer` there no more; False if it was not."""
        return self._pending.forget(peer)

    def dialable_members(self, group: GroupId) -> Sequence[tuple[PeerId, str]]:
        """Linked members of `group` with an address for each; those first that we dialled there ourselves."""
        members = self._parts.replica.groups[group].roster.members
        found = [(peer, endpoints[0]) for peer in self.group_peers(group) if peer in members and (endpoints := self.endpoints_of(peer))]
        return sorted(found, key=lambda each: (not self.is_dialled(each[0]), each[0]))

    def endpoints_of(self, peer: PeerId) -> Sequence[str]:
        """Where `peer` may be dialled for bytes: what the operator or an invitation said, then what it said itself."""
        target = self._dialling.targets.get(peer)
        return tuple(dict.fromkeys((*(target.endpoints if target else ()), *self._learned.get(peer, ()))))

    def is_hint(self, peer: PeerId, endpoint: str) -> bool:
        """Whether nobody but others says that `peer` can be dialled at `endpoint`: no operator, no invitation."""
        target = self._dialling.targets.get(peer)
        return target is None or endpoint not in target.endpoints or endpoint in target.hints

    async def ask_blob(self, peer: PeerId, part: WantedPart) -> bytes:
        """A part of a blob, asked for over the link to `peer`. Raises `TransportError` if it does not come."""
        connection = self.link_to(peer)
        if connection is None:
            raise TransportError(f"there is no link to {peer.hex()[:12]}")
        return await connection.ask_blob(part)

    def is_dialled(self, peer: PeerId) -> bool:
        """True if the link to `peer` was dialled by us: then its address is known to be good."""
        connection = self.link_to(peer)
        return connection is not None and connection.session.we_dialled

    def links(self) -> Sequence[Mapping[str, object]]:
        """One entry for each peer that is linked or dialled, as `status` shows it."""
        peers = dict.fromkeys((*self._dialling.shown(), *self.linked_peers()))
        targets = self._dialling.targets
        found = [(peer, targets.get(peer), self.link_to(peer), self._dialling.of(peer)) for peer in sorted(peers)]
        return [{**link_status(*each, self._sightings), **self.callers.shown(each[2])} for each in found]

    def link_to(self, peer: PeerId) -> Connection | None:
        """The proven link to `peer`, None while there is none."""
        return next(
            (each for each in self._connections.values() if each.remote is not None and each.remote.remote == peer and each.end is None), None
        )

    # Facts for every session

    def _committed(self, commit: Commit) -> None:
        self._feed_all(fx.Committed(commit))
        if commit.certificate.kind is LogKind.CONTROL:
            self._feed_all(fx.GroupsChanged())

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S * (0.75 + random.random() / 2))  # noqa: S311  (spreads the work of many peers on one machine)
            self._feed_all(fx.Tick())

    def _feed_all(self, fact: fx.Fact) -> None:
        for each in self._everybody():
            each.feed(fact)

    def _everybody(self) -> "list[Connection | JoinCall]":
        return [*self._connections.values(), *self._calls.values()]

    async def _close_all(self, ticking: "asyncio.Task[None]") -> None:
        tasks = [ticking, *self._joins, *self._dialling.tasks()]
        for task in tasks:
            task.cancel()
        for each in self._everybody():
            each.close(ShuttingDownError.code, "this peer is stopping")
        await asyncio.gather(*tasks, return_exceptions=True)
        while self._connections:
            await self.changed()

    def dialler_of(self, peer: PeerId) -> Dialler | None:
        """Who keeps dialling `peer`."""
        return self._dialling.of(peer)

    def group_peers(self, group: GroupId) -> list[PeerId]:
        """Linked peers that share `group`."""
        return [
            connection.remote.remote
            for connection in self._connections.values()
            if connection.remote is not None and group in connection.session.shared_groups()
        ]
