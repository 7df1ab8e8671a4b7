"""Whole parts under attack: a live session that is told frames, and projections that are given whatever a member wrote."""

import contextlib
from collections.abc import Iterator

from peer.core.encoding import decode, encode
from peer.core.group import join_bytes
from peer.core.hashing import event_hash
from peer.core.identity import EventId, GroupId, PeerId
from peer.core.run import Draft, signed_bytes
from peer.errors import EventRejectedError, NotCanonicalError
from peer.sync import effects as fx
from peer.sync import limits, messages
from peer.sync.handshake import Handshake
from peer.sync.messages import encode_message
from tests.frame_attack import Attack
from tests.fuzz.pieces import split
from tests.fuzz.readers import BODY_TYPES
from tests.histories import PEOPLE, MemoryViews, Story
from tests.samples import key_pair
from tests.sync_site import LinkEnd, knocking, open_end, side_of

AUTHORS = tuple(PEOPLE)[:3]
GUEST, JOINER = 2, 3
INVITATION = key_pair("an invitation")
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
    """A link. The first byte says who dialled: a member, nobody who proved anything, a guest, or somebody who wants to join.

    Runs and requests to join are signed by whose they are where the first byte of their frame says so.
    """
    who = data[0] % 4 if data else 0
    with small_limits():
        attack = Attack(member=who == 0)
        if who == GUEST:
            attack.end = knocking("zoe", attack.bob, attack.group, number=2)
        elif who == JOINER:
            attack.end = _joiner(attack)
        for piece in split(data[1:])[:FRAMES_MAX]:
            order, frame = (piece[0] if piece else 0), piece[1:]
            attack.say(_signed(attack, frame) if order & 1 else frame)
            if order & 2:
                _answer(attack, order)
            if order & 4:
                attack.bob.tick(30)
                attack.check()
            if attack.end.closed is not None:
                return
        _answer(attack, 0)


def _joiner(attack: Attack) -> LinkEnd:
    """Bob's end of a link with somebody who proved a key and says that it will ask to join."""
    end = open_end(attack.bob, 3)
    dialler = Handshake(side_of("joiner", link=3), key_pair("bob").peer_id)
    end.receive(dialler.hello)
    hello = end.sent[0]
    assert isinstance(hello, messages.Hello)
    dialler.take_hello(hello, encode_message(hello))
    end.receive(messages.Proof(dialler.prove(), joining=True))
    return end


def _answer(attack: Attack, order: int) -> None:
    """Whoever was asked answers: the store, or who decides on joins and offers, as `order` says."""
    end, code = attack.end, (None, "invitation_refused", "no_admin_reached", "name_taken")[order >> 4 & 3]
    while end.asked:
        match end.asked[0]:
            case fx.DecideJoin() as effect:
                end.asked.popleft()
                end.feed(fx.JoinDecided(effect, code or "no_admin_reached", ""))
            case fx.TakeOffer() as effect:
                end.asked.popleft()
                end.feed(fx.OfferDecided(effect, taken=False, code=code, text=""))
            case _:
                end.answer()
        attack.check()


def _signed(attack: Attack, frame: bytes) -> bytes:
    """The same frame; if it is one of events of a log of Mallory's, or of a request to join, with a true signature."""
    try:
        fields = decode(frame)
        match fields:
            case ["events", bytes(), bytes(log), bytes(), list(events)] if events:
                header = events[-1][0]  # type: ignore[index]
                values = decode(header)  # type: ignore[arg-type]
                key = next(each.key for each in attack.logs if each.certificate.log == log)
                signed = signed_bytes(values[1], values[2], values[3], EventId(event_hash(header)))  # type: ignore[index,arg-type]
                fields[3] = key.sign(signed)  # type: ignore[index]
            case ["join", bytes(group), _, _, _]:
                joined = join_bytes(GroupId(group), side_of("joiner", link=3).key.peer_id, side_of("bob", link=3).nonce)
                fields[2:4] = [INVITATION.public, INVITATION.sign(joined)]
            case ["join_request", bytes(group), _, bytes(peer), _, bytes(nonce), _, _]:
                fields[2] = INVITATION.public
                fields[6] = INVITATION.sign(join_bytes(GroupId(group), PeerId(peer), nonce))
            case _:
                return frame
        return encode(fields)
    except (NotCanonicalError, StopIteration, TypeError, IndexError, KeyError, AttributeError, OverflowError):
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
