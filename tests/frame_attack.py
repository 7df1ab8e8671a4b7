"""An attack on one live session: what a member, or a stranger, may say to it, and what must hold after each word."""

import hashlib
import itertools
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

import cbor2
from blake3 import blake3
from hypothesis import strategies as st
from nacl.signing import VerifyKey

from peer import errors
from peer.core.control import Role
from peer.core.encoding import encode
from peer.core.event import Event, Header
from peer.core.frontier import Tip
from peer.core.hashing import event_hash
from peer.core.identity import EventId, GroupId, LogId
from peer.core.run import Run, sign_run
from peer.errors import RemoteProtocolError
from peer.sync import effects as fx
from peer.sync import limits, messages
from peer.sync.messages import decode_message, encode_message
from tests.samples import SampleLog
from tests.sync_site import Clock, LinkEnd, SampleGroup, Site, entry_of, events_of, open_end, puppet

KNOWN_CODES = {error.code for error in vars(errors).values() if isinstance(error, type) and issubclass(error, errors.MeshError)}
NAMES = sorted(messages._READERS)
ITEMS_MAX = 20_000
"""How much one session may hold, in items of its sets, maps and queues, under the limits that these tests set."""

Draw = Callable[[st.SearchStrategy[Any]], Any]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.binary(max_size=70)
    | st.sampled_from([bytes(16), bytes(32), bytes(64), "not_a_member", "bob"])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=2),
    max_leaves=12,
)


def check_run(effect: fx.StoreRun) -> None:
    """The oracle: certificate, signature, chain and bodies, with the libraries used directly."""
    certificate, run, _ = effect
    unsigned = cbor2.dumps([1, certificate.group, certificate.key, int(certificate.kind), certificate.peer])
    VerifyKey(certificate.peer).verify(b"recmesh/log/v1\0" + unsigned, certificate.signature)
    fields = [cbor2.loads(event.header_bytes) for event in run.events]
    ids = [blake3(event.header_bytes, derive_key_context="recmesh event v1").digest() for event in run.events]
    signed = b"recmesh/run/v1\0" + certificate.group + certificate.log + fields[-1][3].to_bytes(8, "big") + ids[-1]
    VerifyKey(certificate.key).verify(signed, run.signature)
    assert len(run.events) <= 256
    for event, header, event_id in zip(run.events, fields, ids, strict=True):
        assert header[:3] == [1, certificate.group, certificate.log]
        assert (event.id, cbor2.dumps(header)) == (event_id, event.header_bytes)
        assert header[8:] == [len(event.body), blake3(event.body).digest()]
    assert certificate.log == blake3(b"recmesh/log/v1\0" + unsigned).digest()
    if fields[0][3] == 0:
        assert fields[0][4] == certificate.log
    for place, (before, header) in enumerate(itertools.pairwise(fields)):
        assert header[3] == before[3] + 1
        assert header[4] == ids[place]
        assert header[5] > before[5]


def items_of(value: object, seen: set[int]) -> int:
    """How much a part of a session holds."""
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, dict):
        return len(value) + sum(items_of(each, seen) for each in value.values())
    if isinstance(value, set | frozenset | list | tuple | deque):
        return len(value) + sum(items_of(each, seen) for each in value if not isinstance(each, int | str | bytes))
    if type(value).__module__.startswith("peer.sync."):
        names = [*getattr(value, "__dict__", ()), *(slot for part in type(value).__mro__ for slot in getattr(part, "__slots__", ()))]
        return sum(items_of(getattr(value, name, None), seen) for name in names if name not in {"_replica", "_sources", "_handshake"})
    return 0


