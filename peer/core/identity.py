"""Who is who: Ed25519 keys and the ids that are their public halves. The only module that imports `nacl`.

A peer id is a public key: it is all one needs to check a signature. Libsodium alone decides what verifies, so all peers
accept the same signatures.
"""

from typing import NewType

import nacl.bindings as sodium
import nacl.exceptions

from peer.core.hashing import HASH_SIZE
from peer.errors import SignatureMismatchError

PeerId = NewType("PeerId", bytes)
"""Ed25519 public key of a peer."""

LogId = NewType("LogId", bytes)
"""BLAKE3 of what the signature of a log's certificate covers."""

GroupId = NewType("GroupId", bytes)
"""BLAKE3 of a group's genesis record."""

EventId = NewType("EventId", bytes)
"""BLAKE3 of an event's header, in key derivation mode."""

BlobId = NewType("BlobId", bytes)
"""BLAKE3 of a whole file."""

PUBLIC_KEY_SIZE = 32
SEED_SIZE = 32
SIGNATURE_SIZE = 64
NONCE_SIZE = 32
ID_SIZE = HASH_SIZE


class KeyPair:
    """An Ed25519 key pair, from its 32-byte seed (RFC 8032)."""

    __slots__ = ("_secret", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        """The pair that `seed`, 32 bytes, stands for."""
        if len(seed) != SEED_SIZE:
            raise ValueError(f"an Ed25519 seed has {SEED_SIZE} bytes, not {len(seed)}")
        self.public, self._secret = sodium.crypto_sign_seed_keypair(seed)
        self.seed = seed

    def __repr__(self) -> str:
        """The public half only: a key pair may end up in a log line."""
        return f"KeyPair({self.public.hex()[:12]})"

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes."""
        return sodium.crypto_sign(message, self._secret)[:SIGNATURE_SIZE]

    @property
    def peer_id(self) -> PeerId:
        """The public half, where this pair is a peer's."""
        return PeerId(self.public)


def check_signature(public: bytes, message: bytes, signature: bytes) -> None:
    """Raise `SignatureMismatchError` unless `signature` is one of `message` by `public`."""
    if len(public) != PUBLIC_KEY_SIZE or len(signature) != SIGNATURE_SIZE:
        raise SignatureMismatchError("a key or signature of the wrong size")
    try:
        sodium.crypto_sign_open(signature + message, public)
    except nacl.exceptions.BadSignatureError as error:
        raise SignatureMismatchError(f"no valid signature by {public.hex()[:12]}") from error
