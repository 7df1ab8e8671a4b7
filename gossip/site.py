"""Signed statuses: a site says how it is, for the screens of sites that have no link to it. Pure.

A status is `[1, group_id, peer_id, seq, valid_for_s, version, events, frontier digest, disk_free, disk_total]` in deterministic CBOR, signed by the
peer it is about. It travels as `[status bytes, signature]`, together at most 1 KiB, from member to member, and is never logged: it expires. Like a
peer record it says nothing about the time of day; it is valid for `valid_for_s` from when it was heard.
"""

from collections.abc import Mapping
from typing import NamedTuple

from gossip.envelope import check_sealed, seal, unseal
from peer.core.encoding import Value, encode
from peer.core.frontier import Tips
from peer.core.hashing import HASH_SIZE, hash_bytes
from peer.core.identity import ID_SIZE, PUBLIC_KEY_SIZE, GroupId, KeyPair, LogId, PeerId
from peer.errors import RecordInvalidError

STATUS_VERSION = 1
STATUS_CONTEXT = b"recmesh/site/v1\0"
WHAT = "status"
STATUS_SIZE_MAX = 1024
VERSION_CHARACTERS_MAX = 64
VALID_FOR_MAX_S = 24 * 60 * 60
NUMBER_MAX = 2**63 - 1


class SiteStatus(NamedTuple):
    """How a site is, in its own words, to the members of one group."""

    group: GroupId
    peer: PeerId
    seq: int
    """Higher than in any status before."""
    valid_for_s: int
    """At most a day, counted from when the reader heard it."""
    version: str
    """Of its program."""
    events: int
    """How many events of the group it holds that count."""
    frontier: bytes
    """`frontier_digest` of what it holds: equal at two sites that hold the same."""
    disk_free: int
    """For so many bytes of recordings there is room."""
    disk_total: int
    """Bytes."""

    def to_bytes(self) -> bytes:
        """What is signed, without the context."""
        return encode([STATUS_VERSION, *self])


class SignedStatus(NamedTuple):
    """A status that its site signed, verified."""

    status: SiteStatus
    data: bytes
    """As it is sent and passed on: these bytes, never encoded again."""


def frontier_digest(tips: Mapping[LogId, Tips]) -> bytes:
    """A hash of a frontier: BLAKE3 of `[[log, [[height, event id], ...]], ...]`, logs in order. 32 bytes."""
    return hash_bytes(encode([[log, [list(tip) for tip in tips[log]]] for log in sorted(tips)]))


def sign_status(key: KeyPair, status: SiteStatus) -> SignedStatus:
    """`status`, signed by the site it is about. Raises `RecordInvalidError` if nobody would take it."""
    return read_status(seal(key, STATUS_CONTEXT, status.to_bytes()))


def read_status(data: bytes) -> SignedStatus:
    """The status in `data`, verified. Raises `RecordInvalidError`."""
    signed, fields, signature = unseal(data, STATUS_SIZE_MAX, WHAT)
    status = _read_fields(fields)
    check_sealed(status.peer, STATUS_CONTEXT, signed, signature, WHAT)
    return SignedStatus(status, data)


def peek_status(data: bytes) -> SiteStatus:
    """The status in `data`, whoever signed it: to see whether it is worth the verification. Raises `RecordInvalidError`."""
    return _read_fields(unseal(data, STATUS_SIZE_MAX, WHAT)[1])


def _read_fields(fields: Value) -> SiteStatus:
    match fields:
        case [int(form), bytes(group), bytes(peer), int(seq), int(valid), str(version), int(events), bytes(frontier), int(free), int(total)]:
            numbers = (form, seq, valid, events, free, total)
        case _:
            raise RecordInvalidError("not the fields of a status")
    if any(isinstance(number, bool) or not 0 <= number <= NUMBER_MAX for number in numbers):
        raise RecordInvalidError("a status with a number out of range")
    if form != STATUS_VERSION or (len(group), len(peer), len(frontier)) != (ID_SIZE, PUBLIC_KEY_SIZE, HASH_SIZE):
        raise RecordInvalidError("a status of an unknown version or with an id of the wrong size")
    if not 0 < valid <= VALID_FOR_MAX_S or len(version) > VERSION_CHARACTERS_MAX or not version.isprintable():
        raise RecordInvalidError("a status with a field out of range")
    return SiteStatus(GroupId(group), PeerId(peer), seq, valid, version, events, frontier, free, total)
