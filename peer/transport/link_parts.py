"""What the links of a peer are made with: everything that they ask of other parts."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from peer.core.group import Invitation
from peer.core.identity import GroupId, KeyPair, PeerId
from peer.core.interfaces import EventStore, Replica
from peer.core.neighbours import NO_NEIGHBOURS, Neighbours
from peer.sync.digests import DigestMessage
from peer.sync.possession import Custody, NoCustody
from peer.transport.callers import Callers, no_callers
from peer.transport.channel import NO_RULES, ChannelRules
from peer.transport.connection import DecideJoinCall, ReadBlobCall, TakeOfferCall, now_ms
from peer.transport.pace import Pace
from peer.transport.sightings import PEER_TIMEOUT_S

EVENTS_PER_SECOND = 200_000
BYTES_PER_SECOND = 256 * 1024 * 1024
"""What one peer may send at most, unless the operator says otherwise."""


async def _ignore_offer(_remote: PeerId, _group: GroupId, _genesis: bytes) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class LinkParts:
    """What links are made with."""

    key: KeyPair
    name: str
    incarnation: Callable[[], bytes]
    """Changes when this peer may have become two."""
    store: EventStore
    replica: Replica
    decide_join: DecideJoinCall
    """Let a peer in that holds an invitation, or raise what says why not."""
    open_group: Callable[[Invitation, bytes], Awaitable[None]]
    """Begin to hold the group that we were invited to, given its checked genesis record, and name the inviting member as one of its peers."""
    read_blob: ReadBlobCall
    """A part of a blob of a group, for a member that cannot dial us."""
    report: Callable[[str, Exception], None]
    """Takes what happened, as a constant, and the error: for the log."""
    record: Callable[[], bytes] = bytes
    """Our signed peer record, for whoever we meet."""
    read_record: Callable[[PeerId, bytes], Sequence[str]] = lambda _peer, _record: ()
    """The endpoints in theirs, or none if it is not theirs."""
    pace: Pace = field(default_factory=lambda: Pace(EVENTS_PER_SECOND, BYTES_PER_SECOND, now_ms))
    """How fast each peer may send."""
    channel_rules: ChannelRules = NO_RULES
    """What the operator knows of the networks around."""
    take_offer: TakeOfferCall = _ignore_offer
    """Begin to hold a group that a peer offers which says that we are members, if the operator expects it from this very peer."""
    peer_timeout_s: float = PEER_TIMEOUT_S
    """How long after it was heard of last a peer is called unreachable."""
    ended: Callable[[PeerId, str], None] = lambda _peer, _code: None
    """Is told whose link ended, and the code that said why, empty if none did."""
    neighbours: Neighbours = NO_NEIGHBOURS
    """Who hears what members say of others, and whom we reached."""
    hear_digests: Callable[[PeerId, DigestMessage], None] = lambda _peer, _message: None
    """Takes what members say of their projections. Returns at once and raises nothing."""
    custody: Custody = field(default_factory=NoCustody)
    """Who proves what is held here."""
    callers: Callers = field(default_factory=no_callers)
    """Which machines of the mesh are linked."""
