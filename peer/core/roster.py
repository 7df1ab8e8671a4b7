"""The roster: who is in a group with which role. A pure function of the genesis record and the set of control events, whatever order they came in.

This version knows owners, appointments (`member.set`) and invitations (`invite`). Among live decisions on one peer the lowest role wins; a decision
replaces those that its refs name unless their author is senior; only owners and admins decide, and nobody decides on an owner. What owners decided
on a peer, admins do not change, and so on down the generations of appointments. Cuts and voids are not evaluated yet: there is no command that
writes them.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from peer.core.encoding import Value, decode_map, encode
from peer.core.event import Event
from peer.core.identity import ID_SIZE, EventId, PeerId
from peer.core.names import is_name
from peer.core.run import Draft
from peer.errors import NotCanonicalError

MEMBER_SET = "member.set"
INVITE = "invite"


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


class ControlEvent(NamedTuple):
    """An event of a control log, with the peer whose log it is."""

    event: Event
    author: PeerId


class Member(NamedTuple):
    """One entry of the roster."""

    peer: PeerId
    name: str
    role: Role


class Invite(NamedTuple):
    """An invitation as the group knows it."""

    event_id: EventId
    author: PeerId
    key: bytes
    role: Role
    expires_ms: int
    used_by: PeerId | None


class Roster(NamedTuple):
    """Who is in, and which invitations are out."""

    members: Mapping[PeerId, Member]
    """Everybody with a role other than none."""
    invites: Mapping[bytes, Invite]
    """By key."""

    def role(self, peer: PeerId) -> Role:
        """The role of `peer`, none for strangers."""
        member = self.members.get(peer)
        return member.role if member else Role.NONE


_Rank = tuple[Any, ...]
"""How senior a decider is among its generation, lowest first: an owner's place, or the rank, clock and id of an admin's appointment."""


class _Decision(NamedTuple):
    event: Event
    author: PeerId
    peer: PeerId
    name: str
    role: Role
    invite: bytes | None


def evaluate(owners: Iterable[PeerId], control: Iterable[ControlEvent]) -> Roster:
    """The roster that `owners` and the `control` events give."""
    decisions: list[_Decision] = []
    invitations: list[tuple[ControlEvent, dict[str, Value]]] = []
    for entry in control:
        body = _body(entry.event)
        if entry.event.header.type == MEMBER_SET and _is_member_set(body):
            decisions.append(_decision(entry, body))
        elif entry.event.header.type == INVITE and _is_invite(body):
            invitations.append((entry, body))
    members = {owner: Member(owner, owner.hex()[:8], Role.OWNER) for owner in owners}
    _name_owners(members, decisions)
    _appoint(members, decisions)
    return Roster({peer: member for peer, member in members.items() if member.role is not Role.NONE}, _invites(members, invitations, decisions))


def member_set(peer: PeerId, name: str, role: Role, *, replaces: Iterable[EventId] = (), invite: bytes | None = None) -> Draft:
    """A decision on `peer`, to be written to a control log."""
    body: dict[str, Value] = {"peer_id": peer, "name": name, "role": role.label}
    if invite is not None:
        body["invite"] = invite
    return Draft(MEMBER_SET, encode(body), tuple(replaces))


def invite(key: bytes, role: Role, expires_ms: int) -> Draft:
    """An invitation, to be written to a control log: its public half."""
    return Draft(INVITE, encode({"key": key, "role": role.label, "expires_ms": expires_ms}))


def _appoint(members: dict[PeerId, Member], decisions: list[_Decision]) -> None:
    """Apply decisions generation by generation: first those of owners, then those of the admins that these made, and so on.

    A peer that a generation decided on is settled: what later generations, its own appointees among them, say about it changes nothing.
    """
    ranks: dict[PeerId, _Rank] = {owner: (position,) for position, owner in enumerate(members)}
    settled = set(members)
    while ranks:
        generation: dict[PeerId, list[_Decision]] = {}
        for decision in decisions:
            if decision.author in ranks and decision.peer not in settled:
                generation.setdefault(decision.peer, []).append(decision)
        appointed: dict[PeerId, _Rank] = {}
        for peer, about in generation.items():
            chosen = _choose(about, ranks)
            members[peer] = Member(peer, chosen.name, chosen.role)
            settled.add(peer)
            if chosen.role is Role.ADMIN:
                appointed[peer] = (ranks[chosen.author], chosen.event.header.hlc, chosen.event.id)
        ranks = appointed


def _choose(about: list[_Decision], ranks: Mapping[PeerId, _Rank]) -> _Decision:
    """The decision that counts among those of one generation on one peer: of the live ones that with the lowest role.

    A decision replaces those that it names, unless their author is senior to its own.
    """
    replaced: dict[EventId, _Rank] = {}
    for decision in about:
        rank = ranks[decision.author]
        for ref in decision.event.header.refs:
            replaced[ref] = min(rank, replaced.get(ref, rank))
    live = [each for each in about if each.event.id not in replaced or ranks[each.author] < replaced[each.event.id]]
    return min(live, key=lambda each: (each.role, ranks[each.author], each.event.header.hlc, each.event.id))


def _name_owners(members: dict[PeerId, Member], decisions: list[_Decision]) -> None:
    """An owner's own `member.set` about itself gives it a name, and nothing else."""
    for decision in sorted(decisions, key=lambda each: (each.event.header.hlc, each.event.id)):
        if decision.author == decision.peer and decision.peer in members:
            members[decision.peer] = Member(decision.peer, decision.name, Role.OWNER)


