"""Log certificates: a peer states, once, that a log key is its own. Shipped beside the log, so whose log it is is known without reading a body."""

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
    log: LogId
    kind: LogKind
    peer: PeerId
    signature: bytes


class Certificate(_Fields):
    """`[1, group_id, log, kind, peer_id, signature]`, the signature by the peer key over the context and the array without it."""

    @cached_property
    def signed(self) -> bytes:
        """What the peer's signature covers."""
        return CERTIFICATE_CONTEXT + encode([CERTIFICATE_VERSION, self.group, self.log, int(self.kind), self.peer])

    @cached_property
    def hash(self) -> bytes:
        """BLAKE3 of what is signed: the `previous` of the log's first event."""
        return hash_bytes(self.signed)

    def to_bytes(self) -> bytes:
        """As it is stored and sent."""
        return encode([CERTIFICATE_VERSION, self.group, self.log, int(self.kind), self.peer, self.signature])


def certify(peer: KeyPair, group: GroupId, log: LogId, kind: LogKind) -> Certificate:
    """The certificate by which `peer` takes `log` as its own in `group`."""
    unsigned = Certificate(group, log, kind, peer.peer_id, b"")
    return Certificate(group, log, kind, peer.peer_id, peer.sign(unsigned.signed))


def read_certificate(data: bytes, group: GroupId) -> Certificate:
    """The certificate in `data`, verified and of `group`. Raises `CertificateInvalidError`."""
    if len(data) > CERTIFICATE_SIZE_MAX:
        raise CertificateInvalidError("a log certificate that is too long")
    try:
        match decode(data):
            case [int(version), bytes(owner), bytes(log), int(kind), bytes(peer), bytes(signature)] if type(version) is int and type(kind) is int:
                pass
            case _:
                raise CertificateInvalidError("not the fields of a log certificate")
    except NotCanonicalError as error:
        raise CertificateInvalidError("a log certificate that is not canonical") from error
    if version != CERTIFICATE_VERSION or kind not in (LogKind.DATA, LogKind.CONTROL):
        raise CertificateInvalidError("a log certificate of an unknown version or kind")
    if not len(owner) == len(log) == len(peer) == ID_SIZE or len(signature) != SIGNATURE_SIZE:
        raise CertificateInvalidError("a log certificate with a field of the wrong size")
    if owner != group:
        raise CertificateInvalidError("a log certificate of another group")
    certificate = Certificate(GroupId(owner), LogId(log), LogKind(kind), PeerId(peer), signature)
    try:
        check_signature(peer, certificate.signed, signature)
    except SignatureMismatchError as error:
        raise CertificateInvalidError("a log certificate that its peer did not sign") from error
    return certificate
