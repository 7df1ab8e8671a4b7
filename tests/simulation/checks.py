"""What must hold in every simulated world. Each check looks at frames and disks from outside, never at what a session thinks of itself."""

import random
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from peer.core.certificate import Certificate, LogKind
from peer.core.control import MemberSet, Role, read_fact
from peer.core.event import link_event, read_header
from peer.core.hashing import event_hash
from peer.core.identity import EventId, LogId, PeerId
from peer.core.interfaces import Commit
from peer.core.run import Run
from peer.sync import messages

if TYPE_CHECKING:
    from tests.simulation.shell import Connection, Peer
    from tests.simulation.world import World


class BrokenPromiseError(AssertionError):
    """A check failed."""


class Checks:
    """Safety and cost, watched as the world goes on."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.signed: set[EventId] = set()
        """Every event that an author really wrote."""
        self.kinds: dict[LogId, LogKind] = {}
        self.acknowledged_events: dict[Peer, set[EventId]] = defaultdict(set)
        """By author's peer: what it was told is durable."""
        self.crossings: Counter[tuple[Connection, Peer, EventId]] = Counter()
        """How often an event crossed a connection, by direction."""
        self._under_way: dict[tuple[Connection, Peer, bytes], list[EventId]] = {}
        self._brought: set[tuple[Connection, Peer, EventId]] = set()
        """What arrived over a connection, by sender. Two who both have an event from elsewhere may send it to each other at the same moment."""
        self.copies: Counter[EventId] = Counter()
        """How often an event crossed any connection."""
        self.written_ms: dict[EventId, int] = {}
        self.slowest_ms = 0
        """The longest time from the write of an event until somebody else had it durable."""
        self.frontier_bytes: Counter[Connection] = Counter()
        """What both ends first said of what they hold."""
        self.searched: set[tuple[Connection, LogId]] = set()
        """Logs for which a common position was searched, by connection: its steps grow, so what lies between two of them may cross again."""
        self.removals: dict[PeerId, EventId] = {}
        """Members that the owner has removed and not let in again, with the decision."""
        self.late_events: dict[EventId, set[EventId]] = defaultdict(set)
        """By the decision on its author: what was written since."""

    def written(self, certificate: Certificate, run: Run) -> None:
        """An author wrote these."""
        self.kinds[certificate.log] = certificate.kind
        self.signed.update(event.id for event in run.events)
        self.written_ms.update((event.id, self.world.now_ms) for event in run.events)
        if certificate.peer in self.removals:
            self.late_events[self.removals[certificate.peer]].update(event.id for event in run.events)

    def is_removed(self, peer: "Peer") -> bool:
        """True if the owner has removed it."""
        return peer.key.peer_id in self.removals

    def acknowledged(self, peer: "Peer", run: Run, code: str | None) -> None:
        """The author was told that its write is durable."""
        if code is not None:
            self._broken(f"{peer.name} could not write: {code}")
        self.acknowledged_events[peer].update(event.id for event in run.events)
        self._durable(peer, {event.id for event in run.events}, "acknowledged")
        for event in run.events if peer is self.world.peers[0] else ():
            match read_fact(event):
                case MemberSet(removed, _, Role.NONE):
                    self.removals.setdefault(removed, event.id)
                case MemberSet(decided):
                    self.removals.pop(decided, None)
                case _:
                    pass

    def committed(self, peer: "Peer", commit: Commit) -> None:
        """A run counts at `peer` now."""
        forged = {event.id for event in commit.run.events} - self.signed
        if forged:
            self._broken(f"{peer.name} stored {len(forged)} events that no author signed")
        self.slowest_ms = max(self.slowest_ms, self.world.now_ms - self.written_ms[commit.run.last.id])

    def sent(self, peer: "Peer", connection: "Connection", frame: bytes) -> None:
        """`peer` sends a frame."""
        if not peer.is_honest:
            return
        message = messages.decode_message(frame)
        self._only_for_members(peer, connection.other(peer), message)
        match message:
            case messages.Have(_, complete, _, logs):
                self.frontier_bytes[connection] += len(frame) if complete else 0
                self._durable(peer, {tip.event_id for entry in logs for tip in entry.tips}, "announced")
            case messages.Events(_, log, _, events):
                self._under_way[connection, peer, frame] = self._events_sent(peer, connection, log, events)
            case messages.Want(_, log, _, search) if search:
                self.searched.add((connection, log))
            case _:
                pass

    def _only_for_members(self, peer: "Peer", other: "Peer", message: messages.Message) -> None:
        """Who is not on the roster gets no data and hears of no data log; who never was, and was not named, hears of nothing."""
        view = peer.store.groups[self.world.group]
        whom = other.key.peer_id
        if isinstance(message, messages.Guest | messages.Member):
            self.world.faults["guests" if isinstance(message, messages.Guest) else "guests_shown_in"] += 1
            self.world.faults["unknown_diallers"] += isinstance(message, messages.Guest) and not view.roster.standing(whom).has_been_member
        if isinstance(message, messages.Error) and message.group:
            self.world.faults["told_no_member"] += 1
        if view.roster.role(whom) is not Role.NONE:
            return
        match message:
            case messages.Have(_, _, _, logs):
                named = [entry.log for entry in logs]
            case messages.Events(_, log) | messages.Unknown(_, log):
                named = [log]
            case messages.Offer() | messages.Joined() | messages.JoinRequest() | messages.Digests() | messages.DigestWant() | messages.DigestPart():
                self._broken(f"{peer.name} tells {other.name} of its group, or compares views with it, who is no member")
            case messages.Want(_, log, positions):
                named = [log] if positions or self.kinds[log] is LogKind.DATA else []
            case _:
                return
        if any(self.kinds[log] is LogKind.DATA for log in named):
            self._broken(f"{peer.name} speaks about data logs with {other.name}, who is no member")
        stranger = not view.roster.standing(whom).has_been_member and whom not in peer.store.named.get(self.world.group, ())
        if stranger and (named or isinstance(message, messages.Have)):
            self._broken(f"{peer.name} tells {other.name}, a stranger, what it holds")

    def arrived(self, sender: "Peer", connection: "Connection", frame: bytes) -> None:
        """This frame is at the other end: what it brings must not come back from now on. A forged run brings nothing of the run it stands for."""
        for event_id in self._under_way.pop((connection, sender, frame), ()):
            self._brought.add((connection, sender, event_id))

    def _events_sent(self, peer: "Peer", connection: "Connection", log: LogId, events: tuple[tuple[bytes, bytes], ...]) -> list[EventId]:
        ids = [EventId(event_hash(header)) for header, _ in events]
        self._durable(peer, set(ids), "sent")
        if connection.silent:
            return []  # Nothing arrives any more, and neither end can know that.
        other = connection.other(peer)
        if not other.is_honest:
            return ids  # It may ask for what it has.
        for event_id in ids:
            self.crossings[connection, peer, event_id] += 1
            self.copies[event_id] += 1
            if (connection, log) in self.searched:
                continue
            if (connection, other, event_id) in self._brought:
                self._broken(f"{peer.name} sent an event back to {other.name}, who had sent it")
            if self.crossings[connection, peer, event_id] > 1:
                self._broken(f"{peer.name} sent an event to {other.name} twice on one connection")
        return ids

    def acknowledged_survive(self, peer: "Peer") -> None:
        """After a restart, what was acknowledged is there."""
        self._durable(peer, self.acknowledged_events[peer], "acknowledged before the crash")

    def acknowledged_everywhere(self) -> None:
        """At the end, what was acknowledged at any member, and counts, is held by all of them."""
        everything = set[EventId]()
        for peer in self.world.members:
            roles = self._roles(peer)
            everything.update(event_id for event_id in self.acknowledged_events[peer] if roles[event_id] is not Role.NONE)
        for peer in self.world.members:
            self._durable(peer, everything, f"acknowledged, but missing at {peer.name}:")

    def judged_the_same(self) -> None:
        """At the end, all members have the same roster and the same role at every event that counts; nothing counts of who was removed."""
        first, *others = self.world.members
        counting = {event_id: role for event_id, role in self._roles(first).items() if role is not Role.NONE}
        for peer in others:
            if peer.store.groups[self.world.group].roster != first.store.groups[self.world.group].roster:
                self._broken(f"{first.name} and {peer.name} do not have the same roster")
            if {event_id: role for event_id, role in self._roles(peer).items() if role is not Role.NONE} != counting:
                self._broken(f"{first.name} and {peer.name} judge some event differently")
        self.world.faults["left_out"] += first.store.groups[self.world.group].quarantined
        held = first.store.ids()  # A disk that was put back may have lost the decision before anybody else had it.
        for late in (self.late_events[decision] for decision in self.removals.values() if decision in held):
            self.world.faults["late_events_held"] += sum(len(late & peer.store.ids()) for peer in others)
            if late & counting.keys():
                self._broken("something counts that was written after the removal of its author")

    def _roles(self, peer: "Peer") -> dict[EventId, Role]:
        group = peer.store.groups[self.world.group]
        return {event_id: role for log in group.certificates for event_id, role in group.roles(log).items()}

    def forge(self, frame: bytes, chance: random.Random) -> bytes | None:
        """In place of a run, one whose last event says something else: well-formed, linked, and signed by nobody."""
        message = messages.decode_message(frame)
        if not isinstance(message, messages.Events):
            return None
        header = read_header(message.events[-1][0])
        event = link_event(
            group=header.group,
            log=header.log,
            seq=header.seq,
            previous=header.previous,
            hlc=header.hlc,
            type_=header.type,
            refs=[],
            body=b"\xa1\x61x\x01",
        )
        signature = message.signature if chance.random() < 0.5 else chance.randbytes(64)
        return messages.encode_message(message._replace(signature=signature, events=(*message.events[:-1], (event.header_bytes, event.body))))

    def _durable(self, peer: "Peer", ids: set[EventId], what: str) -> None:
        missing = peer.store.lacking(ids)
        if missing:
            self._broken(f"{peer.name}: {len(missing)} events {what} are not durable")

    def _broken(self, text: str) -> None:
        raise BrokenPromiseError(f"seed {self.world.seed} at {self.world.now_ms}: {text}")
