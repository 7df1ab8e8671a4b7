"""Whom gossip told of, in which group, by whose word, and how far that may go on from here. Pure.

Everything is kept by group: what was told in one is never used for another. Only members count. Of two records of a peer the one with the higher seq
wins, whoever told it and in whatever order; of the same record the higher TTL, then the first third one who told it. A peer that was reached is kept
as long as its record is valid, one that never was as long as somebody goes on telling of it, and nobody whose addresses fail again and again.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gossip.credit import COST_INVALID, COST_STRANGER, COST_UNREACHABLE, COST_WRONG_KEY, EARNED, Credit
from gossip.dials import DialBudget
from gossip.failed import FailedOut
from gossip.reading import ReadingBudget
from gossip.record import SignedRecord, read_record
from gossip.resting import Resting
from gossip.rules import GossipRules
from peer.core.identity import GroupId, PeerId
from peer.errors import RecordInvalidError

MS_PER_S = 1000
WRONG_KEY_CODES = frozenset({"handshake_failed", "channel_key_mismatch"})
"""Somebody answered who is not the peer."""

IsMember = Callable[[GroupId, PeerId], bool]
Key = tuple[GroupId, PeerId]


class Placed(NamedTuple):
    """A peer that gossip told of, as somebody to dial."""

    peer: PeerId
    groups: frozenset[GroupId]
    endpoints: tuple[str, ...]
    learned_from: PeerId
    ttl: int


@dataclass(slots=True)
class Hearsay:
    """What was told of one peer in one group."""

    signed: SignedRecord
    ttl: int
    """How often it may be passed on from here."""
    learned_from: PeerId
    told_ms: int
    """When somebody told of it last."""
    is_ahead: bool = False
    """Whether its own peer has told an older record since: it has lost count, and nobody takes what it says before it hears of this one."""

    @property
    def rank(self) -> tuple[int, bytes]:
        """Which of two records counts."""
        return self.signed.record.seq, self.signed.data


@dataclass(slots=True)
class Contact:
    """How it went with one peer, whatever the group."""

    is_linked: bool = False
    reached_ms: int | None = None
    """When a link to it stood last, since the start of this process."""
    good_until_ms: int | None = None
    """How long what it said of itself is valid; None if it was never reached."""
    failures: int = 0
    failed: set[str] = field(default_factory=set)
    """Which of its addresses have failed since the last failure was counted."""
    met_wrong_key: bool = False
    may_be_dialled: bool = False


class GossipTable:
    """All of it."""

    def __init__(self, me: PeerId, rules: GossipRules, is_member: IsMember) -> None:
        """`is_member` says who is on the roster of a group now; nobody where the group is not held, or this peer is not in it."""
        self._me = me
        self._rules = rules
        self._is_member = is_member
        self._told: dict[Key, Hearsay] = {}
        self._contacts: dict[PeerId, Contact] = {}
        self._failed = FailedOut()
        self._resting = Resting[tuple[Key, Hearsay]]()
        self._dials = DialBudget()
        self._reading = ReadingBudget()
        self.credit = Credit()
        self.named: Mapping[PeerId, int] = {}
        """Whom the operator or a hub named, with the TTL that these start with: they take no room here, and none of them is forgotten."""
        self.own_seq_seen = 0
        """The highest seq among records of this peer itself that came back."""
        self.changes = 0
        """Grows with every change of what others see."""
        self.shut_out: list[PeerId] = []
        """Whose credit was used up, since somebody looked."""

    # What others tell

    def hear(self, informant: PeerId, group: GroupId, entries: Iterable[tuple[bytes, int]], now_ms: int) -> None:
        """Take what `informant` tells of members of `group`, as far as it is worth anything."""
        if not self._is_member(group, informant):
            return
        for data, told_ttl in entries:
            if not self.credit.is_good(informant, now_ms) or not self._reading.take(informant, now_ms):
                return
            self._hear(informant, group, data, told_ttl, now_ms)

    def _hear(self, informant: PeerId, group: GroupId, data: bytes, told_ttl: int, now_ms: int) -> None:
        try:
            signed = read_record(data)
        except RecordInvalidError:
            self._charge(informant, COST_INVALID, now_ms)
            return
        record = signed.record
        if record.peer == self._me:
            self.own_seq_seen = max(self.own_seq_seen, record.seq)
            return
        if not self._is_member(group, record.peer):
            self._charge(informant, COST_STRANGER, now_ms)
            return
        ttl = received_ttl(told_ttl, self._rules.default_ttl, is_own=record.peer == informant)
        if ttl is None or (not record.endpoints and record.peer != informant):
            return
        if record.peer not in self.named and self._failed.refuses(record.peer, record.seq, now_ms):
            return
        self._put((group, record.peer), Hearsay(signed, ttl, informant, now_ms), now_ms)

    def _put(self, key: Key, told: Hearsay, now_ms: int) -> None:
        held = self._told.get(key)
        if held is None:
            if self._make_room(key, told):
                self._contacts.setdefault(key[1], Contact())
                self._told[key] = told
                self.changes += 1
            return
        if told.rank < held.rank:
            held.is_ahead |= told.learned_from == key[1]
            return
        if told.rank > held.rank:
            self._replace(key, told)
            return
        held.told_ms = now_ms
        by_itself = held.learned_from == key[1] != told.learned_from
        if told.ttl > held.ttl or (told.ttl == held.ttl and by_itself):
            held.ttl, held.learned_from = told.ttl, told.learned_from
            self.changes += 1

    def _replace(self, key: Key, told: Hearsay) -> None:
        contact = self._contacts[key[1]]
        if self._told[key].signed.record.endpoints != told.signed.record.endpoints:
            contact.failures = 0
            contact.failed.clear()
            contact.may_be_dialled = False  # Also of a peer that was reached: it could have us dial whatever it likes, as often as it likes.
        self._told[key] = told
        self.changes += 1

    def _make_room(self, key: Key, told: Hearsay) -> bool:
        """Whether one more fits in: of those that only gossip told of, in this group."""
        group, peer = key
        held = [each for each in self._told if each[0] == group and each[1] not in self.named]
        if peer in self.named or len(held) < self._rules.max_gossip_peers:
            return True
        shares = Counter(self._told[each].learned_from for each in held)
        worst = max((each for each in held if not self._contacts[each[1]].is_linked), key=lambda each: self._badness(each, shares), default=None)
        if worst is None:
            return False
        contact, of_worst = self._contacts[worst[1]], shares[self._told[worst].learned_from]
        is_linked = peer in self._contacts and self._contacts[peer].is_linked
        gives_way = contact.good_until_ms is None and (contact.failures > 0 or of_worst > shares[told.learned_from] + 1)
        if not is_linked and not gives_way:
            return False
        self._forget(worst)
        return True

    def _badness(self, key: Key, shares: Mapping[PeerId, int]) -> tuple[bool, int, int, int, PeerId]:
        """Who goes first: who never was reached, who fails, who was told of by whoever told of most, whom nobody told of for longest."""
        contact, told = self._contacts[key[1]], self._told[key]
        return contact.good_until_ms is None, contact.failures, shares[told.learned_from], -told.told_ms, key[1]

    # What becomes of them

    def meet(self, linked: Mapping[PeerId, bytes], now_ms: int) -> None:
        """These are linked now, as members of some group, each with the record that it showed; nobody else is."""
        for peer, contact in self._contacts.items():
            if contact.is_linked and peer not in linked:
                self._reached(peer, contact, now_ms)
                contact.is_linked = False
        for peer, data in linked.items():
            contact = self._contacts.get(peer) or self._contacts.setdefault(peer, Contact())
            if not contact.is_linked:
                self._met(peer, contact, data, now_ms)
            contact.reached_ms = now_ms

    def _met(self, peer: PeerId, contact: Contact, data: bytes, now_ms: int) -> None:
        told = self._of(peer)
        points = EARNED if contact.good_until_ms is None else 0
        for informant in {each.learned_from for _, each in told} - {peer}:
            self.credit.earn(informant, points, now_ms)
        contact.is_linked = True
        contact.failures, contact.met_wrong_key = 0, False
        contact.failed.clear()
        self._failed.forget(peer)
        self._resting.forget(peer)
        self._reached(peer, contact, now_ms)
        self._renew(peer, told, data)
        self.changes += 1

    def _renew(self, peer: PeerId, told: Sequence[tuple[Key, Hearsay]], data: bytes) -> None:
        """What it says of itself when it is met counts for what is known of it."""
        try:
            signed = read_record(data)
        except RecordInvalidError:
            return
        for key, each in told:
            fresh = Hearsay(signed, each.ttl, each.learned_from, each.told_ms)
            if signed.record.peer == peer and fresh.rank > each.rank:
                self._replace(key, fresh)

    def _reached(self, peer: PeerId, contact: Contact, now_ms: int) -> None:
        """Counted from now, for as long as its newest record says."""
        newest = max((each for _, each in self._of(peer)), key=lambda each: each.rank, default=None)
        contact.reached_ms = now_ms
        contact.good_until_ms = now_ms + (newest.signed.record.valid_for_s if newest else 0) * MS_PER_S

    def tried(self, peer: PeerId, endpoint: str, code: str, now_ms: int) -> None:
        """Nobody proved at `endpoint` to be `peer`. It counts as a failure when this holds for all its addresses."""
        told, contact = self._of(peer), self._contacts.get(peer)
        endpoints = {each for _, hearsay in told for each in hearsay.signed.record.endpoints}
        if contact is None or contact.is_linked or peer in self.named or endpoint not in endpoints:
            return
        contact.failed.add(endpoint)
        contact.met_wrong_key |= code in WRONG_KEY_CODES
        if endpoints - contact.failed:
            return
        contact.failed.clear()
        contact.failures += 1
        if contact.failures >= self._rules.max_failures:
            self._fail_out(peer, contact, now_ms)

    def _fail_out(self, peer: PeerId, contact: Contact, now_ms: int) -> None:
        told = self._of(peer)
        was_reached = contact.good_until_ms is not None
        is_first = self._failed.add(peer, max(each.signed.record.seq for _, each in told), now_ms, was_reached=was_reached)
        if contact.good_until_ms is not None:
            self._resting.add(peer, told, contact.good_until_ms, now_ms)
        informants = {each.learned_from for _, each in told}
        for key, _ in told:
            self._forget(key)
        if is_first and not was_reached:
            for informant in sorted(informants):
                self._charge(informant, COST_WRONG_KEY if contact.met_wrong_key else COST_UNREACHABLE, now_ms, is_silence=not contact.met_wrong_key)

    def tick(self, now_ms: int) -> None:
        """Forget what has expired, and let a few more be dialled."""
        for key in list(self._told):
            if not self._is_member(*key) or self._is_stale(key, now_ms):
                self._forget(key)
        known = {peer for _, peer in self._told}
        for peer in [each for each, contact in self._contacts.items() if each not in known and not contact.is_linked]:
            del self._contacts[peer]
        self._try_again(known, now_ms)
        self._trim()
        for (_, peer), told in sorted(self._told.items(), key=lambda each: (each[1].told_ms, each[0])):
            contact, addresses = self._contacts[peer], len(told.signed.record.endpoints)
            if not contact.may_be_dialled and addresses and self._dials.take(told.learned_from, addresses, now_ms):
                contact.may_be_dialled = True
                self.changes += 1

    def _try_again(self, known: set[PeerId], now_ms: int) -> None:
        """Those who have rested for a while, once."""
        is_alone = not any(contact.is_linked for contact in self._contacts.values())
        for peer, told, good_until_ms in self._resting.due(now_ms, is_alone=is_alone):
            for key, hearsay in told if peer not in known else ():
                self.restore(key[0], hearsay, good_until_ms - now_ms, now_ms)
            if peer not in known and peer in self._contacts:
                self._contacts[peer].failures = self._rules.max_failures - 1

    def _is_stale(self, key: Key, now_ms: int) -> bool:
        contact = self._contacts[key[1]]
        if contact.is_linked:
            return False
        if contact.good_until_ms is not None:
            return now_ms >= contact.good_until_ms
        return now_ms - self._told[key].told_ms >= self._rules.stale_timeout_ms

    def _trim(self) -> None:
        """Who was named and is no more counts again."""
        for group in {group for group, _ in self._told}:
            held = [each for each in self._told if each[0] == group and each[1] not in self.named]
            shares = Counter(self._told[each].learned_from for each in held)
            held.sort(key=lambda each: (not self._contacts[each[1]].is_linked, *self._badness(each, shares)))
            for key in held[self._rules.max_gossip_peers :]:
                self._forget(key)

    # What is known

    def placed(self) -> list[Placed]:
        """Who may be dialled, by peer id: with the newest addresses, and the furthest that it may go on."""
        found = []
        for peer in sorted({peer for _, peer in self._told}):
            if self._contacts[peer].may_be_dialled:
                told = self._of(peer)
                newest = max((each for _, each in told), key=lambda each: each.rank)
                furthest = max((each for _, each in told), key=lambda each: each.ttl)
                groups = frozenset(key[0] for key, _ in told)
                found.append(Placed(peer, groups, newest.signed.record.endpoints, furthest.learned_from, furthest.ttl))
        return found

    def of_group(self, group: GroupId) -> list[tuple[PeerId, Hearsay, Contact]]:
        """Everybody who was told of in `group`, by peer id."""
        return [(key[1], told, self._contacts[key[1]]) for key, told in sorted(self._told.items(), key=lambda each: each[0]) if key[0] == group]

    def get(self, group: GroupId, peer: PeerId) -> Hearsay | None:
        """What was told of `peer` in `group`."""
        return self._told.get((group, peer))

    def restore(self, group: GroupId, told: Hearsay, good_for_ms: int | None, now_ms: int) -> None:
        """Put back what an earlier process knew; `good_for_ms` is how long it is valid yet, None if the peer never was reached."""
        peer = told.signed.record.peer
        if peer == self._me or not self._is_member(group, peer) or not self._make_room((group, peer), told):
            return
        contact = self._contacts.setdefault(peer, Contact())
        if good_for_ms is not None:
            contact.good_until_ms = max(contact.good_until_ms or 0, now_ms + good_for_ms)
            contact.may_be_dialled = True
        told.ttl = min(told.ttl, self._rules.default_ttl)
        self._told[group, peer] = told
        self.changes += 1

    def _of(self, peer: PeerId) -> list[tuple[Key, Hearsay]]:
        return [(key, told) for key, told in self._told.items() if key[1] == peer]

    def _forget(self, key: Key) -> None:
        del self._told[key]
        self.changes += 1

    def _charge(self, informant: PeerId, points: int, now_ms: int, *, is_silence: bool = False) -> None:
        """Let `informant` pay; with its last point goes whatever it told of and nobody reached."""
        if not self.credit.spend(informant, points, now_ms, is_silence=is_silence):
            return
        self.shut_out.append(informant)
        for key, told in list(self._told.items()):
            if told.learned_from == informant and self._contacts[key[1]].good_until_ms is None:
                self._forget(key)


def received_ttl(told: int, default: int, *, is_own: bool) -> int | None:
    """How often a record may be passed on from here, None if it may not be taken; `is_own` where the informant speaks of itself."""
    ttl = min(told, default) - (0 if is_own else 1)
    return ttl if ttl >= 0 else None
