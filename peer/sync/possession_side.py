"""What one link carries of proofs that a site holds a recording.

What a proof is worth, and who may drop what, is for others to say; here it is only held that members ask, and not without end.
"""

from peer.core.control import Role
from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import Replica
from peer.errors import LimitExceededError, NotAMemberError, RemoteProtocolError, VersionMismatchError
from peer.sync import limits
from peer.sync.blob_messages import POSSESSION_VERSION, Possession, PossessionMessage, PossessionWant, RoundsEnded, RoundsWant
from peer.sync.outbox import Outbox
from peer.sync.possession import PossessionArrived, PossessionFact, PossessionRead, ReadPossession, RoundsHeard, TellRounds, WantPossession

MINUTE_MS = 60_000


class PossessionSide:
    """One link's part in it, in both directions."""

    def __init__(self, replica: Replica, outbox: Outbox, remote: PeerId, version: int) -> None:
        """`version` is that of the protocol on this link."""
        self._replica = replica
        self._outbox = outbox
        self._remote = remote
        self._is_known = version >= POSSESSION_VERSION
        self._asked: dict[int, int] = {}
        """How many proofs we asked for, by number."""
        self._reading = 0
        """How many questions of theirs are being answered."""
        self._minute_ms = 0
        self._proofs = self._round_frames = 0
        """What they asked for and brought in this minute."""

    def told(self, fact: PossessionFact) -> None:
        """Something of ours to ask, answer or tell."""
        match fact:
            case WantPossession(want):
                self._want(want)
            case PossessionRead(effect, code, proofs):
                self._reading -= 1
                self._outbox.send(Possession(effect.want.number, code or "", () if code else tuple(proofs)))
            case TellRounds(message):
                if self._is_known and self._is_member(message.group):
                    self._outbox.send(message)

    def heard(self, message: PossessionMessage, now_ms: int) -> None:
        """Take what they say. Raises `RemoteProtocolError` for what has no place on this link, `LimitExceededError` for too much at once."""
        if not self._is_known:
            raise RemoteProtocolError("proofs of possession on a link whose version of the protocol has none")
        if now_ms - self._minute_ms >= MINUTE_MS:
            self._minute_ms, self._proofs, self._round_frames = now_ms, 0, 0
        match message:
            case PossessionWant():
                self._wanted(message)
            case Possession(number, code, proofs):
                count = self._asked.pop(number, None)
                if count is None or len(proofs) != (0 if code else count):
                    raise RemoteProtocolError("proofs that were not asked for")
                self._outbox.ask(PossessionArrived(number, code or None, proofs))
            case RoundsWant() | RoundsEnded():
                self._round_frames += 1
                if self._round_frames <= limits.ROUND_FRAMES_PER_MINUTE_MAX and self._is_member(message.group):
                    self._outbox.ask(RoundsHeard(message))

    def _want(self, want: PossessionWant) -> None:
        code = None
        if not self._is_known:
            code = VersionMismatchError.code
        elif len(self._asked) >= limits.PROOF_QUESTIONS_MAX:
            code = LimitExceededError.code
        if code is not None:
            self._outbox.ask(PossessionArrived(want.number, code, ()))
            return
        self._asked[want.number] = len(want.pieces)
        self._outbox.send(want)

    def _wanted(self, message: PossessionWant) -> None:
        if not self._is_member(message.group):
            self._outbox.send(Possession(message.number, NotAMemberError.code, ()))
            return
        if self._reading >= limits.PROOF_QUESTIONS_MAX:
            raise LimitExceededError(f"more than {limits.PROOF_QUESTIONS_MAX} questions for proofs at once")
        self._proofs += len(message.pieces)
        if self._proofs > limits.PROOFS_PER_MINUTE_MAX:
            self._outbox.send(Possession(message.number, LimitExceededError.code, ()))
            return
        self._reading += 1
        self._outbox.ask(ReadPossession(message))

    def _is_member(self, group: GroupId) -> bool:
        view = self._replica.groups.get(group)
        return view is not None and view.roster.role(self._remote) is not Role.NONE
