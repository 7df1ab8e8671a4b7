"""TLS between peers. The only module that imports `cryptography`.

The key of a peer's certificate is the peer's own Ed25519 key, so whoever knows a peer id knows which certificate to accept: nothing is issued,
trusted on first use or distributed, and names and dates in certificates mean nothing. Whoever dials checks the pin after the handshake and before the
first byte.
"""

import contextlib
import datetime as dt
import hashlib
import ipaddress
import os
import ssl
import tempfile
from collections.abc import Iterator
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from peer.core.identity import KeyPair, PeerId
from peer.errors import HandshakeFailedError

_NOT_BEFORE = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_NOT_AFTER = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)


class Secured(Protocol):
    """A TLS connection: `ssl.SSLObject` or `ssl.SSLSocket`."""

    def getpeercert(self, binary_form: bool = False) -> object:  # noqa: FBT001, FBT002  (as `ssl` has it)
        """The other side's certificate."""
        ...


def certificate(key: KeyPair) -> bytes:
    """A self-signed X.509 certificate of a peer's own key, DER."""
    private = Ed25519PrivateKey.from_private_bytes(key.seed)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, key.public.hex())])
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=private.public_key(),
        serial_number=1 + int.from_bytes(key.public[:16], "big"),
        not_valid_before=_NOT_BEFORE,
        not_valid_after=_NOT_AFTER,
    )
    return builder.sign(private, None).public_bytes(Encoding.DER)


def server_context(key: KeyPair) -> ssl.SSLContext:
    """For the listener of the peer with this key. TLS 1.3 only; no client certificates: the handshake proves who dials."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    private = Ed25519PrivateKey.from_private_bytes(key.seed).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with _file_of(private + ssl.DER_cert_to_PEM_cert(certificate(key)).encode()) as path:
        context.load_cert_chain(path)
    return context


def client_context() -> ssl.SSLContext:
    """For dialling any peer. TLS 1.3 only; takes any certificate, so `check_pin` must follow the handshake at once."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def check_pin(secured: Secured | None, peer: PeerId) -> bytes:
    """The hash of the listener's key, as handshakes bind it. Raises `HandshakeFailedError` unless that key is `peer`'s."""
    der = secured.getpeercert(binary_form=True) if secured is not None else None
    if not isinstance(der, bytes):
        raise HandshakeFailedError(f"peer {peer.hex()} shows no certificate")
    if _public_key(der) != peer:
        raise HandshakeFailedError(f"the listener's certificate is not that of peer {peer.hex()}", fix="check the endpoint and the peer id")
    return spki_sha256(der)


def spki_sha256(der: bytes) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo of a certificate. Raises `HandshakeFailedError` for what is none."""
    return hashlib.sha256(_certificate(der).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def peer_spki_sha256(peer: PeerId) -> bytes:
    """The same, for the certificate that `peer` would show: what the listener itself binds in a handshake."""
    return hashlib.sha256(Ed25519PublicKey.from_public_bytes(peer).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def may_be_plain(own_host: str, other_host: str) -> bool:
    """True if two socket addresses may talk without TLS: both on loopback. A configured WireGuard network will be the other case."""
    return _is_loopback(own_host) and _is_loopback(other_host)


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _public_key(der: bytes) -> bytes:
    key = _certificate(der).public_key()
    return key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else b""


def _certificate(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise HandshakeFailedError("the listener's certificate cannot be read") from error


@contextlib.contextmanager
def _file_of(data: bytes) -> Iterator[str]:
    """The path of a file for a moment, because `ssl` takes keys from files alone: in memory where the system can, else readable by us only."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("certificate"), "wb") as memory:
            memory.write(data)
            memory.flush()
            yield f"/proc/self/fd/{memory.fileno()}"
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        yield file.name
