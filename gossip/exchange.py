"""What to tell whom of the addresses of others, and when. Pure.

A TTL says how often a record may be passed on from here, so it says how far its peer is away as well: `default_ttl` less it, in introductions. That
holds for the hearer too: who is itself known by gossip alone hears of others with as many hops less as lie between. So an address goes `default_ttl`
introductions far from its peer, whatever links gossip has made meanwhile: counted from the sender alone it would start anew at each of these.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from gossip.rules import GossipRules
from gossip.table import Contact, GossipTable, Hearsay, IsMember
from peer.core.identity import GroupId, PeerId

REACHED_WITHIN_MS = 60 * 60_000
"""Only of who was reached here since then anybody is told."""
RECORDS_TOLD_MAX = 64
"""Records in one exchange about a group, our own first; where there are more they take turns."""
EARLIEST, SPREAD = 0.75, 0.5
"""Of an interval: when the next exchange comes at the earliest, and how much chance adds to that."""

Link = tuple[PeerId, GroupId]


class Due(NamedTuple):
    """An exchange that is due."""

    peer: PeerId
    group: GroupId
    turn: int
    """How many there were before on this link, about this group."""


class Exchange:
    """What to tell."""

    def __init__(self, me: PeerId, rules: GossipRules, table: GossipTable, is_member: IsMember) -> None:
        self._me = me
        self._rules = rules
        self._table = table
        self._is_member = is_member

    def standing(self, group: GroupId, peer: PeerId) -> int | None:
        """How often the address of `peer` may be passed on from here in `group`, None if nothing is known of that."""
        if peer in self._table.named:
            return self._table.named[peer]
        told = self._table.get(group, peer)
        return None if told is None else told.ttl

    def entries(self, hearer: PeerId, group: GroupId, own: bytes, now_ms: int, turn: int = 0) -> list[tuple[bytes, int]]:
        """What `hearer` is told in `group`: our own record, if there is one, with the TTL that is stored for the hearer, then those of others.

        Of itself it is told if it has lost count of its records.
        """
        if not self._is_member(group, self._me) or not self._is_member(group, hearer):
            return []
        standing = self.standing(group, hearer)
        first = [(own, standing or 0)] if own else []
        held = self._table.get(group, hearer)
        if held is not None and held.is_ahead:
            first.append((held.signed.data, 0))
        others = [] if standing is None else list(self._others(hearer, group, self._hops_to(hearer, standing), now_ms))
        room = RECORDS_TOLD_MAX - len(first)
        start = turn * room % len(others) if len(others) > room else 0
        return [*first, *(others[start:] + others[:start])[:room]]

    def _hops_to(self, hearer: PeerId, standing: int) -> int:
        """How many introductions more than one `hearer` is away. Who was named by the operator or a hub is next to us."""
        return 0 if hearer in self._table.named else max(0, self._rules.default_ttl - standing)

    def _others(self, hearer: PeerId, group: GroupId, hops: int, now_ms: int) -> Iterable[tuple[bytes, int]]:
        for peer, told, contact in self._table.of_group(group):
            if peer != hearer and self._is_member(group, peer) and _may_be_told(told, contact, now_ms):
                ttl = (self.standing(group, peer) or 0) - hops
                if ttl > 0:
                    yield told.signed.data, ttl


class Rounds:
    """When to tell it: at once where somebody new is, or becomes known as somebody who may hear more, then at intervals."""

    def __init__(self, interval_ms: int) -> None:
        self._interval_ms = interval_ms
        self._next_ms: dict[Link, int] = {}
        self._standing: dict[Link, int] = {}
        self._turns: dict[Link, int] = {}

    def hurry(self) -> None:
        """Everybody is due now: there is news."""
        self._next_ms = dict.fromkeys(self._next_ms, 0)

    def due(self, links: Iterable[Link], standing: Callable[[GroupId, PeerId], int | None], chance: Callable[[], float], now_ms: int) -> list[Due]:
        """Which exchanges are due, given everybody who is linked and a group that is spoken about with it; `chance` gives 0 to 1."""
        present = set(links)
        for link in self._next_ms.keys() - present:
            del self._next_ms[link], self._standing[link], self._turns[link]
        found = []
        for link in sorted(present):
            peer, group = link
            known = standing(group, peer)
            ttl = -1 if known is None else known
            if link in self._next_ms and now_ms < self._next_ms[link] and ttl <= self._standing[link]:
                continue
            turn = self._turns.get(link, 0)
            found.append(Due(peer, group, turn))
            self._turns[link] = turn + 1
            self._standing[link] = ttl
            self._next_ms[link] = now_ms + int(self._interval_ms * (EARLIEST + SPREAD * chance()))
        return found


def _may_be_told(told: Hearsay, contact: Contact, now_ms: int) -> bool:
    """Whether anybody may hear of it: it has addresses, and was reached lately."""
    reached_ms = contact.reached_ms
    return bool(told.signed.record.endpoints) and reached_ms is not None and now_ms - reached_ms < REACHED_WITHIN_MS
