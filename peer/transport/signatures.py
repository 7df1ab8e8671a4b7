"""Signed HTTP requests (RFC 9421) between peers. The only module that imports `http_message_signatures`.

A signature covers method, path, query, the digest of a body, whom it is meant for, and a nonce that the server gave and takes once. So no clock is
involved, and a request that was overheard opens nothing: not here again, not at another peer. A request without a good nonce is answered 401 with a
fresh one; each good answer carries the next.

Nonces are not remembered when they are given, only when they are spent, and only members spend: strangers cannot fill the table.
"""

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, HTTPSignatureAlgorithm, HTTPSignatureKeyResolver
from http_message_signatures.exceptions import HTTPMessageSignaturesException

from peer.core.hashing import hash_bytes
from peer.core.identity import ID_SIZE, KeyPair, PeerId, check_signature
from peer.errors import HandshakeFailedError

DESTINATION_HEADER = "Recmesh-Destination"
NONCE_HEADER = "Recmesh-Nonce"
LABEL = "recmesh"
TAG = "recmesh/http/v1"
NONCE_LIFE_MS = 60_000
NONCES_SPENT_MAX = 65_536
NONCE_CHARACTERS_MAX = 256

_COVERED = ("@method", "@path", "@query", DESTINATION_HEADER.lower())
_RANDOM_SIZE = 16
_TIME_SIZE = 8
_ORIGIN = "http://peer"
"""Scheme and host are not covered: the destination is."""


class Headers(Protocol):
    """Header lines in order, repeated ones too."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Names and values."""
        ...


class Request(NamedTuple):
    """What of a request is signed."""

    method: str
    target: str
    """Path and query as they are on the wire."""
    headers: Headers
    body: bytes = b""


class Signed(NamedTuple):
    """A request that was verified."""

    peer: PeerId
    """Who signed it."""
    nonce: str
    """What this peer gave for it."""


class NonceError(HandshakeFailedError):
    """The signature is good but its nonce is not, or is no longer: try again with the fresh one."""


def sign_request(key: KeyPair, destination: PeerId, nonce: str, request: Request) -> dict[str, str]:
    """The headers of `request` with those that sign it. `nonce` is what `destination` gave last."""
    headers = {**dict(request.headers.items()), DESTINATION_HEADER: destination.hex()}
    signer = HTTPMessageSigner(signature_algorithm=_Ed25519, key_resolver=_OwnKey(key))
    signer.sign(
        _Message(request.method, _ORIGIN + request.target, headers),
        key_id=key.public.hex(),
        nonce=nonce,
        label=LABEL,
        tag=TAG,
        covered_component_ids=_COVERED,
        body=request.body or None,
    )
    return headers


class RequestVerifier:
    """Tells who signed a request that is meant for this peer, and gives out nonces."""

    def __init__(self, me: PeerId) -> None:
        self._me = me
        self._nonces = Nonces()
        self._verifier = _Verifier(signature_algorithm=_Ed25519, key_resolver=_AnyKey())

    def fresh_nonce(self, now_ms: int) -> str:
        """A nonce for a request that is still to come."""
        return self._nonces.fresh(now_ms)

    def verify(self, request: Request, now_ms: int, is_known: Callable[[PeerId], bool]) -> PeerId:
        """Who signed `request`: `identify`, for those who do not look at the nonce."""
        return self.identify(request, now_ms, is_known).peer

    def identify(self, request: Request, now_ms: int, is_known: Callable[[PeerId], bool]) -> Signed:
        """Who signed `request`, once. Raises `HandshakeFailedError`, or `NonceError` if all but the nonce is right.

        The nonce of a peer that is not known is looked at but not spent: whoever calls refuses that peer.
        """
        if not request.target.startswith("/"):
            raise HandshakeFailedError("a request target that is no path")
        message = _Message(request.method, _ORIGIN + request.target, request.headers)
        try:
            results = self._verifier.verify(message, max_age=None, expect_tag=TAG, require_components=_COVERED, body=request.body)
        except HTTPMessageSignaturesException as error:
            raise HandshakeFailedError("a request without a valid signature") from error
        if len(results) != 1:
            raise HandshakeFailedError("a request with several signatures")
        result = results[0]
        if result.covered_components[f'"{DESTINATION_HEADER.lower()}"'] != self._me.hex():
            raise HandshakeFailedError("a request that is signed for another peer")
        peer = PeerId(bytes.fromhex(str(result.parameters["keyid"])))
        self._nonces.check(result.nonce or "", now_ms)
        if is_known(peer):
            self._nonces.spend(result.nonce or "", now_ms)
        return Signed(peer, result.nonce or "")


