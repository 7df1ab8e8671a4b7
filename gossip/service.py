"""Gossip about addresses: hears it, tells it, and keeps it across restarts. Decides nothing: that is `table`'s and `exchange`'s.

What links tell is taken down at once and worked off in the one task of `run`, so nothing is asked of a link from within what it tells.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from gossip.exchange import Exchange, Rounds
from gossip.kept import Kept, KeptPeer, read_kept
from gossip.own import OwnRecord
from gossip.rules import GossipRules
from gossip.table import MS_PER_S, Contact, GossipTable, Hearsay, Placed
from peer.core.identity import GroupId, KeyPair, PeerId
from peer.core.interfaces import DialTarget, Replica
from peer.core.neighbours import NO_NEIGHBOURS, Neighbours, Told

TICK_S = 1.0
TICKS_PER_INTERVAL = 4
HURRY_S = 3.0
"""How long after a link came up it is looked often whether groups are spoken about on it."""
HURRIED_TICK_S = 0.05
STEP_GAP_S = 0.03
"""How long what happens is collected before it is worked off: that takes the same time however much it is."""
WRITE_GAP_S = 5.0
"""How long after a change the file is written; what changes meanwhile is written with it."""
MS_PER_MINUTE = 60_000


class GossipLinks(Protocol):
    """The links, as far as gossip travels on them."""

    def group_peers(self, group: GroupId) -> Sequence[PeerId]:
        """Linked peers with which `group` is spoken about."""
        ...

    def tell_records(self, peer: PeerId, group: GroupId, entries: Told) -> None:
        """Tell one of them."""
        ...


class Clocks(NamedTuple):
    """Where time comes from."""

    monotonic_ms: Callable[[], int]
    unix_ms: Callable[[], int]


async def _keep_nothing(_data: bytes) -> None:
    """For a peer without a disk."""


class GossipParts(NamedTuple):
    """What gossip asks of the rest of the peer."""

    replica: Replica
    links: Callable[[], GossipLinks]
    """Made later."""
    named: Callable[[], Iterable[DialTarget]]
    """Everybody whom any source names; what gossip itself does is passed over."""
    endpoints: Callable[[], tuple[str, ...]]
    """Where others dial this peer."""
    clocks: Clocks
    sites: Neighbours = NO_NEIGHBOURS
    """Who hears how other sites are."""
    report: Callable[[str, Mapping[str, object]], None] = lambda _event, _fields: None
    """Tells the operator."""
    kept: bytes | None = None
    """What an earlier process wrote."""
    keep: Callable[[bytes], Awaitable[None]] = _keep_nothing
    """Writes that; raises `OSError`."""


class GossipService:
    """One peer's part in it."""

    def __init__(self, key: KeyPair, rules: GossipRules, parts: GossipParts) -> None:
        self._me = key.peer_id
        self._rules = rules
        self._parts = parts
        kept = self._read()
        self._own = OwnRecord(key, parts.endpoints, parts.clocks.unix_ms, kept.own_seq)
        self._table = GossipTable(self._me, rules, self._is_member)
        self._exchange = Exchange(self._me, rules, self._table, self._is_member)
        self._rounds = Rounds(rules.exchange_interval_ms)
        self._shown: dict[PeerId, bytes] = {}
        """The record that each linked peer showed in the handshake."""
        self._listener: Callable[[], None] = lambda: None
        self._told_changes = self._kept_changes = 0
        self._wake = asyncio.Event()
        self._hurry_until_ms = 0
        self._write_failed = False
        self.exchanges = 0
        """How often others were told."""
        for each in kept.peers if rules.enabled else ():
            self._table.restore(*each, self._now_ms())

    # What links tell

    def linked(self, peer: PeerId, record: bytes, *, dialled_by_us: bool) -> None:
        """A link stands: soon it will be known what is spoken about on it."""
        if not dialled_by_us:
            self._own.dialled_by(peer)
        if self._rules.enabled:
            self._shown[peer] = record
            self._hurry_until_ms = self._now_ms() + int(HURRY_S * 1000)
            self._wake.set()
        self._parts.sites.linked(peer, record, dialled_by_us=dialled_by_us)

    def unlinked(self, peer: PeerId) -> None:
        """Whether another link stands is looked up."""
        self._wake.set()
        self._parts.sites.unlinked(peer)

    def tried(self, peer: PeerId, endpoint: str, code: str | None) -> None:
        """An address was dialled; where somebody proved to be `peer` a link tells of it."""
        if code is not None:
            self._table.tried(peer, endpoint, code, self._now_ms())
            self._wake.set()
        self._parts.sites.tried(peer, endpoint, code)

    def hear_records(self, peer: PeerId, group: GroupId, entries: Told) -> None:
        """Take what is worth anything."""
        if self._rules.enabled:
            self._table.hear(peer, group, entries, self._now_ms())
            self._wake.set()

    def hear_sites(self, peer: PeerId, group: GroupId, entries: Told) -> None:
        """Somebody else's."""
        self._parts.sites.hear_sites(peer, group, entries)

    # What others ask

    def record(self) -> bytes:
        """Our own signed record, for whoever we meet; empty if there is none that they would take."""
        return self._own.current(self._now_ms())

    def own_changed(self) -> None:
        """Tell everybody who is linked where this peer is now, before the links of old end."""
        if self._rules.enabled:
            self._rounds.hurry()
            self._step()

    def records_for(self, peer: PeerId) -> list[tuple[GroupId, Told]]:
        """What `peer` is told in one exchange, by the groups that are shared with it: for those who ask without a link."""
        if not self._rules.enabled:
            return []
        self._name()
        now_ms, own = self._now_ms(), self.record()
        told = [(group, self._exchange.entries(peer, group, own, now_ms)) for group in sorted(self._parts.replica.groups)]
        return [(group, entries) for group, entries in told if entries]

    def placed(self) -> list[Placed]:
        """Who may be dialled by the word of others."""
        return self._table.placed()

    def paused(self) -> Mapping[PeerId, int]:
        """From whom nothing is taken, and for how many ms yet."""
        return self._table.credit.paused(self._now_ms())

    def credit(self, peer: PeerId) -> int:
        """What the word of `peer` is worth."""
        return self._table.credit.points(peer, self._now_ms())

    @property
    def is_enabled(self) -> bool:
        """Whether the operator wants it."""
        return self._rules.enabled

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener`, one in all, when something of that has changed."""
        self._listener = listener

    # What it does by itself

    async def run(self) -> None:
        """Tell and forget until cancelled."""
        if not self._rules.enabled:
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell_forever())
            tasks.create_task(self._keep_forever())

    async def _tell_forever(self) -> None:
        while True:
            self._wake.clear()
            self._step()
            hurried = self._now_ms() < self._hurry_until_ms
            tick_s = min(TICK_S, self._rules.exchange_interval_ms / 1000 / TICKS_PER_INTERVAL)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(tick_s, HURRIED_TICK_S) if hurried else tick_s):
                    await self._wake.wait()
                    await asyncio.sleep(STEP_GAP_S)

    def _step(self) -> None:
        """Look at the links, forget what is over, tell what is due."""
        now_ms, links = self._now_ms(), self._parts.links()
        spoken = [(peer, group) for group in self._parts.replica.groups for peer in links.group_peers(group) if self._is_member(group, peer)]
        linked = {peer for peer, _ in spoken}
        self._shown = {peer: record for peer, record in self._shown.items() if peer in linked or now_ms < self._hurry_until_ms}
        self._name()
        self._table.meet({peer: self._shown.get(peer, b"") for peer in linked}, now_ms)
        self._table.tick(now_ms)
        self._own.came_back(self._table.own_seq_seen)
        own = self.record()
        for peer, group, turn in self._rounds.due(spoken, self._exchange.standing, random.random, now_ms):
            links.tell_records(peer, group, self._exchange.entries(peer, group, own, now_ms, turn))
            self.exchanges += 1
        self._report()
        if self._table.changes != self._told_changes:
            self._told_changes = self._table.changes
            self._listener()

    def _report(self) -> None:
        for informant in self._table.shut_out:
            fields = {"peer": informant.hex(), "minutes": self.paused().get(informant, 0) // MS_PER_MINUTE}
            self._parts.report("what a member told of others was worth nothing, so nothing more of it is taken for a while", fields)
        self._table.shut_out.clear()

    def _name(self) -> None:
        starts = {"manual": self._rules.default_ttl, "hub": self._rules.hub_peer_ttl}
        named = (each for each in self._parts.named() if each.source in starts)
        self._table.named = {each.peer: starts[each.source] if each.ttl is None else each.ttl for each in named}

    def _is_member(self, group: GroupId, peer: PeerId) -> bool:
        view = self._parts.replica.groups.get(group)
        return view is not None and peer in view.roster.members and self._me in view.roster.members

    def _now_ms(self) -> int:
        return self._parts.clocks.monotonic_ms()

    # What is kept

    def _read(self) -> Kept:
        if self._parts.kept is None:
            return Kept(0, ())
        kept = read_kept(self._parts.kept, self._now_ms())
        if kept is None:
            self._parts.report("what was kept of gossip is damaged: it begins anew", {})
        return kept or Kept(0, ())

    async def _keep_forever(self) -> None:
        try:
            while True:
                await asyncio.sleep(WRITE_GAP_S)
                await self._keep()
        finally:
            await self._keep()

    async def _keep(self) -> None:
        changes = self._table.changes + self._own.seq
        if changes == self._kept_changes:
            return
        now_ms = self._now_ms()
        peers = [
            KeptPeer(group, told, _good_for_ms(told, contact, now_ms))
            for group in sorted(self._parts.replica.groups)
            for _, told, contact in self._table.of_group(group)
        ]
        try:
            await self._parts.keep(Kept(self._own.seq, peers).to_bytes())
        except OSError as error:
            if not self._write_failed:
                self._parts.report("what gossip told cannot be kept: after a restart it begins anew", {"error": error.strerror})
            self._write_failed = True
            return
        self._write_failed, self._kept_changes = False, changes


def _good_for_ms(told: Hearsay, contact: Contact, now_ms: int) -> int | None:
    """How long what is known of a peer would be valid if we stopped now; None if it was never reached."""
    if contact.is_linked:
        return told.signed.record.valid_for_s * MS_PER_S
    return None if contact.good_until_ms is None else max(0, contact.good_until_ms - now_ms)
