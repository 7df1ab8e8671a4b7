"""Joining: somebody dials any member with an invitation; an admin's peer decides, wherever it is.

Who cannot decide passes the request on over its links to other members, each of whom decides or passes it on in turn. The answer is the roster: once
the member that was dialled sees the joiner on it, the joiner is told. A refusal goes back the way the request came.
"""

from dataclasses import dataclass

from peer.core.control import Role
from peer.core.group import check_join, join_bytes
from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import Replica
from peer.errors import HandshakeFailedError, InvitationRefusedError, LimitExceededError, NoAdminReachedError, RemoteProtocolError
from peer.sync import effects as fx
from peer.sync import limits
from peer.sync.guests import Access, access_of
from peer.sync.handshake import Handshake
from peer.sync.messages import Join, Joined, JoinRefused, JoinRequest
from peer.sync.outbox import Outbox
from peer.sync.sources import LinkToken

MINUTE_MS = 60_000
JoinKey = tuple[GroupId, bytes, PeerId]


@dataclass(slots=True)
class _Heard:
    """A request that came lately."""

    nonce: bytes
    """Made for each attempt by the member that was dialled: the same request by two ways has the same one."""
    link: LinkToken
    """Where it came from first."""
    heard_ms: int
    is_answered: bool = False


class Rate:
    """At most so many in a minute."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._count = 0
        self._since_ms: int | None = None

    def allows(self, now_ms: int) -> bool:
        """Whether one more is within the rate; it counts."""
        if self._since_ms is None or now_ms - self._since_ms >= MINUTE_MS:
            self._count, self._since_ms = 0, now_ms
        self._count += 1
        return self._count <= self._count_max


class Joins:
    """Requests that this peer has heard of, over all links."""

    def __init__(self) -> None:
        self._heard: dict[JoinKey, _Heard] = {}
        self._waiting: set[LinkToken] = set()
        self.own = Rate(limits.JOIN_REQUESTS_PER_MINUTE)
        """Of requests by joiners that dialled this peer."""

    def take(self, asked: JoinRequest, link: LinkToken, now_ms: int) -> bool:
        """A request came over `link`; False if it did before. The oldest make room."""
        key = (asked.group, asked.key, asked.peer)
        before = self._heard.get(key)
        if before is not None and before.nonce == asked.nonce and now_ms - before.heard_ms < limits.JOIN_WAIT_MS:
            return False
        self._heard.pop(key, None)
        self._heard[key] = _Heard(asked.nonce, link, now_ms)
        while len(self._heard) > limits.JOINS_MAX:
            del self._heard[next(iter(self._heard))]
        return True

    def answered(self, group: GroupId, key: bytes, peer: PeerId) -> LinkToken | None:
        """A refusal came: the link that waits for it, None if none does any more."""
        heard = self._heard.get((group, key, peer))
        if heard is None or heard.is_answered:
            return None
        heard.is_answered = True
        return heard.link

    def wait(self, link: LinkToken) -> bool:
        """The joiner at `link` waits from now on; False if too many do."""
        if len(self._waiting) >= limits.JOINS_WAITING_MAX:
            return False
        self._waiting.add(link)
        return True

    def drop_link(self, link: LinkToken) -> None:
        """`link` is gone."""
        self._waiting.discard(link)


class JoinSide:
    """What one link has to do with joining."""

    def __init__(
        self, replica: Replica, joins: Joins, outbox: Outbox, handshake: Handshake, link: LinkToken, using: fx.UsedInvitation | None
    ) -> None:
        """`using` is what a dialler with an invitation wants."""
        self._replica = replica
        self._joins = joins
        self._outbox = outbox
        self._handshake = handshake
        self._link = link
        self._using = using
        self._asked: JoinRequest | None = None
        """What the joiner at the other end asks for, until that is answered."""
        self._waiting_since_ms: int | None = None
        self._passed_ms = 0
        self._rate = Rate(limits.JOIN_REQUESTS_PER_MINUTE)

    @property
    def wants(self) -> GroupId | None:
        """The group that we want to join over this link."""
        return self._using.group if self._using else None

    @property
    def is_asked(self) -> bool:
        """True while the other side wants to join and has no answer."""
        return self._asked is not None

    # As the joiner

    def ask(self) -> None:
        """Both have proved who they are: ask to be let in."""
        assert self._using is not None
        group, key = self._using
        own = self._handshake.hello
        signature = key.sign(join_bytes(group, own.peer, self._handshake.listener_nonce))
        self._outbox.send(Join(group, key.public, signature, own.name))

    def ended(self, code: str | None, text: str) -> None:
        """Tell whoever wanted to join how it went."""
        if self._using is not None:
            self._outbox.ask(fx.JoinEnded(self._using.group, code, text))
            if code is None:
                self._using = None

    # As the member that was dialled

    def asked(self, join: Join) -> None:
        """Somebody wants to join. Raises `HandshakeFailedError` unless it proves that it holds the invitation."""
        nonce = self._handshake.listener_nonce
        peer = self._handshake.remote.peer
        if not check_join(join.key, join.group, peer, nonce, join.signature):
            raise HandshakeFailedError("they do not prove the invitation's key")
        self._asked = JoinRequest(join.group, join.key, peer, join.name, nonce, join.signature, limits.JOIN_HOPS_MAX)
        self._outbox.ask(fx.DecideJoin(self._asked))

    def decided(self, fact: fx.JoinDecided, now_ms: int) -> GroupId | None:
        """Whether they are in was decided here, or could not be; the group, if they are. Raises what refuses them."""
        asked = fact.effect.asked
        if asked is not self._asked:
            self._decided_for_others(fact)
            return None
        if fact.code is None:
            return self.let_in()
        if fact.code != NoAdminReachedError.code:
            raise _refusal(fact.code, fact.text)
        self._waiting_since_ms = self._passed_ms = now_ms
        group = self.looked()
        if group is None:
            if not self._joins.own.allows(now_ms) or not self._joins.wait(self._link):
                raise NoAdminReachedError("too many want to join at once", fix="try again in a minute")
            self._joins.take(asked, self._link, now_ms)
            self._outbox.ask(fx.PassJoin(asked))
        return group

    def looked(self) -> GroupId | None:
        """The roster may have changed: the group, if they are in it now. Raises what refuses them."""
        asked = self._asked
        if asked is None or self._waiting_since_ms is None or asked.group not in self._replica.groups:
            return None
        entry = self._replica.groups[asked.group].roster.invites.get(asked.key)
        if entry is not None and entry.used_by is not None and entry.used_by != asked.peer:
            raise InvitationRefusedError("this invitation was used by another site", fix="ask for a new one")
        if entry is not None and entry.role is Role.NONE:
            raise InvitationRefusedError("this invitation was revoked", fix="ask for a new one")
        return self.let_in() if access_of(self._replica, asked.group, asked.peer) is Access.MEMBER else None

    def let_in(self) -> GroupId:
        """They are in: tell them how the group began."""
        assert self._asked is not None
        group, self._asked = self._asked.group, None
        self._joins.drop_link(self._link)
        self._outbox.send(Joined(group, self._replica.groups[group].genesis.to_bytes()))
        return group

    def tick(self, now_ms: int) -> None:
        """Time has passed: an admin may have come. Raises `NoAdminReachedError` when the joiner has waited long enough."""
        if self._asked is None or self._waiting_since_ms is None:
            return
        if now_ms - self._passed_ms >= limits.JOIN_REPEAT_MS:
            self._passed_ms = now_ms
            self._outbox.ask(fx.PassJoin(self._asked))
        if now_ms - self._waiting_since_ms >= limits.JOIN_WAIT_MS:
            raise NoAdminReachedError("no admin of the group answers", fix="try again when one is connected, or join through an admin's site")

    # As a member on the way

    def requested(self, asked: JoinRequest, now_ms: int) -> None:
        """A member passes a request on to us. What came before, or comes too often, is passed over."""
        if access_of(self._replica, asked.group, self._handshake.remote.peer) is not Access.MEMBER or not self._rate.allows(now_ms):
            return
        if not check_join(asked.key, asked.group, asked.peer, asked.nonce, asked.signature):
            raise RemoteProtocolError("a request to join that the invitation's key did not sign")
        if self._joins.take(asked, self._link, now_ms):
            self._outbox.ask(fx.DecideJoin(asked))

    def pass_on(self, asked: JoinRequest) -> None:
        """Nobody here could decide on a request from another link: perhaps they can."""
        if access_of(self._replica, asked.group, self._handshake.remote.peer) is Access.MEMBER:
            self._outbox.send(asked)

    def refused(self, message: JoinRefused) -> None:
        """They, or somebody behind them, refuse: whoever waits for it is told."""
        if access_of(self._replica, message.group, self._handshake.remote.peer) is not Access.MEMBER:
            return
        link = self._joins.answered(message.group, message.key, message.peer)
        if link is not None:
            self._outbox.ask(fx.ReturnRefusal(link, message))

    def returned(self, message: JoinRefused) -> None:
        """A request that came over this link was refused elsewhere. Raises if it was that of the joiner at the other end."""
        if self._asked is not None and (self._asked.group, self._asked.key, self._asked.peer) == message[:3]:
            raise _refusal(message.code, "an admin of the group refuses: the invitation is used, expired, revoked or unknown")
        self._outbox.send(message)

    def _decided_for_others(self, fact: fx.JoinDecided) -> None:
        asked = fact.effect.asked
        if fact.code is not None and fact.code != NoAdminReachedError.code:
            self._joins.answered(asked.group, asked.key, asked.peer)
            self._outbox.send(JoinRefused(asked.group, asked.key, asked.peer, fact.code))
        elif fact.code is not None and asked.hops > 0:
            self._outbox.ask(fx.PassJoin(asked._replace(hops=asked.hops - 1)))


def _refusal(code: str, text: str) -> InvitationRefusedError:
    """With the code of whoever refuses."""
    error = InvitationRefusedError(text, fix="ask for a new one")
    error.code = code
    return error


class HeldFrames:
    """What comes while the group that we join is being opened."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._size = 0

    def add(self, frame: bytes) -> None:
        """Keep `frame` for later. Raises `LimitExceededError`."""
        self._size += len(frame)
        if len(self._frames) >= limits.HELD_FRAMES_MAX or self._size > limits.HELD_BYTES_MAX:
            raise LimitExceededError("too many frames while joining")
        self._frames.append(frame)

    def take(self) -> list[bytes]:
        """All of them, in order."""
        frames, self._frames = self._frames, []
        return frames
