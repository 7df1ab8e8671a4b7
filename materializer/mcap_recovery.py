"""Recovering what an MCAP file holds that was cut off by a crash, or damaged: into a new, whole file, with an exact account of what was lost.

The file is read as a stream, one record at a time, and stays as it is. The new one counts only after it was read back, message by message and by the
library, and agrees with what was taken over.
"""

import errno
import json
import os
import stat
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Attachment, Channel, McapRecord, Message, Metadata, Schema
from mcap.records import Chunk as ChunkRecord
from mcap.stream_reader import StreamReader, get_chunk_data_stream

from materializer.mcap_format import FRAME, MAGIC, MESSAGE
from materializer.mcap_index import read_index
from materializer.mcap_pieces import RECORD_SIZE_MAX, STEP
from materializer.mcap_taking import DAMAGED, Place, Taking
from materializer.mcap_writing import Written
from peer.core.hashing import Hasher, new_blake3, new_sha256
from peer.errors import (
    FileUnreadableError,
    McapEmptyError,
    McapTruncatedError,
    McapUnrecoverableError,
    NotMcapError,
    RecoveryUnverifiedError,
    TargetFullError,
    TargetTakenError,
)

METADATA_NAME = "recmesh.recovery"
"""Of the record that the new file has beside what was recovered: what was lost."""
PLACES_NOTED_MAX = 16
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Recovery(NamedTuple):
    """What was recovered of a file, and what was not."""

    source_sha256: bytes
    source_size_bytes: int
    is_closed: bool
    """False if the end of the file is missing, which only repeats what stands before it."""
    ends_early: bool
    """True if the file ends before its recorder had written all: what it had not, or what was cut off with the end, cannot be known."""
    message_count: int
    """Recovered."""
    lost_message_count: int | None
    """Messages that the file tells of and does not hold, None if it does not tell of all."""
    lost_bytes: int
    """Bytes of the file that were of no use."""
    place_count: int
    places: Sequence[Place]
    """The first of them."""

    @property
    def is_whole(self) -> bool:
        """True if nothing is wrong with the file."""
        return self.is_closed and not self.ends_early and not self.place_count


def recover(source: Path, target: Path, program: str) -> Recovery:
    """Write what can be read of `source` to the new file `target`; blocks. `program` is told in it as what did that.

    Raises `FileUnreadableError`, `McapEmptyError`, `NotMcapError`, `McapUnrecoverableError` if there is nothing, `RecoveryUnverifiedError`,
    `TargetFullError`, `TargetTakenError`. Nothing is left of `target` then.
    """
    with _opened(source) as file:
        out = _created(target)
        try:
            with out:
                recovery, written = _take(file, source, out, program)
                out.flush()
                os.fsync(out.fileno())
            _read_back(target, written)
        except BaseException as error:
            target.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in _FULL:
                raise TargetFullError(f"no space to write {target}: {error.strerror}", fix="free some space, or name another folder") from error
            raise
    return recovery


def examine(source: Path) -> Recovery:
    """What `recover` would tell, without writing anything; blocks. Raises as it does."""
    with _opened(source) as file, Path(os.devnull).open("wb") as nowhere:
        return _take(file, source, nowhere, "")[0]


def _opened(source: Path) -> BinaryIO:
    """The file, which begins like an MCAP file."""
    try:
        number = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # A pipe without a writer would hold up the reader for ever.
    except OSError as error:
        raise FileUnreadableError(f"{source} cannot be read: {error.strerror}", fix="check the path and its permissions") from error
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise FileUnreadableError(f"{source} is no regular file", fix="name an MCAP file")
    file = os.fdopen(number, "rb")
    begins = file.read(len(MAGIC))
    if not begins:
        file.close()
        raise McapEmptyError(f"{source} is empty", fix="leave it out; nothing was recorded in it")
    if begins == MAGIC:
        return file
    file.close()
    if MAGIC.startswith(begins):
        raise McapUnrecoverableError(f"{source} ends within its first bytes: nothing of it can be read", fix="leave it out")
    raise NotMcapError(f"{source} is not an MCAP file", fix="convert it first, for example with `ros2 bag convert`")


def _created(target: Path) -> BinaryIO:
    try:
        return target.open("xb")
    except FileExistsError as error:
        raise TargetTakenError(f"{target} exists", fix="choose another name: nothing is overwritten") from error
    except OSError as error:
        raise FileUnreadableError(f"{target} cannot be written: {error.strerror}", fix="check the path and its permissions") from error


