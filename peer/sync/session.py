"""One link, decided: start reading here. Facts go in, effects come out; the same code runs in the product and in the simulator.

Handshake: both prove who they are. Backfill: each tells what it holds of the shared groups, asks for what it lacks, control logs first. Push: what is
committed goes out at once to whoever asked for its log. Whatever the other side does wrong ends this link and nothing else.
"""

from dataclasses import dataclass

from peer.core.identity import GroupId
from peer.errors import (
    EnoughLinksError,
    HandshakeTimeoutError,
    LocalProtocolError,
    NotAMemberError,
    RemoteProtocolError,
    RequestError,
    TransportError,
)
from peer.sync import effects as fx
from peer.sync import limits, messages
from peer.sync.backfill import BackfillSide
from peer.sync.blobs import BlobSide
from peer.sync.guests import Guests, groups_to_name, has_business
from peer.sync.handshake import Handshake
from peer.sync.joining import HeldFrames, JoinSide
from peer.sync.liveness import Liveness
from peer.sync.messages import Have, Message
from peer.sync.neighbours import NeighbourSide
from peer.sync.outbox import Outbox
from peer.sync.possession import PossessionRead, TellRounds, WantPossession
from peer.sync.push import PushSide
from peer.sync.questions import Questions
from peer.sync.sources import LinkToken
from peer.sync.speaking import Speaking
from peer.sync.surroundings import Surroundings


@dataclass(frozen=True, slots=True)
class _Established:
    """The parts of a session that there are once both sides have proved who they are."""

    speaking: Speaking
    backfill: BackfillSide
    blobs: BlobSide
    neighbours: NeighbourSide


