"""One link, decided: start reading here. Facts go in, effects come out; the same code runs in the product and in the simulator.

Handshake: both prove who they are. Backfill: each tells what it holds of the shared groups, asks for what it lacks, control logs first. Push: what is
committed goes out at once to whoever asked for its log. Whatever the other side does wrong ends this link and nothing else.
"""

from dataclasses import dataclass

from peer.core.group import check_join, join_bytes
from peer.core.identity import GroupId
from peer.core.interfaces import Commit, Replica
from peer.errors import (
    HandshakeFailedError,
    HandshakeTimeoutError,
    LimitExceededError,
    LinkSilentError,
    LocalProtocolError,
    NotAMemberError,
    RemoteProtocolError,
    TransportError,
)
from peer.sync import effects as fx
from peer.sync import limits, messages
from peer.sync.backfill import BackfillSide
from peer.sync.blobs import BlobSide
from peer.sync.handshake import Handshake
from peer.sync.messages import Have, Message
from peer.sync.outbox import Outbox
from peer.sync.push import PushSide
from peer.sync.questions import Questions
from peer.sync.sources import LinkToken, Sources
from peer.sync.telling import Telling


@dataclass(slots=True)
class Surroundings:
    """What the sessions of one peer share."""

    replica: Replica
    sources: Sources


