"""Keys of a hub: made once, shown once, kept as a SHA-256.

A secret has 256 random bits, so a plain SHA-256 of it is as hard to undo as the secret is to guess: a slow hash is for what people choose.
"""

import os

from peer.core.hashing import sha256

SECRET_BYTES = 32
KEY_PREFIX = "ohpak_"
"""How pre-auth keys begin, at every hub of this kind: clients and scanners recognise them."""

AGENT_PREFIX = "recmesh_hub_"
"""How the key of an agent begins."""

ID_BYTES = 10


def new_secret(prefix: str) -> str:
    """One that nobody guesses."""
    return prefix + os.urandom(SECRET_BYTES).hex()


def new_id(prefix: str = "") -> str:
    """Of something new. No secret."""
    return prefix + os.urandom(ID_BYTES).hex()


def digest_of(secret: str) -> bytes:
    """What is kept of a secret."""
    return sha256(secret.encode("utf-8", "surrogateescape"))
