"""Wrong input by chance, from a seed: runs that their author links and signs and that are wrong inside, frames with a byte changed, bytes."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from peer.core.encoding import encode
from peer.core.event import Header
from peer.core.hashing import event_hash, hash_bytes
from peer.core.identity import EventId, GroupId, LogId
from peer.core.run import signed_bytes
from peer.sync.messages import Events, Have, encode_message
from tests.frame_attack import NAMES
from tests.samples import SampleLog
from tests.sync_site import have_of

SIGNED_EVENTS = 3

CHANGES: Mapping[str, Callable[[random.Random, Header], Header]] = {
    "seq": lambda chance, header: header._replace(seq=chance.randrange(9)),
    "previous": lambda chance, header: header._replace(previous=chance.randbytes(32)),
    "hlc": lambda chance, header: header._replace(hlc=chance.getrandbits(64)),
    "type": lambda chance, header: header._replace(type=chance.choice(["", "x" * 65, "recording.create", "member.set", "log.seal"])),
    "refs": lambda chance, header: header._replace(refs=[EventId(chance.randbytes(chance.choice([31, 32])))] * chance.choice([1, 17])),
    "version": lambda chance, header: header._replace(version=chance.randrange(4)),
    "group": lambda chance, header: header._replace(group=GroupId(chance.randbytes(32))),
    "log": lambda chance, header: header._replace(log=LogId(chance.randbytes(32))),
    "body_size": lambda chance, header: header._replace(body_size=chance.getrandbits(17)),
    "body_hash": lambda chance, header: header._replace(body_hash=chance.randbytes(32)),
    "nothing": lambda _, header: header,
}


class Said(NamedTuple):
    """An announcement and a run."""

    have: Have
    events: Events


def signed_run(chance: random.Random, log: SampleLog, bodies: Sequence[bytes] = ()) -> Said:
    """A run of a fresh log with one thing in it that is wrong, or none, truly signed. With `bodies`, the events carry these, well hashed."""
    kind = chance.choice(list(CHANGES))
    place, made = chance.randrange(SIGNED_EVENTS), list[tuple[bytes, bytes]]()
    for number, event in enumerate(log.write_notes(SIGNED_EVENTS).events):
        header, body = event.header, event.body
        if made:
            header = header._replace(previous=EventId(event_hash(made[-1][0])))
        if bodies:
            body = bodies[number % len(bodies)]
            header = header._replace(body_size=len(body), body_hash=hash_bytes(body))
        made.append((encode(list(CHANGES[kind](chance, header) if number == place else header)), body))
    if chance.random() < 0.1:
        made[place] = (made[place][0] + b"\0", made[place][1])
    certificate = log.certificate
    signature = log.key.sign(signed_bytes(certificate.group, certificate.log, SIGNED_EVENTS - 1, EventId(event_hash(made[-1][0]))))
    return Said(have_of(certificate.group, log), Events(certificate.group, certificate.log, signature, tuple(made)))


def unsigned_frame(chance: random.Random, log: SampleLog) -> bytes:
    """Bytes, a message of random fields, or the announcement of a fresh log with one byte changed."""
    log.write_notes(1)
    frame = bytearray(encode_message(have_of(log.certificate.group, log)))
    frame[chance.randrange(len(frame))] ^= chance.randrange(1, 256)
    fields = [chance.choice([0, -1, True, None, "", b"", [], [[]], {}, bytes(32), 2**64 - 1]) for _ in range(chance.randrange(6))]
    return chance.choice([bytes(frame), bytes(frame), encode([chance.choice(NAMES), *fields]), chance.randbytes(60)])


def changed(chance: random.Random, data: bytes, times: int = 3) -> bytes:
    """`data` with a few bytes changed, put in or left out."""
    made = bytearray(data)
    for _ in range(chance.randrange(1, times + 1)):
        at = chance.randrange(len(made) + 1)
        made[at : at + chance.randrange(2)] = bytes([chance.randrange(256)] * chance.randrange(2))
    return bytes(made)
