"""Judging: which role each held event has, and so what of a log counts."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from peer.core.control import Role
from peer.core.encoding import encode
from peer.core.identity import EventId, PeerId
from peer.core.roster import Roster


class Changes(NamedTuple):
    """Whose events may have another role than before."""

    authors: frozenset[PeerId]
    """All of theirs."""
    events: frozenset[EventId]
    """Single ones: voided, or no longer so."""


@dataclass(frozen=True)
class Judgement:
    """What a peer makes of the events that it holds of a group; another one whenever some role at some held event may have changed."""

    roster: Roster
    voided: Mapping[EventId, PeerId] = field(default_factory=dict)

    @cached_property
    def digest(self) -> bytes:
        """32 bytes; where it is the same, so are all roles."""
        roles = sorted([peer, int(member.role)] for peer, member in self.roster.members.items())
        return hashlib.sha256(encode([roles, sorted(self.voided)])).digest()

    def changes_since(self, other: "Judgement") -> Changes:
        """Whose events may have another role now than they had by `other`."""
        peers = {*self.roster.members, *other.roster.members}
        authors = frozenset(peer for peer in peers if self.roster.role(peer) is not other.roster.role(peer))
        return Changes(authors, frozenset(self.voided.keys() ^ other.voided.keys()))

    def role(self, author: PeerId, event_id: EventId) -> Role:
        """The role at an event, none if it does not count."""
        return Role.NONE if event_id in self.voided else self.roster.role(author)
