"""The messages by which somebody becomes, or shows to be, a member: part of the vocabulary of `messages`."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from peer.core.encoding import Value
from peer.core.group import GENESIS_SIZE_MAX
from peer.core.identity import NONCE_SIZE, PUBLIC_KEY_SIZE, SIGNATURE_SIZE, GroupId, PeerId
from peer.errors import LimitExceededError
from peer.sync import limits
from peer.sync.fields import read_bytes, read_bytes_up_to, read_code, read_group, read_name, read_whole


class Join(NamedTuple):
    """Let me in: I hold the key of this invitation."""

    group: GroupId
    key: bytes
    signature: bytes
    name: str


class Joined(NamedTuple):
    """You are in; this is how the group began."""

    group: GroupId
    genesis: bytes


class JoinRequest(NamedTuple):
    """Somebody wants to join through me, or through another member: whoever is an admin decides, others pass it on."""

    group: GroupId
    key: bytes
    peer: PeerId
    """Who wants to join; it proved this key to the member that it dialled."""
    name: str
    nonce: bytes
    """That member's, for which the invitation's key signed."""
    signature: bytes
    hops: int
    """How often this may still be passed on."""


class JoinRefused(NamedTuple):
    """An admin does not let them in. Goes back the way the request came."""

    group: GroupId
    key: bytes
    peer: PeerId
    code: str


class Guest(NamedTuple):
    """You are not on my roster of this group: show me control logs that put you there. Nothing else of it is spoken about."""

    group: GroupId


class Member(NamedTuple):
    """You are on my roster now, no guest any more: tell me all again that you hold of the group."""

    group: GroupId


class Offer(NamedTuple):
    """You are on my roster of this group, and did not name it; this is how it began."""

    group: GroupId
    genesis: bytes


MembershipMessage = Join | Joined | JoinRequest | JoinRefused | Guest | Member | Offer


def _join(fields: list[Value]) -> Join:
    group, key, signature, name = fields
    return Join(read_group(group), read_bytes(key, PUBLIC_KEY_SIZE), read_bytes(signature, SIGNATURE_SIZE), read_name(name))


def _joined(fields: list[Value]) -> Joined:
    return Joined(read_group(fields[0]), read_bytes_up_to(fields[1], GENESIS_SIZE_MAX))


def _join_request(fields: list[Value]) -> JoinRequest:
    group, key, peer, name, nonce, signature, hops = fields
    if read_whole(hops) > limits.JOIN_HOPS_MAX:
        raise LimitExceededError(f"a request to join that may be passed on more than {limits.JOIN_HOPS_MAX} times")
    return JoinRequest(
        read_group(group),
        read_bytes(key, PUBLIC_KEY_SIZE),
        PeerId(read_bytes(peer, PUBLIC_KEY_SIZE)),
        read_name(name),
        read_bytes(nonce, NONCE_SIZE),
        read_bytes(signature, SIGNATURE_SIZE),
        read_whole(hops),
    )


def _join_refused(fields: list[Value]) -> JoinRefused:
    group, key, peer, code = fields
    return JoinRefused(read_group(group), read_bytes(key, PUBLIC_KEY_SIZE), PeerId(read_bytes(peer, PUBLIC_KEY_SIZE)), read_code(code))


def _guest(fields: list[Value]) -> Guest:
    return Guest(read_group(fields[0]))


def _member(fields: list[Value]) -> Member:
    return Member(read_group(fields[0]))


def _offer(fields: list[Value]) -> Offer:
    return Offer(read_group(fields[0]), read_bytes_up_to(fields[1], GENESIS_SIZE_MAX))


MEMBERSHIP_READERS: Mapping[str, tuple[int, Callable[[list[Value]], MembershipMessage]]] = {
    "join": (4, _join),
    "joined": (2, _joined),
    "join_request": (7, _join_request),
    "join_refused": (4, _join_refused),
    "guest": (1, _guest),
    "member": (1, _member),
    "offer": (2, _offer),
}

MEMBERSHIP_NAMES: Mapping[type, str] = {
    Join: "join",
    Joined: "joined",
    JoinRequest: "join_request",
    JoinRefused: "join_refused",
    Guest: "guest",
    Member: "member",
    Offer: "offer",
}
