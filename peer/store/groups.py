"""What this peer holds of its groups, in memory: logs with their branches and tips, rosters, peers that the operator named.

Changed only after a commit, on the event loop: what is seen here is on disk. The records of logs are values, so that the writer can plan a
transaction on copies while everybody else reads.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from peer.core.certificate import Certificate, LogKind
from peer.core.control import ControlEvent, Point, Role
from peer.core.frontier import Tip, Tips, sorted_tips
from peer.core.group import Genesis
from peer.core.identity import EventId, GroupId, LogId, PeerId
from peer.core.interfaces import Fork
from peer.core.judging import Judgement, counted
from peer.core.roster import Roster, evaluate

WAITING_LOGS_MAX = 1000
"""As many logs that have to wait are remembered by name, in each group."""


class Branch(NamedTuple):
    """One line of events of a log: those above `fork_height`; below it goes on in `parent`."""

    number: int
    parent: int | None
    """The number of the branch that it left, None if it begins with the log."""
    fork_height: int
    height: int
    tip: EventId
    hlc: int
    """Clock of the tip."""
    first_position: int
    position: int
    """This peer's position of the tip."""

    @property
    def is_empty(self) -> bool:
        """True if no event is left of it, in a log that is clipped."""
        return self.height == self.fork_height


class LogRecord(NamedTuple):
    """A log as it is held."""

    number: int
    certificate: Certificate
    branches: tuple[Branch, ...]
    """In the order in which they appeared: a parent comes before its children."""

    @property
    def tips(self) -> Tips:
        """The last events of its branches, but for those after which another one goes on."""
        branches = [branch for branch in self.branches if not branch.is_empty]
        if len(branches) == 1:
            return (Tip(branches[0].height, branches[0].tip),)
        left = {(branch.parent, branch.fork_height) for branch in branches}
        return sorted_tips(Tip(branch.height, branch.tip) for branch in branches if (branch.number, branch.height) not in left)

    @property
    def events(self) -> int:
        """How many events it has."""
        return sum(branch.height - branch.fork_height for branch in self.branches)

    def with_branch(self, changed: Branch) -> "LogRecord":
        """This log with `changed` in the place of the branch of that number, or beside the others."""
        if any(branch.number == changed.number for branch in self.branches):
            branches = tuple(changed if branch.number == changed.number else branch for branch in self.branches)
        else:
            branches = (*self.branches, changed)
        return self._replace(branches=branches)

    def clipped(self, clips: Mapping[int, int], ends: Mapping[int, EventId]) -> "LogRecord":
        """This log up to these heights of its branches, where the events are that `ends` names. Branches of which nothing is left are empty."""
        branches: list[Branch] = []
        for branch in self.branches:
            clip = clips[branch.number]
            if clip >= branch.height:
                branches.append(branch)
            elif clip > branch.fork_height:
                branches.append(branch._replace(height=clip, tip=ends[branch.number]))
            else:
                branches.append(branch._replace(height=branch.fork_height, tip=EventId(b"")))
        return self._replace(branches=tuple(branches))


class GroupCounts(NamedTuple):
    """How much of a group is here."""

    events: int
    logs: int
    forks: int
    """Branches beyond the first of their log."""


class GroupHealth(NamedTuple):
    """What is odd about what is held of a group."""

    hidden: Mapping[PeerId, int]
    """By author, how many events do not count, voids aside."""
    clocks: Mapping[PeerId, int]
    """By author, the highest clock."""
    waiting_logs: int


class VoidPlace(NamedTuple):
    """Where an event of a data log is that somebody wants not to count."""

    author: PeerId
    log: LogId
    branch: int
    height: int


class Judged(NamedTuple):
    """What was made of a group's events, with what is needed to go on from it when more of them come."""

    judgement: Judgement
    places: Mapping[Point, int]
    """The branches on which the events at points are, of those that are here."""
    ends: Mapping[int, EventId]
    """By number of a branch that is offered in part the last event of that part."""
    voids: Mapping[EventId, VoidPlace]
    voids_missing: frozenset[EventId]
    """Events that somebody wants not to count and that are not here, or not in a data log."""
    voided: int
    """How many events would count if they were not voided."""

    @property
    def is_plain(self) -> bool:
        """True if only control events can change anything."""
        return not self.judgement.verdicts and not self.voids_missing


