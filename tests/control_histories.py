"""Random control histories: owners, admins, members and strangers that decide on one another, with every kind of malice that a log allows.

Events are linked but not signed: who signed what is a matter of runs. Everything comes from one seed.
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from peer.core.control import ControlEvent, LogSeal, MemberLeave, MemberSet, Point, Role, event_void, invite, log_seal, member_leave, member_set
from peer.core.event import Event, link_event
from peer.core.identity import EventId, LogId, PeerId
from peer.core.roster import Roster
from peer.core.run import Draft
from tests.samples import GROUP, START_MS

ROLES = (Role.NONE, Role.READER, Role.WRITER, Role.WRITER, Role.ADMIN, Role.ADMIN)
KEYS = tuple(bytes([255, number]) * 16 for number in range(4))


def peer_id(number: int) -> PeerId:
    """A made-up key: nothing is signed here."""
    return PeerId(bytes([number + 1]) * 32)


@dataclass(slots=True)
class Log:
    """A control log of somebody, with all its branches."""

    author: PeerId
    log: LogId
    events: list[Event] = field(default_factory=list)

    def tips(self) -> list[Event]:
        """Events that nothing follows."""
        followed = {event.header.previous for event in self.events}
        return [event for event in self.events if event.id not in followed]


class History:
    """A group that is being written."""

    def __init__(self, seed: int) -> None:
        """Nobody but the owners is in."""
        self.chance = random.Random(seed)
        self.seen: Counter[str] = Counter()
        self.people = [peer_id(number) for number in range(self.chance.randrange(5, 9))]
        self.owners = self.people[: self.chance.randrange(1, 4)]
        self.logs: list[Log] = []
        self.events: list[ControlEvent] = []
        self._clock = START_MS << 16

    def write_at_random(self, count: int, authors: Sequence[PeerId] = ()) -> None:
        """Let somebody, owners more often than others, write something."""
        for _ in range(count):
            author = self.chance.choice(authors or [*self.owners, *self.people])
            self.write(self._log_of(author), self._draft(author))

    def write(self, log: Log, draft: Draft, *, after: Event | None = None) -> ControlEvent:
        """Append `draft` to the log, or to a branch of it."""
        before = after or self._before(log)
        self._clock += self.chance.randrange(1, 3)
        clock = self._clock
        if self.chance.random() < 0.2:
            clock = self.chance.randrange(1, self._clock)
            self.seen["backdated"] += 1
        event = link_event(
            group=GROUP,
            log=log.log,
            seq=before.height if before else 0,
            previous=before.id if before else log.log,
            hlc=max(clock, before.header.hlc + 1 if before else 0),
            type_=draft.type,
            refs=list(draft.refs),
            body=draft.body,
        )
        if any(other.header.previous == event.header.previous for other in log.events):
            self.seen["forks"] += 1
        log.events.append(event)
        entry = ControlEvent(event, log.author)
        self.events.append(entry)
        return entry

    def open_log(self, author: PeerId) -> Log:
        """A fresh log of somebody."""
        self.seen["fresh logs"] += 1
        log = Log(author, LogId(self.chance.randbytes(32)))
        self.logs.append(log)
        return log

    def cut(self, peer: PeerId, *, whole: bool) -> tuple[Point, ...]:
        """What a decision on `peer` leaves as it was: everything that it wrote, or something at random."""
        points = [point_at(tip) for log in self.logs if log.author == peer for tip in log.tips()]
        if whole:
            return tuple(points)
        points = [point_at(event) for log in self.logs if log.author == peer for event in log.events if self.chance.random() < 0.3]
        if self.chance.random() < 0.2 and self.logs:
            self.seen["points that are nowhere"] += 1
            points.append(Point(self.chance.choice(self.logs).log, self.chance.randrange(1, 6), EventId(self.chance.randbytes(32))))
        return tuple(points)

    def shuffled(self) -> list[ControlEvent]:
        """The same events in another order, some twice."""
        events = self.chance.sample(self.events, len(self.events))
        return events + events[: len(events) // 4]

    def _log_of(self, author: PeerId) -> Log:
        own = [log for log in self.logs if log.author == author]
        return self.chance.choice(own) if own and self.chance.random() < 0.8 else self.open_log(author)

    def _before(self, log: Log) -> Event | None:
        if not log.events:
            return None
        if self.chance.random() < 0.12:
            return self.chance.choice([None, *log.events])
        return log.tips()[-1]

    def _draft(self, author: PeerId) -> Draft:
        """Something that somebody might write, with or without the right to."""
        kind, about = self.chance.random(), self.chance.choice(self.people)
        decisions = self._decisions(about)
        if kind < 0.62:
            cut = self.cut(about, whole=self.chance.random() < 0.5) if self.chance.random() < 0.5 else ()
            refs = self.chance.sample(decisions, min(len(decisions), self.chance.randrange(4)))
            return member_set(about, f"peer-{about[0]}", self.chance.choice(ROLES), replaces=refs, cut=cut)
        if kind < 0.72:
            return invite(self.chance.choice(KEYS), self.chance.choice(ROLES), START_MS)
        if kind < 0.84:
            return member_set(about, f"peer-{about[0]}", self.chance.choice(ROLES), invite=self.chance.choice(KEYS))
        own = [log for log in self.logs if log.author == author and log.events]
        if kind < 0.94 and own:
            log = self.chance.choice(own)
            return log_seal(log.log, [point_at(self.chance.choice(log.events))] if self.chance.random() < 0.8 else [])
        if kind < 0.97:
            return event_void(EventId(bytes([self.chance.randrange(4)]) * 32))
        asked = self._decisions(author if self.chance.random() < 0.8 else about)
        return member_leave(self.chance.sample(asked, min(len(asked), self.chance.randrange(8))))

    def _decisions(self, about: PeerId) -> list[EventId]:
        """What anybody wrote about that peer, whether it counts or not."""
        return [entry.event.id for entry in self.events if isinstance(entry.fact, MemberSet) and entry.fact.peer == about]


def point_at(event: Event) -> Point:
    """The point that names `event`."""
    return Point(event.header.log, event.height, event.id)


class Lineage:
    """Who descends from whom, found by walking: slow, and with nothing of the project in it."""

    def __init__(self, events: Iterable[ControlEvent]) -> None:
        """The events that are here."""
        self._events = {entry.event.id: entry.event for entry in events}

    def is_under(self, event: Event, point: Point) -> bool:
        """As `Ancestry.is_under_any` promises, of one point."""
        if event.header.log != point.log:
            return False
        if (
            point.event_id in self._events
            and self._events[point.event_id].height == point.height
            and self._events[point.event_id].header.log == point.log
        ):
            return event.id in self._line(point.event_id)
        followed = {each.header.previous for each in self._events.values()}
        tips = [each for each in self._events.values() if each.header.log == point.log and each.id not in followed and each.height < point.height]
        return any(event.id in self._line(tip.id) for tip in tips)

    def _line(self, event_id: EventId) -> set[EventId]:
        line = set[EventId]()
        while event_id in self._events:
            line.add(event_id)
            event_id = EventId(self._events[event_id].header.previous)
        return line


def check_by_definition(history: History, roster: Roster) -> None:
    """Every rule of the roster, looked at from the outcome: what counts has its reason there, what does not count has none.

    The outcome names the decisions that count and the rank of each author. Whether this fits is checked event by event from the words of the rules,
    with ancestors found by walking.
    """
    lineage = Lineage(history.events)
    counting = {decision.event_id: decision for standing in roster.standings.values() for decision in standing.decisions}
    for entry in history.events:
        fact = entry.fact
        if not isinstance(fact, MemberSet) or fact.peer == entry.author:
            assert entry.event.id not in counting
            continue
        author = roster.standing(entry.author)
        if fact.invite is None:
            role = author.role_at(entry.event.header.log, partial(lineage.is_under, entry.event))
            assert (role >= Role.ADMIN) is (entry.event.id in counting), "what was judged on the way is what comes out, seals included"
        if any(isinstance(other.fact, LogSeal) and other.author == entry.author for other in history.events) or fact.invite is not None:
            continue  # Those have tests of their own.
        speaking = [each for each in author.decisions if not any(lineage.is_under(entry.event, point) for point in each.cut)]
        role, rank = place_by_definition(author.owner, speaking, counting)
        if role >= Role.ADMIN:
            assert counting[entry.event.id].rank == rank, "an admin's decision counts, with the rank that its author had"
        else:
            assert entry.event.id not in counting, "nobody else's does"
    for peer, standing in roster.standings.items():
        role, _ = place_by_definition(standing.owner, list(standing.decisions), counting)
        assert roster.role(peer) is role
    assert roster.leaving == {entry.author for entry in history.events if asks_by_definition(entry, roster, lineage)}


def asks_by_definition(entry: ControlEvent, roster: Roster, lineage: Lineage) -> bool:
    """True if a member asks, as the member that it is now, to be removed: by its role at the request, and by what made it a member."""
    standing = roster.standing(entry.author)
    named = set(entry.event.header.refs) & set(standing.now.live)
    role = standing.role_at(entry.event.header.log, partial(lineage.is_under, entry.event))
    return isinstance(entry.fact, MemberLeave) and bool(named) and bool(role) and roster.role(entry.author) is not Role.NONE


def place_by_definition(owner: int | None, speaking: list, counting: dict) -> tuple[Role, tuple]:  # type: ignore[type-arg]
    """The role and rank that these decisions make: each counts if its author is senior to what more senior authors made of the peer."""
    place = (Role.OWNER, (0, owner, 0, b"")) if owner is not None else (Role.NONE, None)
    ranks = sorted({each.rank for each in speaking})
    counted: list = []  # type: ignore[type-arg]
    for rank in ranks:
        if place[1] is not None and place[1] <= rank:
            continue
        counted += [each for each in speaking if each.rank == rank]
        live = [
            each
            for each in counted
            if not any(each.event_id in other.refs and (other.rank <= each.rank or other.author == each.author) for other in counted)
        ]
        role = min(each.role for each in live)
        place = (role, min(counting[each.event_id].appoints for each in live) if role is Role.ADMIN else None)
    return place  # type: ignore[return-value]


def count_kinds(history: History, roster: Roster) -> None:
    """Note what happened in a history, so that a test can see that enough did."""
    seen, lineage = history.seen, Lineage(history.events)
    for peer, standing in roster.standings.items():
        decisions = standing.decisions
        seen["decisions that count"] += len(decisions)
        seen["members"] += peer in roster.members
        seen["conflicts"] += len(standing.now.live) > 1
        seen["appointments of appointed"] += any(decision.appoints[0] > 1 for decision in decisions)
        seen["owners who fell"] += standing.owner is not None and roster.role(peer) is not Role.OWNER
        seen["sealed logs"] += len({seal.log for seal in standing.seals})
        own = [entry for entry in history.events if entry.author == peer]
        seen["events under a cut"] += sum(
            any(lineage.is_under(each.event, point) for decision in decisions for point in decision.cut) for each in own
        )
    seen["decisions that do not count"] += sum(isinstance(each.fact, MemberSet) for each in history.events)
    seen["seals"] += sum(isinstance(each.fact, LogSeal) for each in history.events)
    seen["invitations used"] += sum(each.used_by is not None for each in roster.invites.values())
    seen["voids that count"] += len(roster.voids)
    seen["members that ask to leave"] += len(roster.leaving)
