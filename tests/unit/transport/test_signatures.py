"""Signed requests: who signed, for whom, and once."""

import base64
from collections.abc import Callable

import pytest
from nacl.signing import VerifyKey

from peer.core.identity import PeerId
from peer.errors import HandshakeFailedError
from peer.transport import signatures
from peer.transport.signatures import DESTINATION_HEADER, NONCE_LIFE_MS, NonceError, Nonces, Request, RequestVerifier, sign_request
from tests.blob_site import MEMBER, SERVER, STRANGER

NOW_MS = 1_000_000
TARGET = "/sync/v1/groups/00/blobs/11?x=1&y=%2F"


def everybody(peer: PeerId) -> bool:
    return len(peer) == 32


def signed(verifier: RequestVerifier, *, body: bytes = b"", method: str = "GET", target: str = TARGET) -> Request:
    request = Request(method, target, {"Range": "bytes=0-1"}, body)
    return request._replace(headers=sign_request(MEMBER, SERVER.peer_id, verifier.fresh_nonce(NOW_MS), request))


@pytest.fixture
def verifier() -> RequestVerifier:
    return RequestVerifier(SERVER.peer_id)


@pytest.mark.parametrize(("method", "body"), [("GET", b""), ("HEAD", b""), ("POST", b"frame"), ("POST", b"")])
def test_a_signed_request_tells_who_signed_it(verifier: RequestVerifier, method: str, body: bytes) -> None:
    assert verifier.verify(signed(verifier, method=method, body=body), NOW_MS, everybody) == MEMBER.peer_id


def test_a_request_counts_once(verifier: RequestVerifier) -> None:
    request = signed(verifier)
    verifier.verify(request, NOW_MS, everybody)

    with pytest.raises(NonceError):
        verifier.verify(request, NOW_MS, everybody)


def test_a_nonce_is_good_for_a_minute(verifier: RequestVerifier) -> None:
    in_time, late = signed(verifier), signed(verifier)

    verifier.verify(in_time, NOW_MS + NONCE_LIFE_MS, everybody)
    with pytest.raises(NonceError):
        verifier.verify(late, NOW_MS + NONCE_LIFE_MS + 1, everybody)


@pytest.mark.parametrize(
    "change",
    [
        lambda request: request._replace(method="HEAD"),
        lambda request: request._replace(target=TARGET + "1"),
        lambda request: request._replace(target=TARGET.partition("?")[0]),
        lambda request: request._replace(target="http://peer" + TARGET),
        lambda request: request._replace(body=b"other"),
        lambda request: request._replace(body=b""),
        lambda request: request._replace(headers={**request.headers, DESTINATION_HEADER: STRANGER.public.hex()}),
        lambda request: request._replace(headers={name: text for name, text in request.headers.items() if name != DESTINATION_HEADER}),
        lambda request: request._replace(headers={name: text for name, text in request.headers.items() if name != "Content-Digest"}),
        lambda request: request._replace(headers={**request.headers, "Signature": request.headers["Signature"].replace("=:", "=:AAAA", 1)}),
        lambda request: request._replace(headers={**request.headers, "Signature": "x" * 4000}),
        lambda request: request._replace(
            headers={
                **request.headers,
                "Signature-Input": request.headers["Signature-Input"].replace(MEMBER.public.hex(), STRANGER.public.hex()),
            }
        ),
        lambda request: request._replace(
            headers={**request.headers, "Signature-Input": request.headers["Signature-Input"].replace('"@query" ', "", 1)}
        ),
        lambda request: request._replace(headers={}),
    ],
)
def test_a_request_that_is_not_what_was_signed_is_refused(verifier: RequestVerifier, change: Callable[[Request], Request]) -> None:
    request = signed(verifier, method="POST", body=b"frame")

    with pytest.raises(HandshakeFailedError):
        verifier.verify(change(request), NOW_MS, everybody)
    assert verifier.verify(request, NOW_MS, everybody) == MEMBER.peer_id