class Attack:
    """One link to Bob, from a stranger or from Mallory, a member; every effect is checked."""

    def __init__(self, *, member: bool) -> None:
        self.group = SampleGroup("alice", "bob", "mallory", "carol")
        self.other = SampleGroup("alice", "bob", name="another-group")
        self.bob = Site("bob", Clock(), self.group, self.other)
        self.alices = SampleLog("alice", self.group.id)
        for _ in range(3):
            self.bob.write(self.alices, self.alices.write_notes(4))
        self.end: LinkEnd = puppet("mallory", self.bob) if member else open_end(self.bob, 1)
        self.logs = [SampleLog("mallory", self.group.id, label=str(number)) for number in range(3)]
        self.frames = self.numbers = 0
        self.codes: Counter[str] = Counter()
        self._checked = 0

    def fresh(self, size: int = 32) -> bytes:
        """Bytes that were never said before."""
        self.numbers += 1
        return hashlib.sha512(self.numbers.to_bytes(8, "big")).digest()[:size]

    def say(self, frame: bytes) -> None:
        """Send a frame and check what comes of it."""
        self.frames += 1
        told = None
        try:
            message = decode_message(frame)
            told = message.code if isinstance(message, messages.Error) else None
        except RemoteProtocolError:
            pass
        self.end.feed(fx.FrameReceived(frame))
        self.check(told)

    def check(self, told: str | None = None) -> None:
        """Codes, signatures, memory."""
        fresh, self._checked = self.end.effects[self._checked :], len(self.end.effects)
        for effect in fresh:
            match effect:
                case fx.CloseLink(code, _):
                    self.codes[code] += 1
                    assert code in KNOWN_CODES or code == told
                case fx.StoreRun():
                    check_run(effect)
                    self.codes["stored"] += 1
                case fx.SendFrame(frame):
                    message = decode_message(frame)
                    if isinstance(message, messages.Error | messages.Rejected):
                        self.codes[message.code] += 1
                        assert message.code in KNOWN_CODES
                    assert not isinstance(message, messages.Have | messages.Events) or message.group == self.group.id
        assert items_of(self.end.session, set()) <= ITEMS_MAX
        others = sum(isinstance(each, fx.StoreRun | fx.DecideJoin | fx.TakeOffer) for each in self.end.asked)
        assert len(self.end.asked) <= limits.FINDS_UNDER_WAY_MAX + 1 + others

    # Moves

    def random_bytes(self, draw: Draw) -> None:
        self.say(draw(st.binary(max_size=200)))

    def random_message(self, draw: Draw) -> None:
        name = draw(st.sampled_from(NAMES))
        self.say(encode([name, *(draw(values) for _ in range(messages._READERS[name][0]))]))

    def mutated_message(self, draw: Draw) -> None:
        frame = bytearray(encode_message(self.some_message(draw)))
        frame[draw(st.integers(0, len(frame) - 1))] ^= draw(st.integers(1, 255))
        self.say(bytes(frame))

    def message(self, draw: Draw) -> None:
        self.say(encode_message(self.some_message(draw)))

    def some_message(self, draw: Draw) -> messages.Message:
        group = draw(st.sampled_from([self.group.id, self.group.id, self.group.id, self.other.id, GroupId(bytes(32))]))
        log = draw(st.sampled_from([self.alices.certificate.log, self.logs[0].certificate.log, self.group.control.certificate.log, LogId(bytes(32))]))
        held = list(self.bob.store.groups[self.group.id].events.get(log, ()))[:4]
        strange = [EventId(self.fresh()) for _ in range(draw(st.sampled_from([0, 1, 40])))]
        chosen: messages.Message = draw(
            st.sampled_from(
                [
                    messages.Want(group, log, tuple(held), search=False),
                    messages.Want(group, log, tuple(strange), search=True),
                    messages.Want(group, log, tuple(held + strange), search=draw(st.booleans())),
                    messages.Unwant(group, log),
                    messages.Unknown(group, log),
                    messages.Rejected(group, log, "log_gap"),
                    messages.Credit(draw(st.integers(1, messages.GRANT_MAX))),
                    messages.Ping(draw(st.integers(0, 2**64 - 1))),
                    messages.Pong(draw(st.integers(0, 2**64 - 1))),
                    messages.Error("not_a_member", "no", draw(st.sampled_from([self.group.id, GroupId(self.fresh())]))),
                    *[self.some_have(draw, group)] * 3,
                ]
            )
        )
        return chosen

    def some_have(self, draw: Draw, group: GroupId) -> messages.Have:
        entries = []
        for log in draw(st.lists(st.sampled_from([self.alices, self.group.control, *self.logs, None]), max_size=4)):
            source = log or SampleLog("mallory", self.group.id, label=self.fresh(8).hex())
            tips = tuple(sorted({Tip(height, EventId(self.fresh())) for height in draw(st.lists(st.integers(1, 2**40), min_size=1, max_size=8))}))
            if source.tip is not None and draw(st.booleans()):
                tips = entry_of(source).tips
            certificate = draw(st.sampled_from([source.certificate.to_bytes(), source.certificate.to_bytes(), b"", b"junk"]))
            entries.append(messages.LogEntry(source.certificate.log, certificate, tips))
        return messages.Have(group, complete=draw(st.booleans()), more=draw(st.booleans()), logs=tuple(entries))

    def good_run(self, draw: Draw) -> None:
        log = draw(st.sampled_from(self.logs))
        run = log.write_notes(draw(st.integers(1, 4)))
        self.say(encode_message(messages.Have(self.group.id, complete=True, more=False, logs=(entry_of(log),))))
        self.say(encode_message(events_of(self.group.id, run)))

    def wrong_run(self, draw: Draw) -> None:
        self.run_wrong_in(draw(st.sampled_from(WRONG)), draw)

    def run_wrong_in(self, kind: str, draw: Draw) -> None:
        """Validly signed by its log, announced with its certificate, and wrong further in."""
        log = SampleLog("mallory", self.group.id, label=f"wrong {draw(st.integers(0, 3))}")
        events = list(log.write_notes(3).events)
        place = draw(st.integers(0, 2))
        body = events[place].body + (b"\0" if kind == "body" else b"")
        header = CHANGED[kind](self, draw, events[place].header) if kind in CHANGED else events[place].header
        data = encode(list(header)) + (b"\0" if kind == "not canonical" else b"")
        events[place] = Event(header, data, EventId(event_hash(data)), body)
        run = sign_run(log.key, events)
        entry = messages.LogEntry(log.certificate.log, log.certificate.to_bytes(), (Tip(3, run.last.id),))
        if kind == "certificate":
            stranger = SampleLog(draw(st.sampled_from(["carol", "zoe"])), draw(st.sampled_from([self.group.id, self.other.id])), label="strange")
            entry = entry._replace(certificate=stranger.certificate.to_bytes(), log=draw(st.sampled_from([entry.log, stranger.certificate.log])))
        self.say(encode_message(messages.Have(self.group.id, complete=True, more=False, logs=(entry,))))
        self.say(encode_message(messages.Events(draw(groups_of(kind, self)), log.certificate.log, run.signature, parts_of(run))))

    def foreign_signature(self, draw: Draw) -> None:
        """Well-formed events of somebody else's log, signed by another key or over something else."""
        log = draw(st.sampled_from([self.alices, *self.logs]))
        other = SampleLog("alice" if log is self.alices else "mallory", self.group.id, label="" if log is self.alices else "0")
        run = other.write_notes(draw(st.integers(1, 3)))
        self.say(encode_message(messages.Have(self.group.id, complete=True, more=False, logs=(entry_of(other),))))
        foreign = sign_run(self.logs[1].key, run.events).signature
        signature = draw(st.sampled_from([bytes(64), foreign, foreign[::-1]]))
        self.say(encode_message(events_of(self.group.id, run)._replace(signature=signature)))

    # Moves of Bob's own

    def store_answers(self, draw: Draw) -> None:
        for _ in range(min(len(self.end.asked), draw(st.integers(1, 20)))):
            if isinstance(self.end.asked[0], fx.DecideJoin | fx.OpenGroup):
                return
            self.end.answer()
            self.check()

    def time_passes(self, draw: Draw) -> None:
        self.bob.tick(draw(st.sampled_from([0.1, 1, 4, 30])))
        self.check()

    def bob_writes(self, _draw: Draw) -> None:
        self.bob.write(self.alices, self.alices.write_notes(2))
        self.check()

    def roster_changes(self, draw: Draw) -> None:
        self.bob.write(self.group.control, self.group.set_role("mallory", role=draw(st.sampled_from([Role.NONE, Role.WRITER]))))
        self.check()


