"""Whole parts under attack: a live session that is told frames, and projections that are given whatever a member wrote."""

import contextlib
from collections.abc import Iterator

from peer.core.encoding import decode, encode
from peer.core.hashing import event_hash
from peer.core.identity import EventId
from peer.core.run import Draft, signed_bytes
from peer.errors import EventRejectedError, NotCanonicalError
from peer.sync import limits
from tests.frame_attack import Attack
from tests.fuzz.pieces import split
from tests.fuzz.readers import BODY_TYPES
from tests.histories import PEOPLE, MemoryViews, Story

AUTHORS = tuple(PEOPLE)[:3]
FRAMES_MAX = 24
EVENTS_MAX = 16
SMALL = {"LOGS_PER_GROUP_MAX": 40, "TIPS_PER_GROUP_MAX": 400, "REJECTIONS_MAX": 60, "RETELLS_MAX": 8, "POSITIONS_WAITING_MAX": 2000}
"""Limits that a few frames reach."""


@contextlib.contextmanager
def small_limits() -> Iterator[None]:
    """Limits for as long as one session lasts."""
    before = {name: getattr(limits, name) for name in SMALL}
    for name, value in SMALL.items():
        setattr(limits, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(limits, name, value)


def session(data: bytes) -> None:
    """A link: the handshake is true if the first byte is even. Runs are signed by their log where the first byte of their frame says so."""
    member = not (data and data[0] & 1)
    with small_limits():
        attack = Attack(member=member)
        for piece in split(data[1:])[:FRAMES_MAX]:
            order, frame = piece[:1], piece[1:]
            attack.say(_signed(attack, frame) if order and order[0] & 1 else frame)
            if order and order[0] & 2:
                _answer(attack)
            if order and order[0] & 4:
                attack.bob.tick(30)
                attack.check()
            if attack.end.closed is not None:
                return
        _answer(attack)


def _answer(attack: Attack) -> None:
    while attack.end.asked and type(attack.end.asked[0]).__name__ not in ("DecideJoin", "OpenGroup"):
        attack.end.answer()
        attack.check()


def _signed(attack: Attack, frame: bytes) -> bytes:
    """The same frame; if it is one of events of a log of Mallory's, with her true signature."""
    try:
        fields = decode(frame)
        match fields:
            case ["events", bytes(), bytes(log), bytes(), list(events)] if events:
                header = events[-1][0]  # type: ignore[index]
                values = decode(header)  # type: ignore[arg-type]
                key = next(each.key for each in attack.logs if each.certificate.log == log)
                signed = signed_bytes(values[1], values[2], values[3], EventId(event_hash(header)))  # type: ignore[index,arg-type]
                fields[3] = key.sign(signed)  # type: ignore[index]
                return encode(fields)
    except (NotCanonicalError, StopIteration, TypeError, IndexError, KeyError, AttributeError, OverflowError):
        pass
    return frame


def projection(data: bytes) -> None:
    """Events of three members with bodies as they come; in the end the digests are those of the rows."""
    story = Story()
    written: list[EventId] = []
    for piece in split(data)[:EVENTS_MAX]:
        order, body = piece[:1], piece[1:]
        choice = order[0] if order else 0
        type_ = BODY_TYPES[choice // 8 % len(BODY_TYPES)]
        for number, event_id in enumerate(written):  # So that events can name one another: an id stands as 32 times its number.
            body = body.replace(bytes([number]) * 32, event_id)
        with contextlib.suppress(EventRejectedError):
            written.append(story.write(AUTHORS[choice % len(AUTHORS)], Draft(type_, body, tuple(written[-1:]) if choice & 4 else ())).id)
    page = story.events
    if not page:
        return
    views = MemoryViews()
    views.project(page[: len(page) // 2])
    views.project(page[len(page) // 2 :])
    straight = MemoryViews()
    straight.project(page)
    assert encode(straight.export()) == encode(views.export())
