"""Reading what is left of a damaged SQLite file, without SQLite: page by page, cell by cell, also where the header, the schema or an index is gone.

What comes out is raw rows in no order, some of them old or nonsense: whoever takes them verifies each. See "Database File Format" of SQLite.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from peer.store.database import PAGE_SIZE

Value = int | bytes | str | float | None
Record = Sequence[Value]

TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR = 0x0D, 0x0A, 0x02
LEAF_HEADER, INTERIOR_HEADER = 8, 12
FILE_HEADER = 100
WAL_HEADER, FRAME_HEADER = 32, 24
WAL_SALTS, FRAME_SALTS, SALTS_SIZE = 16, 8, 8
PAYLOAD_MAX = 256 * 1024
"""More than any row that is ever written."""

INTEGER_SIZES = (0, 1, 2, 3, 4, 6, 8)
FLOAT, ZERO, ONE, FIRST_BLOB = 7, 8, 9, 12
LAST_BYTE_BELOW = 0x80


class DamagedCellError(ValueError):
    """A cell that makes no sense."""


class _Number(NamedTuple):
    """A number, and where it ends."""

    value: int
    end: int


def carve(database: Path) -> Iterator[Record]:
    """Every record that can still be made out in the file `database` and in the write-ahead log beside it."""
    with _Pages(database) as pages:
        for place in pages.places():
            yield from _read_page(pages, place)


class _Place(NamedTuple):
    """One version of a page."""

    number: int
    data: bytes


class _Pages:
    """The pages of a database and of the write-ahead log beside it. Either file may be missing or empty."""

    def __init__(self, database: Path) -> None:
        self._database = _open(database)
        self._log = _open(database.with_name(database.name + "-wal"))
        self._size = os.fstat(self._database.fileno()).st_size
        self._frames = dict(self._find_frames())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
        self._log.close()

    def places(self) -> Iterator[_Place]:
        """Every version of every page that is there, those of the file itself first."""
        for number in range(1, self._size // PAGE_SIZE + 1):
            yield _Place(number, _read(self._database, (number - 1) * PAGE_SIZE, PAGE_SIZE))
        for number, start in self._find_frames():
            yield _Place(number, _read(self._log, start, PAGE_SIZE))

    def newest(self, number: int) -> bytes:
        """The page as it was written last. Raises `DamagedCellError` where there is none."""
        if number in self._frames:
            return _read(self._log, self._frames[number], PAGE_SIZE)
        if not 0 < number <= self._size // PAGE_SIZE:
            raise DamagedCellError("a page beyond the end")
        return _read(self._database, (number - 1) * PAGE_SIZE, PAGE_SIZE)

    def _find_frames(self) -> Iterator[tuple[int, int]]:
        """Number and place of each page in the write-ahead log that belongs to its newest turn. Checksums are not looked at: rows are."""
        salts = _read(self._log, WAL_SALTS, SALTS_SIZE)
        size = os.fstat(self._log.fileno()).st_size
        for start in range(WAL_HEADER, size - FRAME_HEADER - PAGE_SIZE + 1, FRAME_HEADER + PAGE_SIZE):
            header = _read(self._log, start, FRAME_HEADER)
            if header[FRAME_SALTS : FRAME_SALTS + SALTS_SIZE] == salts:
                yield int.from_bytes(header[:4], "big"), start + FRAME_HEADER


def _open(path: Path) -> BinaryIO:
    return path.open("rb") if path.is_file() else Path(os.devnull).open("rb")


def _read(file: BinaryIO, start: int, size: int) -> bytes:
    return os.pread(file.fileno(), size, start)


def _read_page(pages: _Pages, place: _Place) -> Iterator[Record]:
    page = place.data
    start = FILE_HEADER if place.number == 1 else 0
    kind = page[start]
    if kind not in (TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR):
        return
    pointers = start + (INTERIOR_HEADER if kind == INDEX_INTERIOR else LEAF_HEADER)
    count = min(int.from_bytes(page[start + 3 : start + 5], "big"), (PAGE_SIZE - pointers) // 2)
    for index in range(count):
        at = int.from_bytes(page[pointers + 2 * index : pointers + 2 * index + 2], "big")
        try:
            yield _record(_payload(pages, page, at, kind))
        except (DamagedCellError, IndexError, UnicodeDecodeError):
            continue


def _payload(pages: _Pages, page: bytes, at: int, kind: int) -> bytes:
    """What a cell holds, put together from the pages that it flows over into."""
    size, at = _varint(page, at + (4 if kind == INDEX_INTERIOR else 0))
    if kind == TABLE_LEAF:
        _, at = _varint(page, at)
    if not 0 < size <= PAYLOAD_MAX:
        raise DamagedCellError("a row of an impossible size")
    here_max = PAGE_SIZE - 35 if kind == TABLE_LEAF else (PAGE_SIZE - 12) * 64 // 255 - 23
    if size <= here_max:
        return _exactly(page[at : at + size], size)
    here_min = (PAGE_SIZE - 12) * 32 // 255 - 23
    here = here_min + (size - here_min) % (PAGE_SIZE - 4)
    if here > here_max:
        here = here_min
    parts = [_exactly(page[at : at + here], here)]
    following = int.from_bytes(_exactly(page[at + here : at + here + 4], 4), "big")
    left = size - here
    while left > 0:
        overflow = pages.newest(following)
        part = min(left, PAGE_SIZE - 4)
        parts.append(overflow[4 : 4 + part])
        following = int.from_bytes(overflow[:4], "big")
        left -= part
    return b"".join(parts)


def _record(payload: bytes) -> Record:
    """The columns of a row."""
    header_size, at = _varint(payload, 0)
    values: list[Value] = []
    body = header_size
    while at < header_size:
        kind, at = _varint(payload, at)
        size = _size(kind)
        values.append(_value(kind, _exactly(payload[body : body + size], size)))
        body += size
    return values


def _size(kind: int) -> int:
    if kind >= FIRST_BLOB:
        return (kind - FIRST_BLOB) // 2
    if kind < len(INTEGER_SIZES):
        return INTEGER_SIZES[kind]
    return {FLOAT: 8, ZERO: 0, ONE: 0}.get(kind, PAYLOAD_MAX + 1)


def _value(kind: int, data: bytes) -> Value:
    if kind >= FIRST_BLOB:
        return data.decode() if kind % 2 else data
    if kind in (ZERO, ONE):
        return kind - ZERO
    if kind in (0, FLOAT):
        return None
    return int.from_bytes(data, "big", signed=True)


def _varint(data: bytes, at: int) -> _Number:
    value = 0
    for index in range(at, at + 8):
        byte = data[index]
        value = value << 7 | byte & 0x7F
        if byte < LAST_BYTE_BELOW:
            return _Number(value, index + 1)
    return _Number(value << 8 | data[at + 8], at + 9)


def _exactly(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise DamagedCellError("a row that goes on beyond its page")
    return data
