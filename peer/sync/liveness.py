"""Whether the other side is still there: pings where nothing else comes, and not too many of theirs."""

from peer.errors import LimitExceededError, LinkSilentError
from peer.sync import limits
from peer.sync.messages import Ping, Pong
from peer.sync.outbox import Outbox


class Liveness:
    """Signs of life of one link."""

    def __init__(self, outbox: Outbox, now_ms: int) -> None:
        self._outbox = outbox
        self._heard_ms = self._pinged_ms = now_ms
        self._missed = 0
        self._pings_heard = 0
        self._pings_since_ms = now_ms
        self.rtt_ms: int | None = None

    def heard(self, now_ms: int) -> None:
        """They said something."""
        self._heard_ms, self._missed = now_ms, 0

    def tick(self, now_ms: int) -> None:
        """Time has passed. Raises `LinkSilentError` where nothing comes any more."""
        if now_ms - max(self._heard_ms, self._pinged_ms) < limits.PING_INTERVAL_MS:
            return
        if self._missed >= limits.PINGS_MISSED_MAX:
            raise LinkSilentError("the other side does not answer any more")
        self._missed += 1
        self._pinged_ms = now_ms
        self._outbox.send(Ping(now_ms))

    def ping(self, number: int, now_ms: int) -> None:
        """They ask whether we are there. Raises `LimitExceededError` if they ask too often."""
        if now_ms - self._pings_since_ms >= limits.PING_INTERVAL_MS:
            self._pings_heard, self._pings_since_ms = 0, now_ms
        self._pings_heard += 1
        if self._pings_heard > limits.PINGS_PER_INTERVAL_MAX:
            raise LimitExceededError("too many pings")
        self._outbox.send(Pong(number))

    def pong(self, number: int, now_ms: int) -> None:
        """They answer."""
        if number == self._pinged_ms:
            self.rtt_ms = now_ms - number