@dataclass(slots=True)
class GroupRecord:
    """A group as it is held: the `GroupView` of the other parts."""

    number: int
    group: GroupId
    genesis: Genesis
    judged: Judged
    tips: dict[LogId, Tips] = field(default_factory=dict)
    certificates: dict[LogId, Certificate] = field(default_factory=dict)
    logs: dict[LogId, LogRecord] = field(default_factory=dict)
    """All that is held, whether it counts or not."""
    logs_of: dict[PeerId, list[LogId]] = field(default_factory=dict)
    """By author."""
    control: list[ControlEvent] = field(default_factory=list)
    hlc: int = 0
    """The highest clock seen in the group."""
    events: int = 0
    _waiting: set[LogId] = field(default_factory=set)
    _offers: dict[LogId, LogRecord] = field(default_factory=dict)
    """Of logs that cuts or seals name, what others get of them."""
    _hidden: dict[LogId, int] = field(default_factory=dict)
    """How many events of a log do not count, voids aside."""

    @property
    def judgement(self) -> Judgement:
        """Which role each held event has."""
        return self.judged.judgement

    @property
    def roster(self) -> Roster:
        """Who is in it."""
        return self.judged.judgement.roster

    @property
    def quarantined(self) -> int:
        """How many held events do not count."""
        return sum(self._hidden.values()) + self.judged.voided

    @property
    def waiting_logs(self) -> int:
        """How many logs were refused because their authors have too many, and did not come since."""
        return len(self._waiting)

    @property
    def forks(self) -> list[Fork]:
        """Where logs have forked, by log and height."""
        found = [
            Fork(log, record.certificate.peer, record.certificate.kind, branch.fork_height)
            for log, record in self.logs.items()
            for branch in record.branches[1:]
        ]
        return sorted(found, key=lambda fork: (fork.log, fork.height))

    @property
    def counts(self) -> GroupCounts:
        """How much of it is here."""
        forks = sum(len(log.branches) - 1 for log in self.logs.values() if log.branches)
        return GroupCounts(self.events, len(self.logs), forks)

    @property
    def health(self) -> GroupHealth:
        """What is odd about it. Looks at every log."""
        hidden: dict[PeerId, int] = {}
        for log, count in self._hidden.items():
            author = self.certificates[log].peer
            hidden[author] = hidden.get(author, 0) + count
        clocks = {peer: max((branch.hlc for log in logs for branch in self.logs[log].branches), default=0) for peer, logs in self.logs_of.items()}
        return GroupHealth(hidden, clocks, self.waiting_logs)

    def reach(self, certificate: Certificate) -> int | None:
        """The height above which nothing of that log is of use; None if there is none, 0 if nothing of it is."""
        return self.judged.judgement.reach(certificate.peer, certificate.log, unsealed=certificate.kind is LogKind.CONTROL)

    def is_over(self, certificate: Certificate) -> bool:
        """True if there is a height above which nothing of that log counts."""
        return self.judged.judgement.reach(certificate.peer, certificate.log) is not None

    def offered(self, log: LogId) -> LogRecord | None:
        """What others get of a log, None if nothing."""
        if log not in self.tips:
            return None
        return self._offers.get(log) or self.logs[log]

    def sealed(self, peer: PeerId) -> set[LogId]:
        """Logs of `peer` that it has sealed."""
        return {seal.log for seal in self.roster.standing(peer).seals}

    def take_log(self, record: LogRecord) -> None:
        """Show `record` as what is held of its log."""
        log = record.certificate.log
        before = self.logs.get(log)
        if before is None:
            self.certificates[log] = record.certificate
            self.logs_of.setdefault(record.certificate.peer, []).append(log)
            self._waiting.discard(log)
        self.events += record.events - (before.events if before else 0)
        self.logs[log] = record
        self._show(log, record)
        self.hlc = max(self.hlc, max((branch.hlc for branch in record.branches), default=0))

    def take_judged(self, judged: Judged, control: Iterable[ControlEvent] = ()) -> None:
        """Show what was made of these control events and of all that came with them."""
        before, now = self.judged.judgement, judged.judgement
        self.control.extend(control)
        self.judged = judged
        if now is before:
            return
        logs = {
            log for peer, log in now.verdicts.keys() | before.verdicts.keys() if now.verdicts.get((peer, log)) != before.verdicts.get((peer, log))
        }
        for peer in now.roster.members.keys() ^ before.roster.members.keys():
            logs.update(self.logs_of.get(peer, ()))
        for log in logs & self.logs.keys():
            self._show(log, self.logs[log])

    def note_waiting(self, log: LogId) -> None:
        """A log was refused because its author has too many."""
        if len(self._waiting) < WAITING_LOGS_MAX:
            self._waiting.add(log)

    def _show(self, log: LogId, record: LogRecord) -> None:
        """Work out what others get of a log."""
        judgement, author = self.judged.judgement, record.certificate.peer
        verdict = judgement.verdicts.get((author, log)) if judgement.verdicts else None
        if verdict is not None:
            offer = record.clipped(verdict.clips, self.judged.ends)
            self._offers[log] = offer
            self._set(log, offer.tips, sum(line.height - line.fork_height - counted(verdict.spans[line.number], line) for line in record.branches))
        else:
            self._offers.pop(log, None)
            if judgement.roster.role(author) is Role.NONE:
                self._set(log, (), record.events)
            else:
                self._set(log, record.tips, 0)

    def _set(self, log: LogId, tips: Tips, hidden: int) -> None:
        if tips:
            self.tips[log] = tips
        else:
            self.tips.pop(log, None)
        if hidden:
            self._hidden[log] = hidden
        else:
            self._hidden.pop(log, None)


