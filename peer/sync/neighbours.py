"""What members tell one another beside events: of third ones where they can be dialled, and how they are; and what projections are to them.

The first two are signed by whom they are about and opaque here: what they are worth is for `gossip` to say, which keeps them. None of it is logged.
"""

from collections.abc import Callable

from peer.core.identity import GroupId
from peer.sync import limits
from peer.sync.digest_side import DigestSide
from peer.sync.digests import DigestMessage
from peer.sync.effects import RecordsHeard, SitesHeard, TellDigests, TellRecords, TellSites
from peer.sync.hearsay import Records, Sites
from peer.sync.outbox import Outbox

MINUTE_MS = 60_000


class NeighbourSide:
    """What one link carries of it, in both directions."""

    def __init__(self, outbox: Outbox, shared: Callable[[], set[GroupId]], version: int) -> None:
        """`shared` gives the groups that both sides speak about as members; `version` is that of the protocol on this link."""
        self._outbox = outbox
        self._shared = shared
        self._digests = DigestSide(outbox, shared, version)
        self._minute_ms = 0
        self._heard = 0

    def tell(self, fact: TellRecords | TellSites | TellDigests) -> None:
        """Send what is theirs to hear; nothing of a group that is not spoken about."""
        if isinstance(fact, TellDigests):
            self._digests.tell(fact.message)
            return
        if fact.group not in self._shared():
            return
        kind = Records if isinstance(fact, TellRecords) else Sites
        for start in range(0, len(fact.entries), limits.NEIGHBOURS_MAX):
            self._outbox.send(kind(fact.group, tuple(fact.entries[start : start + limits.NEIGHBOURS_MAX])))

    def heard(self, message: Records | Sites | DigestMessage, now_ms: int) -> None:
        """Take what a member says of a group; more than a link is for in a minute, and what strangers say, is passed over."""
        if not isinstance(message, Records | Sites):
            self._digests.heard(message, now_ms)
            return
        if now_ms - self._minute_ms >= MINUTE_MS:
            self._minute_ms, self._heard = now_ms, 0
        self._heard += max(1, len(message.entries))
        if self._heard > limits.NEIGHBOURS_PER_MINUTE_MAX or message.group not in self._shared():
            return
        kind = RecordsHeard if isinstance(message, Records) else SitesHeard
        self._outbox.ask(kind(message.group, message.entries))
