"""Bytes over a link, for sites that nobody can dial: the asking side asks for small parts, a few at a time, and so sets the pace.

What a blob is worth is not decided here: whoever asks verifies pieces and the whole, as with bytes from anywhere else.
"""

from peer.core.control import Role
from peer.core.identity import PeerId
from peer.core.interfaces import Replica
from peer.core.relaying import WantedPart
from peer.errors import LimitExceededError, NotAMemberError, NotFoundError, RemoteProtocolError
from peer.sync import limits
from peer.sync.blob_messages import BlobMessage, PossessionMessage
from peer.sync.effects import BlobArrived, BlobSlice, ReadBlob, WantBlob
from peer.sync.messages import BlobPart, BlobWant
from peer.sync.outbox import Outbox
from peer.sync.possession import PossessionFact
from peer.sync.possession_side import PossessionSide


class BlobSide:
    """Parts of blobs that are under way on one link, in both directions."""

    def __init__(self, replica: Replica, outbox: Outbox, remote: PeerId, version: int) -> None:
        """`version` is that of the protocol on this link."""
        self._replica = replica
        self._outbox = outbox
        self._remote = remote
        self._asked: dict[int, int] = {}
        """The sizes of the parts that we asked for, by number."""
        self._reading = 0
        """How many parts of ours are being read for them."""
        self._possession = PossessionSide(replica, outbox, remote, version)

    def told(self, fact: WantBlob | BlobSlice | PossessionFact) -> None:
        """Something of ours to ask, or to answer."""
        match fact:
            case WantBlob():
                self.want(fact)
            case BlobSlice():
                self.read(fact)
            case _:
                self._possession.told(fact)

    def heard(self, message: BlobMessage | PossessionMessage, now_ms: int) -> None:
        """Something of theirs."""
        match message:
            case BlobWant():
                self.wanted(message)
            case BlobPart():
                self.part(message)
            case _:
                self._possession.heard(message, now_ms)

    def want(self, fact: WantBlob) -> None:
        """Somebody here wants a part. What was given up here is still being read there, and counts: one too many would end the link."""
        if len(self._asked) >= limits.BLOB_READS_MAX:
            self._outbox.ask(BlobArrived(fact.number, LimitExceededError.code, b""))
            return
        self._asked[fact.number] = fact.part.size
        self._outbox.send(BlobWant(fact.number, *fact.part))

    def part(self, message: BlobPart) -> None:
        """A part has come, or the reason why not."""
        size = self._asked.pop(message.number, None)
        if size is None or len(message.data) > size:
            raise RemoteProtocolError("bytes that were not asked for")
        self._outbox.ask(BlobArrived(message.number, message.code or None, message.data))

    def wanted(self, message: BlobWant) -> None:
        """They want a part: only members get one."""
        view = self._replica.groups.get(message.group)
        if view is None or view.roster.role(self._remote) is Role.NONE:
            self._outbox.send(BlobPart(message.number, NotAMemberError.code, b""))
            return
        if self._reading >= limits.BLOB_READS_MAX:
            raise LimitExceededError(f"more than {limits.BLOB_READS_MAX} parts of blobs at once")
        self._reading += 1
        self._outbox.ask(ReadBlob(message.number, WantedPart(*message[1:])))

    def read(self, fact: BlobSlice) -> None:
        """What they want was read; None where it is not to be had in that group."""
        self._reading -= 1
        code = NotFoundError.code if fact.data is None else ""
        self._outbox.send_last(BlobPart(fact.effect.number, code, fact.data or b""))
