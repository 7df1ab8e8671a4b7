"""Histories in which roles change under way, and a store that tells them as they come: with the roles at events by the definition of the rules.

Nothing here is cached or clever: at each arrival the roles of all events that are here are worked out anew, with ancestors found by walking. Whoever
waits for an answer may find, when it comes, that more has arrived meanwhile: that is what the store is for.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar

from peer.core.certificate import LogKind
from peer.core.control import ControlEvent, Role, event_void, log_seal, member_set
from peer.core.encoding import encode
from peer.core.hashing import hash_bytes
from peer.core.identity import EventId, GroupId, PeerId
from peer.core.interfaces import StoredEvent
from peer.core.judging import Changes
from peer.core.roster import evaluate
from peer.core.run import Draft
from tests.control_histories import Lineage, point_at
from tests.histories import PEOPLE, RandomAuthor
from tests.samples import GROUP, SampleLog, genesis, key_pair

T = TypeVar("T")
MEMBERS = ("bob", "carol", "dave")
DECIDED_ON = (*MEMBERS, "mallory")
ASSIGNED = (Role.NONE, Role.READER, Role.WRITER, Role.ADMIN)


class DecidedHistory:
    """A group in which people write, and decide on one another: appointments, removals with and without cuts, re-adds, voids, seals."""

    def __init__(self, seed: int, seen: Counter[str], size: int = 70, *, forks: bool = False) -> None:
        """Everything comes from `seed`. With `forks`, data directories are copied, and both copies used; finalizes name attachments."""
        self.chance = random.Random(seed)
        self.seen = seen
        self.control = {name: SampleLog(name, kind=LogKind.CONTROL) for name in PEOPLE}
        self.events: list[StoredEvent] = []
        self.logs: list[SampleLog] = [*self.control.values()]
        """All that were written."""
        self._decisions: dict[str, list[EventId]] = {name: [] for name in PEOPLE}
        self._roles = dict(PEOPLE)
        self._author = RandomAuthor(self.chance, seen)
        self._author.names_others = forks
        self.logs += self._author.story.logs.values()
        for name in MEMBERS:
            self._decide("alice", name, PEOPLE[name])
        for number in range(size):
            if forks and self.chance.random() < 0.05:
                self._fork()
            if self.chance.random() < 0.15:
                self._control(number)
            else:
                before = len(self._author.story.events)
                self._author.act()
                self.events += self._author.story.events[before:]

    def _control(self, number: int) -> None:
        kind, by = self.chance.random(), self.chance.choice(["alice", "alice", "carol", "bob"])
        written = self._author.story.events
        if kind < 0.6:
            self._decide(by, self.chance.choice(DECIDED_ON), self.chance.choice(ASSIGNED))
        elif kind < 0.85 and written:
            event = self.chance.choice(written)
            self.seen["voids"] += 1
            self._write(by, event_void(event.event.id))
        elif log := [each.event for each in written if each.author == key_pair(by).peer_id]:
            self.seen["seals"] += 1
            self._write(by, log_seal(log[-1].header.log, [point_at(self.chance.choice(log))]))
            self._author.story.logs[by] = SampleLog(by, label=str(number))
            self.logs.append(self._author.story.logs[by])

    def _fork(self) -> None:
        """Somebody goes on from an earlier event of a log, without what came after it."""
        name = self.chance.choice(list(PEOPLE))
        log = self.chance.choice([self.control[name], self._author.story.logs[name]])
        written = [each.event for each in self.events if each.event.header.log == log.certificate.log]
        if len(written) > 1:
            self.seen["forks"] += 1
            log.tip = self.chance.choice([None, *written[:-1]])

    def _decide(self, by: str, about: str, role: Role) -> None:
        peer = key_pair(about).peer_id
        written = [each.event for each in self._author.story.events if each.author == peer]
        cut = self.chance.choice(([], [written[-1]], [self.chance.choice(written)])) if written else []
        self.seen["cuts"] += bool(cut)
        self.seen["role changes"] += role is not self._roles[about]
        self.seen["re-adds"] += role > self._roles[about] is Role.NONE and len(self._decisions[about]) > 1
        self._roles[about] = role
        draft = member_set(peer, about, role, replaces=self._decisions[about][-8:], cut=[point_at(event) for event in cut])
        self._decisions[about].append(self._write(by, draft))

    def _write(self, by: str, draft: Draft) -> EventId:
        event = self.control[by].write(draft).last
        self.events.append(StoredEvent(0, GROUP, LogKind.CONTROL, key_pair(by).peer_id, event, Role.NONE))
        return event.id


def shuffled_by_log(events: Sequence[StoredEvent], chance: random.Random) -> list[StoredEvent]:
    """In any order in which what follows an event in its log comes after it: logs come by themselves, some late."""
    waiting: dict[bytes, list[StoredEvent]] = {}
    for stored in events:
        waiting.setdefault(stored.event.header.log, []).append(stored)
    order: list[StoredEvent] = []
    while waiting:
        log = chance.choice(sorted(waiting))
        for _ in range(chance.randrange(1, 12)):
            order.append(waiting[log].pop(0))
            if not waiting[log]:
                del waiting[log]
                break
    return order


@dataclass(eq=False)
class ToldJudgement:
    """The roles at all events that were here while it stood."""

    roles: dict[EventId, Role]
    authors: Mapping[EventId, PeerId]
    chance: random.Random
    digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.digest = hash_bytes(encode(sorted([event_id, int(role)] for event_id, role in self.roles.items())))

    def changes_since(self, other: "ToldJudgement") -> Changes:
        """Exactly what has another role, no more: some authors as such, the events of others one by one."""
        changed = {event_id for event_id, role in self.roles.items() if other.roles.get(event_id, role) is not role}
        authors = sorted({self.authors[event_id] for event_id in changed})
        whole = frozenset(author for author in authors if self.chance.random() < 0.5)
        return Changes(whole, frozenset(event_id for event_id in changed if self.authors[event_id] not in whole))


class View(NamedTuple):
    """A `GroupView`, as far as the materializer looks."""

    judgement: ToldJudgement


class ArrivingStore:
    """Events that arrive one after the other, at the latest while somebody waits for an answer. Store and replica in one."""

    def __init__(self, arrivals: Sequence[StoredEvent], chance: random.Random, seen: Counter[str]) -> None:
        """Nothing is here yet."""
        self.held: list[StoredEvent] = []
        self._waiting = list(arrivals)
        self._chance = chance
        self._seen = seen
        self._judgement = ToldJudgement({}, {}, chance)

    @property
    def groups(self) -> Mapping[GroupId, View]:
        """The one group."""
        return {GROUP: View(self._judgement)}

    @property
    def is_whole(self) -> bool:
        """True if everything is here."""
        return not self._waiting

    def arrive(self, count: int) -> None:
        """The next events come, in one commit."""
        new, self._waiting = self._waiting[:count], self._waiting[count:]
        self.held += [stored._replace(position=len(self.held) + number) for number, stored in enumerate(new, 1)]
        roles = roles_by_definition(self.held)
        before = self._judgement.roles
        if any(roles[event_id] is not role for event_id, role in before.items()):
            self._seen["judgements"] += 1
            self._judgement = ToldJudgement(roles, {stored.event.id: stored.author for stored in self.held}, self._chance)
        else:
            before.update(roles)
            self._judgement.authors = {stored.event.id: stored.author for stored in self.held}

    async def events_after(self, position: int, count_max: int) -> list[StoredEvent]:
        """As `EventStore.events_after`."""
        return self._answer(lambda: [self._told(stored) for stored in self.held[position : position + min(count_max, self._chance.randrange(1, 20))]])

    async def roles(self, group: GroupId, events: Sequence[EventId]) -> Mapping[EventId, Role]:
        """As `EventStore.roles`."""
        assert group == GROUP
        wanted = set(events)
        return self._answer(lambda: {event_id: role for event_id, role in self._judgement.roles.items() if event_id in wanted})

    async def event(self, event_id: EventId) -> StoredEvent | None:
        """As `EventStore.event`."""
        return self._answer(lambda: next((self._told(stored) for stored in self.held if stored.event.id == event_id), None))

    def subscribe(self, _listener: object) -> Callable[[], None]:
        """Nobody is told: the test asks for each step."""
        return lambda: None

    def _told(self, stored: StoredEvent) -> StoredEvent:
        return stored._replace(role=self._judgement.roles[stored.event.id])

    def _answer(self, read: Callable[[], T]) -> T:
        """What is read now, perhaps after more has come, perhaps with more coming before it is told."""
        self._meanwhile()
        answer = read()
        self._meanwhile()
        return answer

    def _meanwhile(self) -> None:
        if self._waiting and self._chance.random() < 0.15:
            before = self._judgement
            self.arrive(self._chance.randrange(1, 8))
            self._seen["judged otherwise meanwhile"] += before is not self._judgement


def roles_by_definition(held: Sequence[StoredEvent]) -> dict[EventId, Role]:
    """The role at each event, from nothing but the events."""
    entries = [ControlEvent(stored.event, stored.author) for stored in held]
    roster = evaluate(genesis().owners, [entry for entry, stored in zip(entries, held, strict=True) if stored.kind is LogKind.CONTROL])
    lineage = Lineage(entries)
    roles = {}
    for entry, stored in zip(entries, held, strict=True):
        void = stored.kind is LogKind.DATA and roster.is_void(entry.event.id, entry.author)
        role = roster.standing(entry.author).role_at(entry.event.header.log, partial(lineage.is_under, entry.event))
        roles[entry.event.id] = Role.NONE if void else role
    return roles