def _take(file: BinaryIO, source: Path, out: BinaryIO, program: str) -> tuple[Recovery, Written]:
    """One pass: what became of it, and what must be in the new file."""
    taking = Taking(file, program)
    writing = taking.run(out)
    losses, count = taking.losses, writing.message_count
    lost = losses.messages
    if taking.statistics is not None and taking.statistics.message_count >= count:
        lost = taking.statistics.message_count - count
    places = tuple(losses.places)
    facts = (taking.is_closed, taking.ends_early, count, lost, losses.bytes, losses.place_count, places)
    recovery = Recovery(_sha256(taking), taking.size, *facts)
    if not writing.holds_anything and not recovery.is_whole:
        raise McapUnrecoverableError(f"{source}: nothing of it can be read", fix="leave it out, or take it once more from where it was recorded")
    writing.note(METADATA_NAME, _note(recovery, program))
    return recovery, writing.finish()


def _sha256(taking: Taking) -> bytes:
    hasher, position = new_sha256(), 0
    while part := taking.read(position, STEP):
        hasher.update(part)
        position += len(part)
    return hasher.digest()


def _note(recovery: Recovery, program: str) -> dict[str, str]:
    """What the new file says of where it came from. Metadata are text."""
    places = [place._asdict() for place in recovery.places[:PLACES_NOTED_MAX]]
    return {
        "recovered_by": program,
        "source_sha256": recovery.source_sha256.hex(),
        "source_size_bytes": str(recovery.source_size_bytes),
        "messages_recovered": str(recovery.message_count),
        "messages_lost": "unknown" if recovery.lost_message_count is None else str(recovery.lost_message_count),
        "bytes_lost": str(recovery.lost_bytes),
        "ends_early": "yes" if recovery.ends_early else "no",
        "places": json.dumps(places),
        "place_count": str(recovery.place_count),
    }


def _read_back(target: Path, written: Written) -> None:
    """Read the new file as anybody would. Raises `RecoveryUnverifiedError` unless it holds exactly what was written."""
    with target.open("rb") as file:
        hasher = new_blake3()
        while part := file.read(STEP):
            hasher.update(part)
        if hasher.digest() != written.file_hash:
            raise _unverified(target)
        file.seek(0)
        found = _Found()
        try:
            for record in StreamReader(file, emit_chunks=True, validate_crcs=True, record_size_limit=2 * RECORD_SIZE_MAX).records:
                found.take(record)
            count = read_index(target).message_count
        except (*DAMAGED, RuntimeError, MemoryError, McapTruncatedError) as error:
            raise _unverified(target) from error
    if (found.written(hasher.digest()), count) != (written, written.message_count):
        raise _unverified(target)


def _unverified(target: Path) -> RecoveryUnverifiedError:
    return RecoveryUnverifiedError(f"what was written to {target} is not what is read from it", fix="check the disk, and try again on another one")


class _Found:
    """What is in the file that is read back."""

    def __init__(self) -> None:
        self._hash: Hasher = new_blake3()
        self._count = 0
        self._channels: dict[int, Channel] = {}
        self._schemas: dict[int, Schema] = {}
        self._metadata_count = 0
        self._attachment_count = 0

    def take(self, record: McapRecord) -> None:
        match record:
            case ChunkRecord():
                self._chunk(record)
            case Message():
                self._message(record)
            case Schema():
                self._schemas[record.id] = record
            case Channel():
                self._channels[record.id] = record
            case Metadata():
                self._metadata_count += 1
            case Attachment():
                self._attachment_count += 1
            case _:
                pass

    def _chunk(self, chunk: ChunkRecord) -> None:
        stream, size = get_chunk_data_stream(chunk, validate_crc=True)
        while stream.count < size:
            opcode, length = FRAME.unpack(stream.read(FRAME.size))
            content = ReadDataStream(BytesIO(stream.read(length)))  # It may be longer than what is known of it here.
            if opcode == Opcode.MESSAGE:
                self._message(Message.read(content, length))
            elif opcode == Opcode.SCHEMA:
                self.take(Schema.read(content))
            elif opcode == Opcode.CHANNEL:
                self.take(Channel.read(content))

    def _message(self, message: Message) -> None:
        if message.channel_id not in self._channels:
            raise ValueError("a message of a channel that is not there")
        head = MESSAGE.pack(message.channel_id, message.sequence, message.log_time, message.publish_time)
        self._hash.update(FRAME.pack(Opcode.MESSAGE, len(head) + len(message.data)) + head)
        self._hash.update(message.data)
        self._count += 1

    def written(self, file_hash: bytes) -> Written:
        counts = (self._metadata_count, self._attachment_count)
        return Written(self._count, self._hash.digest(), self._channels, self._schemas, *counts, file_hash)
