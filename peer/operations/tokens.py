"""Tokens of the admin API: making, listing, revoking them, and recognising who shows one.

A secret has 256 random bits, so a plain SHA-256 of it is as hard to undo as the secret is to guess: a slow hash is for what people choose. It is
returned once and kept nowhere. Every request is compared with every token in constant time, so how long that takes tells nothing. The file is written
on the spot, not in a thread: a caller who goes away cannot leave half a change.
"""

import hmac
import os
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from peer.core.access import OWN_TOKEN_NAME, TOKEN_PREFIX, TOKEN_TIERS, Caller, StoredToken, Tier
from peer.core.hashing import sha256
from peer.core.names import check_name, folded
from peer.errors import NameTakenError, NotFoundError, RequestError, TokensDamagedError
from peer.operations.json_form import Json

SECRET_BYTES = 32
TOKENS_MAX = 256
EXPIRES_MS_MAX = 3660 * 24 * 3600 * 1000
"""Ten years."""


class TokenStore(Protocol):
    """Where tokens are kept."""

    def load(self) -> list[StoredToken]:
        """All of them. Raises `TokensDamagedError`."""
        ...

    def save(self, tokens: Sequence[StoredToken]) -> None:
        """These and no others, durably."""
        ...


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Tokens:
    """All tokens of this peer, and the data directory's own."""

    def __init__(self, own_secret: str, store: TokenStore, now_ms: Callable[[], int] = _now_ms) -> None:
        """What `store` holds, and `own_secret`. A damaged store is no reason not to start: see `problem`."""
        self._own = _digest(own_secret)
        self._store = store
        self._now_ms = now_ms
        self._tokens: dict[str, StoredToken] = {}
        self._damage: TokensDamagedError | None = None
        self._load()

    @property
    def problem(self) -> TokensDamagedError | None:
        """Why no token but the directory's own is valid, if that is so."""
        return self._damage

    def identify(self, secret: str) -> Caller | None:
        """Whose token this is; None if it is nobody's, or has expired by this machine's clock."""
        given, now = _digest(secret), self._now_ms()
        found = Caller(OWN_TOKEN_NAME, Tier.ADMIN, is_own=True) if hmac.compare_digest(given, self._own) else None
        for token in self._tokens.values():
            if hmac.compare_digest(given, token.digest) and now < token.expires_ms:
                found = found or Caller(token.name, token.tier)
        return found

    def create(self, name: str, tier: str, expires_in_ms: int) -> Json:
        """A new token with its secret, which is told this once. Raises `NameTakenError`, `RequestError`, `TokensDamagedError`."""
        check_name(name, "token")
        if name.startswith(TOKEN_PREFIX):
            raise RequestError("that looks like the secret of a token, not like a name", fix="choose a name that may be seen by everybody")
        wanted = next((each for each in TOKEN_TIERS if each.label == tier), None)
        if wanted is None:
            raise RequestError(f"{tier[:80]!r} is no tier", fix="write viewer, operator or admin")
        if not 0 < expires_in_ms <= EXPIRES_MS_MAX:
            raise RequestError("a token is good for up to ten years", fix="write --expires 90d")
        self._check_whole()
        now = self._now_ms()
        held = self._tokens.get(folded(name))
        if folded(name) == folded(OWN_TOKEN_NAME) or (held is not None and now < held.expires_ms):
            raise NameTakenError(f"there is a token {name!r} already", fix="choose another name, or revoke it first: `recmesh token revoke NAME`")
        others = {key: each for key, each in self._tokens.items() if key != folded(name)}
        if len(others) >= TOKENS_MAX:
            others = {key: each for key, each in others.items() if now < each.expires_ms}
        if len(others) >= TOKENS_MAX:
            raise RequestError(f"there are {TOKENS_MAX} tokens already", fix="revoke some: `recmesh token list` shows them")
        secret = TOKEN_PREFIX + os.urandom(SECRET_BYTES).hex()
        token = StoredToken(name, wanted, _digest(secret), now, now + expires_in_ms)
        tokens = {**others, folded(name): token}
        self._store.save(list(tokens.values()))
        self._tokens = tokens
        return {**_describe(token, now), "token": secret}

    def all(self) -> list[Json]:
        """All of them but the directory's own, by name, expired ones too. Raises `TokensDamagedError`."""
        self._check_whole()
        now = self._now_ms()
        return [_describe(token, now) for _, token in sorted(self._tokens.items())]

    def revoke(self, name: str) -> Json:
        """Let nobody in with this token any more, from this moment on, whether or not the disk can be written.

        Raises `NotFoundError`, `TokensDamagedError`, `StoreError`.
        """
        self._check_whole()
        token = self._tokens.get(folded(name))
        if token is None:
            raise NotFoundError(f"there is no token {name[:128]!r}", fix="see `recmesh token list`")
        self._tokens = {key: each for key, each in self._tokens.items() if key != folded(name)}
        self._store.save(list(self._tokens.values()))
        return _describe(token, self._now_ms())

    def _check_whole(self) -> None:
        """A damaged file may have been put right in the meantime."""
        if self._damage is not None:
            self._load()
        if self._damage is not None:
            raise self._damage

    def _load(self) -> None:
        try:
            self._tokens, self._damage = {folded(each.name): each for each in self._store.load()}, None
        except TokensDamagedError as error:
            self._tokens, self._damage = {}, error


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogateescape"))


def _describe(token: StoredToken, now: int) -> Json:
    return {
        "name": token.name,
        "tier": token.tier.label,
        "state": "valid" if now < token.expires_ms else "expired",
        "created_ms": token.created_ms,
        "expires_ms": token.expires_ms,
    }