class Nonces:
    """Nonces that this process gave, each good once and for a minute. Bounded: when too many were spent, all that are out lose their worth."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._spent: OrderedDict[str, int] = OrderedDict()

    def fresh(self, now_ms: int) -> str:
        """A nonce that is good until a minute from now."""
        data = (now_ms + NONCE_LIFE_MS).to_bytes(_TIME_SIZE, "big") + secrets.token_bytes(_RANDOM_SIZE)
        return (data + self._seal(data)).hex()

    def check(self, nonce: str, now_ms: int) -> None:
        """Raise `NonceError` unless `nonce` was given by this process, is still good, and was not spent."""
        try:
            data = bytes.fromhex(nonce) if len(nonce) <= NONCE_CHARACTERS_MAX else b""
        except ValueError:
            data = b""
        sealed, seal = data[: _TIME_SIZE + _RANDOM_SIZE], data[_TIME_SIZE + _RANDOM_SIZE :]
        if not hmac.compare_digest(seal, self._seal(sealed)) or data.hex() != nonce:
            raise NonceError("a nonce that was not given here")
        if int.from_bytes(sealed[:_TIME_SIZE], "big") < now_ms or nonce in self._spent:
            raise NonceError("a nonce that is spent or too old")

    def spend(self, nonce: str, now_ms: int) -> None:
        """`nonce`, which was just checked, is no longer good."""
        while self._spent and next(iter(self._spent.values())) < now_ms:
            self._spent.popitem(last=False)
        if len(self._spent) >= NONCES_SPENT_MAX:
            self._secret = secrets.token_bytes(32)
            self._spent.clear()
        self._spent[nonce] = now_ms + NONCE_LIFE_MS

    def _seal(self, data: bytes) -> bytes:
        return hash_bytes(self._secret + data)


@dataclass
class _Message:
    method: str
    url: str
    headers: Headers | Mapping[str, str]


class _Ed25519(HTTPSignatureAlgorithm):
    """Signs and verifies as everything else here does: with libsodium, by 32-byte keys."""

    algorithm_id = "ed25519"

    def __init__(self, public_key: bytes | None = None, private_key: KeyPair | None = None) -> None:
        self._public = public_key
        self._private = private_key

    def sign(self, message: bytes) -> bytes:
        assert self._private is not None
        return self._private.sign(message)

    def verify(self, signature: bytes, message: bytes) -> None:
        assert self._public is not None
        check_signature(self._public, message, signature)


class _Verifier(HTTPMessageVerifier):
    def validate_created_and_expires(self, sig_input: object, max_age: object = None) -> None:
        """Clocks of robots are wrong: the nonce says that a request is new."""


class _OwnKey(HTTPSignatureKeyResolver):
    def __init__(self, key: KeyPair) -> None:
        self._key = key

    def resolve_private_key(self, key_id: str) -> KeyPair:
        del key_id
        return self._key


class _AnyKey(HTTPSignatureKeyResolver):
    """A key id is the key. Whether its peer may do anything is decided elsewhere."""

    def resolve_public_key(self, key_id: str) -> bytes | None:
        try:
            public = bytes.fromhex(key_id)
        except ValueError:
            return None
        return public if len(public) == ID_SIZE and public.hex() == key_id else None
