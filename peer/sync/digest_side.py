"""What one link carries of comparing projections: to members that know of it, and not without end.

What it means is for `comparing` to say, which looks at all links together.
"""

from collections.abc import Callable

from peer.core.identity import GroupId
from peer.errors import RemoteProtocolError
from peer.sync import limits
from peer.sync.digests import DIGESTS_VERSION, DigestMessage, Digests
from peer.sync.effects import DigestsHeard
from peer.sync.outbox import Outbox

MINUTE_MS = 60_000


class DigestSide:
    """One link's part in it."""

    def __init__(self, outbox: Outbox, shared: Callable[[], set[GroupId]], version: int) -> None:
        """`shared` gives the groups that both sides speak about as members; `version` is that of the protocol on this link."""
        self._outbox = outbox
        self._shared = shared
        self._is_known = version >= DIGESTS_VERSION
        self._minute_ms = 0
        self._digests_heard = self._parts_heard = 0

    def tell(self, message: DigestMessage) -> None:
        """Send it if they know of such messages, and their group is spoken about."""
        if self._is_known and message.group in self._shared():
            self._outbox.send(message)

    def heard(self, message: DigestMessage, now_ms: int) -> None:
        """Take what a member says; more than a link is for in a minute, and what strangers say, is passed over.

        Raises `RemoteProtocolError` on a link on which no such messages were agreed on.
        """
        if not self._is_known:
            raise RemoteProtocolError("digests on a link whose version of the protocol has none")
        if now_ms - self._minute_ms >= MINUTE_MS:
            self._minute_ms, self._digests_heard, self._parts_heard = now_ms, 0, 0
        if isinstance(message, Digests):
            self._digests_heard += 1
        else:
            self._parts_heard += 1
        is_too_much = self._digests_heard > limits.DIGESTS_PER_MINUTE_MAX or self._parts_heard > limits.DIGEST_PARTS_PER_MINUTE_MAX
        if not is_too_much and message.group in self._shared():
            self._outbox.ask(DigestsHeard(message))
