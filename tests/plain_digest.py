"""The digest of a group, from the bytes that `recmesh state` prints: by a reader and a writer of CBOR of its own, and one call of BLAKE3.

Nothing of the project is in it but the order of tables and columns, which is how they are published.
"""

from collections.abc import Mapping
from typing import Any

from blake3 import blake3

from materializer.digest import TABLES

MODULUS = 1 << 256


def plain_digest(exported: bytes) -> bytes:
    """The state digest of the group whose canonical export this is."""
    document, rest = read(exported)
    assert not rest, "something stands behind the export"
    assert write(document) == exported, "the export is not canonical"
    return digest_of(document)


def digest_of(document: Mapping[str, Any]) -> bytes:
    """The state digest of a group, from its export once it is read."""
    group, tables = document["group"], document["tables"]
    assert set(tables) == set(TABLES)
    digests = [[name, table_digest(name, group, tables[name])] for name in TABLES]
    return blake3(write([document["version"], group, digests])).digest()


def table_digest(name: str, group: bytes, rows: list[Mapping[str, Any]]) -> bytes:
    """The sum of the hashes of the rows of a table."""
    total = 0
    for row in rows:
        assert set(row) == set(TABLES[name])
        total += int.from_bytes(blake3(write([name, group, *(row[column] for column in TABLES[name])])).digest(), "big")
    return (total % MODULUS).to_bytes(32, "big")


def write(value: Any) -> bytes:  # noqa: PLR0911  (one answer for each type)
    """RFC 8949, section 4.2.1, as far as it is used here."""
    if value is None:
        return b"\xf6"
    if value is True or value is False:
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, bytes):
        return _head(2, len(value)) + value
    if isinstance(value, str):
        return _head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(write(item) for item in value)
    assert isinstance(value, Mapping), type(value)
    return _head(5, len(value)) + b"".join(key + item for key, item in sorted((write(key), write(item)) for key, item in value.items()))


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    size = next(size for size in (1, 2, 4, 8) if number < 1 << 8 * size)
    return bytes([major << 5 | 23 + size.bit_length()]) + number.to_bytes(size, "big")


def read(data: bytes) -> tuple[Any, bytes]:
    """A value, and the bytes behind it."""
    major, number, data = data[0] >> 5, data[0] & 31, data[1:]
    if major == 7:
        return {20: False, 21: True, 22: None}[number], data
    if number >= 24:
        size = 1 << number - 24
        number, data = int.from_bytes(data[:size], "big"), data[size:]
    if major in (0, 1):
        return (number if major == 0 else -1 - number), data
    if major == 2:
        return data[:number], data[number:]
    if major == 3:
        return data[:number].decode(), data[number:]
    items = []
    for _ in range(number if major == 4 else 2 * number):
        item, data = read(data)
        items.append(item)
    assert major in (4, 5)
    return (items, data) if major == 4 else (dict(zip(items[::2], items[1::2], strict=True)), data)
