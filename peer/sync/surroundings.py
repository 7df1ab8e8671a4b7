"""What all links of one peer have in common."""

from collections.abc import Callable
from dataclasses import dataclass, field

from peer.core.identity import PeerId
from peer.core.interfaces import Replica
from peer.sync.guests import GuestRoom
from peer.sync.joining import Joins
from peer.sync.sources import LinkToken, Sources


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
        self.guests.leave(link)
        self.joins.drop_link(link)
        return self.sources.drop_link(link)
