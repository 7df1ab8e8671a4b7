"""The fields of messages: each reader gives its value with the right type and size, or raises `MalformedFrameError` or `LimitExceededError`."""

import re

from peer.core.encoding import Value
from peer.core.identity import ID_SIZE, GroupId, LogId
from peer.core.names import is_name
from peer.errors import LimitExceededError, MalformedFrameError
from peer.sync import limits

_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")


def read_items(value: Value, count_max: int) -> list[Value]:
    """An array of at most so many items."""
    if not isinstance(value, list):
        raise MalformedFrameError("a field that is not an array")
    if len(value) > count_max:
        raise LimitExceededError(f"an array of {len(value)} items; {count_max} are allowed")
    return value


def read_tuple(value: Value, count: int) -> list[Value]:
    """An array of exactly so many items."""
    if not isinstance(value, list) or len(value) != count:
        raise MalformedFrameError(f"a field that is not an array of {count}")
    return value


def read_bytes(value: Value, size: int) -> bytes:
    """Bytes of exactly this size."""
    if not isinstance(value, bytes) or len(value) != size:
        raise MalformedFrameError(f"a field that is not {size} bytes")
    return value


def read_bytes_up_to(value: Value, size_max: int) -> bytes:
    """Bytes of at most this size."""
    if not isinstance(value, bytes):
        raise MalformedFrameError("a field that is not bytes")
    if len(value) > size_max:
        raise LimitExceededError(f"a field of {len(value)} bytes; {size_max} are allowed")
    return value


def read_group(value: Value) -> GroupId:
    """A group id."""
    return GroupId(read_bytes(value, ID_SIZE))


def read_log(value: Value) -> LogId:
    """A log id."""
    return LogId(read_bytes(value, ID_SIZE))


def read_flag(value: Value) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise MalformedFrameError("a field that is not true or false")
    return value


def read_whole(value: Value) -> int:
    """A number from 0 on."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MalformedFrameError("a field that is not a whole number")
    return value


def read_text(value: Value) -> str:
    """A short text."""
    if not isinstance(value, str) or len(value) > limits.TEXT_CHARACTERS_MAX:
        raise MalformedFrameError("a field that is not a short text")
    return value


def read_code(value: Value) -> str:
    """An error code, as `peer.errors` has them."""
    if not isinstance(value, str) or not _CODE.fullmatch(value):
        raise MalformedFrameError("a field that is not a code")
    return value


def read_name(value: Value) -> str:
    """A name that could become a path."""
    if not isinstance(value, str) or not is_name(value):
        raise MalformedFrameError("a field that is not a name")
    return value
