"""The roster: who is in a group with which role at which event.

A pure function of the genesis record and the set of control events, whatever order they came in. Only owners and admins decide, and only on those
junior to them; so decisions are taken in the order of their authors' seniority, as shortest paths are found (Dijkstra, 1959): what is taken first
cannot be changed by what is taken later, since an appointment makes nobody as senior as its author. `standing` says what a role is at one event.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from peer.core.ancestry import Ancestry, GrowingPast
from peer.core.control import (
    ControlEvent,
    EventVoid,
    InviteSet,
    LogSeal,
    MemberLeave,
    MemberSet,
    Point,
    Role,
)
from peer.core.identity import EventId, LogId, PeerId
from peer.core.standing import Decision, Place, Rank, Seal, Standing, stand

NOBODY = Standing(None, (), ())

Seals = Mapping[LogId, Sequence[tuple[Seal, tuple[Point, ...]]]]
"""By log, with the points of all seals of the same power in one: there may be thousands."""


class Member(NamedTuple):
    """One entry of the roster."""

    peer: PeerId
    name: str
    role: Role


class Invite(NamedTuple):
    """An invitation as the group knows it."""

    event_id: EventId
    author: PeerId
    key: bytes
    role: Role
    expires_ms: int
    used_by: PeerId | None


class Void(NamedTuple):
    """Somebody wants an event not to count."""

    author: PeerId
    role: Role
    """Of that author, at that void."""


class Roster(NamedTuple):
    """Who is in, and which invitations are out."""

    members: Mapping[PeerId, Member]
    """Everybody with a role other than none."""
    invites: Mapping[bytes, Invite]
    """By key. Whoever decides on a join asks, too, whether the author is an admin still."""
    standings: Mapping[PeerId, Standing] = MappingProxyType({})
    """Of the owners and of everybody that was ever decided on, or has sealed a log."""
    voids: Mapping[EventId, tuple[Void, ...]] = MappingProxyType({})
    """By the event that is not to count."""
    leaving: frozenset[PeerId] = frozenset()
    """Members who ask to be removed: by what they wrote as the members that they are now, not before they were taken back."""

    def role(self, peer: PeerId) -> Role:
        """The role of `peer` in whatever it writes next, none for strangers."""
        member = self.members.get(peer)
        return member.role if member else Role.NONE

    def standing(self, peer: PeerId) -> Standing:
        """What counts about `peer`; of strangers nothing."""
        return self.standings.get(peer, NOBODY)

    def is_void(self, event_id: EventId, author: PeerId) -> bool:
        """True if an event of a data log, by `author`, was voided by that author or by an admin."""
        return any(void.role >= Role.ADMIN or void.author == author for void in self.voids.get(event_id, ()))


def may_change(roster: Roster, entry: ControlEvent) -> bool:
    """False if the roster is the same with `entry`, which came after the others, as without it; True where that takes an evaluation to know.

    What somebody decides who is no admin anywhere means nothing until it is one, and then everything is evaluated anew. So a member that writes
    decisions without end costs others no more than to store them.
    """
    standing = roster.standing(entry.author)
    has_power = standing.owner is not None or any(decision.role is Role.ADMIN for decision in standing.decisions)
    is_simple = not standing.seals and not any(decision.cut for decision in standing.decisions)
    return has_power or not is_simple or isinstance(entry.fact, EventVoid | LogSeal | MemberLeave)


def evaluate(owners: Iterable[PeerId], control: Iterable[ControlEvent]) -> Roster:
    """The roster that `owners`, most senior first, and the `control` events give."""
    return _Evaluation(tuple(owners), control).roster()


class _Authored(NamedTuple):
    """A decision or invitation, on its way."""

    entry: ControlEvent
    fact: MemberSet | InviteSet

    @property
    def event_id(self) -> EventId:
        return self.entry.event.id

    @property
    def log(self) -> LogId:
        return self.entry.event.header.log


@dataclass(slots=True)
class _Author:
    """What one peer wrote, and what was decided on it so far."""

    owner: int | None
    waiting: list[_Authored] = field(default_factory=list)
    """Not yet taken."""
    seals: list[tuple[ControlEvent, LogSeal]] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    ready: dict[Rank, list[_Authored]] = field(default_factory=dict)
    """Of `waiting` what was written as owner or admin, by the rank at that event."""
    version: int = 0
    places: dict[tuple[int, ...], Place] = field(default_factory=dict)
    """Where this peer stands where these of its `decisions` are silent."""
    sealed: Seals = field(default_factory=dict)
    """Its seals that count, once everything is decided."""


class _Taken(NamedTuple):
    """An invitation that counts."""

    invite: Invite
    rank: Rank


class _Evaluation:
    """One computation, from nothing."""

    def __init__(self, owners: tuple[PeerId, ...], control: Iterable[ControlEvent]) -> None:
        self._authors = {owner: _Author(place) for place, owner in enumerate(owners)}
        events = {entry.event.id: entry for entry in control}
        self._ancestry = Ancestry(entry.event for entry in events.values())
        self._voids: list[tuple[ControlEvent, EventVoid]] = []
        self._leaves: list[ControlEvent] = []
        self._names: dict[PeerId, list[tuple[ControlEvent, str]]] = {}
        self._heap: list[tuple[Rank, PeerId, int]] = []
        self._order: dict[Rank, int] = {}
        """The place of each rank in the order of seniority."""
        self._invites: dict[bytes, list[_Taken]] = {}
        self._parked: dict[bytes, list[tuple[Rank, _Authored]]] = {}
        """Adds under invitations that were not taken, or not yet."""
        self._used: dict[bytes, PeerId] = {}
        for entry in events.values():
            self._sort(entry)

    def roster(self) -> Roster:
        """Take everything, the most senior first."""
        for peer in list(self._authors):
            self._look_again(peer)
        while self._heap:
            rank, peer, version = heapq.heappop(self._heap)
            author = self._authors[peer]
            if version == author.version:
                self._take(rank, author.ready.pop(rank, []))
        standings = {peer: self._standing(author) for peer, author in self._authors.items()}
        standings = {peer: each for peer, each in standings.items() if each != NOBODY}
        members = {peer: self._member(peer, standing) for peer, standing in standings.items()}
        return Roster(
            {peer: member for peer, member in members.items() if member.role is not Role.NONE},
            {key: self._invite(key, taken) for key, taken in self._invites.items()},
            standings,
            self._counting_voids(),
            frozenset(entry.author for entry in self._leaves if self._asks_to_leave(entry, standings.get(entry.author, NOBODY))),
        )

    def _sort(self, entry: ControlEvent) -> None:
        """Put an event where it is looked for."""
        author = self._authors.setdefault(entry.author, _Author(None))
        match entry.fact:
            case MemberSet() as fact if fact.peer == entry.author:
                # Nobody is senior to itself: what somebody says about itself is an owner's name and no more.
                self._names.setdefault(entry.author, []).append((entry, fact.name))
            case (MemberSet() | InviteSet()) as fact:
                author.waiting.append(_Authored(entry, fact))
                if isinstance(fact, MemberSet):
                    self._authors.setdefault(fact.peer, _Author(None))
            case LogSeal() as fact if fact.log != entry.event.header.log:
                author.seals.append((entry, fact))
            case EventVoid() as fact:
                self._voids.append((entry, fact))
            case MemberLeave():
                self._leaves.append(entry)
            case _:
                pass

    # In the order of seniority

    def _look_again(self, peer: PeerId) -> None:
        """Something was decided on `peer`: find the events at which it is an admin now."""
        author = self._authors[peer]
        author.version += 1
        author.places.clear()
        author.ready = {}
        seals = _by_power(self._seals(author))
        for each in author.waiting:
            place = self._place(author, each.entry)
            if place.role >= Role.ADMIN and not self._is_sealed(seals, place, each.entry):
                author.ready.setdefault(place.rank, []).append(each)
        for rank in author.ready:
            heapq.heappush(self._heap, (rank, peer, author.version))

    def _take(self, rank: Rank, batch: Sequence[_Authored]) -> None:
        """Everything that one author wrote at one rank. Whatever is more senior was taken before."""
        self._order[rank] = len(self._order)
        decided: set[PeerId] = set()
        for each in sorted(batch, key=lambda each: (isinstance(each.fact, MemberSet), each.event_id)):
            if isinstance(each.fact, InviteSet):
                self._take_invite(rank, each.entry, each.fact, decided)
            elif each.fact.invite is None:
                self._decide(rank, each.entry, each.fact, decided)
            else:
                self._take_add(rank, rank, each, decided)
        taken = {each.event_id for each in batch}
        author = self._authors[batch[0].entry.author] if batch else None
        if author is not None:
            author.waiting = [each for each in author.waiting if each.event_id not in taken]
        for peer in decided:
            self._look_again(peer)

    def _take_invite(self, rank: Rank, entry: ControlEvent, fact: InviteSet, decided: set[PeerId]) -> None:
        invited = Invite(entry.event.id, entry.author, fact.key, fact.role, fact.expires_ms, None)
        self._invites.setdefault(fact.key, []).append(_Taken(invited, rank))
        for by, each in sorted(self._parked.pop(fact.key, []), key=lambda parked: (parked[0], parked[1].event_id)):
            self._take_add(by, rank, each, decided)

    def _take_add(self, by: Rank, now: Rank, add: _Authored, decided: set[PeerId]) -> None:
        """An add under an invitation counts once both its author and the inviter have had their turn, as a decision of the junior of them.

        So nobody gets above an inviter by being let in by somebody above it. Of several adds under one invitation the first one counts.
        """
        assert isinstance(add.fact, MemberSet)
        assert add.fact.invite is not None
        key = add.fact.invite
        if not any(taken.invite.role >= add.fact.role for taken in self._invites.get(key, ())):
            self._parked.setdefault(key, []).append((by, add))
        elif key not in self._used:
            self._used[key] = add.fact.peer
            self._decide(now, add.entry, add.fact, decided)

    def _decide(self, authority: Rank, entry: ControlEvent, fact: MemberSet, decided: set[PeerId]) -> None:
        """Note a decision by somebody who has the right to decide; whether it counts is a matter of whom it is about, at each event."""
        header = entry.event.header
        appoints = (authority[0] + 1, self._order[authority], header.hlc, entry.event.id)
        decision = Decision(authority, entry.event.id, entry.author, fact.name, fact.role, fact.cut, tuple(header.refs), appoints)
        self._authors[fact.peer].decisions.append(decision)
        decided.add(fact.peer)

    # At one event

    def _place(self, author: _Author, entry: ControlEvent) -> Place:
        """Where the author of `entry` stood at it, by what was decided so far."""
        cuts = [(number, decision.cut) for number, decision in enumerate(author.decisions) if decision.cut]
        silent = tuple(number for number, cut in cuts if self._ancestry.is_under_any(entry.event, cut))
        if silent not in author.places:
            without = set(silent)
            heard = [decision for number, decision in enumerate(author.decisions) if number not in without]
            author.places[silent] = stand(author.owner, sorted(heard))
        return author.places[silent]

    def _seals(self, author: _Author) -> tuple[Seal, ...]:
        """What `author` says of its own logs, as far as it counts.

        A seal binds what was written with no more power than it was itself, seals included. It counts if no other binds it, or if it lies under one
        that counts.
        """
        waiting: list[tuple[ControlEvent, Place, Seal]] = []
        for entry, fact in author.seals:
            place = self._place(author, entry)
            if place.role is not Role.NONE:
                waiting.append((entry, place, Seal(fact.log, fact.tips, place.role, place.rank)))
        written = _by_power(seal for _, _, seal in waiting)
        found: list[Seal] = []
        bound: dict[EventId, tuple[Place, Seal]] = {}
        for entry, place, seal in waiting:
            if any(other.binds(place) for other, _ in written.get(entry.event.header.log, ())):
                bound[entry.event.id] = place, seal
            else:
                found.append(seal)
        pasts: dict[tuple[LogId, Role, Rank], GrowingPast] = {}
        for counting in found:  # It grows meanwhile.
            power = counting.log, counting.role, counting.rank
            if power not in pasts:
                pasts[power] = GrowingPast(self._ancestry, counting.log)
            under = [each for each in pasts[power].add(counting.tips) if each in bound and counting.binds(bound[each][0])]
            found += [bound.pop(each)[1] for each in under]
        return tuple(sorted(set(found)))

    def _is_sealed(self, seals: Seals, place: Place, entry: ControlEvent) -> bool:
        """As `is_sealed` in `standing` says it, in one look for all seals of the same power."""
        binding = [points for seal, points in seals.get(entry.event.header.log, ()) if seal.binds(place)]
        return bool(binding) and not any(self._ancestry.is_under_any(entry.event, points) for points in binding)

    def _role(self, entry: ControlEvent) -> Role:
        """The role of the author of `entry` at it, once everything is decided."""
        author = self._authors[entry.author]
        place = self._place(author, entry)
        return Role.NONE if self._is_sealed(author.sealed, place, entry) else place.role

    # What comes out

    def _standing(self, author: _Author) -> Standing:
        seals = self._seals(author)
        author.sealed = _by_power(seals)
        return Standing(author.owner, tuple(sorted(author.decisions)), seals)

    def _member(self, peer: PeerId, standing: Standing) -> Member:
        place = standing.now
        name = place.name
        if place.role is Role.OWNER:
            counting = [
                (entry.event.header.hlc, entry.event.id, name) for entry, name in self._names.get(peer, ()) if self._role(entry) is not Role.NONE
            ]
            name = max(counting)[-1] if counting else None
        return Member(peer, name or peer.hex()[:8], place.role)

    def _invite(self, key: bytes, taken: Sequence[_Taken]) -> Invite:
        """The lowest role stays: an invitation that was revoked once is not good again."""
        lowest = min((each.invite for each in taken), key=lambda each: (each.role, each.event_id))
        return lowest._replace(used_by=self._used.get(key))

    def _asks_to_leave(self, entry: ControlEvent, standing: Standing) -> bool:
        """True while the decisions that the request names are the ones that make its author a member."""
        now = standing.now
        return now.role is not Role.NONE and any(ref in now.live for ref in entry.event.header.refs) and self._role(entry) is not Role.NONE

    def _counting_voids(self) -> dict[EventId, tuple[Void, ...]]:
        found: dict[EventId, set[Void]] = {}
        for entry, void in self._voids:
            role = self._role(entry)
            if role is not Role.NONE:
                found.setdefault(void.event_id, set()).add(Void(entry.author, role))
        return {event_id: tuple(sorted(voids)) for event_id, voids in found.items()}


def _by_power(seals: Iterable[Seal]) -> Seals:
    """`seals` by log, those of the same power in one."""
    powers: dict[tuple[LogId, Role, Rank], tuple[Seal, list[Point]]] = {}
    for seal in seals:
        powers.setdefault((seal.log, seal.role, seal.rank), (seal, []))[1].extend(seal.tips)
    found: dict[LogId, list[tuple[Seal, tuple[Point, ...]]]] = {}
    for seal, points in powers.values():
        found.setdefault(seal.log, []).append((seal, tuple(points)))
    return found
