"""The records of an MCAP file that may end anywhere, or be damaged anywhere.

Read once, from its beginning, and in bounded memory: one record at a time. What cannot be read is a gap, and reading goes on behind it where there is
something to go on with: the next chunk whose header agrees with its length. A chunk with a checksum counts as a whole or, where the file ends in it,
as far as it can be decompressed; of damaged bytes nothing is taken for a message.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]
from mcap.opcode import Opcode
from zstandard import ZstdDecompressor, ZstdError

from materializer.mcap_format import CHUNK, FOOTER_SIZE, FRAME, FRAME_SIZE, MAGIC, MESSAGE

RECORD_SIZE_MAX = 256 * 1024 * 1024
"""Of a record, and of what is in a chunk: one of each is in memory at a time."""
SUMMARY_SIZE_MAX = 64 * 1024 * 1024
STEP = 1024 * 1024
ZSTD_STEP = 4096
_CHUNK_TIMES = struct.Struct("<QQQ")
_KNOWN = range(Opcode.HEADER, Opcode.DATA_END + 1)
_OPCODES = frozenset({*_KNOWN, *range(0x80, 0x100)})
"""Those that are specified, and those that are for private use."""
_CHUNK_START = re.compile(rb"\x06(?=.{36}(?:\x00{4}|\x03\x00{3}lz4|\x04\x00{3}zstd))", re.DOTALL)
"""An opcode, length, times, size, checksum, and one of the compressions that there are."""
_CHUNK_START_SIZE_MAX = FRAME_SIZE + CHUNK.size + 4 + 8

Read = Callable[[int, int], bytes]
"""So many bytes from a position; fewer where the file ends."""


class Record(NamedTuple):
    """A whole record outside of chunks."""

    offset: int
    opcode: int
    data: bytes
    """With its frame."""

    @property
    def content(self) -> memoryview:
        """Without its frame."""
        return memoryview(self.data)[FRAME.size :]


class ChunkFacts(NamedTuple):
    """What a chunk says of itself."""

    start_ns: int
    end_ns: int
    size: int
    """Of what is in it."""
    crc: int
    compression: str


class Chunk(NamedTuple):
    """A chunk, or as much of it as can be trusted."""

    offset: int
    data: bytes
    """With its frame; cut where the file ends."""
    facts: ChunkFacts
    records: bytes
    """Whole records that are in it, decompressed."""
    is_whole: bool
    missing: int = 0
    """How many bytes of it the file does not have."""


class Gap(NamedTuple):
    """Bytes of the file that nothing can be made of."""

    offset: int
    size: int
    what: str
    opcode: int = 0
    """What began there, if that can be told."""
    facts: ChunkFacts | None = None
    missing: int = 0


Piece = Record | Chunk | Gap


def summary(read: Read, size: int) -> tuple[bool, bytes]:
    """Whether a file of `size` bytes has its end, and the records of its summary section, empty if there are none that can be read."""
    tail = read(max(0, size - len(MAGIC) - FOOTER_SIZE), FOOTER_SIZE + len(MAGIC))
    if len(tail) < FOOTER_SIZE + len(MAGIC) or not tail.endswith(MAGIC) or FRAME.unpack_from(tail) != (Opcode.FOOTER, FOOTER_SIZE - FRAME.size):
        return False, b""
    (start,) = struct.unpack_from("<Q", tail, FRAME.size)
    end = size - len(tail)
    if not len(MAGIC) < start < end or end - start > SUMMARY_SIZE_MAX:
        return True, b""
    data = read(start, end - start)
    return True, data if _whole_records(data) == (len(data), True) else b""


class _Damage(Exception):  # noqa: N818  (caught in this module)
    pass


def pieces(read: Read, size: int) -> Iterator[Piece]:
    """All of a file of `size` bytes, behind its magic and up to its data end record; its summary is not looked at."""
    position = len(MAGIC)
    while position < size:
        piece = _piece(read, position, size)
        if isinstance(piece, Gap) and not piece.missing and piece.offset + piece.size < size:
            yield piece
            position += piece.size
            continue
        if isinstance(piece, Gap):
            following = find_chunk(read, position + 1, size)
            if following is None:
                yield piece
                return
            yield Gap(position, following - position, "damaged")
            position = following
            continue
        yield piece
        if isinstance(piece, Record) and piece.opcode in (Opcode.DATA_END, Opcode.FOOTER):
            return
        position += len(piece.data)


def _piece(read: Read, position: int, size: int) -> Piece:
    frame = read(position, FRAME.size)
    if len(frame) < FRAME.size:
        return Gap(position, size - position, "a record that had just begun", frame[0], missing=FRAME.size - len(frame))
    opcode, length = FRAME.unpack(frame)
    end = position + FRAME.size + length
    if opcode == Opcode.CHUNK:
        return _chunk(read, position, end, size)
    if opcode in _OPCODES and end > size:
        return Gap(position, size - position, _word(opcode), opcode, missing=end - size)
    if opcode not in _OPCODES or not _goes_on(read, end, size):
        return Gap(position, size - position, "damaged")
    return _record(read, position, opcode, length)


def _record(read: Read, position: int, opcode: int, length: int) -> Record | Gap:
    if length > RECORD_SIZE_MAX:
        return Gap(position, FRAME.size + length, f"{_word(opcode)} of {length} bytes, where up to {RECORD_SIZE_MAX} are read", opcode)
    record = Record(position, opcode, read(position, FRAME.size + length))
    if opcode == Opcode.ATTACHMENT and not _is_intact_attachment(record.content):
        return Gap(position, len(record.data), "a damaged attachment", opcode)
    return record


def _word(opcode: int) -> str:
    return f"a {Opcode(opcode).name.lower().replace('_', ' ')} record" if opcode in _KNOWN else "a record"


def _goes_on(read: Read, position: int, size: int) -> bool:
    """True if at `position`, where a record ends, another one begins, or nothing comes any more: a disk may fill what was not written with zeros."""
    start = read(position, 1)
    if start and start[0] in _OPCODES:
        return True
    while part := read(position, STEP):
        if part.strip(b"\0"):
            return False
        position += len(part)
    return position >= size


def _is_intact_attachment(content: memoryview) -> bool:
    (crc,) = struct.unpack("<I", content[-4:]) if len(content) >= 4 else (0,)  # noqa: PLR2004  (the size of a checksum)
    return crc in (0, zlib.crc32(content[:-4]))


def _chunk(read: Read, position: int, end: int, size: int) -> Chunk | Gap:
    head = read(position + FRAME.size, _CHUNK_START_SIZE_MAX - FRAME.size)
    missing = max(0, end - size)
    if len(head) < CHUNK.size + 12 and missing:  # Its header and two lengths.
        start_ns, end_ns, content_size = _CHUNK_TIMES.unpack_from(head) if len(head) >= _CHUNK_TIMES.size else (0, 0, 0)
        begun = ChunkFacts(start_ns, end_ns, content_size, 0, "") if len(head) >= _CHUNK_TIMES.size else None
        return Gap(position, size - position, "a chunk that had just begun", Opcode.CHUNK, begun, missing)
    try:
        facts, start, stored = _chunk_header(head, end - position - FRAME.size)
    except _Damage as damage:
        return Gap(position, size - position, str(damage), Opcode.CHUNK)
    if max(facts.size, stored) > RECORD_SIZE_MAX:
        what = f"a chunk of {max(facts.size, stored)} bytes, where up to {RECORD_SIZE_MAX} are read"
        return Gap(position, min(end, size) - position, what, Opcode.CHUNK, facts, missing)
    data = read(position, min(end, size) - position)
    records, is_ended = _decompress(data[FRAME.size + start :], facts)
    is_right = len(records) == facts.size and facts.crc in (0, zlib.crc32(records))
    if not is_right and not missing and facts.crc:
        return Gap(position, len(data), "a damaged chunk", Opcode.CHUNK, facts)
    whole, is_clean = _whole_records(records)
    if not whole and not is_right:
        return Gap(position, len(data), "a chunk that is cut off" if missing else "a damaged chunk", Opcode.CHUNK, facts, missing)
    return Chunk(position, data, facts, records[:whole], is_right and is_ended and is_clean and not missing, missing)


def _chunk_header(head: bytes, length: int) -> tuple[ChunkFacts, int, int]:
    """What the header says, where in the record the data begin, and how long they are. Raises `_Damage` if that cannot be."""
    try:
        start_ns, end_ns, size, crc, name_size = CHUNK.unpack_from(head)
        name = head[CHUNK.size : CHUNK.size + name_size]
        (stored,) = struct.unpack_from("<Q", head, CHUNK.size + name_size)
    except struct.error as error:
        raise _Damage("damaged") from error
    start = CHUNK.size + name_size + 8
    if length != start + stored or name not in (b"", b"lz4", b"zstd"):
        raise _Damage("damaged")
    return ChunkFacts(start_ns, end_ns, size, crc, name.decode()), start, stored


def find_chunk(read: Read, position: int, size: int) -> int | None:
    """Where the next chunk begins whose header agrees with its length and with the size of the file."""
    while position < size:
        window = read(position, STEP + _CHUNK_START_SIZE_MAX)
        for found in _CHUNK_START.finditer(window):
            at = position + found.start()
            frame = read(at, FRAME.size)
            if len(frame) == FRAME.size and _is_chunk(read, at, FRAME.unpack(frame)[1], size):
                return at
        position += STEP
    return None


def _is_chunk(read: Read, position: int, length: int, size: int) -> bool:
    try:
        facts, _, _ = _chunk_header(read(position + FRAME.size, _CHUNK_START_SIZE_MAX - FRAME.size), length)
    except _Damage:
        return False
    end = position + FRAME.size + length
    return facts.start_ns <= facts.end_ns and (end > size or _goes_on(read, end, size))


def _decompress(data: bytes, facts: ChunkFacts) -> tuple[bytes, bool]:
    """As much of the content of a chunk as there is, never more than it says, and whether its compression ends as it must."""
    match facts.compression:
        case "zstd":
            content, is_ended = _read_zstd(data, facts.size + 1)
        case "lz4":
            content, is_ended = _read_lz4(data, facts.size + 1)
        case _:
            content, is_ended = data, len(data) == facts.size
    return content[: facts.size], is_ended


def _read_zstd(data: bytes, limit: int) -> tuple[bytes, bool]:
    """One frame, as other readers take it; small parts at a time, since a few bytes may stand for a large block."""
    parts, done = list[bytes](), 0
    reader = ZstdDecompressor().decompressobj()
    try:
        for start in range(0, len(data), ZSTD_STEP):
            if done >= limit or reader.eof:
                break
            parts.append(reader.decompress(data[start : start + ZSTD_STEP]))
            done += len(parts[-1])
    except (ZstdError, MemoryError):
        pass  # What came before stands.
    return b"".join(parts), reader.eof


def _read_lz4(data: bytes, limit: int) -> tuple[bytes, bool]:
    parts, done = list[bytes](), 0
    reader = LZ4FrameDecompressor()
    waiting = data
    try:
        while done < limit and not reader.eof:
            part = reader.decompress(waiting, max_length=min(STEP, limit - done))
            waiting = b""
            if not part and (reader.needs_input or reader.eof):
                break
            parts.append(part)
            done += len(part)
    except (RuntimeError, EOFError, MemoryError):
        pass  # As above.
    return b"".join(parts), reader.eof


def _whole_records(records: bytes) -> tuple[int, bool]:
    """How many bytes of `records` are whole records, and whether these are all."""
    position, size = 0, len(records)
    while position + FRAME.size <= size:
        opcode, length = FRAME.unpack_from(records, position)
        end = position + FRAME.size + length
        if end > size or opcode not in _OPCODES or (opcode == Opcode.MESSAGE and length < MESSAGE.size):
            break
        position = end
    return position, position == size


def frames(records: bytes) -> Iterator[tuple[int, int, int]]:
    """Opcode, start and end of each of the whole records in a chunk; the start is that of its frame."""
    position = 0
    while position < len(records):
        opcode, length = FRAME.unpack_from(records, position)
        end = position + FRAME.size + length
        yield opcode, position, end
        position = end