def _invites(
    members: Mapping[PeerId, Member], invitations: list[tuple[ControlEvent, dict[str, Value]]], decisions: list[_Decision]
) -> dict[bytes, Invite]:
    used: dict[bytes, PeerId] = {}
    for decision in sorted(decisions, key=lambda each: each.event.id, reverse=True):
        if decision.invite is not None and _is_admin(members, decision.author):
            used[decision.invite] = decision.peer
    found: dict[bytes, Invite] = {}
    for entry, body in sorted(
        invitations, key=lambda each: (_role(each[1]), each[0].event.id), reverse=True
    ):  # The lowest role comes last and stays.
        if _is_admin(members, entry.author):
            key, expires_ms = body["key"], body["expires_ms"]
            assert isinstance(key, bytes)
            assert isinstance(expires_ms, int)
            found[key] = Invite(entry.event.id, entry.author, key, _role(body), expires_ms, used.get(key))
    return found


def _is_admin(members: Mapping[PeerId, Member], peer: PeerId) -> bool:
    return peer in members and members[peer].role >= Role.ADMIN


def _body(event: Event) -> dict[str, Value]:
    """The body, or an empty map for one that is poison."""
    try:
        return decode_map(event.body)
    except NotCanonicalError:
        return {}


def _decision(entry: ControlEvent, body: dict[str, Value]) -> _Decision:
    peer, name, key = body["peer_id"], body["name"], body.get("invite")
    assert isinstance(peer, bytes)
    assert isinstance(name, str)
    return _Decision(entry.event, entry.author, PeerId(peer), name, _role(body), key if isinstance(key, bytes) else None)


def _role(body: dict[str, Value]) -> Role:
    return Role[str(body["role"]).upper()]


def _is_role(value: Value) -> bool:
    return value in [role.label for role in ASSIGNABLE]


def _is_id(value: Value) -> bool:
    return isinstance(value, bytes) and len(value) == ID_SIZE


def _is_member_set(body: dict[str, Value]) -> bool:
    name = body.get("name")
    return _is_id(body.get("peer_id")) and isinstance(name, str) and is_name(name) and _is_role(body.get("role"))


def _is_invite(body: dict[str, Value]) -> bool:
    expires_ms = body.get("expires_ms")
    return _is_id(body.get("key")) and _is_role(body.get("role")) and type(expires_ms) is int and expires_ms >= 0
