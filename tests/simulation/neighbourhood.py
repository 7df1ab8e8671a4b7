"""Whom a simulated peer knows and dials: the real overlay, and the real gossip table, around them what the wiring of a peer does."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gossip.exchange import Exchange, Rounds
from gossip.record import VALID_FOR_MAX_S, PeerRecord, Reachability, SignedRecord, sign_record
from gossip.rules import GossipRules
from gossip.table import GossipTable
from peer.core.control import Role
from peer.core.identity import GroupId, PeerId
from peer.sync import effects as fx
from peer.sync.overlay import TURN_MS, Known, OpenLink, Overlay

if TYPE_CHECKING:
    from tests.simulation.shell import Link, Peer

RULES = GossipRules(default_ttl=8, exchange_interval_ms=10_000)
FAILURES_MIN = 2
"""A peer that was not reached so often in a row comes after others."""


class Neighbourhood:
    """Of one peer."""

    def __init__(self, peer: "Peer", known: "Iterable[Peer]", interval_ms: int, *, gossips: bool) -> None:
        """`known` are those that its operator named, or, if it does not gossip, all that it will ever know."""
        self._peer = peer
        self._known = {each.key.peer_id: each for each in known if each is not peer}
        self._interval_ms = interval_ms
        self._next_ms = 0
        self._gossips = gossips
        self._record: SignedRecord | None = None
        self.begin()

    def begin(self) -> None:
        """The peer starts: what it knew by gossip and has not kept is gone."""
        me = self._peer.key.peer_id
        self.overlay = Overlay(me)
        self.table = GossipTable(me, RULES, self._is_member)
        self.table.named = dict.fromkeys(self._known, RULES.default_ttl) if self._gossips else {}
        self._exchange = Exchange(me, RULES, self.table, self._is_member)
        self._rounds = Rounds(RULES.exchange_interval_ms)
        self._records: dict[PeerId, bytes] = {}
        self._next_ms = 0

    def record(self) -> SignedRecord:
        """Our own."""
        if self._record is None:
            self._record = self._sign_record()
        return self._record

    def _sign_record(self) -> SignedRecord:
        peer = self._peer
        endpoints = () if peer.is_hidden else (peer.endpoint,)
        reach = Reachability.OUTBOUND_ONLY if peer.is_hidden else Reachability.DIALLABLE
        return sign_record(peer.key, PeerRecord(peer.key.peer_id, 1, endpoints, reach, VALID_FOR_MAX_S))

    def established(self, remote: PeerId, record: bytes) -> None:
        """A link stands."""
        self._records[remote] = record
        self._next_ms = 0

    def heard(self, remote: PeerId, group: GroupId, entries: Iterable[tuple[bytes, int]]) -> None:
        """`remote` tells of others."""
        self.table.hear(remote, group, entries, self._peer.world.now_ms)

    def not_reached(self, target: "Peer", failures: int) -> None:
        """Nobody proved there to be `target`."""
        now_ms = self._peer.world.now_ms
        self.table.tried(target.key.peer_id, target.endpoint, "unreachable", now_ms)
        if failures >= FAILURES_MIN:
            self.overlay.failed(target.key.peer_id, now_ms)
            self._next_ms = 0

    def told_enough(self, remote: PeerId) -> None:
        """`remote` ended a link, since it has enough."""
        self.overlay.told_enough(remote, self._peer.world.now_ms)
        self._next_ms = 0

    def tick(self) -> None:
        """About once a second."""
        now_ms = self._peer.world.now_ms
        links = {link.connection.other(self._peer): link for link in self._peer.links.values() if link.facts is not None}
        if self._gossips:
            self._gossip({other.key.peer_id: link for other, link in links.items()}, now_ms)
        if now_ms >= self._next_ms:
            self._next_ms = now_ms + self._interval_ms
            self._choose(links, now_ms)

    def _gossip(self, links: "dict[PeerId, Link]", now_ms: int) -> None:
        world, group = self._peer.world, self._peer.world.group
        shared = {remote: link for remote, link in links.items() if group in link.session.shared_groups()}
        self.table.meet({remote: self._records.get(remote, b"") for remote in shared}, now_ms)
        self.table.tick(now_ms)
        for due in self._rounds.due(((remote, group) for remote in shared), self._exchange.standing, world.random.random, now_ms):
            entries = self._exchange.entries(due.peer, group, self.record().data, now_ms, due.turn)
            self._peer.feed(links[due.peer], fx.TellRecords(group, tuple(entries)))

    def _choose(self, links: "dict[Peer, Link]", now_ms: int) -> None:
        peer, world = self._peer, self._peer.world
        group = world.group
        found = {each.peer: world.by_endpoint.get(each.endpoints[0]) for each in self.table.placed() if each.endpoints}
        peers = {**{key: target for key, target in found.items() if target is not None}, **self._known}
        peers.update({other.key.peer_id: other for other in links})
        known = [Known(key, not each.is_hidden, self._gossips and key in self._known) for key, each in sorted(peers.items())]
        stand = [
            OpenLink(other.key.peer_id, link.session.shared_groups(), link.number, link.target is not None, is_busy=link.session.missing_events > 0)
            for other, link in links.items()
        ]
        members = {group: peer.store.groups[group].roster.members.keys()}
        dialled, let_go = self.overlay.choose(members, known, stand, now_ms, peer.clock_ms // TURN_MS)
        peer.retarget([peers[key] for key in sorted(dialled) if key in peers and not peers[key].is_hidden])
        for other, link in links.items():
            if other.key.peer_id == let_go:
                world.faults["let_go"] += 1
                link.is_let_go = True
                peer.feed(link, fx.LetGo())

    def _is_member(self, group: GroupId, peer: PeerId) -> bool:
        view = self._peer.store.groups.get(group)
        return view is not None and view.roster.role(peer) is not Role.NONE