class Groups:
    """All groups of this peer: the `Replica` of the other parts."""

    def __init__(self) -> None:
        """Nothing is held yet."""
        self._groups: dict[GroupId, GroupRecord] = {}
        self._whole: dict[GroupId, GroupRecord] = {}
        """With those that were forgotten: their events are still here."""
        self._named: dict[PeerId, frozenset[GroupId]] = {}
        self._branches: dict[int, tuple[GroupRecord, LogRecord]] = {}

    @property
    def groups(self) -> Mapping[GroupId, GroupRecord]:
        """By id."""
        return self._groups

    @property
    def whole(self) -> "WholeReplica":
        """The same with the groups that this site has left, for whoever computes something from every event that is stored."""
        return WholeReplica(self._whole)

    def shares(self, group: GroupId, peer: PeerId) -> bool:
        """True if `peer` is on the roster of `group`, or the operator named it as a peer of the group."""
        record = self._groups.get(group)
        if record is None:
            return False
        return peer in record.roster.members or group in self._named.get(peer, ())

    def add(self, record: GroupRecord) -> None:
        """Begin to show a group."""
        self._whole[record.group] = record
        self._groups[record.group] = record

    def forget(self, group: GroupId) -> None:
        """This site has left `group`: it is as good as not here."""
        self._groups.pop(group, None)

    def forgotten(self, group: GroupId) -> GroupRecord | None:
        """A group that this site has left."""
        return None if group in self._groups else self._whole.get(group)

    def take_log(self, group: GroupRecord, record: LogRecord) -> None:
        """Show `record` as what `group` holds of its log."""
        group.take_log(record)
        for branch in record.branches:
            self._branches[branch.number] = (group, record)

    def name_peer(self, peer: PeerId, groups: Iterable[GroupId]) -> None:
        """The operator named `peer` as one of `groups`, and of no others."""
        self._named[peer] = frozenset(groups)

    def forget_peer(self, peer: PeerId) -> None:
        """The operator names `peer` no more."""
        self._named.pop(peer, None)

    def of_branch(self) -> Callable[[int], tuple[GroupRecord, LogRecord]]:
        """What tells the group and log of a branch by its number."""
        return self._branches.__getitem__

    def log_of_branch(self, number: int) -> LogRecord | None:
        """The log of a branch, None if it is not shown yet."""
        found = self._branches.get(number)
        return found[1] if found else None


class WholeReplica:
    """All groups of which events are stored."""

    def __init__(self, groups: Mapping[GroupId, GroupRecord]) -> None:
        """Of these groups."""
        self._groups = groups

    @property
    def groups(self) -> Mapping[GroupId, GroupRecord]:
        """By id."""
        return self._groups

    def shares(self, group: GroupId, peer: PeerId) -> bool:
        """Nothing is spoken about by whoever looks at all groups."""
        del group, peer
        return False


def new_group(number: int, genesis: Genesis) -> GroupRecord:
    """A group of which nothing is held but how it began."""
    return GroupRecord(number, genesis.group, genesis, Judged(Judgement(evaluate(genesis.owners, ())), {}, {}, {}, frozenset(), 0))
