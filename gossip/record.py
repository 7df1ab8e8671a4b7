"""Signed peer records: a peer states where it can be dialled. Pure.

A record is `[1, peer_id, record_seq, [endpoints], reachability, valid_for_s]` in deterministic CBOR, signed by the peer it is about: who passes it on
can neither change nor invent one. It travels as `[record bytes, signature]`, together at most 1 KiB. It says nothing about the time of day, since
clocks differ: it is valid for `valid_for_s` from when the reader reached the peer. Of two records of one peer the one with the higher `record_seq`
counts.
"""

from enum import IntEnum
from typing import NamedTuple

from gossip.envelope import check_sealed, seal, unseal
from peer.core.encoding import Value, encode
from peer.core.endpoint import read_endpoint
from peer.core.identity import PUBLIC_KEY_SIZE, KeyPair, PeerId
from peer.errors import RecordInvalidError

RECORD_VERSION = 1
RECORD_CONTEXT = b"recmesh/record/v1\0"
WHAT = "peer record"
RECORD_SIZE_MAX = 1024
ENDPOINTS_MAX = 8
VALID_FOR_MAX_S = 24 * 60 * 60
SEQ_MAX = 2**64 - 1


class Reachability(IntEnum):
    """What a peer believes of itself."""

    UNKNOWN = 0
    DIALLABLE = 1
    """Others have dialled its endpoints."""
    OUTBOUND_ONLY = 2
    """Nobody can dial it: wait until it dials."""


class PeerRecord(NamedTuple):
    """Where a peer can be dialled, in its own words."""

    peer: PeerId
    seq: int
    """Higher than in any record before."""
    endpoints: tuple[str, ...]
    """URLs `https://host:port`, the best first; none for a peer that cannot be dialled."""
    reachability: Reachability
    valid_for_s: int
    """At most a day, counted from when the reader reached the peer."""

    def to_bytes(self) -> bytes:
        """What is signed, without the context."""
        return encode([RECORD_VERSION, self.peer, self.seq, list(self.endpoints), int(self.reachability), self.valid_for_s])


class SignedRecord(NamedTuple):
    """A record that its peer signed, verified."""

    record: PeerRecord
    data: bytes
    """As it is sent and passed on: these bytes, never encoded again."""


def sign_record(key: KeyPair, record: PeerRecord) -> SignedRecord:
    """`record`, signed by the peer it is about. Raises `RecordInvalidError` if nobody would take it."""
    return read_record(seal(key, RECORD_CONTEXT, record.to_bytes()))


def read_record(data: bytes) -> SignedRecord:
    """The record in `data`, verified. Raises `RecordInvalidError`."""
    signed, fields, signature = unseal(data, RECORD_SIZE_MAX, WHAT)
    record = _read_fields(fields)
    check_sealed(record.peer, RECORD_CONTEXT, signed, signature, WHAT)
    return SignedRecord(record, data)


def next_seq(own_last: int, highest_seen: int) -> int:
    """The seq of a peer's next record: above its own last, and above any of its own that comes back from others, as after a restored backup."""
    return max(own_last, highest_seen) + 1


def is_endpoint(text: str) -> bool:
    """True for `https://host:port`, pinned or not, and `http://host:port`, with nothing else in it: no user, path, query or space."""
    try:
        endpoint = read_endpoint(text)
    except ValueError:
        return False
    return endpoint.port is not None and text.lower() == str(endpoint)


def _read_fields(fields: Value) -> PeerRecord:
    match fields:
        case [int(version), bytes(peer), int(seq), list(endpoints), int(reachability), int(valid_for_s)] if (
            type(version) is type(seq) is type(reachability) is type(valid_for_s) is int
        ):
            pass
        case _:
            raise RecordInvalidError("not the fields of a peer record")
    if version != RECORD_VERSION or reachability not in set(Reachability):
        raise RecordInvalidError("a peer record of an unknown version or reachability")
    if len(peer) != PUBLIC_KEY_SIZE or not 0 <= seq <= SEQ_MAX or not 0 < valid_for_s <= VALID_FOR_MAX_S:
        raise RecordInvalidError("a peer record with a field out of range")
    addresses = tuple(each for each in endpoints if isinstance(each, str) and is_endpoint(each))
    if len(addresses) != len(endpoints) or len(addresses) > ENDPOINTS_MAX or len(set(addresses)) != len(addresses):
        raise RecordInvalidError("a peer record with too many endpoints, or one that is no https://host:port")
    return PeerRecord(PeerId(peer), seq, addresses, Reachability(reachability), valid_for_s)
