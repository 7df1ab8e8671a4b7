"""Certificates that are peer keys, and where no TLS is needed."""

import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from peer.errors import ChannelKeyMismatchError, MeshError, TlsInvalidError, TlsKeyExposedError
from peer.transport.channel import NO_RULES
from peer.transport.pinning import Dialled
from peer.transport.tls import certificate, check_pin, client_context, operator_tls, peer_spki_sha256, server_context, spki_sha256
from tests.blob_site import MEMBER, SERVER
from tests.tls_proxy import make_certificate


class Shown:
    """A connection whose other side shows a certificate."""

    def __init__(self, der: bytes | None) -> None:
        self._der = der

    def getpeercert(self, binary_form: bool = False) -> bytes | None:  # noqa: FBT001, FBT002
        assert binary_form
        return self._der


def test_the_pin_is_the_peer_id() -> None:
    bound = check_pin(Shown(certificate(SERVER)), SERVER.peer_id)

    public = x509.load_der_x509_certificate(certificate(SERVER)).public_key()
    assert bound == hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    assert bound == spki_sha256(certificate(SERVER)) == peer_spki_sha256(SERVER.peer_id)


def test_the_certificate_of_another_peer_is_refused() -> None:
    with pytest.raises(ChannelKeyMismatchError):
        check_pin(Shown(certificate(MEMBER)), SERVER.peer_id)


def test_a_certificate_with_the_right_name_and_another_key_is_refused() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVER.public.hex())])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, private.public_key(), 1, now, now + timedelta(days=1))

    with pytest.raises(ChannelKeyMismatchError):
        check_pin(Shown(builder.sign(private, SHA256()).public_bytes(Encoding.DER)), SERVER.peer_id)


@pytest.mark.parametrize("der", [None, b"", b"garbage", certificate(SERVER)[:-40]])
def test_what_is_no_certificate_is_refused(der: bytes | None) -> None:
    with pytest.raises(ChannelKeyMismatchError):
        check_pin(Shown(der), SERVER.peer_id)
    with pytest.raises(ChannelKeyMismatchError):
        check_pin(None, SERVER.peer_id)


def test_an_operators_certificate_is_bound_by_its_key(tmp_path: Path) -> None:
    files = make_certificate(tmp_path)

    assert operator_tls(files.certificate, files.key).channel_key == files.spki


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o644, 0o660, 0o666, 0o777])
def test_a_key_that_others_may_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    files = make_certificate(tmp_path)
    files.key.chmod(mode)

    with pytest.raises(TlsKeyExposedError) as caught:
        operator_tls(files.certificate, files.key)
    assert caught.value.fix == f"chmod 600 {files.key}"


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o700])
def test_a_key_for_its_owner_and_perhaps_a_group_is_taken(tmp_path: Path, mode: int) -> None:
    files = make_certificate(tmp_path)
    files.key.chmod(mode)

    operator_tls(files.certificate, files.key)


def test_files_that_are_no_certificate_with_its_key_are_refused_and_nobody_is_asked_for_a_passphrase(tmp_path: Path) -> None:
    one, other = make_certificate(tmp_path, "one"), make_certificate(tmp_path, "other", kind="rsa")
    locked = make_certificate(tmp_path, "locked", passphrase=b"secret")
    junk = tmp_path / "junk"
    junk.touch(0o600)
    junk.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    pairs = [(one.certificate, other.key), (locked.certificate, locked.key), (junk, one.key), (one.certificate, junk), (one.key, one.key)]
    for certificate_file, key_file in [*pairs, (tmp_path / "none", one.key), (one.certificate, tmp_path / "none"), (tmp_path, one.key)]:
        with pytest.raises(TlsInvalidError) as caught:
            operator_tls(certificate_file, key_file)
        assert "BEGIN" not in caught.value.text


def test_both_sides_speak_tls_1_3_alone() -> None:
    for context in (server_context(SERVER), client_context()):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(
    "endpoint", ["https://example.com:7850", "https://10.0.0.1:1", "http://127.0.0.1:7850/", "http://[::1]:7850", "http://localhost:1"]
)
def test_an_endpoint_that_may_be_dialled(endpoint: str) -> None:
    assert str(Dialled(SERVER.peer_id, endpoint, NO_RULES).endpoint) == endpoint.rstrip("/")


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://10.0.0.1:7850",
        "http://example.com",
        "ftp://127.0.0.1",
        "127.0.0.1:7850",
        "",
        "https://",
        "https://a/b",
        "https://u@a",
        "https://a:b",
        "https://a?b",
    ],
)
def test_an_endpoint_that_must_not_be_dialled(endpoint: str) -> None:
    with pytest.raises(MeshError):
        Dialled(SERVER.peer_id, endpoint, NO_RULES)
