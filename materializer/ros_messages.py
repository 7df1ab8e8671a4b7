"""Messages of ROS 2: what their bytes mean, by the definition that the file has of their schema (`ros2msg`, encoded as CDR). Pure.

Others wrote both. A definition or a message that does not hold together is refused, and so is one that would take long or much memory.
"""

import base64
import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

SCHEMA_SIZE_MAX = 1024 * 1024
VALUES_MAX = 200_000
"""Values of one message, those of arrays of bytes aside."""

DEPTH_MAX = 32
NAME_SIZE_MAX = 255
"""Characters of the name of a field, which stands in each value of its type."""
SIZE_DIGITS_MAX = 10
"""Of the length of an array."""
PADDING_MAX = 7
"""Bytes that may follow the last value."""

HEADER_SIZE = 4
ORDERS = {0: ">", 1: "<"}
"""Of plain CDR, by the second byte of a message: big or little end first."""

BYTES = ("uint8", "byte", "char", "octet")
"""What arrays of are given as one text, in base64."""

_FORMATS = {
    "bool": "?",
    **dict.fromkeys(BYTES, "B"),
    "int8": "b",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
}
_FLOATS = ("float32", "float64")
_SEPARATOR = re.compile(r"^={3,}[ \t]*\r?\n[ \t]*MSG:[ \t]*(\S+)[ \t]*$", re.MULTILINE)
_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9_/]*)(?:<=[0-9]+)?(?:\[(<=)?([0-9]*)\])?\s+([A-Za-z][A-Za-z0-9_]*)\s*(=?)")
_TIMES = "int32 sec\nuint32 nanosec"
_BUILT_IN = {"builtin_interfaces/Time": _TIMES, "builtin_interfaces/Duration": _TIMES}

Json = object


class NotReadableError(ValueError):
    """A definition or a message that cannot be read."""


class _Field(NamedTuple):
    name: str
    type: str
    is_array: bool
    size: int | None
    """Of an array of a fixed size."""


_Definitions = Mapping[str, Sequence[_Field]]


def make_reader(name: str, text: bytes) -> Callable[[bytes], Json]:
    """What makes a JSON value of each message of the type `name`. Raises `NotReadableError`, as it does itself."""
    if len(text) > SCHEMA_SIZE_MAX:
        raise NotReadableError("the definition is too long")
    root = _short(name)
    parts = _SEPARATOR.split(text.decode(errors="replace"))
    texts = {**_BUILT_IN, root: parts[0], **{_short(each): part for each, part in zip(parts[1::2], parts[2::2], strict=True)}}
    definitions = {each: _fields(each, part) for each, part in texts.items()}

    def read(data: bytes) -> Json:
        return _Message(definitions, data).read(root)

    return read


def _short(name: str) -> str:
    """`package/msg/Type` as `package/Type`."""
    package, _, rest = name.partition("/")
    return f"{package}/{rest.rpartition('/')[2]}" if rest else package


def _fields(owner: str, text: str) -> list[_Field]:
    fields = []
    for row in text.splitlines():
        line = row.partition("#")[0].strip()
        if not line:
            continue
        match = _FIELD.match(line)
        if match is None:
            raise NotReadableError(f"{line[:80]!r} is no field")
        kind, is_bounded, size, name, is_constant = match.groups()
        if len(name) > NAME_SIZE_MAX or len(size or "") > SIZE_DIGITS_MAX:
            raise NotReadableError("a name or a size that is too long")
        if size and not int(size):
            raise NotReadableError(f"{line[:80]!r} has no place for anything")  # Each value takes bytes: so there are no more than these.
        if not is_constant:
            fields.append(_Field(name, _full(owner, kind), size is not None, int(size) if size and not is_bounded else None))
    return fields


def _full(owner: str, kind: str) -> str:
    if kind in _FORMATS or kind in ("string", "wstring"):
        return kind
    if "/" in kind:
        return _short(kind)
    return "std_msgs/Header" if kind == "Header" else f"{owner.partition('/')[0]}/{kind}"


class _Message:
    """One message while it is read."""

    def __init__(self, definitions: _Definitions, data: bytes) -> None:
        order = ORDERS.get(data[1]) if len(data) >= HEADER_SIZE and not data[0] else None
        if order is None:
            raise NotReadableError("not plain CDR")
        self._definitions = definitions
        self._order = order
        self._data = data
        self._position = HEADER_SIZE
        self._values = 0

    def read(self, root: str) -> Json:
        found = self._struct(root, 0)
        if len(self._data) - self._position > PADDING_MAX:
            raise NotReadableError("longer than its definition")
        return found

    def _struct(self, kind: str, depth: int) -> Json:
        fields = self._definitions.get(kind)
        if fields is None:
            raise NotReadableError(f"{kind[:80]} is not defined")
        if depth > DEPTH_MAX:
            raise NotReadableError("too deep")
        if not fields:
            self._take("B", 1)  # What is empty has one byte in IDL.
        return {field.name: self._field(field, depth) for field in fields}

    def _field(self, field: _Field, depth: int) -> Json:
        if not field.is_array:
            return self._value(field.type, depth)
        count = self._count() if field.size is None else field.size
        self._spend(1)
        if field.type in BYTES:
            return base64.b64encode(self._bytes(count)).decode()
        self._spend(count)
        if field.type in _FORMATS:
            return [_number(field.type, value) for value in self._take(_FORMATS[field.type], count)]
        return [self._value(field.type, depth) for _ in range(count)]

    def _value(self, kind: str, depth: int) -> Json:
        self._spend(1)
        if kind in _FORMATS:
            return _number(kind, self._take(_FORMATS[kind], 1)[0])
        if kind == "string":
            return self._bytes(self._count()).removesuffix(b"\0").decode(errors="replace")
        if kind == "wstring":
            raise NotReadableError("wide strings are not read")
        return self._struct(kind, depth + 1)

    def _spend(self, count: int) -> None:
        self._values += count
        if self._values > VALUES_MAX:
            raise NotReadableError(f"more than {VALUES_MAX} values")

    def _count(self) -> int:
        return int(self._take("I", 1)[0])

    def _bytes(self, count: int) -> bytes:
        start, self._position = self._position, self._position + count
        if self._position > len(self._data):
            raise NotReadableError("shorter than its definition")
        return self._data[start : self._position]

    def _take(self, code: str, count: int) -> tuple[int | float | bool, ...]:
        """So many numbers, the first at a place that is a multiple of their size."""
        if not count:
            return ()
        size = struct.calcsize(f"={code}")
        start = self._position + (HEADER_SIZE - self._position) % size
        self._position = start + size * count
        if self._position > len(self._data):
            raise NotReadableError("shorter than its definition")
        return struct.unpack_from(f"{self._order}{count}{code}", self._data, start)


def _number(kind: str, value: float) -> Json:
    """What JSON has no number for is a text."""
    if kind in _FLOATS and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
