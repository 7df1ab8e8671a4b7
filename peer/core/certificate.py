"""Log certificates: a peer states that a log key is its own. Shipped beside the log, so whose log it is is known without reading a body.

A log is named by the hash of its certificate, not by its key: a key that is certified twice, by two peers or for two kinds, is the key of two logs,
and every event says in its header which of them it is of. So all peers agree whose event it is, in whatever order they hear of the certificates.
"""

from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

from peer.core.encoding import decode, encode
from peer.core.hashing import hash_bytes
from peer.core.identity import ID_SIZE, SIGNATURE_SIZE, GroupId, KeyPair, LogId, PeerId, check_signature
from peer.errors import CertificateInvalidError, NotCanonicalError, SignatureMismatchError

CERTIFICATE_VERSION = 1
CERTIFICATE_CONTEXT = b"recmesh/log/v1\0"
CERTIFICATE_SIZE_MAX = 256


class LogKind(IntEnum):
    """What a log holds. Control logs are sent and evaluated before any data."""

    DATA = 0
    CONTROL = 1


class _Fields(NamedTuple):
    group: GroupId
    key: bytes
    """Ed25519 public key of the log."""
    kind: LogKind
    peer: PeerId
    signature: bytes


class Certificate(_Fields):
    """`[1, group_id, log key, kind, peer_id, signature]`, the signature by the peer key over the context and the array without it."""

    @cached_property
    def signed(self) -> bytes:
        """What the peer's signature covers."""
        return CERTIFICATE_CONTEXT + encode([CERTIFICATE_VERSION, self.group, self.key, int(self.kind), self.peer])

    @cached_property
    def log(self) -> LogId:
        """The id of the log, and the `previous` of its first event."""
        return LogId(hash_bytes(self.signed))

    def to_bytes(self) -> bytes:
        """As it is stored and sent."""
        return encode([CERTIFICATE_VERSION, self.group, self.key, int(self.kind), self.peer, self.signature])


def certify(peer: KeyPair, group: GroupId, key: bytes, kind: LogKind) -> Certificate:
    """The certificate by which `peer` takes the log key `key`, a public one, as its own in `group`."""
    unsigned = Certificate(group, key, kind, peer.peer_id, b"")
    return unsigned._replace(signature=peer.sign(unsigned.signed))


def read_certificate(data: bytes, group: GroupId) -> Certificate:
    """The certificate in `data`, verified and of `group`. Raises `CertificateInvalidError`."""
    if len(data) > CERTIFICATE_SIZE_MAX:
        raise CertificateInvalidError("a log certificate that is too long")
    try:
        match decode(data):
            case [int(version), bytes(owner), bytes(key), int(kind), bytes(peer), bytes(signature)] if type(version) is int and type(kind) is int:
                pass
            case _:
                raise CertificateInvalidError("not the fields of a log certificate")
    except NotCanonicalError as error:
        raise CertificateInvalidError("a log certificate that is not canonical") from error
    if version != CERTIFICATE_VERSION or kind not in (LogKind.DATA, LogKind.CONTROL):
        raise CertificateInvalidError("a log certificate of an unknown version or kind")
    if not len(owner) == len(key) == len(peer) == ID_SIZE or len(signature) != SIGNATURE_SIZE:
        raise CertificateInvalidError("a log certificate with a field of the wrong size")
    if owner != group:
        raise CertificateInvalidError("a log certificate of another group")
    certificate = Certificate(GroupId(owner), key, LogKind(kind), PeerId(peer), signature)
    try:
        check_signature(peer, certificate.signed, signature)
    except SignatureMismatchError as error:
        raise CertificateInvalidError("a log certificate that its peer did not sign") from error
    return certificate
