"""Members that do not follow the protocol: they prove who they are and hold real sessions, and say among true things what is wrong.

Everything that they sign is signed well. Nothing that they do may cost anybody else more than their own links.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from gossip.record import RECORD_CONTEXT, VALID_FOR_MAX_S, PeerRecord, Reachability, sign_record
from peer.core.certificate import LogKind, certify
from peer.core.encoding import encode
from peer.core.event import link_event
from peer.core.frontier import Tip
from peer.core.identity import EventId, KeyPair, LogId
from peer.core.run import Draft, sign_run
from peer.sync import effects as fx
from peer.sync import messages
from tests.simulation.shell import Link, Peer

if TYPE_CHECKING:
    from tests.simulation.world import World

BYZANTINE_KINDS = (
    *("deliberate_forks", "garbage_frames", "cut_frames", "gaps_signed", "clocks_signed_backwards", "poison_bodies", "tips_made_up"),
    *("floods_of_have", "floods_of_want", "floods_of_records", "floods_of_pings", "forged_records", "stale_records", "withheld_runs"),
)
FLOOD = 300


class Byzantine(Peer):
    """One of them."""

    is_honest = False

    def __init__(self, world: "World", name: str) -> None:
        super().__init__(world, name)
        self.withholds = world.random.random() < 0.5
        """True if it tells of events and sends none."""
        self._stale: bytes = self._record(1, "https://gone:8443")

    def perform(self, link: Link, effect: fx.Effect) -> None:
        """As everybody, but for events."""
        if self.withholds and isinstance(effect, fx.SendFrame) and isinstance(messages.decode_message(effect.frame), messages.Events):
            self.world.faults["withheld_runs"] += 1
            return
        super().perform(link, effect)

    def misbehave(self) -> None:
        """Once, in some way, on some link."""
        chance = self.world.random
        links = [link for link in self.links.values() if link.facts is not None and link.session.shared_groups()]
        if not self.up or not links:
            return
        link = chance.choice(links)
        ways: tuple[Callable[[Link], None], ...] = (
            *(self._fork, self._fork, self._garbage, self._cut_frame, self._gap, self._backwards, self._poison, self._made_up),
            *(self._flood_of_have, self._flood_of_want, self._flood_of_records, self._flood_of_pings, self._forged_records, self._stale_records),
        )
        chance.choice(ways)(link)

    def _say(self, link: Link, kind: str, *said: messages.Message) -> None:
        self.world.faults[kind] += 1
        for message in said:
            link.connection.send(self, messages.encode_message(message))

    def _fork(self, _link: Link) -> None:
        own = self.own_log(self.world.group, LogKind.DATA)
        held = self.store.groups[self.world.group].events.get(own.certificate.log, {}) if own else {}
        if own is not None and held and not self.pending:
            self.world.faults["deliberate_forks"] += 1
            own.last = self.world.random.choice(list(held.values()))
            self.write(self.world.group, LogKind.DATA, [_note("fork")] * self.world.random.randint(1, 4))

    def _garbage(self, link: Link) -> None:
        self.world.faults["garbage_frames"] += 1
        link.connection.send(self, self.world.random.randbytes(self.world.random.randint(1, 400)))

    def _cut_frame(self, link: Link) -> None:
        self.world.faults["cut_frames"] += 1
        frame = messages.encode_message(messages.Want(self.world.group, self._log(), (), search=True))
        link.connection.send(self, frame[: self.world.random.randrange(1, len(frame))])

    def _gap(self, link: Link) -> None:
        self._wrong_run(link, "gaps_signed", seq=7, hlc=1)

    def _backwards(self, link: Link) -> None:
        self._wrong_run(link, "clocks_signed_backwards", seq=1, hlc=0)

    def _wrong_run(self, link: Link, kind: str, *, seq: int, hlc: int) -> None:
        """Of our own log, well signed, and not what follows."""
        own = self.own_log(self.world.group, LogKind.DATA)
        if own is None or own.last is None:
            return
        event = link_event(
            group=self.world.group,
            log=own.certificate.log,
            seq=own.last.header.seq + seq,
            previous=own.last.id,
            hlc=hlc,
            type_="test.note",
            refs=[],
            body=b"\xa0",
        )
        run = sign_run(own.key, [event])
        announced = messages.LogEntry(own.certificate.log, own.certificate.to_bytes(), (Tip(event.height, event.id),))
        events = messages.Events(self.world.group, own.certificate.log, run.signature, ((event.header_bytes, event.body),))
        self._say(link, kind, messages.Have(self.world.group, complete=False, more=False, logs=(announced,)), events)

    def _poison(self, _link: Link) -> None:
        if not self.pending:
            self.world.faults["poison_bodies"] += 1
            self.write(self.world.group, LogKind.DATA, [Draft("recording.create", self.world.random.randbytes(40)), Draft("no.such.type", b"")])

    def _made_up(self, link: Link) -> None:
        """More of somebody else's log than there is."""
        view = self.store.groups[self.world.group]
        logs = [log for log in view.tips if view.certificates[log].peer != self.key.peer_id]
        if logs:
            log = self.world.random.choice(sorted(logs))
            tip = Tip(view.tips[log][-1].height + self.world.random.randint(1, 9), EventId(self.world.random.randbytes(32)))
            entry = messages.LogEntry(log, view.certificates[log].to_bytes(), (tip,))
            self._say(link, "tips_made_up", messages.Have(self.world.group, complete=False, more=False, logs=(entry,)))

    def _flood_of_have(self, link: Link) -> None:
        """Logs without end, each with a certificate that verifies."""
        entries = []
        for _ in range(FLOOD // 6):
            certificate = certify(self.key, self.world.group, KeyPair(self.world.random.randbytes(32)).public, LogKind.DATA)
            entries.append(messages.LogEntry(certificate.log, certificate.to_bytes(), (Tip(9, EventId(self.world.random.randbytes(32))),)))
        self._say(link, "floods_of_have", messages.Have(self.world.group, complete=False, more=False, logs=tuple(entries)))

    def _flood_of_want(self, link: Link) -> None:
        logs = sorted(self.store.groups[self.world.group].tips)
        places = tuple(EventId(self.world.random.randbytes(32)) for _ in range(20))
        wants = [messages.Want(self.world.group, logs[number % len(logs)], places, search=number % 2 == 0) for number in range(FLOOD if logs else 0)]
        self._say(link, "floods_of_want", *wants)

    def _flood_of_records(self, link: Link) -> None:
        self._say(link, "floods_of_records", *[messages.Records(self.world.group, ((self.world.random.randbytes(200), 2**40),) * 64)] * 5)

    def _flood_of_pings(self, link: Link) -> None:
        self._say(link, "floods_of_pings", *map(messages.Ping, range(FLOOD // 3)))

    def _forged_records(self, link: Link) -> None:
        """Of somebody else, with another address: under our signature, and under none."""
        victim = self.world.random.choice(self.world.peers)
        reach = Reachability.DIALLABLE
        record = PeerRecord(victim.key.peer_id, 10**6, ("https://trap:1",), reach, VALID_FOR_MAX_S).to_bytes()
        signatures = (self.key.sign(RECORD_CONTEXT + record), self.world.random.randbytes(64))
        self._say(link, "forged_records", messages.Records(self.world.group, tuple((encode([record, each]), 2**40) for each in signatures)))

    def _stale_records(self, link: Link) -> None:
        """Our own, from when we had another address."""
        self._say(link, "stale_records", messages.Records(self.world.group, ((self._stale, 8),)))

    def _record(self, seq: int, endpoint: str) -> bytes:
        record = PeerRecord(self.key.peer_id, seq, (endpoint,), Reachability.DIALLABLE, VALID_FOR_MAX_S)
        return sign_record(self.key, record).data

    def _log(self) -> LogId:
        return LogId(self.world.random.randbytes(32))


def _note(text: str) -> Draft:
    return Draft("test.note", encode({"text": text}))
