"""`tokens.json`: the tokens of the admin API, as hashes. A file of its own: it survives a lost `log.db`, and a look at it tells who may call."""

import errno
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peer.core.access import TOKEN_TIERS, StoredToken, Tier
from peer.core.hashing import HASH_SIZE
from peer.core.names import folded, is_name
from peer.errors import DiskFullError, StoreError, TokenInvalidError, TokensDamagedError
from peer.store.directory import write_durably

FILE_BYTES_MAX = 1024 * 1024
FORMAT = 1
OWN_CHARACTERS_MIN = 32
_FIELDS = {"name", "tier", "sha256", "created_ms", "expires_ms"}
_TIERS = {tier.label: tier for tier in TOKEN_TIERS}


class TokenFile:
    """The file at one path. It need not exist: then there are no tokens."""

    def __init__(self, path: Path) -> None:
        """Does nothing yet."""
        self._path = path

    def load(self) -> list[StoredToken]:
        """All tokens. Raises `TokensDamagedError` for anything but what `save` writes: half a list of who may call is none."""
        try:
            with self._path.open("rb") as file:
                data = file.read(FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _damaged(self._path, f"cannot be read: {error.strerror}") from error
        if len(data) > FILE_BYTES_MAX:
            raise _damaged(self._path, f"has more than {FILE_BYTES_MAX} bytes")
        try:
            tokens = _read_all(json.loads(data))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _damaged(self._path, "is not as it was written") from error
        if len({folded(each.name) for each in tokens}) != len(tokens):
            raise _damaged(self._path, "has two tokens of one name")
        return tokens

    def save(self, tokens: Sequence[StoredToken]) -> None:
        """Keep `tokens` and no others, durably. Blocks."""
        document = {"format": FORMAT, "tokens": [_to_json(each) for each in tokens]}
        try:
            write_durably(self._path, json.dumps(document, indent=1).encode() + b"\n")
        except OSError as error:
            kind = DiskFullError if error.errno == errno.ENOSPC else StoreError
            raise kind(f"{self._path} cannot be written: {error.strerror}", fix="check the space and the permissions of this disk") from error


def read_own_token(path: Path) -> str:
    """The secret of the data directory's own token. Raises `TokenInvalidError` unless it is one that nobody guesses."""
    try:
        secret = path.read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        raise TokenInvalidError(f"{path} cannot be read: {error.strerror}", fix="restore it, or write a long random line to it") from error
    if len(secret) < OWN_CHARACTERS_MIN:
        raise TokenInvalidError(f"{path} has fewer than {OWN_CHARACTERS_MIN} characters", fix="write a long random line to it")
    return secret


def _to_json(token: StoredToken) -> dict[str, object]:
    return {
        "name": token.name,
        "tier": token.tier.label,
        "sha256": token.digest.hex(),
        "created_ms": token.created_ms,
        "expires_ms": token.expires_ms,
    }


def _read_all(document: Mapping[str, Any]) -> list[StoredToken]:
    """Raises `ValueError` and its like: nobody knows yet whether that is what `document` is."""
    if document.keys() != {"format", "tokens"} or document["format"] != FORMAT:
        raise ValueError
    return [_read(each) for each in document["tokens"]]


def _read(entry: object) -> StoredToken:
    """Raises `ValueError` and its like."""
    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        raise ValueError
    name, created, expires = entry["name"], entry["created_ms"], entry["expires_ms"]
    if not isinstance(name, str) or not is_name(name) or type(created) is not int or type(expires) is not int:
        raise ValueError
    digest = bytes.fromhex(entry["sha256"])
    if len(digest) != HASH_SIZE:
        raise ValueError
    tier: Tier = _TIERS[entry["tier"]]
    return StoredToken(name, tier, digest, created, expires)


def _damaged(path: Path, what: str) -> TokensDamagedError:
    return TokensDamagedError(
        f"{path} {what}: nobody is let in but who has the data directory's own token",
        fix="restore it from a backup, or move it away and make new tokens with `recmesh token create NAME`",
    )
