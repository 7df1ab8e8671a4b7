"""What this peer says of itself: its own signed record, made anew when something has changed or the old one gets old.

Its seq is the time of day where that grows, and above every one that was used before or comes back from others, as after a restored backup.
"""

from collections.abc import Callable
from contextlib import suppress

from gossip.record import VALID_FOR_MAX_S, PeerRecord, Reachability, SignedRecord, is_endpoint, next_seq, sign_record
from peer.core.endpoint import read_endpoint
from peer.core.identity import KeyPair, PeerId
from peer.errors import RecordInvalidError

RENEWED_MS = VALID_FOR_MAX_S * 1000 // 4
"""How old a record gets."""
PORTS = {"https": 443, "http": 80}
DIALLED_BY_MIN = 2
"""How many peers must have dialled us before we say that others can."""


class OwnRecord:
    """The one that counts now."""

    def __init__(self, key: KeyPair, endpoints: Callable[[], tuple[str, ...]], wall_ms: Callable[[], int], seq: int = 0) -> None:
        """`endpoints` is where others dial this peer; `seq` the last that was used."""
        self._key = key
        self._endpoints = endpoints
        self._wall_ms = wall_ms
        self._signed: SignedRecord | None = None
        self._signed_ms = 0
        self._stated: tuple[tuple[str, ...], Reachability] | None = None
        """What `_signed` was made of."""
        self._dialled_by: set[PeerId] = set()
        self.seq = seq
        """The last that was used."""

    def dialled_by(self, peer: PeerId) -> None:
        """`peer` has dialled us and proved who it is."""
        if len(self._dialled_by) < DIALLED_BY_MIN:
            self._dialled_by.add(peer)

    def came_back(self, seq: int) -> None:
        """A record of ours with this seq came from others: if it is not the one that counts, an earlier life of this peer made it."""
        if seq > self.seq:
            self.seq = seq
            self._signed = None

    def current(self, now_ms: int) -> bytes:
        """As it is told, empty if there is nothing that others would take."""
        stated = self._endpoints(), self._reachability()
        if self._signed is None or stated != self._stated or now_ms - self._signed_ms >= RENEWED_MS:
            self._stated = stated
            self._sign(*stated, now_ms)
        return self._signed.data if self._signed else b""

    def _sign(self, endpoints: tuple[str, ...], reachability: Reachability, now_ms: int) -> None:
        """With as many of the addresses, the best first, as others would take."""
        self._signed = None
        seq = next_seq(self.seq, self._wall_ms() - 1)
        told = tuple(dict.fromkeys(each for each in map(_with_port, endpoints) if is_endpoint(each)))
        for count in range(len(told), 0 if endpoints else -1, -1):
            with suppress(RecordInvalidError):
                self._signed = sign_record(self._key, PeerRecord(self._key.peer_id, seq, told[:count], reachability, VALID_FOR_MAX_S))
                self.seq, self._signed_ms = seq, now_ms
                return

    def _reachability(self) -> Reachability:
        if not self._endpoints():
            return Reachability.OUTBOUND_ONLY
        return Reachability.DIALLABLE if len(self._dialled_by) >= DIALLED_BY_MIN else Reachability.UNKNOWN


def _with_port(text: str) -> str:
    """An address as it stands in a record, where nothing is left to be known."""
    try:
        endpoint = read_endpoint(text)
    except ValueError:
        return text
    return str(endpoint._replace(port=endpoint.port or PORTS[endpoint.scheme]))
