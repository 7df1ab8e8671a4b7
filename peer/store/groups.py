"""What this peer holds of its groups, in memory: logs with their branches and tips, rosters, peers that the operator named.

Changed only after a commit, on the event loop: what is seen here is on disk. The records of logs are values, so that the writer can plan a
transaction on copies while everybody else reads.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from peer.core.certificate import Certificate
from peer.core.control import ControlEvent
from peer.core.frontier import Tip, Tips, sorted_tips
from peer.core.group import Genesis
from peer.core.identity import EventId, GroupId, LogId, PeerId
from peer.core.interfaces import Fork
from peer.core.judging import Judgement
from peer.core.roster import Roster, evaluate


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


class LogRecord(NamedTuple):
    """A log as it is held."""

    number: int
    certificate: Certificate
    branches: tuple[Branch, ...]
    """In the order in which they appeared: a parent comes before its children."""

    @property
    def tips(self) -> Tips:
        """The last events of its branches."""
        return sorted_tips(Tip(branch.height, branch.tip) for branch in self.branches)

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


class GroupCounts(NamedTuple):
    """How much of a group is here."""

    events: int
    logs: int
    forks: int
    """Branches beyond the first of their log."""


@dataclass(slots=True)
class GroupRecord:
    """A group as it is held: the `GroupView` of the other parts."""

    number: int
    group: GroupId
    genesis: Genesis
    roster: Roster
    tips: dict[LogId, Tips] = field(default_factory=dict)
    certificates: dict[LogId, Certificate] = field(default_factory=dict)
    logs: dict[LogId, LogRecord] = field(default_factory=dict)
    control: list[ControlEvent] = field(default_factory=list)
    hlc: int = 0
    """The highest clock seen in the group."""
    events: int = 0

    @property
    def judgement(self) -> Judgement:
        """Which role each held event has."""
        return Judgement(self.roster)

    @property
    def quarantined(self) -> int:
        """How many held events do not count."""
        return 0

    @property
    def forks(self) -> list[Fork]:
        """Where logs have forked, by log and height."""
        found = [
            Fork(log, record.certificate.peer, record.certificate.kind, branch.fork_height)
            for log, record in self.logs.items()
            for branch in record.branches[1:]
        ]
        return sorted(found, key=lambda fork: (fork.log, fork.height))

    def reach(self, certificate: Certificate) -> int | None:
        """The height above which nothing of that log is of use."""
        return self.roster.standing(certificate.peer).reach(certificate.log)

    @property
    def counts(self) -> GroupCounts:
        """How much of it is here."""
        forks = sum(len(log.branches) - 1 for log in self.logs.values() if log.branches)
        return GroupCounts(self.events, len(self.logs), forks)

    def take_log(self, record: LogRecord) -> None:
        """Show `record` as what is held of its log."""
        log = record.certificate.log
        before = self.logs.get(log)
        self.events += record.events - (before.events if before else 0)
        self.logs[log] = record
        self.certificates[log] = record.certificate
        self.tips[log] = record.tips
        self.hlc = max(self.hlc, max((branch.hlc for branch in record.branches), default=0))

    def take_control(self, events: Iterable[ControlEvent]) -> None:
        """Show the roster that these control events, with those before, give."""
        self.control.extend(events)
        self.roster = evaluate(self.genesis.owners, self.control)


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
    return GroupRecord(number, genesis.group, genesis, evaluate(genesis.owners, ()))
