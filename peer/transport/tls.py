"""TLS between peers. The only module that imports `cryptography`.

The key of a peer's certificate is the peer's own Ed25519 key, so whoever knows a peer id knows which certificate to accept: nothing is issued,
trusted on first use or distributed, and names and dates in certificates mean nothing. Where an operator supplies another certificate its key is
pinned in the endpoint. Whoever dials checks the pin after the handshake and before the first byte.
"""

import contextlib
import datetime as dt
import hashlib
import os
import ssl
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from peer.core.identity import KeyPair, PeerId
from peer.errors import ChannelKeyMismatchError, TlsInvalidError, TlsKeyExposedError

FILE_SIZE_MAX = 1024 * 1024
EXPOSED = stat.S_IWGRP | stat.S_IRWXO
"""What the permissions of a key file must not have. A group that may read it is the operator's decision."""

_NOT_BEFORE = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_NOT_AFTER = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)


class Secured(Protocol):
    """A TLS connection: `ssl.SSLObject` or `ssl.SSLSocket`."""

    def getpeercert(self, binary_form: bool = False) -> object:  # noqa: FBT001, FBT002  (as `ssl` has it)
        """The other side's certificate."""
        ...


class ServerTls(NamedTuple):
    """What a listener speaks TLS with."""

    context: ssl.SSLContext
    channel_key: bytes
    """SHA-256 of the SubjectPublicKeyInfo of its certificate, which handshakes bind."""


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
    private = Ed25519PrivateKey.from_private_bytes(key.seed).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return _context_of(private + ssl.DER_cert_to_PEM_cert(certificate(key)).encode())


def own_tls(key: KeyPair) -> ServerTls:
    """For a listener whose certificate has the peer's own key."""
    return ServerTls(server_context(key), peer_spki_sha256(key.peer_id))


def operator_tls(certificate_file: Path, key_file: Path) -> ServerTls:
    """For a listener with a certificate that the operator supplies, as PEM: its own first, then those that issued it.

    Raises `TlsInvalidError`, or `TlsKeyExposedError` if others may read the key.
    """
    chain, private = _read(certificate_file), _read(key_file, secret=True)
    try:
        own = x509.load_pem_x509_certificates(chain)[0].public_bytes(Encoding.DER)
        return ServerTls(_context_of(private + b"\n" + chain), spki_sha256(own))
    except (ValueError, ssl.SSLError, ChannelKeyMismatchError) as error:
        reason = "do not belong together, or the key has a passphrase" if isinstance(error, ssl.SSLError) else "are not PEM files that can be read"
        raise TlsInvalidError(
            f"{certificate_file} and {key_file} {reason}", fix="set tls_cert and tls_key to the files of one certificate"
        ) from error


def _read(path: Path, *, secret: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if secret and mode & EXPOSED:
                raise TlsKeyExposedError(f"{path} is open to others ({stat.filemode(mode)})", fix=f"chmod 600 {path}")
            return file.read(FILE_SIZE_MAX)
    except OSError as error:
        raise TlsInvalidError(f"{path} cannot be read: {error.strerror}", fix="check tls_cert and tls_key in config.toml") from error


def _context_of(pem: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with _file_of(pem) as path:
        context.load_cert_chain(path, password=b"")  # Without a password given it would ask the terminal for one.
    return context


def client_context() -> ssl.SSLContext:
    """For dialling any peer. TLS 1.3 only; takes any certificate, so `check_pin` must follow the handshake at once."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def check_pin(secured: Secured | None, peer: PeerId, pin: bytes | None = None) -> bytes:
    """The hash of the key that is shown, as handshakes bind it. Raises `ChannelKeyMismatchError` unless it is `pin`, or the key is `peer`'s."""
    der = secured.getpeercert(binary_form=True) if secured is not None else None
    if not isinstance(der, bytes):
        raise ChannelKeyMismatchError(f"peer {peer.hex()} shows no certificate")
    shown = spki_sha256(der)
    if shown not in (peer_spki_sha256(peer), pin):
        wanted = "pinned one" if pin is not None else "peer's own"
        raise ChannelKeyMismatchError(
            f"the certificate shown for peer {peer.hex()} has the key {shown.hex()}, not the {wanted}",
            fix="compare the endpoint and the peer id with what that site says; if they are right, somebody stands in between",
        )
    return shown


def spki_sha256(der: bytes) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo of a certificate. Raises `ChannelKeyMismatchError` for what is none."""
    return hashlib.sha256(_certificate(der).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def peer_spki_sha256(peer: PeerId) -> bytes:
    """The same, for the certificate that `peer` would show: what the listener itself binds in a handshake."""
    return hashlib.sha256(Ed25519PublicKey.from_public_bytes(peer).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def _certificate(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise ChannelKeyMismatchError("the listener's certificate cannot be read") from error


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