CHANGED: Mapping[str, Callable[[Attack, Draw, Header], Header]] = {
    "seq": lambda _, draw, header: header._replace(seq=draw(st.integers(0, 9))),
    "hlc": lambda _, draw, header: header._replace(hlc=draw(st.integers(0, 2**64 - 1))),
    "body hash": lambda attack, _, header: header._replace(body_hash=attack.fresh()),
    "type": lambda _, draw, header: header._replace(type=draw(st.sampled_from(["", "x" * 65, "note", "member.set"]))),
    "refs": lambda attack, draw, header: header._replace(
        refs=[EventId(attack.fresh(draw(st.sampled_from([32, 31]))))] * draw(st.sampled_from([1, 17]))
    ),
    "previous": lambda attack, _, header: header._replace(previous=attack.fresh()),
    "version": lambda _, draw, header: header._replace(version=draw(st.integers(0, 3))),
    "group": lambda attack, _, header: header._replace(group=attack.other.id),
    "log": lambda attack, _, header: header._replace(log=attack.logs[0].certificate.log),
    "size": lambda _, draw, header: header._replace(body_size=draw(st.integers(0, 2**64 - 1))),
}
WRONG = [*CHANGED, "body", "not canonical", "certificate", "other group"]
HOSTILE = ["wrong_run", "wrong_run", "wrong_run", "foreign_signature", "good_run", "message", "message", "mutated_message", "random_message"]
OWN = ["store_answers", "store_answers", "time_passes", "bob_writes", "roster_changes"]


def groups_of(kind: str, attack: Attack) -> st.SearchStrategy[GroupId]:
    return st.just(attack.other.id if kind == "other group" else attack.group.id)


def parts_of(run: Run) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((event.header_bytes, event.body) for event in run.events)