def test_a_request_signed_for_another_peer_is_refused(verifier: RequestVerifier) -> None:
    """The peer that it was signed for could pass it on: the destination is what stops that."""
    request = Request("GET", TARGET, {})
    headers = sign_request(MEMBER, STRANGER.peer_id, verifier.fresh_nonce(NOW_MS), request)

    with pytest.raises(HandshakeFailedError, match="another peer"):
        verifier.verify(request._replace(headers=headers), NOW_MS, everybody)


@pytest.mark.parametrize("covered", [("@method",), ("@method", "@path", "@query"), ("@path", "@query", "recmesh-destination")])
def test_a_signature_that_covers_too_little_is_refused(verifier: RequestVerifier, covered: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """A signer that leaves something out, all else right."""
    with monkeypatch.context() as patch:
        patch.setattr(signatures, "_COVERED", covered)
        request = signed(verifier)

    with pytest.raises(HandshakeFailedError):
        verifier.verify(request, NOW_MS, everybody)


def test_a_body_must_be_covered(verifier: RequestVerifier) -> None:
    request = signed(verifier, method="POST")

    with pytest.raises(HandshakeFailedError):
        verifier.verify(request._replace(body=b"frame"), NOW_MS, everybody)


@pytest.mark.parametrize("nonce", ["", "00", "zz", "00" * 56, "é" * 112, "0" * 5000])
def test_a_nonce_that_was_not_given_here_is_refused(verifier: RequestVerifier, nonce: str) -> None:
    request = Request("GET", TARGET, {})
    if nonce.isascii():
        with pytest.raises(NonceError):
            verifier.verify(request._replace(headers=sign_request(MEMBER, SERVER.peer_id, nonce, request)), NOW_MS, everybody)
    with pytest.raises(NonceError):
        Nonces().check(nonce, NOW_MS)


def test_nonces_of_another_process_are_refused() -> None:
    with pytest.raises(NonceError):
        Nonces().check(Nonces().fresh(NOW_MS), NOW_MS)


def test_strangers_do_not_fill_the_table_and_members_cannot_overfill_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound no nonce that is out is good any more: nothing that was spent is good again."""
    monkeypatch.setattr(signatures, "NONCES_SPENT_MAX", 8)
    verifier = RequestVerifier(SERVER.peer_id)
    request = signed(verifier)
    for _ in range(20):
        verifier.verify(request, NOW_MS, lambda _: False)
    verifier.verify(request, NOW_MS, everybody)

    unspent = signed(verifier)
    for _ in range(8):
        verifier.verify(signed(verifier), NOW_MS, everybody)
    assert len(verifier._nonces._spent) <= 8
    for old in (request, unspent):
        with pytest.raises(NonceError):
            verifier.verify(old, NOW_MS, everybody)
    assert verifier.verify(signed(verifier), NOW_MS, everybody) == MEMBER.peer_id


def test_spent_nonces_are_forgotten_once_they_are_too_old(verifier: RequestVerifier) -> None:
    for _ in range(5):
        verifier.verify(signed(verifier), NOW_MS, everybody)
    later = Request("GET", TARGET, {})
    nonce = verifier.fresh_nonce(NOW_MS + 2 * NONCE_LIFE_MS)
    verifier.verify(later._replace(headers=sign_request(MEMBER, SERVER.peer_id, nonce, later)), NOW_MS + 2 * NONCE_LIFE_MS, everybody)

    assert len(verifier._nonces._spent) == 1


def test_the_signature_is_ed25519_of_the_rfc(verifier: RequestVerifier) -> None:
    """Checked with the rules of RFC 9421 written out here: another implementation signs and verifies the same bytes."""
    request = signed(verifier)
    label, _, params = request.headers["Signature-Input"].partition("=")
    lines = [
        f'"@method": {request.method}',
        f'"@path": {TARGET.partition("?")[0]}',
        f'"@query": ?{TARGET.partition("?")[2]}',
        f'"recmesh-destination": {SERVER.public.hex()}',
        f'"@signature-params": {params}',
    ]

    signature = base64.b64decode(request.headers["Signature"].removeprefix(f"{label}=:").removesuffix(":"))
    VerifyKey(MEMBER.public).verify("\n".join(lines).encode(), signature)
