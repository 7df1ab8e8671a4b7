"""Random histories of a group as signed runs: people write, fork, seal, void, appoint and remove one another. Everything comes from one seed."""

import random
from collections import Counter
from dataclasses import dataclass, field

from peer.core.certificate import Certificate, LogKind
from peer.core.control import Point, Role, event_void, log_seal, member_set
from peer.core.event import Event
from peer.core.identity import EventId, LogId
from peer.core.run import Draft, Run
from tests.samples import SampleLog, key_pair, note

PEOPLE = ("alice", "bob", "carol", "dave")
ROLES = (Role.NONE, Role.NONE, Role.READER, Role.WRITER, Role.WRITER, Role.ADMIN)


@dataclass(slots=True)
class SignedLog:
    """A log of somebody, with all its branches."""

    author: str
    sample: SampleLog
    events: list[Event] = field(default_factory=list)

    @property
    def log(self) -> LogId:
        """Which log."""
        return self.sample.certificate.log

    def point(self, event: Event) -> Point:
        """The point that names an event of it."""
        return Point(self.log, event.height, event.id)


class SignedHistory:
    """A group of alice that is being written."""

    def __init__(self, seed: int) -> None:
        """Everybody is a member."""
        self.chance = random.Random(seed)
        self.seen: Counter[str] = Counter()
        self.logs: list[SignedLog] = []
        self.runs: list[tuple[Certificate, Run]] = []
        self.decisions: dict[str, list[EventId]] = {name: [] for name in PEOPLE}
        for name in PEOPLE[1:]:
            self.decide("alice", name, self.chance.choice((Role.WRITER, Role.ADMIN)))

    def write_at_random(self, count: int) -> None:
        """Let somebody write something, as often."""
        for _ in range(count):
            kind, author = self.chance.random(), self.chance.choice(PEOPLE)
            if kind < 0.5:
                self.write(author, LogKind.DATA, *(note(number) for number in range(self.chance.randrange(1, 7))))
            elif kind < 0.8:
                self.decide(self.chance.choice(("alice", "alice", "bob", author)), self.chance.choice(PEOPLE[1:]), self.chance.choice(ROLES))
            elif kind < 0.9:
                self.seal(author)
            else:
                self.void(author)

    def write(self, author: str, kind: LogKind, *drafts: Draft) -> list[Event]:
        """One run, in a log of `author`: at its end, or at the end or in the middle of any branch."""
        own = [each for each in self.logs if each.author == author and each.sample.certificate.kind is kind]
        if not own or self.chance.random() < 0.1:
            own = [SignedLog(author, SampleLog(author, kind=kind, label=str(len(self.logs))))]
            self.logs += own
        log = self.chance.choice(own)
        if log.events and self.chance.random() < 0.3:
            self.seen["forks"] += 1
            log.sample.tip = self.chance.choice([None, *log.events])
        run = log.sample.write(*drafts)
        log.events += run.events
        self.runs.append((log.sample.certificate, run))
        return list(run.events)

    def decide(self, author: str, about: str, role: Role) -> None:
        """Add, change or remove, with a cut at random points, with or without naming what was decided before."""
        names = [log.point(event) for log in self.logs if log.author == about or self.chance.random() < 0.05 for event in log.events]
        cut = self.chance.sample(names, min(len(names), self.chance.randrange(1, 5))) if self.chance.random() < 0.6 else []
        if cut and self.chance.random() < 0.1:
            self.seen["points that are nowhere"] += 1
            cut.append(Point(cut[0].log, self.chance.randrange(1, 9), EventId(self.chance.randbytes(32))))
        self.seen["cuts"] += bool(cut)
        replaces = self.decisions[about][-3:] if self.chance.random() < 0.7 else []
        [event] = self.write(author, LogKind.CONTROL, member_set(key_pair(about).peer_id, about, role, replaces=replaces, cut=cut))
        self.decisions[about].append(event.id)

    def seal(self, author: str) -> None:
        """Of some log of `author` only some of it is to count."""
        whose = self.chance.choice(PEOPLE) if self.chance.random() < 0.2 else author
        logs = [each for each in self.logs if each.author == whose and each.events]
        if logs:
            self.seen["seals"] += 1
            log = self.chance.choice(logs)
            points = {log.point(event) for event in self.chance.sample(log.events, min(len(log.events), self.chance.randrange(3)))}
            self.write(author, LogKind.CONTROL, log_seal(log.log, sorted(points)))

    def void(self, author: str) -> None:
        """Some event is not to count."""
        events = [event for log in self.logs for event in log.events]
        if events:
            self.seen["voids"] += 1
            self.write(author, LogKind.CONTROL, event_void(self.chance.choice(events).id))
