"""Sites without sockets: real sessions in pairs, a small store, and a clock that stands still unless told.

Also a puppet: a member that, after a real handshake, says whatever a test wants.
"""

from collections import deque
from dataclasses import dataclass

from peer.core.certificate import Certificate, LogKind
from peer.core.control import Role, member_set
from peer.core.group import Genesis
from peer.core.hashing import sha256
from peer.core.identity import GroupId, KeyPair
from peer.core.run import Draft, Run
from peer.errors import EventRejectedError
from peer.sync import effects as fx
from peer.sync import messages
from peer.sync.guests import groups_to_name
from peer.sync.handshake import Handshake, LocalSide
from peer.sync.messages import Message, decode_message, encode_message
from peer.sync.session import SyncSession
from peer.sync.sources import Sources
from peer.sync.surroundings import Surroundings
from tests.samples import SampleLog, genesis, key_pair
from tests.simulation.memory_store import MemoryStore

STORE_EFFECTS = fx.StoreRun | fx.ReadRuns | fx.FindEvents | fx.ReadLocator | fx.DecideJoin | fx.OpenGroup | fx.TakeOffer


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000


def side_of(name: str, *, link: int = 0) -> LocalSide:
    """What `name` brings to a handshake."""
    return LocalSide(key_pair(name), name, sha256(f"nonce {link} of {name}".encode()), b"i" * 16, b"p" * 16)


class SampleGroup:
    """A group with its owner's control log."""

    def __init__(self, owner: str, *members: str, name: str = "field-tests") -> None:
        """`members` become writers."""
        self.genesis: Genesis = genesis(owner, name=name)
        self.id: GroupId = self.genesis.group
        self.control = SampleLog(owner, self.id, kind=LogKind.CONTROL)
        self.decisions: list[Run] = []
        self.set_role(*members)

    def set_role(self, *members: str, role: Role = Role.WRITER) -> Run | None:
        """The owner decides."""
        if not members:
            return None
        before = self.control.tip
        refs = (before.id,) if before is not None else ()
        run = self.control.write(*(Draft(*member_set(key_pair(member).peer_id, member, role)[:2], refs) for member in members))
        self.decisions.append(run)
        return run

    def remove(self, member: str) -> Run:
        """The owner decides, and cuts nothing."""
        run = self.set_role(member, role=Role.NONE)
        assert run is not None
        return run


class Site:
    """A peer: its store, and its ends of links."""

    def __init__(self, name: str, clock: Clock, *groups: SampleGroup) -> None:
        """Holds `groups` as far as they are."""
        self.name = name
        self.clock = clock
        self.store = MemoryStore()
        self.surroundings = Surroundings(self.store, Sources())
        self.ends: list[LinkEnd] = []
        for group in groups:
            self.hold(group)

    @property
    def sources(self) -> Sources:
        """Where its logs come from."""
        return self.surroundings.sources

    def hold(self, group: SampleGroup) -> None:
        """Begin to hold a group, with all that its owner decided so far."""
        self.store.create_group(group.genesis)
        for run in group.decisions:
            self.store.commit(group.control.certificate, run)

    def write(self, log: SampleLog, run: Run | None) -> None:
        """Store a run, then tell every session."""
        assert run is not None
        self.commit(log.certificate, run)

    def commit(self, certificate: Certificate, run: Run) -> str | None:
        """Make a run durable and tell every session; the code of what is wrong with it."""
        try:
            commit = self.store.commit(certificate, run)
        except EventRejectedError as error:
            return error.code
        if commit is not None:
            self.tell(fx.Committed(commit))
            if certificate.kind is LogKind.CONTROL:
                self.tell(fx.GroupsChanged())
        return None

    def tell(self, fact: fx.Fact) -> None:
        """Give a fact to every session."""
        for end in list(self.ends):
            end.feed(fact)

    def tick(self, seconds: float = 0) -> None:
        """Time passes."""
        self.clock.now_ms += int(seconds * 1000)
        self.tell(fx.Tick())


