"""Certificates: whose log it is, known without reading a body."""

import pytest

from peer.core.certificate import CERTIFICATE_CONTEXT, Certificate, LogKind, certify, read_certificate
from peer.core.encoding import encode
from peer.core.hashing import hash_bytes
from peer.core.identity import GroupId
from peer.errors import CertificateInvalidError
from tests.samples import GROUP, SampleLog, genesis, key_pair

ALICE = key_pair("alice")
LOG = key_pair("a log").public
FIELDS = ("version", "group", "key", "kind", "peer", "signature")


def signed_by_alice(**changed: object) -> bytes:
    """A certificate with replaced fields, validly signed by Alice over just these fields."""
    values: dict[str, object] = {"version": 1, "group": GROUP, "key": LOG, "kind": 0, "peer": ALICE.public} | changed
    unsigned = [values[name] for name in FIELDS[:-1]]
    return encode([*unsigned, changed.get("signature", ALICE.sign(CERTIFICATE_CONTEXT + encode(unsigned)))])


@pytest.mark.parametrize("kind", LogKind)
def test_a_certificate_is_read_as_it_was_written(kind: LogKind) -> None:
    written = certify(ALICE, GROUP, LOG, kind)

    read = read_certificate(written.to_bytes(), GROUP)

    assert read == written
    assert (read.kind, read.peer, read.key) == (kind, ALICE.peer_id, LOG)


def test_the_id_of_the_log_is_the_hash_of_what_is_signed() -> None:
    """So it does not depend on the signature, of which there could be several."""
    certificate = certify(ALICE, GROUP, LOG, LogKind.DATA)

    assert certificate.log == hash_bytes(CERTIFICATE_CONTEXT + encode([1, GROUP, LOG, 0, ALICE.public]))


def test_the_first_event_of_a_log_names_it() -> None:
    log = SampleLog("alice")

    first = log.write_notes(1).first.header

    assert first.log == first.previous == log.certificate.log


def test_a_key_that_is_certified_twice_is_the_key_of_two_logs() -> None:
    """By two peers, or for two kinds: nobody has to know of the other certificate to tell whose event it is."""
    certificates = [certify(peer, GROUP, LOG, kind) for peer in (ALICE, key_pair("bob")) for kind in LogKind]

    assert len({certificate.log for certificate in certificates}) == len(certificates)


WRONG: list[tuple[str, object]] = [
    *(("version", value) for value in (0, 2, True, "1", None)),
    *(("kind", value) for value in (2, -1, True, False, "0", None)),
    *((name, value) for name in ("group", "key", "peer") for value in (b"", bytes(31), bytes(33), "x" * 32, None, 0)),
    *(("signature", value) for value in (b"", bytes(63), bytes(64), bytes(65), None, "x" * 64)),
    ("group", genesis(name="another").group),
    ("peer", key_pair("bob").public),
    ("peer", bytes(32)),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_field_is_refused_even_if_it_is_signed(name: str, value: object) -> None:
    with pytest.raises(CertificateInvalidError):
        read_certificate(signed_by_alice(**{name: value}), GROUP)


def test_the_same_helper_makes_a_valid_one() -> None:
    assert read_certificate(signed_by_alice(), GROUP) == certify(ALICE, GROUP, LOG, LogKind.DATA)


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_changed_after_signing_is_refused(name: str) -> None:
    certificate = certify(ALICE, GROUP, LOG, LogKind.DATA)
    fields = [1, GROUP, LOG, 0, ALICE.public, certificate.signature]
    place = FIELDS.index(name)
    value = fields[place]
    fields[place] = bytes([value[0] ^ 1]) + value[1:] if isinstance(value, bytes) else value + 1  # type: ignore[operator]

    with pytest.raises(CertificateInvalidError):
        read_certificate(encode(fields), GROUP)


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x81" * 200, encode([]), encode({}), encode("x"), encode(None), bytes(300)])
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    with pytest.raises(CertificateInvalidError):
        read_certificate(data, GROUP)


def test_a_trailing_byte_is_refused() -> None:
    with pytest.raises(CertificateInvalidError):
        read_certificate(certify(ALICE, GROUP, LOG, LogKind.DATA).to_bytes() + b"\0", GROUP)


def test_a_log_key_cannot_certify_itself_for_somebody() -> None:
    log = key_pair("a log")
    forged = Certificate(GROUP, log.public, LogKind.DATA, ALICE.peer_id, b"")

    with pytest.raises(CertificateInvalidError):
        read_certificate(forged._replace(signature=log.sign(forged.signed)).to_bytes(), GROUP)


def test_a_certificate_counts_in_one_group_only() -> None:
    with pytest.raises(CertificateInvalidError):
        read_certificate(certify(ALICE, GROUP, LOG, LogKind.DATA).to_bytes(), GroupId(bytes(32)))


def test_a_certificate_has_one_form() -> None:
    """The signature covers the values; true in place of 1 would be a second form with the same signature."""
    written = certify(ALICE, GROUP, LOG, LogKind.CONTROL)

    for version, kind in ((True, 1), (1, True), (True, True)):
        with pytest.raises(CertificateInvalidError):
            read_certificate(encode([version, GROUP, LOG, kind, ALICE.public, written.signature]), GROUP)
