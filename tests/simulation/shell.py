"""The shell around the sessions of a simulated peer: connections, a disk, a crash. What the real shell does with sockets and tasks."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from peer.core.certificate import Certificate, LogKind, certify
from peer.core.clock import next_hlc
from peer.core.event import Event
from peer.core.identity import GroupId, KeyPair
from peer.core.interfaces import Commit
from peer.core.run import Draft, Run, write_run
from peer.errors import EnoughLinksError, EventRejectedError
from peer.sync import effects as fx
from peer.sync.handshake import Handshake, LocalSide
from peer.sync.reconnect import LinkFacts, delay_ms, failures_after, new_link_stays
from peer.sync.session import SyncSession
from peer.sync.sources import Sources
from peer.sync.surroundings import Surroundings
from tests.simulation.memory_store import MemoryStore

if TYPE_CHECKING:
    from tests.simulation.neighbourhood import Neighbourhood
    from tests.simulation.views import SimulatedViews
    from tests.simulation.world import World

TICK_MS = 1000
COMMIT_MS_MAX = 20


class Connection:
    """A duplex byte channel between two peers; each end has its session."""

    def __init__(self, world: "World", dialler: "Peer", listener: "Peer") -> None:
        self.world = world
        self.ends: dict[Peer, Link | None] = {dialler: None, listener: None}
        self.dialler, self.listener = dialler, listener
        self.alive = True
        self.silent = False
        """True if frames vanish and nobody is told."""
        self._arrival_ms = {dialler: 0, listener: 0}

    def other(self, peer: "Peer") -> "Peer":
        """The other end."""
        return self.listener if peer is self.dialler else self.dialler

    def send(self, sender: "Peer", frame: bytes) -> None:
        """Deliver `frame` later, after those sent before it."""
        receiver = self.other(sender)
        slowness = len(frame) * 1000 // min(sender.bytes_per_second, receiver.bytes_per_second)
        delay = self.world.random.randint(1, self.world.delay_ms_max) + max(sender.latency_ms, receiver.latency_ms)
        arrival = max(self._arrival_ms[receiver], self.world.now_ms + delay) + slowness
        self._arrival_ms[receiver] = arrival
        self.world.at(arrival, lambda: self._deliver(sender, receiver, frame))

    def finish(self, sender: "Peer") -> None:
        """End it when all that `sender` said has arrived."""
        self.world.at(max(self.world.now_ms, self._arrival_ms[self.other(sender)]), self.cut)

    def cut(self) -> None:
        """End it; both ends learn of it."""
        if not self.alive:
            return
        self.alive = False
        for peer, link in self.ends.items():
            if link is not None:
                self.world.after(self.world.random.randint(1, 50), lambda peer=peer, link=link: peer.link_ended(link))

    def _deliver(self, sender: "Peer", receiver: "Peer", frame: bytes) -> None:
        link = self.ends[receiver]
        if receiver.frozen_until_ms > self.world.now_ms:
            self.world.at(receiver.frozen_until_ms, lambda: self._deliver(sender, receiver, frame))
            return
        if self.alive and not self.silent and link is not None and receiver.up:
            frame = self.world.tampered(frame)
            self.world.checks.arrived(sender, self, frame)
            self.world.trace(b"frame", sender.name, receiver.name, frame)
            receiver.feed(link, fx.FrameReceived(frame))


@dataclass(eq=False)
class Link:
    """One end of a connection."""

    number: int
    connection: Connection
    session: SyncSession
    target: "Peer | None"
    facts: LinkFacts | None = None
    is_let_go: bool = False
    """True if this side ended it, having enough of them."""


@dataclass
class OwnLog:
    """A log that a peer writes."""

    key: KeyPair
    certificate: Certificate
    last: Event | None = None


class Peer:
    """One simulated peer: the shell around its sessions."""

    is_honest = True
    """False for one that does not follow the protocol: nothing is promised to it, or by it."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.key = KeyPair(world.random.randbytes(32))
        self.incarnation = world.random.randbytes(16)
        self.process = world.random.randbytes(16)
        self.store = MemoryStore()
        self.up = True
        self.endpoint = f"https://{name}:8443"
        self.is_hidden = False
        """True if nobody can dial it."""
        self.is_mute = False
        """True if it accepts connections and never says a word."""
        self.bytes_per_second = 10**9
        self.latency_ms = 0
        self.commit_ms_max = COMMIT_MS_MAX
        self.frozen_until_ms = 0
        self.clock_skew_ms = 0
        self.neighbourhood: Neighbourhood | None = None
        self.views: SimulatedViews | None = None
        self.targets: list[Peer] = []
        self._dialling: set[Peer] = set()
        self.failures: Counter[Peer] = Counter()
        self.life = 0
        """Counts the starts: what was planned in an earlier life does not happen."""
        self._begin()
        self._logs: dict[tuple[GroupId, LogKind], OwnLog] = {}

    def _begin(self) -> None:
        self.surroundings = Surroundings(self.store, Sources())
        self.links: dict[int, Link] = {}
        self._dialling = set()
        self.pending: list[tuple[Certificate, Run, Callable[[str | None], None]]] = []

    def install(self, store: MemoryStore) -> None:
        """Another disk, before the start."""
        self.store = store
        self._begin()

    def start(self) -> None:
        """Dial everybody, and tick."""
        if self.is_mute:
            return
        if self.views is not None:
            self.views.begin()
        if self.neighbourhood is not None:
            self.neighbourhood.begin()
            self.targets = []
        self._dial_all()
        self.soon(self.world.random.randint(1, TICK_MS) if self.neighbourhood else TICK_MS, self.tick)

    def retarget(self, targets: "list[Peer]") -> None:
        """Dial these whenever there is no link, and nobody else."""
        self.targets = targets
        self._dial_all()

    def _dial_all(self) -> None:
        for target in self.targets:
            if target not in self._dialling:
                self._dialling.add(target)
                self.soon(0, lambda target=target: self.dial(target))

    @property
    def clock_ms(self) -> int:
        """What its own clock shows."""
        return self.world.now_ms + self.clock_skew_ms

    def crash(self) -> None:
        """Stop at once; what is not durable is lost."""
        self.up = False
        self.life += 1
        for link in list(self.links.values()):
            link.connection.cut()
        self.world.faults["lost_writes"] += len(self.pending)
        self._begin()

    def restart(self) -> None:
        """Come back with what is durable."""
        self._begin()
        self.up = True
        self.process = self.world.random.randbytes(16)
        for (group, _), own in self._logs.items():
            events = self.store.groups[group].events.get(own.certificate.log, {})
            own.last = max(events.values(), key=lambda event: event.header.seq, default=None)
        self.start()

    def soon(self, delay: int, action: Callable[[], None]) -> None:
        """Do something later, if this life lasts."""
        life = self.life
        self.world.after(delay, lambda: action() if self.up and self.life == life else None)

    def tick(self) -> None:
        """Time passes for every session."""
        if self.frozen_until_ms > self.world.now_ms:
            self.soon(self.frozen_until_ms - self.world.now_ms, self.tick)
            return
        for link in list(self.links.values()):
            self.feed(link, fx.Tick())
        if self.neighbourhood is not None:
            self.neighbourhood.tick()
        if self.views is not None:
            self.views.tick()
        self.soon(TICK_MS, self.tick)

    # Links

    def dial(self, target: "Peer") -> None:
        """Open a connection, or try again later."""
        if target not in self.targets:
            self._dialling.discard(target)
            return
        if any(link.facts is not None and link.connection.other(self) is target for link in self.links.values()):
            self.soon(5 * TICK_MS, lambda: self.dial(target))
            return
        if not target.up or self.world.is_parted(self, target) or not self.world.can_dial(self, target):
            self._dial_later(target, was_up_to_date=False)
            return
        connection = Connection(self.world, self, target)
        self.open_link(connection, dialled=target)
        if not target.is_mute:
            target.open_link(connection, dialled=None)

    def open_link(self, connection: Connection, dialled: "Peer | None") -> None:
        """Begin a session at this end."""
        record = self.neighbourhood.record().data if self.neighbourhood else b""
        local = LocalSide(self.key, self.name, self.world.random.randbytes(32), self.incarnation, self.process, record)
        number = self.world.next_number()
        session = SyncSession(Handshake(local, dialled.key.peer_id if dialled else None), self.surroundings, number, self.world.now_ms)
        link = Link(number, connection, session, dialled)
        connection.ends[self] = link
        self.links[number] = link
        self.soon(0, lambda: self.feed(link, fx.Opened()))

    def link_ended(self, link: Link) -> None:
        """The connection is gone."""
        if self.links.pop(link.number, None) is None:
            return
        if self.surroundings.drop_link(link.number):
            self.feed_all(fx.SourcesChanged())
        if link.target is not None and self.up:
            self._dial_later(link.target, was_up_to_date=link.session.was_up_to_date)

    def _dial_later(self, target: "Peer", *, was_up_to_date: bool) -> None:
        self.failures[target] = failures_after(self.failures[target], was_up_to_date=was_up_to_date)
        if self.neighbourhood is not None and self.failures[target]:
            self.neighbourhood.not_reached(target, self.failures[target])
        self.soon(delay_ms(self.failures[target], self.world.random.random()), lambda: self.dial(target))

    def _established(self, link: Link, effect: fx.Established) -> None:
        link.facts = LinkFacts(link.connection.dialler.key.peer_id, link.connection.listener.key.peer_id, effect.process)
        if self.neighbourhood is not None:
            self.neighbourhood.established(effect.remote, effect.record)
        for old in list(self.links.values()):
            if old is not link and old.facts is not None and old.connection.other(self) is link.connection.other(self):
                loser = old if new_link_stays(old.facts, link.facts) else link
                self.world.faults["double_links"] += 1
                self.soon(0, loser.connection.cut)

    # Facts and effects

    def feed(self, link: Link, fact: fx.Fact) -> None:
        """Give a fact to a session and do what it asks for."""
        if link.number in self.links:
            for effect in link.session.handle(fact, self.world.now_ms):
                self.perform(link, effect)

    def feed_all(self, fact: fx.Fact) -> None:
        """Give a fact to all sessions."""
        for link in list(self.links.values()):
            self.feed(link, fact)

    def perform(self, link: Link, effect: fx.Effect) -> None:  # noqa: C901, PLR0912  (every effect in one place)
        """One effect."""
        match effect:
            case fx.SendFrame(frame):
                self.world.checks.sent(self, link.connection, frame)
                link.connection.send(self, frame)
            case fx.CloseLink(code, _):
                self.world.closes[code] += 1
                if code == EnoughLinksError.code and not link.is_let_go and self.neighbourhood is not None:
                    self.neighbourhood.told_enough(link.connection.other(self).key.peer_id)
                link.connection.finish(self)
            case fx.Established():
                self._established(link, effect)
            case fx.StoreRun(certificate, run, _):
                self.append(certificate, run, lambda code: self.feed(link, fx.RunStored(effect, code)))
            case fx.ReadRuns(group, log, positions, size_max):
                page = self.store.read_after(group, log, positions, min(size_max, self.world.page_size_max))
                self.answer(link, fx.RunsRead(effect, page))
            case fx.FindEvents(group, _, events):
                self.answer(link, fx.EventsFound(effect, self.store.held(group, events)))
            case fx.ReadLocator(group, log):
                self.answer(link, fx.LocatorRead(effect, self.store.locator(group, log)))
            case fx.Knocked():
                self.world.faults["knocks"] += 1
            case fx.RecordsHeard(group, entries) if self.neighbourhood is not None:
                self.neighbourhood.heard(link.connection.other(self).key.peer_id, group, entries)
            case fx.DigestsHeard(message) if self.views is not None:
                self.views.heard(link.connection.other(self).key.peer_id, message)
            case fx.BackfillEnded() | fx.PhaseChanged():
                pass
            case _:
                raise AssertionError(effect)

    def answer(self, link: Link, fact: fx.Fact) -> None:
        """The store answers a moment later."""
        self.soon(self.world.random.randint(0, 5), lambda: self.feed(link, fact))

    # Writing

    def append(self, certificate: Certificate, run: Run, done: Callable[[str | None], None]) -> None:
        """Ask for a run to become durable."""
        self.pending.append((certificate, run, done))
        if len(self.pending) == 1:
            self.soon(self.world.random.randint(1, self.commit_ms_max), self.commit_pending)

    def commit_pending(self) -> None:
        """All that waits becomes durable, and is told afterwards."""
        batch, self.pending = self.pending, []
        told: list[tuple[Commit | None, Callable[[str | None], None], str | None]] = []
        for certificate, run, done in batch:
            try:
                told.append((self.store.commit(certificate, run), done, None))
            except EventRejectedError as error:
                told.append((None, done, error.code))
        for commit, done, code in told:
            if commit is not None:
                self.announce(commit)
            done(code)

    def announce(self, commit: Commit) -> None:
        """Tell the sessions of what is durable."""
        self.world.checks.committed(self, commit)
        self.feed_all(fx.Committed(commit))
        if commit.certificate.kind is LogKind.CONTROL:
            self.feed_all(fx.GroupsChanged())

    def own_log(self, group: GroupId, kind: LogKind) -> OwnLog | None:
        """The log that is written on."""
        return self._logs.get((group, kind))

    def rotate(self, group: GroupId, kind: LogKind) -> None:
        """Go on in a new log."""
        self._logs.pop((group, kind), None)

    def write(self, group: GroupId, kind: LogKind, drafts: list[Draft]) -> None:
        """Write events of this peer's own."""
        own = self._logs.get((group, kind))
        if own is None:
            key = KeyPair(self.world.random.randbytes(32))
            own = self._logs[group, kind] = OwnLog(key, certify(self.key, group, key.public, kind))
        hlc = own.last.header.hlc if own.last else 0
        clocked = []
        for draft in drafts:
            hlc = next_hlc(hlc, self.store.highest_hlc, self.clock_ms)
            clocked.append((draft, hlc))
        run = write_run(own.key, own.certificate, own.last, clocked)
        own.last = run.last
        self.world.checks.written(own.certificate, run)
        self.append(own.certificate, run, lambda code: self.world.checks.acknowledged(self, run, code))
