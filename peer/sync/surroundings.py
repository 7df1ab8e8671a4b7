"""What all links of one peer have in common."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import GroupView, Replica
from peer.sync.guests import GuestRoom
from peer.sync.joining import Joins
from peer.sync.sources import LinkToken, Sources


@dataclass(frozen=True, slots=True)
class OneGroup:
    """A `Replica` with one of the groups of another: whoever looks at it finds nothing else."""

    replica: Replica
    group: GroupId

    @property
    def groups(self) -> Mapping[GroupId, GroupView]:
        """That one, if it is held."""
        view = self.replica.groups.get(self.group)
        return {} if view is None else {self.group: view}

    def shares(self, group: GroupId, peer: PeerId) -> bool:
        """As the replica has it, of that group."""
        return group == self.group and self.replica.shares(group, peer)


@dataclass(slots=True)
class Surroundings:
    """What the sessions of one peer share."""

    replica: Replica
    sources: Sources
    guests: GuestRoom = field(default_factory=GuestRoom)
    joins: Joins = field(default_factory=Joins)
    is_wanted: Callable[[PeerId], bool] = lambda _: False
    """Whether the operator wants links to this peer, whatever is shared with it."""

    def drop_link(self, link: LinkToken) -> bool:
        """`link` is gone; True if it brought any log. Tell the sessions that are left `SourcesChanged` then."""
        self.guests.drop_link(link)
        self.joins.drop_link(link)
        return self.sources.drop_link(link)


def about_one_group(replica: Replica, group: GroupId) -> Surroundings:
    """What a session has that answers one request: a single group, and nothing in common with any link."""
    return Surroundings(OneGroup(replica, group), Sources())