class SyncSession:
    """The state of one link."""

    def __init__(
        self, handshake: Handshake, surroundings: Surroundings, link: LinkToken, now_ms: int, invitation: fx.UsedInvitation | None = None
    ) -> None:
        """`invitation` is what a dialler holds that wants to join."""
        self.phase = fx.Phase.HANDSHAKE
        self._handshake = handshake
        self._surroundings = surroundings
        self._replica = surroundings.replica
        self._link = link
        self._outbox = Outbox()
        self._questions = Questions(self._outbox)
        self._push = PushSide(self._replica, self._outbox, self._questions)
        self.liveness = Liveness(self._outbox, now_ms)
        self._joining = JoinSide(self._replica, surroundings.joins, self._outbox, handshake, link, invitation)
        self._guests = Guests(surroundings.guests, link)
        self._parts: _Established | None = None
        self._proven = False
        """True once they have proved who they are."""
        self._named: tuple[GroupId, ...] = ()
        """What the dialler wants to speak about."""
        self._awaiting_join = False
        self._opening = False
        self._held = HeldFrames()
        self._opened_ms = now_ms
        self._idle_since_ms: int | None = None
        self.was_up_to_date = False
        """True once all that the other side had at first was held here."""
        self.last_rejection: str | None = None
        """Why they refused something of ours last."""

    def handle(self, fact: fx.Fact, now_ms: int) -> list[fx.Effect]:
        """Advance by one fact and return what the shell must do, in order."""
        if self.phase is fx.Phase.CLOSED:
            return []
        try:
            self._handle(fact, now_ms)
        except (RemoteProtocolError, TransportError, RequestError) as error:
            self._close(error.code, error.text)
        return self._outbox.take()

    @property
    def missing_events(self) -> int:
        """How many events they have that we lack, about."""
        return self._parts.backfill.missing_events() if self._parts else 0

    @property
    def last_refusal(self) -> str | None:
        """Why something of theirs was refused last."""
        return self._parts.backfill.last_refusal if self._parts else None

    @property
    def unsent_events(self) -> int:
        """How many events we have that they lack, about."""
        return self._parts.backfill.unsent_events() if self._parts else 0

    @property
    def we_dialled(self) -> bool:
        """True on the dialler's side."""
        return self._handshake.we_dialled

    def backfilled_groups(self) -> set[GroupId]:
        """Groups of which all that they had at first is here."""
        return {group for group in self.shared_groups() if self._parts is not None and self._parts.backfill.has_ended(group)}

    def shared_groups(self, *, heard: bool = False) -> set[GroupId]:
        """Groups that both sides speak about on this link, as members; `heard` are those of which they have told what they hold."""
        return self._parts.speaking.shared(heard=heard) if self._parts else set()

    def _handle(self, fact: fx.Fact, now_ms: int) -> None:  # noqa: C901, PLR0912  (every fact in one place)
        match fact:
            case fx.Opened():
                if self._handshake.we_dialled:
                    self._outbox.send(self._handshake.hello)
            case fx.CallerProven(peer, groups):
                self._handshake.take_signed(peer)
                self._enter_as_proven(groups, now_ms)
            case fx.FrameReceived(frame):
                self.liveness.heard(now_ms)
                if self._opening:
                    self._held.add(frame)
                else:
                    self._receive(messages.decode_message(frame), frame, now_ms)
            case fx.Tick():
                self._tick(now_ms)
            case fx.Committed(commit):
                if self._parts is not None:
                    self._parts.speaking.committed(commit)
                    self._parts.backfill.committed(commit, now_ms)
            case fx.GroupsChanged() if self._parts is not None:
                self._parts.speaking.changed(now_ms)
            case fx.GroupsChanged():
                self._establish_for(self._joining.looked(), now_ms)
            case fx.SourcesChanged():
                if self._parts is not None:
                    self._parts.backfill.consider_all(now_ms)
            case fx.LetGo():
                raise EnoughLinksError("there are enough links here: find somebody else")
            case fx.RunStored() | fx.RunsRead() | fx.EventsFound() | fx.LocatorRead():
                self._store_answered(fact, now_ms)
            case fx.JoinDecided():
                self._establish_for(self._joining.decided(fact, now_ms), now_ms)
            case fx.JoinPassed(asked):
                if asked.group in self.shared_groups():
                    self._joining.pass_on(asked)
            case fx.RefusalReturned(refused):
                self._joining.returned(refused)
            case fx.OfferDecided(effect):
                if self._groups.offers.decided(fact):
                    self._groups.offer_decided(effect.group, now_ms)
            case fx.GroupOpened():
                self._group_opened(fact, now_ms)
            case fx.WantBlob() | fx.BlobSlice() | WantPossession() | PossessionRead() | TellRounds():
                self._established.blobs.told(fact)
            case fx.TellRecords() | fx.TellSites() | fx.TellDigests():
                if self._parts is not None:
                    self._parts.neighbours.tell(fact)
        self._watch_phase()

    def _store_answered(self, fact: fx.RunStored | fx.RunsRead | fx.EventsFound | fx.LocatorRead, now_ms: int) -> None:
        match fact:
            case fx.RunStored(effect, code):
                self._push.stored(effect.certificate.group, effect.run)
                self._side.stored(fact, now_ms)
                if code is None:
                    self._guests.brought(effect.certificate.group, now_ms)
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

    # Every legal pair of phase and message

    def _receive(self, message: Message, frame: bytes, now_ms: int) -> None:
        if self.phase is fx.Phase.CLOSED:
            return
        if isinstance(message, messages.Error):
            self._told_error(message)
        elif self.phase is fx.Phase.HANDSHAKE:
            self._shake_hands(message, frame, now_ms)
        else:
            self._talk(message, len(frame), now_ms)

    def _shake_hands(self, message: Message, frame: bytes, now_ms: int) -> None:
        match message:
            case messages.Hello() if not self._handshake.has_hello:
                self._take_hello(message, frame)
            case messages.Proof() if self._handshake.has_hello and not self._proven:
                self._take_proof(message, now_ms)
            case messages.Join() if self._awaiting_join:
                self._awaiting_join = False
                self._joining.asked(message)
            case messages.Joined(group, genesis) if self._proven and self._joining.wants == group:
                self._opening = True
                self._outbox.ask(fx.OpenGroup(group, genesis))
            case _:
                raise RemoteProtocolError(f"{type(message).__name__.lower()} in phase {self.phase}")

    def _talk(self, message: Message, size: int, now_ms: int) -> None:  # noqa: C901, PLR0912  (every message that a link is for)
        match message:
            case messages.Have():
                self._take_have(message, now_ms)
            case messages.Want():
                self._groups.wanted(message)
            case messages.Unwant():
                self._push.unwant(message)
            case messages.Unknown():
                self._side.unknown(message)
            case messages.Events():
                self._take_events(message, size, now_ms)
            case messages.Rejected(group, log, code):
                self.last_rejection = code
                self._push.stop(group, log)
            case messages.Credit():
                self._push.grant(message.size)
            case messages.Guest(group):
                self._groups.told_guest(group, now_ms)
            case messages.Member(group):
                self._groups.told_member(group)
            case messages.Offer():
                self._groups.offered(message, now_ms)
            case messages.JoinRequest():
                self._joining.requested(message, now_ms)
            case messages.JoinRefused():
                self._joining.refused(message)
            case messages.BlobWant() | messages.BlobPart():
                self._established.blobs.heard(message, now_ms)
            case messages.PossessionWant() | messages.Possession() | messages.RoundsWant() | messages.RoundsEnded():
                self._established.blobs.heard(message, now_ms)
            case messages.Records() | messages.Sites() | messages.Digests() | messages.DigestWant() | messages.DigestPart():
                self._established.neighbours.heard(message, now_ms)
            case messages.Ping(number):
                self.liveness.ping(number, now_ms)
            case messages.Pong(number):
                self.liveness.pong(number, now_ms)
            case _:
                raise RemoteProtocolError(f"{type(message).__name__.lower()} in phase {self.phase}")

    # Handshake

    def _take_hello(self, hello: messages.Hello, frame: bytes) -> None:
        self._handshake.take_hello(hello, frame)
        if not self._handshake.we_dialled:
            self._outbox.send(self._handshake.hello)
            self._outbox.send(messages.Proof(self._handshake.prove(), joining=False))

    def _take_proof(self, proof: messages.Proof, now_ms: int) -> None:
        self._handshake.check_proof(proof.signature)
        self._proven = True
        joins = self._joining.wants is not None
        if self._handshake.we_dialled:
            if proof.groups:
                raise RemoteProtocolError("a listener that names groups to somebody whom it does not know yet")
            self._named = groups_to_name(self._replica, self._handshake.remote.peer)
            self._outbox.send(messages.Proof(self._handshake.prove(), joining=joins, groups=self._named))
            if joins:
                self._joining.ask()
            else:
                self._establish(now_ms)
            return
        self._named, self._awaiting_join = proof.groups, proof.joining
        if not proof.joining:
            self._enter_as_proven(proof.groups, now_ms)

    def _enter_as_proven(self, named: tuple[GroupId, ...], now_ms: int) -> None:
        """Let a dialler in that has proved its key. Raises unless there is something to speak about with it."""
        peer = self._handshake.remote.peer
        self._proven, self._named = True, named
        if not has_business(self._replica, peer, named) and not self._surroundings.is_wanted(peer):
            self._knocked()
            raise NotAMemberError("this key belongs to no member of a group here")
        self._establish(now_ms)

    def _knocked(self) -> None:
        if not self._handshake.we_dialled:
            remote = self._handshake.remote
            self._outbox.ask(fx.Knocked(remote.peer, remote.name, self._named))

    def _establish(self, now_ms: int) -> None:
        remote = self._handshake.remote
        backfill = BackfillSide(self._replica, self._outbox, self._questions, self._surroundings.sources, self._link, remote.peer)
        speaking = Speaking(self._replica, self._outbox, remote.peer, (backfill, self._push), self._guests)
        neighbours = NeighbourSide(self._outbox, speaking.shared, self._handshake.version)
        blobs = BlobSide(self._replica, self._outbox, remote.peer, self._handshake.version)
        self._parts = _Established(speaking, backfill, blobs, neighbours)
        self._outbox.ask(fx.Established(remote.peer, remote.incarnation, remote.process, remote.name, remote.record))
        self._enter(fx.Phase.BACKFILL)
        speaking.begin(self._named, now_ms, we_named=self._handshake.we_dialled)

    def _establish_for(self, group: GroupId | None, now_ms: int) -> None:
        """One side has let the other into this group, if into any."""
        if group is not None:
            self._named = (*self._named, group)
            self._establish(now_ms)

    def _group_opened(self, fact: fx.GroupOpened, now_ms: int) -> None:
        self._opening = False
        if fact.code is not None:
            self._close(fact.code, fact.text)
            return
        self._joining.ended(None, "")
        self._establish_for(fact.effect.group, now_ms)
        for frame in self._held.take():
            self._receive(messages.decode_message(frame), frame, now_ms)

    # Backfill and push

    @property
    def _established(self) -> _Established:
        if self._parts is None:
            raise LocalProtocolError("a fact about groups before the handshake")
        return self._parts

    @property
    def _side(self) -> BackfillSide:
        return self._established.backfill

    @property
    def _groups(self) -> Speaking:
        return self._established.speaking

    def _take_have(self, have: Have, now_ms: int) -> None:
        if self._groups.meet(have, now_ms):
            self._side.have(have, now_ms)
            self._groups.telling.mentioned(have.group, self._side.known_logs(have.group, (entry.log for entry in have.logs)))
            self._groups.heard_out()

    def _take_events(self, message: messages.Events, size: int, now_ms: int) -> None:
        self._guests.sent(message.group, size)
        taken = self._side.events(message, size, now_ms)
        if taken is not None:
            self._push.received(message.group, *taken)

    # Time and ends

    def _tick(self, now_ms: int) -> None:
        self._joining.tick(now_ms)
        if self._parts is None:
            waits = self._proven and (self._joining.is_asked or self._joining.wants is not None)
            if now_ms - self._opened_ms >= (limits.JOINER_WAIT_MS if waits else limits.HANDSHAKE_TIMEOUT_MS):
                raise HandshakeTimeoutError("the handshake took too long")
            return
        self._parts.backfill.tick(now_ms)
        if self._groups.tick(now_ms):
            self._knocked()
        if not self._groups.is_idle:
            self._idle_since_ms = None
        elif self._idle_since_ms is None:
            self._idle_since_ms = now_ms
        if self._groups.is_over or (self._idle_since_ms is not None and now_ms - self._idle_since_ms >= limits.GROUPLESS_MS):
            raise NotAMemberError("no group is shared with this peer", fix="join one of its groups, or remove it from the peers")
        self.liveness.tick(now_ms)

    def _watch_phase(self) -> None:
        if self.phase is fx.Phase.BACKFILL and self._parts is not None:
            shared = self.shared_groups()
            if shared and all(self._parts.backfill.has_ended(group) for group in shared):
                self.was_up_to_date = True
                self._enter(fx.Phase.PUSH)

    def _enter(self, phase: fx.Phase) -> None:
        self.phase = phase
        self._outbox.ask(fx.PhaseChanged(phase))

    def _told_error(self, error: messages.Error) -> None:
        """They end the link and say why, or, with a group, do not speak about that."""
        code, text, group = error
        if group and self._parts is not None:
            if code != NotAMemberError.code:
                self.last_rejection = code
            self._groups.refused(GroupId(group), code)
            return
        self._end(code, text)

    def _close(self, code: str, text: str) -> None:
        """End the link, saying why."""
        self._outbox.send(messages.Error(code, text[: limits.TEXT_CHARACTERS_MAX], b""))
        self._end(code, text)

    def _end(self, code: str, text: str) -> None:
        self._joining.ended(code, text)
        self._outbox.ask(fx.CloseLink(code, text))
        self.phase = fx.Phase.CLOSED