class SyncSession:
    """The state of one link."""

    def __init__(self, handshake: Handshake, surroundings: Surroundings, link: LinkToken, now_ms: int, join: fx.JoinRequest | None = None) -> None:
        """`join` is what a dialler with an invitation wants."""
        self.phase = fx.Phase.HANDSHAKE
        self._handshake = handshake
        self._replica = surroundings.replica
        self._sources = surroundings.sources
        self._link = link
        self._join = join
        self._outbox = Outbox()
        self._questions = Questions(self._outbox)
        self._push = PushSide(self._replica, self._outbox, self._questions)
        self._telling = Telling(self._replica, self._outbox)
        self._backfill: BackfillSide | None = None
        self._blobs: BlobSide | None = None
        self._proven = False
        """True once they have proved who they are."""
        self._awaiting_join = False
        self._opening = False
        self._held_frames: list[bytes] = []
        """What came while the group that we join was being opened."""
        self._held_bytes = 0
        self._opened_ms = self._heard_ms = now_ms
        self._pings_missed = 0
        self._pinged_ms = now_ms
        self._pings_heard = 0
        self._pings_since_ms = now_ms
        self.was_up_to_date = False
        """True once all that the other side had at first was held here."""
        self.last_rejection: str | None = None
        """Why they refused something of ours last."""
        self.rtt_ms: int | None = None

    def handle(self, fact: fx.Fact, now_ms: int) -> list[fx.Effect]:
        """Advance by one fact and return what the shell must do, in order."""
        if self.phase is fx.Phase.CLOSED:
            return []
        try:
            self._handle(fact, now_ms)
        except (RemoteProtocolError, TransportError) as error:
            self._close(error.code, error.text)
        return self._outbox.take()

    @property
    def missing_events(self) -> int:
        """How many events they have that we lack, about."""
        return self._backfill.missing_events() if self._backfill else 0

    @property
    def last_refusal(self) -> str | None:
        """Why something of theirs was refused last."""
        return self._backfill.last_refusal if self._backfill else None

    @property
    def unsent_events(self) -> int:
        """How many events we have that they lack, about."""
        return self._backfill.unsent_events() if self._backfill else 0

    @property
    def we_dialled(self) -> bool:
        """True on the dialler's side."""
        return self._handshake.we_dialled

    def backfilled_groups(self) -> set[GroupId]:
        """Groups of which all that they had at first is here."""
        return {group for group in self.shared_groups() if self._backfill is not None and self._backfill.has_ended(group)}

    def shared_groups(self) -> set[GroupId]:
        """Groups that both sides speak about on this link."""
        return self._telling.told - self._telling.refused

    def _handle(self, fact: fx.Fact, now_ms: int) -> None:  # noqa: C901, PLR0912  (every fact in one place)
        match fact:
            case fx.Opened():
                if self._handshake.we_dialled:
                    self._outbox.send(self._handshake.hello)
            case fx.FrameReceived(frame):
                self._heard_ms, self._pings_missed = now_ms, 0
                if self._opening:
                    self._hold(frame)
                else:
                    self._receive(messages.decode_message(frame), frame, now_ms)
            case fx.Tick():
                self._tick(now_ms)
            case fx.Committed(commit):
                self._committed(commit, now_ms)
            case fx.GroupsChanged():
                self._groups_changed(now_ms)
            case fx.SourcesChanged():
                if self._backfill is not None:
                    self._backfill.consider_all(now_ms)
            case fx.RunStored(effect):
                self._push.stored(effect.certificate.group, effect.run)
                self._side.stored(fact, now_ms)
            case fx.RunsRead():
                self._push.runs_read(fact)
            case fx.EventsFound(effect):
                self._questions.answered()
                if effect.purpose is fx.FindPurpose.WANTED:
                    self._push.found(fact)
                else:
                    self._side.found(fact, now_ms)
            case fx.LocatorRead():
                self._questions.answered()
                self._side.locator_read(fact)
            case fx.JoinDecided():
                self._join_decided(fact)
            case fx.GroupOpened():
                self._group_opened(fact, now_ms)
            case fx.WantBlob():
                self._bytes.want(fact)
            case fx.BlobSlice():
                self._bytes.read(fact)
        self._watch_phase()

    def _receive(self, message: Message, frame: bytes, now_ms: int) -> None:  # noqa: C901, PLR0912  (every legal pair of phase and message in one place)
        match self.phase, message:
            case fx.Phase.HANDSHAKE, messages.Hello() if not self._handshake.has_hello:
                self._take_hello(message, frame)
            case fx.Phase.HANDSHAKE, messages.Proof() if self._handshake.has_hello and not self._proven:
                self._take_proof(message)
            case fx.Phase.HANDSHAKE, messages.Join() if self._awaiting_join:
                self._decide_join(message)
            case (fx.Phase.HANDSHAKE, messages.Joined(group, genesis)) if self._proven and self._join is not None and self._join.group == group:
                self._opening = True
                self._outbox.ask(fx.OpenGroup(group, genesis))
            case ((fx.Phase.BACKFILL | fx.Phase.PUSH), messages.Have()):
                self._take_have(message, now_ms)
            case ((fx.Phase.BACKFILL | fx.Phase.PUSH), messages.Want()):
                if self._shared(message.group):
                    self._push.want(message)
            case ((fx.Phase.BACKFILL | fx.Phase.PUSH), messages.Unwant()):
                self._push.unwant(message)
            case ((fx.Phase.BACKFILL | fx.Phase.PUSH), messages.Unknown()):
                self._side.unknown(message)
            case ((fx.Phase.BACKFILL | fx.Phase.PUSH), messages.Events()):
                run = self._side.events(message, len(frame))
                if run is not None:
                    self._push.received(message.group, run)
            case ((fx.Phase.BACKFILL | fx.Phase.PUSH), messages.Rejected(group, log, code)):
                self.last_rejection = code
                self._push.stop(group, log)
            case ((fx.Phase.BACKFILL | fx.Phase.PUSH), messages.Credit(size)):
                self._push.grant(size)
            case ((fx.Phase.BACKFILL | fx.Phase.PUSH), messages.BlobWant()):
                self._bytes.wanted(message)
            case ((fx.Phase.BACKFILL | fx.Phase.PUSH), messages.BlobPart()):
                self._bytes.part(message)
            case ((fx.Phase.BACKFILL | fx.Phase.PUSH), messages.Ping(number)):
                self._take_ping(number, now_ms)
            case ((fx.Phase.BACKFILL | fx.Phase.PUSH), messages.Pong(number)):
                if number == self._pinged_ms:
                    self.rtt_ms = now_ms - number
            case ((fx.Phase.BACKFILL | fx.Phase.PUSH), messages.Error(code, _, group)) if group:
                self._group_refused(GroupId(group))
            case _, messages.Error(code, text, _):
                self._told_error(code, text)
            case _:
                raise RemoteProtocolError(f"{type(message).__name__.lower()} in phase {self.phase}")

    # Handshake

    def _take_hello(self, hello: messages.Hello, frame: bytes) -> None:
        self._handshake.take_hello(hello, frame)
        if not self._handshake.we_dialled:
            self._outbox.send(self._handshake.hello)
            self._outbox.send(messages.Proof(self._handshake.prove(), joining=False))

    def _take_proof(self, proof: messages.Proof) -> None:
        self._handshake.check_proof(proof.signature)
        self._proven = True
        if self._handshake.we_dialled:
            joining = self._join is not None
            if not joining and not self._common_groups():
                raise NotAMemberError("no group is shared with this peer", fix="join one of its groups, or remove it from the peers")
            self._outbox.send(messages.Proof(self._handshake.prove(), joining=joining))
            if self._join is not None:
                signature = self._join.key.sign(join_bytes(self._join.group, self._handshake.hello.peer, self._handshake.listener_nonce))
                self._outbox.send(messages.Join(self._join.group, self._join.key.public, signature, self._handshake.hello.name))
            else:
                self._establish()
        elif proof.joining:
            self._awaiting_join = True
        elif self._common_groups():
            self._establish()
        else:
            raise NotAMemberError("this key belongs to no member of a group here")

    def _establish(self) -> None:
        remote = self._handshake.remote
        self._backfill = BackfillSide(self._replica, self._outbox, self._questions, self._sources, self._link, remote.peer)
        self._blobs = BlobSide(self._replica, self._outbox, remote.peer)
        self._outbox.ask(fx.Established(remote.peer, remote.incarnation, remote.process, remote.name, remote.record))
        self._enter(fx.Phase.BACKFILL)
        for group in self._common_groups():
            self._telling.tell(group)

    def _decide_join(self, join: messages.Join) -> None:
        self._awaiting_join = False
        remote = self._handshake.remote.peer
        if not check_join(join.key, join.group, remote, self._handshake.listener_nonce, join.signature):
            raise HandshakeFailedError("they do not prove the invitation's key")
        self._outbox.ask(fx.DecideJoin(join.group, join.key, remote, join.name))

    def _join_decided(self, fact: fx.JoinDecided) -> None:
        if fact.code is not None:
            self._close(fact.code, fact.text)
            return
        group = fact.effect.group
        self._outbox.send(messages.Joined(group, self._replica.groups[group].genesis.to_bytes()))
        self._establish()

    def _hold(self, frame: bytes) -> None:
        self._held_bytes += len(frame)
        if len(self._held_frames) >= limits.HELD_FRAMES_MAX or self._held_bytes > limits.HELD_BYTES_MAX:
            raise LimitExceededError("too many frames while joining")
        self._held_frames.append(frame)

    def _group_opened(self, fact: fx.GroupOpened, now_ms: int) -> None:
        self._opening = False
        if fact.code is not None:
            self._close(fact.code, fact.text)
            return
        self._join = None
        self._outbox.ask(fx.JoinEnded(fact.effect.group, None, ""))
        self._establish()
        held, self._held_frames = self._held_frames, []
        for frame in held:
            if self.phase is fx.Phase.CLOSED:
                return
            self._receive(messages.decode_message(frame), frame, now_ms)

    # Backfill and push

    @property
    def _side(self) -> BackfillSide:
        if self._backfill is None:
            raise LocalProtocolError("a fact about events before the handshake")
        return self._backfill

    @property
    def _bytes(self) -> BlobSide:
        if self._blobs is None:
            raise LocalProtocolError("a fact about bytes before the handshake")
        return self._blobs

    def _common_groups(self) -> list[GroupId]:
        remote = self._handshake.remote.peer
        return [group for group in self._replica.groups if self._replica.shares(group, remote)]

    def _shared(self, group: GroupId) -> bool:
        """Whether they may be spoken to about `group`; says so if not."""
        if group in self._replica.groups and self._replica.shares(group, self._handshake.remote.peer):
            return True
        self._outbox.send(messages.Error(NotAMemberError.code, "you are no member of this group here", group))
        return False

    def _take_have(self, have: Have, now_ms: int) -> None:
        if not self._shared(have.group):
            return
        self._telling.tell_if_new(have.group)
        self._side.have(have, now_ms)
        self._telling.mentioned(have.group, self._side.known_logs(have.group, (entry.log for entry in have.logs)))

    def _committed(self, commit: Commit, now_ms: int) -> None:
        if commit.group not in self.shared_groups():
            return
        if self._push.is_wanted(commit.group, commit.run.log):
            self._push.committed(commit)
        else:
            self._telling.tell_commit(commit)
        self._side.committed(commit, now_ms)

    def _groups_changed(self, now_ms: int) -> None:
        if self._backfill is None:
            return
        common = set(self._common_groups())
        for group in sorted(self._telling.told - common):
            self._telling.forget(group)
            self._push.drop_group(group)
            self._backfill.drop_group(group)
            self._outbox.send(messages.Error(NotAMemberError.code, "you are no member of this group any more", group))
        for group in sorted(common - self._telling.told):
            self._telling.tell(group)
        self._backfill.rosters_changed(now_ms)

    def _group_refused(self, group: GroupId) -> None:
        self._telling.refuse(group)
        self._push.drop_group(group)
        self._side.drop_group(group)

    # Time and ends

    def _tick(self, now_ms: int) -> None:
        if self._backfill is None:
            if now_ms - self._opened_ms >= limits.HANDSHAKE_TIMEOUT_MS:
                raise HandshakeTimeoutError("the handshake took too long")
            return
        self._backfill.tick(now_ms)
        if now_ms - max(self._heard_ms, self._pinged_ms) < limits.PING_INTERVAL_MS:
            return
        if self._pings_missed >= limits.PINGS_MISSED_MAX:
            raise LinkSilentError("the other side does not answer any more")
        self._pings_missed += 1
        self._pinged_ms = now_ms
        self._outbox.send(messages.Ping(now_ms))

    def _take_ping(self, number: int, now_ms: int) -> None:
        if now_ms - self._pings_since_ms >= limits.PING_INTERVAL_MS:
            self._pings_heard, self._pings_since_ms = 0, now_ms
        self._pings_heard += 1
        if self._pings_heard > limits.PINGS_PER_INTERVAL_MAX:
            raise LimitExceededError("too many pings")
        self._outbox.send(messages.Pong(number))

    def _watch_phase(self) -> None:
        if self.phase is fx.Phase.BACKFILL and self._backfill is not None:
            shared = self.shared_groups()
            if shared and all(self._backfill.has_ended(group) for group in shared):
                self.was_up_to_date = True
                self._enter(fx.Phase.PUSH)

    def _enter(self, phase: fx.Phase) -> None:
        self.phase = phase
        self._outbox.ask(fx.PhaseChanged(phase))

    def _told_error(self, code: str, text: str) -> None:
        """They end the link and say why."""
        if self._join is not None:
            self._outbox.ask(fx.JoinEnded(self._join.group, code, text))
        self._outbox.ask(fx.CloseLink(code, text))
        self.phase = fx.Phase.CLOSED

    def _close(self, code: str, text: str) -> None:
        """End the link, saying why."""
        if self._join is not None:
            self._outbox.ask(fx.JoinEnded(self._join.group, code, text))
        self._outbox.send(messages.Error(code, text[: limits.TEXT_CHARACTERS_MAX], b""))
        self._outbox.ask(fx.CloseLink(code, text))
        self.phase = fx.Phase.CLOSED
