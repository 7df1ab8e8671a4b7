"""The store of a simulated peer: what is durable survives a crash, what waits for its commit does not.

Small and slow on purpose: ancestors are walked, and all that is kept beside events follows from how many there are, or from the roster. The contract
test runs it beside SQLite.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from peer.core.certificate import Certificate, LogKind
from peer.core.control import ControlEvent, Point, Role
from peer.core.event import Event, check_follows
from peer.core.frontier import Tip, Tips, extend_tips, sorted_tips
from peer.core.group import Genesis
from peer.core.identity import EventId, GroupId, LogId, PeerId
from peer.core.interfaces import Commit, Fork, Page
from peer.core.judging import HeldLog, Judgement, LogKey, rejudge, tops_of
from peer.core.roster import Roster, evaluate
from peer.core.run import RUN_BYTES_MAX, RUN_EVENTS_MAX, Run
from peer.errors import LogGapError
from tests.simulation.lines import Tree, named_points, tree_of

NOTHING = Tree((), {})


@dataclass
class MemoryGroup:
    """A `GroupView` and the events behind it."""

    genesis: Genesis
    judgement: Judgement
    tips: dict[LogId, Tips] = field(default_factory=dict)
    certificates: dict[LogId, Certificate] = field(default_factory=dict)
    events: dict[LogId, dict[EventId, Event]] = field(default_factory=dict)
    signatures: dict[EventId, bytes] = field(default_factory=dict)
    held_tips: dict[LogId, Tips] = field(default_factory=dict)
    """Whether they count or not."""
    waiting_logs: int = 0
    trees: dict[LogId, tuple[int, Tree]] = field(default_factory=dict)
    """What was worked out of each log when it had so many events."""
    points: tuple[Roster | None, frozenset[Point]] = (None, frozenset())
    """What cuts and seals of a roster name."""

    @property
    def roster(self) -> Roster:
        """Who is in it."""
        return self.judgement.roster

    @property
    def control(self) -> list[ControlEvent]:
        """The control events that the roster is computed from."""
        return [
            ControlEvent(event, certificate.peer)
            for log, certificate in self.certificates.items()
            if certificate.kind is LogKind.CONTROL
            for event in self.events[log].values()
        ]

    @property
    def quarantined(self) -> int:
        """How many held events do not count."""
        return sum(role is Role.NONE for log in self.events for role in self.roles(log).values())

    @property
    def forks(self) -> list[Fork]:
        """Where logs have forked, by log and height."""
        found = [
            Fork(log, certificate.peer, certificate.kind, line.fork_height)
            for log, certificate in self.certificates.items()
            for line in self.tree(log).lines[1:]
        ]
        return sorted(found, key=lambda fork: (fork.log, fork.height))

    def reach(self, certificate: Certificate) -> int | None:
        """As `GroupView.reach`."""
        return self.judgement.reach(certificate.peer, certificate.log, unsealed=certificate.kind is LogKind.CONTROL)

    def roles(self, log: LogId) -> dict[EventId, Role]:
        """The roles at all events of a log."""
        tree, author = self.tree(log), self.certificates[log].peer
        return {
            event_id: self.judgement.role(author, log, line, self.events[log][event_id].height, event_id) for event_id, line in tree.line_of.items()
        }

    def tree(self, log: LogId) -> Tree:
        """The lines of a log."""
        if log not in self.certificates:
            return NOTHING
        count, tree = self.trees.get(log, (0, NOTHING))
        if count != len(self.events[log]):
            tree = tree_of(self.events[log].values())
            self.trees[log] = len(self.events[log]), tree
        return tree

    def _held(self, key: LogKey) -> HeldLog:
        author, log = key
        certificate = self.certificates.get(log)
        return HeldLog(self.tree(log).lines, certificate.kind is LogKind.CONTROL) if certificate and certificate.peer == author else HeldLog()

    def look_again(self, changed: LogKey, roster: Roster) -> None:
        """A log has grown, and this is the roster now: think about all roles."""
        if self.points[0] is not roster:
            self.points = roster, frozenset(point for standing in roster.standings.values() for point in named_points(standing))
        points = {point for point in self.points[1] if point.log in self.events}
        trees = {log: self.tree(log) for log in {point.log for point in points}}
        places = {point: number for point in points for number in trees[point.log].places([point]).values()}
        data = {log for log, certificate in self.certificates.items() if roster.voids and certificate.kind is LogKind.DATA}
        voided = {event for event in roster.voids for log in data if event in self.events[log] and roster.is_void(event, self.certificates[log].peer)}
        before = self.judgement
        self.judgement = rejudge(before, roster, {changed}, self._held, places, frozenset(voided))
        for log in self.certificates if self.judgement is not before else {changed[1]}:
            self.show(log)

    def show(self, log: LogId) -> None:
        """Work out what others get of a log."""
        author = self.certificates[log].peer
        verdict = self.judgement.verdicts.get((author, log))
        if verdict is None:
            tips = () if self.roster.role(author) is Role.NONE else self.held_tips[log]
        else:
            tree = self.tree(log)
            tips = sorted_tips(
                Tip(height, tree.lines[number].events[height - tree.lines[number].fork_height - 1].id)
                for number, height in tops_of(tree.lines, verdict.clips)
            )
        if tips:
            self.tips[log] = tips
        else:
            self.tips.pop(log, None)


class MemoryStore:
    """Groups and events of one peer."""

    def __init__(self) -> None:
        self._groups: dict[GroupId, MemoryGroup] = {}
        self._shown = MappingProxyType(self._groups)
        self._ids: set[EventId] = set()
        self.named: dict[GroupId, set[PeerId]] = {}
        """Peers that the operator named, by group."""
        self.position = self.highest_hlc = 0

    @property
    def groups(self) -> MappingProxyType[GroupId, MemoryGroup]:
        """By id."""
        return self._shown

    def shares(self, group: GroupId, peer: PeerId) -> bool:
        """As `Replica.shares`."""
        return peer in self._groups[group].roster.members or peer in self.named.get(group, ())

    def create_group(self, genesis: Genesis) -> None:
        """Begin to hold a group."""
        self._groups.setdefault(genesis.group, MemoryGroup(genesis, Judgement(evaluate(genesis.owners, ()))))

    def ids(self) -> set[EventId]:
        """All events held."""
        return set(self._ids)

    def lacking(self, events: Iterable[EventId]) -> set[EventId]:
        """Those of `events` that are not held."""
        return set(events) - self._ids

    def commit(self, certificate: Certificate, run: Run) -> Commit | None:
        """Make a run durable; None if all of it is held already."""
        group = self._groups[certificate.group]
        held = group.events.get(run.log, {})
        fresh = [event for event in run.events if event.id not in held]
        if not fresh:
            if run.last.id in held:
                group.signatures[run.last.id] = run.signature
            return None
        self.check_place(held, fresh[0])
        group.events[run.log] = held
        for event in fresh:
            held[event.id] = event
            self._ids.add(event.id)
        group.signatures[run.last.id] = run.signature
        group.certificates[run.log] = certificate
        last = Tip(run.last.height, run.last.id)
        group.held_tips[run.log] = extend_tips(group.held_tips.get(run.log, ()), fresh[0].header.previous, last)
        roster = evaluate(group.genesis.owners, group.control) if certificate.kind is LogKind.CONTROL else group.roster
        group.look_again((certificate.peer, certificate.log), group.roster if roster == group.roster else roster)
        self.position += len(fresh)
        self.highest_hlc = max(self.highest_hlc, fresh[-1].header.hlc)
        return Commit(certificate.group, certificate, Run(fresh, run.signature), group.tips.get(run.log, ()), self.position)

    def check_place(self, held: dict[EventId, Event], first: Event) -> None:
        """Raise unless `first` follows an event that is held, or begins the log."""
        if first.header.seq == 0:
            return
        before = held.get(EventId(first.header.previous))
        if before is None:
            raise LogGapError("the event before is not held")
        check_follows(first.header, before.header, before.id)

    def read_after(self, group_id: GroupId, log: LogId, have: Sequence[EventId], size_max: int) -> Page:
        """As `EventStore.read_after`."""
        group = self._groups[group_id]
        held = group.events[log]
        covered: set[EventId] = set()
        for event_id in have:
            if event_id in held:
                self._walk_back(held, event_id, covered)
        runs: list[Run] = []
        size = 0
        for tip in group.tips.get(log, ()):
            chain = self._walk_back(held, tip.event_id, covered)
            if chain:
                chain += self._rest_of_run(group, log, tip)
            for run in self._cut(group, chain):
                if runs and size + run.size > size_max:
                    return Page(runs, complete=False)
                runs.append(run)
                size += run.size
        return Page(runs, complete=True)

    def held(self, group: GroupId, events: Iterable[EventId]) -> frozenset[EventId]:
        """As `EventStore.held`."""
        return frozenset(events) & self._ids if group in self._groups else frozenset()

    def locator(self, group: GroupId, log: LogId) -> list[EventId]:
        """As `EventStore.locator`."""
        held = self._groups[group].events.get(log, {})
        found: list[EventId] = []
        for tip in self._groups[group].tips.get(log, ()):
            chain = self._walk_back(held, tip.event_id, set())
            back = 0
            while back < len(chain):
                found.append(chain[-1 - back].id)
                back = back * 2 or 1
            found.append(chain[0].id)
        return list(dict.fromkeys(found))

    def copy(self) -> "MemoryStore":
        """As a backup of the disk."""
        other = MemoryStore()
        other.position, other.highest_hlc = self.position, self.highest_hlc
        other._ids = set(self._ids)
        other.named = {group: set(peers) for group, peers in self.named.items()}
        for group_id, group in self._groups.items():
            other._groups[group_id] = replace(
                group,
                tips=dict(group.tips),
                certificates=dict(group.certificates),
                events={log: dict(events) for log, events in group.events.items()},
                signatures=dict(group.signatures),
                held_tips=dict(group.held_tips),
                trees=dict(group.trees),
            )
        return other

    def _walk_back(self, held: dict[EventId, Event], event_id: EventId, covered: set[EventId]) -> list[Event]:
        """The events at and before `event_id` that are not in `covered`, lowest first; adds them to it."""
        chain: list[Event] = []
        while event_id not in covered:
            covered.add(event_id)
            chain.append(held[event_id])
            if held[event_id].header.seq == 0:
                break
            event_id = EventId(held[event_id].header.previous)
        return chain[::-1]

    def _rest_of_run(self, group: MemoryGroup, log: LogId, tip: Tip) -> list[Event]:
        """What follows a tip of what counts up to the next signature: nothing if there is one at the tip."""
        rest: list[Event] = []
        if tip.event_id not in group.signatures:
            tree = group.tree(log)
            line = tree.lines[tree.line_of[tip.event_id]]
            for event in line.events[tip.height - line.fork_height :]:
                rest.append(event)
                if event.id in group.signatures:
                    break
        return rest

    def _cut(self, group: MemoryGroup, chain: list[Event]) -> Iterable[Run]:
        """Runs that end on a signature, as long as they may be."""
        while chain:
            sizes = itertools.accumulate(event.size for event in chain[:RUN_EVENTS_MAX])
            fitting = zip(chain, itertools.takewhile(lambda size: size <= RUN_BYTES_MAX, sizes), strict=False)
            signed = max(index for index, (event, _) in enumerate(fitting) if event.id in group.signatures)
            yield Run(chain[: signed + 1], group.signatures[chain[signed].id])
            chain = chain[signed + 1 :]