@dataclass(eq=False)
class LinkEnd:
    """One end of a link: performs what its session asks for, the store's part when it is told to."""

    site: Site
    session: SyncSession
    number: int

    def __post_init__(self) -> None:
        self.other: LinkEnd | None = None
        self.inbox: deque[bytes] = deque()
        self.asked: deque[STORE_EFFECTS] = deque()
        self.effects: list[fx.Effect] = []
        self.sent: list[Message] = []
        self.closed: fx.CloseLink | None = None
        self.site.ends.append(self)

    def feed(self, fact: fx.Fact) -> list[fx.Effect]:
        """Give a fact to the session; what is to be answered waits in `asked`."""
        effects = self.session.handle(fact, self.site.clock.now_ms)
        self.effects += effects
        for effect in effects:
            match effect:
                case fx.SendFrame(frame):
                    self.sent.append(decode_message(frame))
                    if self.other is not None:
                        self.other.inbox.append(frame)
                case fx.CloseLink():
                    self.closed = effect
                case fx.PassJoin(asked):
                    for other in [end for end in self.site.ends if end is not self]:
                        other.feed(fx.JoinPassed(asked))
                case fx.ReturnRefusal(link, refused):
                    for other in [end for end in self.site.ends if end.number == link]:
                        other.feed(fx.RefusalReturned(refused))
                case fx.StoreRun() | fx.ReadRuns() | fx.FindEvents() | fx.ReadLocator() | fx.DecideJoin() | fx.OpenGroup() | fx.TakeOffer():
                    self.asked.append(effect)
        return effects

    def receive(self, *said: Message) -> list[fx.Effect]:
        """The other side says this."""
        return [effect for message in said for effect in self.feed(fx.FrameReceived(encode_message(message)))]

    def answer(self) -> None:
        """The store answers the oldest question."""
        effect = self.asked.popleft()
        store = self.site.store
        match effect:
            case fx.StoreRun(certificate, run, _):
                self.feed(fx.RunStored(effect, self.site.commit(certificate, run)))
            case fx.ReadRuns(group, log, positions, size_max):
                self.feed(fx.RunsRead(effect, store.read_after(group, log, positions, size_max)))
            case fx.FindEvents(group, _, events):
                self.feed(fx.EventsFound(effect, store.held(group, events)))
            case fx.ReadLocator(group, log):
                self.feed(fx.LocatorRead(effect, store.locator(group, log)))
            case _:
                raise AssertionError(f"a test answers {effect} itself")

    def answer_all(self) -> None:
        """Until the session asks for nothing more."""
        while self.asked:
            self.answer()

    def heard(self, kind: type[Message]) -> list[Message]:
        """Messages of one kind that this end sent."""
        return [message for message in self.sent if isinstance(message, kind)]


def open_end(site: Site, number: int, dialled: KeyPair | None = None, join: fx.UsedInvitation | None = None) -> LinkEnd:
    """A session at one end."""
    handshake = Handshake(side_of(site.name, link=number), dialled.peer_id if dialled else None)
    return LinkEnd(site, SyncSession(handshake, site.surroundings, number, site.clock.now_ms, join), number)


def connect(dialler: Site, listener: Site, *, number: int = 1, join: fx.UsedInvitation | None = None) -> tuple[LinkEnd, LinkEnd]:
    """A link between two sites; nothing has been said yet but that it stands."""
    one = open_end(dialler, number, key_pair(listener.name), join)
    other = open_end(listener, number)
    one.other, other.other = other, one
    one.feed(fx.Opened())
    other.feed(fx.Opened())
    return one, other


def pump(*ends: LinkEnd) -> None:
    """Deliver and answer everything until nobody has anything to say."""
    busy = True
    while busy:
        busy = False
        for end in ends:
            while end.inbox:
                busy = True
                end.feed(fx.FrameReceived(end.inbox.popleft()))
            while end.asked and not isinstance(end.asked[0], fx.DecideJoin | fx.OpenGroup | fx.TakeOffer):
                busy = True
                end.answer()


def linked(one: Site, other: Site, *, number: int = 1) -> tuple[LinkEnd, LinkEnd]:
    """A link over which everything has been said."""
    ends = connect(one, other, number=number)
    pump(*ends)
    return ends


def puppet(name: str, victim: Site, *, number: int = 1) -> LinkEnd:
    """`victim`'s end of a link that `name` dialled: the handshake is real, what follows is up to the test. The store does not answer by itself."""
    end = open_end(victim, number)
    handshake = Handshake(side_of(name, link=number), key_pair(victim.name).peer_id)
    frame = encode_message(handshake.hello)
    end.feed(fx.FrameReceived(frame))
    hello, proof = end.sent[:2]
    assert isinstance(hello, messages.Hello)
    assert isinstance(proof, messages.Proof)
    handshake.take_hello(hello, encode_message(hello))
    handshake.check_proof(proof.signature)
    end.receive(messages.Proof(handshake.prove(), joining=False, groups=groups_to_name(victim.store, handshake.hello.peer)))
    assert end.closed is None
    end.sent.clear()
    end.effects.clear()
    return end


def knocking(name: str, victim: Site, group: SampleGroup, *, number: int = 1) -> LinkEnd:
    """`victim`'s end of a link that somebody dialled whom it does not know, and who names the group."""
    end = open_end(victim, number)
    dialler = Handshake(side_of(name, link=number), key_pair(victim.name).peer_id)
    end.receive(dialler.hello)
    hello = end.sent[0]
    assert isinstance(hello, messages.Hello)
    dialler.take_hello(hello, encode_message(hello))
    end.receive(messages.Proof(dialler.prove(), joining=False, groups=(group.id,)))
    del end.sent[:2]
    return end


def entry_of(log: SampleLog) -> messages.LogEntry:
    """What somebody announces who holds all of `log`."""
    assert log.tip is not None
    return messages.LogEntry(log.certificate.log, log.certificate.to_bytes(), ((log.tip.height, log.tip.id),))  # type: ignore[arg-type]


def have_of(group: GroupId, *logs: SampleLog, complete: bool = True) -> messages.Have:
    """The announcement of these logs."""
    return messages.Have(group, complete=complete, more=False, logs=tuple(entry_of(log) for log in logs))


def events_of(group: GroupId, run: Run) -> messages.Events:
    """The message that carries `run`."""
    return messages.Events(group, run.log, run.signature, tuple((event.header_bytes, event.body) for event in run.events))
