"""Control events: what the roster is computed from. Each type's body, how it is read, and the drafts by which it is written.

`member.set` is a decision on a peer, `member.leave` its request to be removed, `invite` an invitation's public half, `event.void` takes back an
event, `log.seal` closes a log whose key is not to be trusted. A body that does not fit is poison: the event is stored and relayed like any other, and
says nothing.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

from peer.core.encoding import Value, decode_map, encode
from peer.core.event import REFS_MAX, UINT64_MAX, Event
from peer.core.identity import ID_SIZE, EventId, LogId, PeerId
from peer.core.names import is_name
from peer.core.run import Draft
from peer.errors import NotCanonicalError

MEMBER_SET = "member.set"
INVITE = "invite"
MEMBER_LEAVE = "member.leave"
EVENT_VOID = "event.void"
LOG_SEAL = "log.seal"
POINTS_MAX = 800
"""Points in one cut or seal; more do not fit a body."""


class Role(IntEnum):
    """What a member may do, lowest first."""

    NONE = 0
    READER = 1
    WRITER = 2
    ADMIN = 3
    OWNER = 4

    @property
    def label(self) -> str:
        """The word that people use for it."""
        return self.name.lower()


ASSIGNABLE = (Role.NONE, Role.READER, Role.WRITER, Role.ADMIN)
_ROLES = {role.label: role for role in ASSIGNABLE}


class Point(NamedTuple):
    """A place in a log that an event of another log names. It stands for the event and its ancestors."""

    log: LogId
    height: int
    """`seq` + 1 of the event, so that the place is known before the event is here."""
    event_id: EventId


class MemberSet(NamedTuple):
    """A decision on a peer: add, change, remove."""

    peer: PeerId
    name: str
    role: Role
    cut: tuple[Point, ...]
    """Events that keep the role that they had, with their ancestors."""
    invite: bytes | None
    """The key of the invitation under which the peer was let in."""


class MemberLeave(NamedTuple):
    """Its author wants to be removed. Its refs name the decisions that made it a member."""


class InviteSet(NamedTuple):
    """An invitation; role none revokes it."""

    key: bytes
    role: Role
    expires_ms: int


class EventVoid(NamedTuple):
    """An event is not to count."""

    event_id: EventId


class LogSeal(NamedTuple):
    """Of a log of the same author only these events and their ancestors count."""

    log: LogId
    tips: tuple[Point, ...]


Fact = MemberSet | MemberLeave | InviteSet | EventVoid | LogSeal


class _Fields(NamedTuple):
    event: Event
    author: PeerId


class ControlEvent(_Fields):
    """An event of a control log, with the peer whose log it is."""

    @cached_property
    def fact(self) -> Fact | None:
        """What it says, None for poison and for types that are not known here."""
        return read_fact(self.event)


def member_set(
    peer: PeerId, name: str, role: Role, *, replaces: Iterable[EventId] = (), cut: Sequence[Point] = (), invite: bytes | None = None
) -> Draft:
    """A decision on `peer`, to be written to a control log."""
    body: dict[str, Value] = {"peer_id": peer, "name": name, "role": role.label}
    if cut:
        body["cut"] = [list(point) for point in sorted(cut)]
    if invite is not None:
        body["invite"] = invite
    return Draft(MEMBER_SET, encode(body), tuple(replaces))


def member_leave(live: Sequence[EventId]) -> Draft:
    """A request to be removed, to be written to the author's own control log. `live` are the decisions that made it a member."""
    return Draft(MEMBER_LEAVE, encode({}), tuple(live)[:REFS_MAX])


def invite(key: bytes, role: Role, expires_ms: int, *, replaces: Iterable[EventId] = ()) -> Draft:
    """An invitation, to be written to a control log: its public half. With role none it is revoked."""
    return Draft(INVITE, encode({"key": key, "role": role.label, "expires_ms": expires_ms}), tuple(replaces))


def event_void(event_id: EventId) -> Draft:
    """Let an event of a data log count no more."""
    return Draft(EVENT_VOID, encode({"event_id": event_id}))


def log_seal(log: LogId, tips: Sequence[Point]) -> Draft:
    """Let of `log`, another log of the same author, only `tips` and their ancestors count."""
    return Draft(LOG_SEAL, encode({"log": log, "tips": [list(point) for point in sorted(tips)]}))


def read_fact(event: Event) -> Fact | None:  # noqa: PLR0911  (one answer for each type, and for what is wrong with it)
    """What a control event says, None for poison and for types that are not known here."""
    if event.header.type not in (MEMBER_SET, MEMBER_LEAVE, INVITE, EVENT_VOID, LOG_SEAL):
        return None
    try:
        body = decode_map(event.body)
    except NotCanonicalError:
        return None
    match event.header.type, body:
        case "member.set", {"peer_id": bytes(peer), "name": str(name), "role": str(role)} if _is_id(peer) and is_name(name) and role in _ROLES:
            cut = _read_points(body.get("cut", []))
            invite_key = body.get("invite")
            if cut is None:
                return None
            return MemberSet(PeerId(peer), name, _ROLES[role], cut, invite_key if isinstance(invite_key, bytes) else None)
        case "invite", {"key": bytes(key), "role": str(role), "expires_ms": int(expires_ms)} if _is_id(key) and role in _ROLES:
            return InviteSet(key, _ROLES[role], expires_ms) if type(expires_ms) is int and expires_ms >= 0 else None
        case "member.leave", _:
            return MemberLeave()
        case "event.void", {"event_id": bytes(event_id)} if _is_id(event_id):
            return EventVoid(EventId(event_id))
        case "log.seal", {"log": bytes(log)} if _is_id(log):
            tips = _read_points(body.get("tips"))
            return LogSeal(LogId(log), tips) if tips is not None and all(tip.log == log for tip in tips) else None
        case _:
            return None


def _read_points(value: Value) -> tuple[Point, ...] | None:
    """The points in a body, None if they are not well-formed."""
    if type(value) is not list or len(value) > POINTS_MAX:
        return None
    points = []
    for each in value:
        match each:
            case [bytes(log), int(height), bytes(event_id)] if _is_id(log) and _is_id(event_id) and type(height) is int and 1 <= height <= UINT64_MAX:
                points.append(Point(LogId(log), height, EventId(event_id)))
            case _:
                return None
    return tuple(points)


def _is_id(value: bytes) -> bool:
    return len(value) == ID_SIZE
