"""What this peer has heard of how other sites are, and what of it goes on to whom. Pure.

The newest status of each member of each group is kept, so the table is never larger than the rosters. What is new goes on over every other link: each
status crosses each link about once, whatever the mesh looks like.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gossip.site import SignedStatus, peek_status, read_status
from peer.core.identity import GroupId, PeerId
from peer.errors import RecordInvalidError

HOPS_MAX = 64
"""Links that a status may come over: what claims more goes round in circles."""

SEQ_REMEMBERED_MS = 24 * 60 * 60 * 1000
"""How long nothing older is taken from a site that is not heard any more: who replays what it once said does not bring it back to life."""

TAKEN_PER_MINUTE_MAX = 30
"""Statuses of one site in one group: five times what it needs. Each goes over every link there is; so nobody can have all of them carry more."""

MINUTE_MS = 60_000
INTERVAL_MIN_MS = 10_000
INTERVAL_PER_MEMBER_MS = 300
VALID_INTERVALS = 6
"""How many intervals a status is valid for: so many may be lost."""

IsMember = Callable[[GroupId, PeerId], bool]


@dataclass(slots=True)
class HeardStatus:
    """The newest status of one site, and how it came here."""

    signed: SignedStatus
    via: PeerId
    """At the other end of the link that brought it first."""
    hops: int
    """Links that it came over."""
    heard_ms: int
    minute_ms: int
    """When the first of those came that are counted in `taken`."""
    taken: int = 1

    def is_valid(self, now_ms: int) -> bool:
        """False once it has expired."""
        return now_ms - self.heard_ms < self.signed.status.valid_for_s * 1000

    def is_too_soon(self, now_ms: int) -> bool:
        """Whether the site has said enough for this minute."""
        return self.taken >= TAKEN_PER_MINUTE_MAX and now_ms - self.minute_ms < MINUTE_MS


class SiteTable:
    """The newest status of each site of each group."""

    def __init__(self, me: PeerId, is_member: IsMember) -> None:
        """`is_member` says who is on the roster of a group now."""
        self._me = me
        self._is_member = is_member
        self._heard: dict[tuple[GroupId, PeerId], HeardStatus] = {}
        self.refused = 0
        """How many were forged, malformed, or about somebody who is no member."""
        self.own_seq_seen = 0
        """The highest seq among statuses of this site itself, made now or told by others: the next one goes above it."""

    def hear(self, via: PeerId, group: GroupId, entries: Sequence[tuple[bytes, int]], now_ms: int) -> list[tuple[bytes, int]]:
        """Take what the member `via` told of `group`; what of it was new here, to be passed on, with the links that it came over."""
        fresh = []
        for data, told_hops in entries:
            hops = told_hops + 1
            if hops > HOPS_MAX:
                continue
            try:
                taken = self._take(via, group, data, hops, now_ms)
            except RecordInvalidError:
                self.refused += 1
                continue
            if taken:
                fresh.append((data, hops))
        return fresh

    def of_group(self, group: GroupId, now_ms: int) -> list[HeardStatus]:
        """Valid statuses of present members, by peer id."""
        self._forget(now_ms)
        return [heard for key, heard in sorted(self._heard.items()) if key[0] == group and heard.is_valid(now_ms)]

    def to_tell(self, peer: PeerId, group: GroupId, now_ms: int) -> list[tuple[bytes, int]]:
        """What a member is told that comes anew: those, and its own last one, however old, since nobody listens to what is not above it."""
        self._forget(now_ms)
        told = (heard for key, heard in sorted(self._heard.items()) if key[0] == group and (heard.is_valid(now_ms) or key[1] == peer))
        return [(heard.signed.data, heard.hops) for heard in told]

    def _take(self, via: PeerId, group: GroupId, data: bytes, hops: int, now_ms: int) -> bool:
        told = peek_status(data)
        if told.group != group or not self._is_member(group, told.peer):
            raise RecordInvalidError("a status of another group, or of nobody who is in it")
        known = self._heard.get((group, told.peer))
        if known is not None and (told.seq <= known.signed.status.seq or known.is_too_soon(now_ms)):
            return False
        if told.peer == self._me and told.seq <= self.own_seq_seen:
            return False
        signed = read_status(data)
        if told.peer == self._me:
            self.own_seq_seen = told.seq
            return False
        heard = HeardStatus(signed, via, hops, now_ms, now_ms)
        if known is not None and now_ms - known.minute_ms < MINUTE_MS:
            heard.minute_ms, heard.taken = known.minute_ms, known.taken + 1
        self._heard[group, told.peer] = heard
        return True

    def _forget(self, now_ms: int) -> None:
        gone = [key for key, heard in self._heard.items() if now_ms - heard.heard_ms > SEQ_REMEMBERED_MS or not self._is_member(*key)]
        for key in gone:
            del self._heard[key]


def interval_ms(members: int) -> int:
    """How often a site of a group with so many members says how it is: less often in large groups, so that what a link carries stays bounded."""
    return max(INTERVAL_MIN_MS, members * INTERVAL_PER_MEMBER_MS)
