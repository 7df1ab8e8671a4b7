"""Digests of projected rows. Peers that hold the same events compare them: unequal digests mean a bug, and say in which table.

A table's digest is the sum, modulo 2^256, of the BLAKE3 of its rows, each as canonical CBOR `[table, group, columns ...]` in schema order: it does
not depend on the order of rows and is kept up to date by adding and subtracting. `digest_of_export` computes the same from nothing but an export.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from peer.core.encoding import encode
from peer.core.hashing import HASH_SIZE, hash_bytes
from peer.core.identity import GroupId

PROJECTION_VERSION = 4
"""Goes up with every change of what projections contain: another version is rebuilt, and not compared."""

MODULUS = 2**256

TABLES: Mapping[str, Sequence[str]] = {
    "recordings": (*("id", "site", "name", "machine", "created_ns", "profile", "tool", "tool_version", "host", "source_path", "operator", "hlc"),),
    "chunks": (
        *("id", "recording", "hlc", "index", "source_name", "blob", "sha256", "size", "piece_size", "pieces", "message_count"),
        *("start_ns", "end_ns", "library", "profile", "topics", "dropped", "embedded"),
    ),
    "chunk_topics": ("id", "recording", "hlc", "chunk", "topics"),
    "attachments": ("id", "recording", "hlc", "source_name", "blob", "sha256", "size", "piece_size", "pieces"),
    "annotations": ("id", "recording", "author", "hlc", "label", "text", "start_ns", "end_ns", "reply_to", "site", "person"),
    "registers": ("id", "recording", "register", "author", "rank", "hlc", "value", "wins"),
    "settings": ("id", "register", "author", "rank", "hlc", "value", "wins"),
    "manifests": ("recording", "finalize", "manifest_id", "state"),
    "receipts": ("id", "author", "hlc", "release", "refs", "blobs"),
    "poison": ("id", "author", "type", "reason"),
}
"""The projected tables with their columns; the first column is the key."""

SHORT_MAX = 255
"""Bytes of a value whose row is put together by hand."""
CLOCK_SIZE = 8
GROUPS_REMEMBERED = 64

_ROW_HEAD = encode([0] * (2 + len(TABLES["registers"])))[:1]
_ID_HEAD = encode(bytes(HASH_SIZE))[:-HASH_SIZE]
_CLOCK_HEAD = encode(bytes(CLOCK_SIZE))[:-CLOCK_SIZE]
_BYTES_HEADS = [encode(bytes(size))[: -size or None] for size in range(SHORT_MAX + 1)]
_WINS = encode(1)


def row_hash(table: str, group: GroupId, row: Sequence[object]) -> int:
    """What one row adds to the digest of its table."""
    return int.from_bytes(hash_bytes(encode([table, group, *row])), "big")


class WriteHash:
    """The `row_hash` of writes that win, of one register by one author of one rank.

    Nearly all rows are such, and few differ in more than the event, the recording and the clock: put together by hand it takes a quarter of the time.
    """

    __slots__ = ("_between", "_head", "_said")

    def __init__(self, group: GroupId, register: str, author: bytes, rank: int) -> None:
        """For the registers of a group."""
        self._said = (group, register, author, rank)
        self._head = _write_head(group)
        self._between = b"".join(map(encode, (register, author, rank))) + _CLOCK_HEAD

    def of(self, event_id: bytes, recording: bytes, hlc: bytes, value: bytes) -> int:
        """Of one write."""
        if len(value) > SHORT_MAX or len(hlc) != CLOCK_SIZE:
            group, register, author, rank = self._said
            return row_hash("registers", group, (event_id, recording, register, author, rank, hlc, value, 1))
        parts = (self._head, event_id, _ID_HEAD, recording, self._between, hlc, _BYTES_HEADS[len(value)], value, _WINS)
        return int.from_bytes(hash_bytes(b"".join(parts)), "big")


@lru_cache(maxsize=GROUPS_REMEMBERED)
def _write_head(group: GroupId) -> bytes:
    """How the rows of registers of a group begin, up to their ids."""
    return _ROW_HEAD + encode("registers") + encode(group) + _ID_HEAD


def digest_bytes(total: int) -> bytes:
    """A digest as 32 bytes."""
    return (total % MODULUS).to_bytes(HASH_SIZE, "big")


def state_digest(group: GroupId, tables: Mapping[str, bytes]) -> bytes:
    """The digest of a group, from those of its tables; one that is not there is of no rows."""
    empty = bytes(HASH_SIZE)
    return hash_bytes(encode([PROJECTION_VERSION, group, [[name, tables.get(name, empty)] for name in TABLES]]))


def export(group: GroupId, tables: Mapping[str, Iterable[Sequence[object]]]) -> dict[str, Any]:
    """The canonical export of a group: every projected row, as a map of its columns, sorted by key."""
    return {
        "version": PROJECTION_VERSION,
        "group": group,
        "tables": {name: [dict(zip(columns, row, strict=True)) for row in sorted(tables[name], key=_key)] for name, columns in TABLES.items()},
    }


def digest_of_export(exported: Mapping[str, Any]) -> bytes:
    """The group's state digest, from an export alone."""
    group, version = exported["group"], exported["version"]
    digests = []
    for name, columns in TABLES.items():
        total = 0
        for row in exported["tables"][name]:
            data = encode([name, group, *(row[column] for column in columns)])
            total = (total + int.from_bytes(hash_bytes(data), "big")) % 2**256
        digests.append([name, total.to_bytes(32, "big")])
    return hash_bytes(encode([version, group, digests]))


def _key(row: Sequence[Any]) -> Any:  # noqa: ANN401  (the first column, an id)
    return row[0]
