"""The messages by which two members that hold the same compare what they make of it: part of the vocabulary of `messages`.

They are part of version 2 of the protocol. Nothing in them says what is in a row: keys and hashes alone.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from peer.core.encoding import Value
from peer.core.hashing import HASH_SIZE
from peer.core.identity import GroupId
from peer.sync import limits
from peer.sync.fields import read_bytes, read_bytes_up_to, read_code, read_flag, read_group, read_items, read_tuple, read_whole

DIGESTS_VERSION = 2
"""The version of the protocol from which on links carry these."""


class Digests(NamedTuple):
    """What all tables of this group are to me, at the frontier that I hold."""

    group: GroupId
    version: int
    """Of my projections. Those of two versions are not compared."""
    basis: bytes
    """A hash of what they are computed from: where it is equal the tables must be."""
    tables: tuple[tuple[str, bytes], ...]
    """By name their digests, in the order of the names."""


class DigestWant(NamedTuple):
    """Tell me of the rows of this table whose keys begin like that, as they are at this basis."""

    group: GroupId
    basis: bytes
    table: str
    prefix: bytes


class DigestPart(NamedTuple):
    """The answer: the hash of each of these rows, or if they are many that of all rows whose key goes on with the same byte."""

    group: GroupId
    basis: bytes
    table: str
    prefix: bytes
    rows: bool
    """True if the entries name whole keys, false if they name the next bytes of keys."""
    entries: tuple[tuple[bytes, bytes], ...]


DigestMessage = Digests | DigestWant | DigestPart


def read_pairs(value: Value, count_max: int, key_size_max: int) -> tuple[tuple[bytes, bytes], ...]:
    """Keys with their hashes."""
    found = []
    for entry in read_items(value, count_max):
        key, digest = read_tuple(entry, 2)
        found.append((read_bytes_up_to(key, key_size_max), read_bytes(digest, HASH_SIZE)))
    return tuple(found)


def _digests(fields: list[Value]) -> Digests:
    group, version, basis, tables = fields
    found = []
    for entry in read_items(tables, limits.DIGEST_TABLES_MAX):
        name, digest = read_tuple(entry, 2)
        found.append((read_code(name), read_bytes(digest, HASH_SIZE)))
    return Digests(read_group(group), read_whole(version), read_bytes(basis, HASH_SIZE), tuple(found))


def _digest_want(fields: list[Value]) -> DigestWant:
    group, basis, table, prefix = fields
    return DigestWant(read_group(group), read_bytes(basis, HASH_SIZE), read_code(table), read_bytes_up_to(prefix, limits.DIGEST_KEY_SIZE_MAX))


def _digest_part(fields: list[Value]) -> DigestPart:
    group, basis, table, prefix, rows, entries = fields
    is_rows = read_flag(rows)
    return DigestPart(
        read_group(group),
        read_bytes(basis, HASH_SIZE),
        read_code(table),
        read_bytes_up_to(prefix, limits.DIGEST_KEY_SIZE_MAX),
        is_rows,
        read_pairs(entries, limits.DIGEST_ENTRIES_MAX, limits.DIGEST_KEY_SIZE_MAX if is_rows else 1),
    )


DIGEST_READERS: Mapping[str, tuple[int, Callable[[list[Value]], DigestMessage]]] = {
    "digests": (4, _digests),
    "digest_want": (4, _digest_want),
    "digest_part": (6, _digest_part),
}

DIGEST_NAMES: Mapping[type, str] = {Digests: "digests", DigestWant: "digest_want", DigestPart: "digest_part"}


def digest_fields(message: DigestMessage) -> list[object]:
    """The fields of the frame, without its name."""
    match message:
        case Digests(group, version, basis, tables):
            return [group, version, basis, [list(entry) for entry in tables]]
        case DigestWant():
            return list(message)
        case DigestPart():
            return [*message[:-1], [list(entry) for entry in message.entries]]
