"""Credit for what comes in on one link: who sends more than was granted is cut off, who is read slowly waits."""

from peer.errors import CreditExceededError
from peer.sync import limits
from peer.sync.messages import Credit
from peer.sync.outbox import Outbox


class Grants:
    """How many bytes of events the other side may send."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.left = limits.CREDIT_INITIAL
        self.to_grant = 0
        """What was used, is free again, and was not granted yet."""

    def use(self, size: int) -> None:
        """They sent that much. Raises `CreditExceededError`."""
        self.left -= size
        if self.left < 0:
            raise CreditExceededError("more bytes of events than were granted")

    def give_back(self, size: int) -> None:
        """That much was stored or refused."""
        self.to_grant += size
        if self.to_grant >= limits.CREDIT_GRANT_MIN:
            self._outbox.send(Credit(self.to_grant))
            self.left += self.to_grant
            self.to_grant = 0
