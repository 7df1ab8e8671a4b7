"""Strict deterministic CBOR (RFC 8949, section 4.2.1). The only module that imports `cbor2`.

One value has one encoding. What is decoded here and encoded again gives the same bytes, or it is refused: no duplicate keys, indefinite lengths,
longer-than-needed integers, unsorted keys, trailing bytes. Values are null, booleans, integers of 64 bits, bytes, text, arrays and maps with text
keys: no floats, no tags. With text keys the length-first order that `cbor2` sorts by equals the bytewise order that the RFC asks for.

Tags and keys that are not text are refused while reading, not afterwards: with shared references a few hundred bytes stand for gigabytes.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NoReturn

import cbor2

from peer.errors import NotCanonicalError

Value = None | bool | int | bytes | str | list["Value"] | dict[str, "Value"]

DEPTH_MAX = 16
INTEGER_MAX = 2**64 - 1
INTEGER_MIN = -(2**64)
HEADS_KEPT = 4096
"""The begins of bytes of so many lengths are remembered."""


class _NoTags(dict[int, Callable[[object, bool], object]]):
    """The decoders of all tags, known to the library or not: none of them decodes."""

    def __missing__(self, tag: int) -> Callable[[object, bool], object]:
        return _refuse


def _refuse(*_args: object) -> NoReturn:
    raise ValueError("a tag")


_NO_TAGS = _NoTags()
_SCALARS = frozenset({type(None), bool, int, bytes, str})
"""Integers have 64 bits at most: longer ones are tagged, and tags are refused."""

_FAILURES = (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, MemoryError)
_dumps = cbor2.dumps
_loads = cbor2.loads


def encode(value: object) -> bytes:
    """The one encoding of `value`, which must consist of the types above."""
    return _dumps(value, canonical=True)


def decode(data: bytes, *, depth_max: int = DEPTH_MAX) -> Value:
    """The value that `data` encodes. Raises `NotCanonicalError` for anything that `encode` would not have produced."""
    value = _decode(data, depth_max)
    check_types(value)  # Keys, too: they are compared there, five times faster than they are sorted here.
    return value  # type: ignore[return-value]


def decode_map(data: bytes) -> dict[str, Value]:
    """Like `decode`, for what must be a map."""
    value = decode(data)
    if type(value) is not dict:
        raise NotCanonicalError("not a CBOR map")
    return value


def decode_shallow(data: bytes) -> object:
    """Like `decode`, for callers that know the types of all values, without maps, and the size of the whole, and check them as event headers do.

    Lengths and numbers may be written longer than needed here, and bytes may follow. Nothing else is left in which two encodings of a value differ:
    the shortest is known by its size. To encode again, as `decode` does, takes three times as long.
    """
    return _load(data, DEPTH_MAX)


def head_size(number: int) -> int:
    """The bytes that a number up to 2^64 - 1 takes, or the head of a string or array of that length."""
    if number < 24:  # noqa: PLR2004  (RFC 8949, section 3)
        return 1
    if number < 1 << 16:
        return 2 if number < 1 << 8 else 3
    return 5 if number < 1 << 32 else 9


def array_head(length: int) -> bytes:
    """What an array of that many values begins with: written in front of encoded values it makes one value of them."""
    return _head(0x80, length)


@lru_cache(maxsize=HEADS_KEPT)
def bytes_head(length: int) -> bytes:
    """What bytes of that length begin with."""
    return _head(0x40, length)


def _head(kind: int, number: int) -> bytes:
    size = head_size(number) - 1
    return bytes((kind | number,)) if size == 0 else bytes((kind | (23 + size.bit_length()),)) + number.to_bytes(size, "big")


def decode_fields(data: bytes) -> object:
    """Like `decode`, for callers that know the keys in `sorted_keys` order and compare them, or call `check_types`."""
    return _decode(data, DEPTH_MAX)


def sorted_keys(keys: Iterable[str]) -> tuple[str, ...]:
    """Keys in the order in which the encoding has them."""
    return tuple(sorted(keys, key=lambda key: (len(key.encode()), key.encode())))


def decode_trusted(data: bytes) -> Value:
    """The value in bytes that `decode` or `decode_shallow` accepted before, as what lies in the own store was: five times faster."""
    return _loads(data)  # type: ignore[no-any-return]


def _decode(data: bytes, depth_max: int) -> object:
    value = _load(data, depth_max)
    try:
        again = _dumps(value)
    except _FAILURES as error:
        raise NotCanonicalError(f"not deterministic CBOR: {type(error).__name__}") from error
    if again != data:
        raise NotCanonicalError("not the deterministic CBOR encoding of its value")
    return value


def _load(data: bytes, depth_max: int) -> object:
    try:
        return _loads(
            data,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            max_depth=depth_max,
            semantic_decoders=_NO_TAGS,
            strict_hashable_types=True,
        )
    except _FAILURES as error:
        raise NotCanonicalError(f"not deterministic CBOR: {type(error).__name__}") from error


def check_types(value: object) -> None:
    """Raise `NotCanonicalError` unless `value`, which was read without tags, has only the types above, and maps with sorted keys of text."""
    if type(value) is dict:
        _check_keys(list(value))
        items: Iterable[object] = value.values()
    elif type(value) is list:
        items = value
    elif type(value) in _SCALARS:
        return
    else:
        raise NotCanonicalError(f"a value of a type that is not used here: {type(value).__name__}")
    for item in items:
        if type(item) not in _SCALARS:
            check_types(item)


def _check_keys(keys: list[object]) -> None:
    before, before_size = b"", -1
    for key in keys:
        if type(key) is not str:
            raise NotCanonicalError("a map key is not text")
        text = key.encode()
        size = len(text)
        if size < before_size or (size == before_size and text <= before):
            raise NotCanonicalError("not the deterministic CBOR encoding of its value")
        before, before_size = text, size
