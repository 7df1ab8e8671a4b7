"""BLAKE3, the one hash of the project. The only module that imports `blake3`; SHA-256 is beside it where other tools want it."""

import hashlib
from collections.abc import Iterable
from typing import Protocol, Self

from blake3 import blake3

HASH_SIZE = 32
EVENT_CONTEXT = "recmesh event v1"


class Hasher(Protocol):
    """A running hash, as `hashlib` has it."""

    def update(self, data: bytes | memoryview, /) -> object:
        """Take more bytes."""
        ...

    def digest(self) -> bytes:
        """32 bytes for all that was taken so far."""
        ...

    def copy(self) -> Self:
        """Another one that goes on from here."""
        ...


def hash_bytes(data: bytes | memoryview) -> bytes:
    """BLAKE3 of `data`, 32 bytes."""
    return blake3(data).digest()


def event_hash(header: bytes) -> bytes:
    """BLAKE3 in key derivation mode: an event id can never equal a hash of the same bytes taken for anything else."""
    return blake3(header, derive_key_context=EVENT_CONTEXT).digest()


def hash_each(data: Iterable[bytes]) -> list[bytes]:
    """As `hash_bytes` of each."""
    return _each(blake3(), data)


def event_hash_each(headers: Iterable[bytes]) -> list[bytes]:
    """As `event_hash` of each: what the context is for is computed once."""
    return _each(blake3(derive_key_context=EVENT_CONTEXT), headers)


def _each(hasher: blake3, data: Iterable[bytes]) -> list[bytes]:
    digests = []
    for each in data:
        hasher.reset()
        hasher.update(each)
        digests.append(hasher.digest())
    return digests


def keyed_hash(data: bytes | memoryview, key: bytes) -> bytes:
    """BLAKE3 of `data` under a key of 32 bytes."""
    return blake3(data, key=key).digest()


def new_blake3() -> Hasher:
    """A running BLAKE3."""
    return blake3()


def new_sha256() -> Hasher:
    """A running SHA-256."""
    return hashlib.sha256()


def sha256(data: bytes) -> bytes:
    """SHA-256 of `data`, 32 bytes."""
    return hashlib.sha256(data).digest()
