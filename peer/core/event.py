"""Events: the signed entries of logs. Header bytes are stored, hashed, signed and relayed as they are, never encoded again.

A header is the array `[version, group, log, seq, previous, hlc, type, refs, body_size, body_hash]` of DESIGN section 3; the layout and every size
stand in `peer/sync/PROTOCOL.md`.
"""

from typing import NamedTuple

from peer.core.encoding import decode_shallow, decode_trusted, encode, head_size
from peer.core.hashing import event_hash, hash_bytes
from peer.core.identity import ID_SIZE, EventId, GroupId, LogId
from peer.errors import (
    BodyMismatchError,
    ClockNotIncreasingError,
    HeaderInvalidError,
    LogGapError,
    NotCanonicalError,
    VersionUnknownError,
    WrongLogError,
)

EVENT_VERSION = 1
TYPE_BYTES_MAX = 64
REFS_MAX = 16
BODY_SIZE_MAX = 65536
HEADER_SIZE_MAX = 1024
UINT64_MAX = 2**64 - 1
HEADER_FIELDS = 10
ID_FIELD_SIZE = head_size(ID_SIZE) + ID_SIZE
"""An id or hash as it is encoded."""


class Header(NamedTuple):
    """What an event says of itself and of its place."""

    version: int
    group: GroupId
    log: LogId
    seq: int
    previous: bytes
    """Id of the event before; at `seq` 0 the hash of the log certificate."""
    hlc: int
    """Hybrid logical clock: 48 bits of Unix time in ms, then 16 bits of counter."""
    type: str
    refs: list[EventId]
    """The writes of the same register that this one has seen and replaces."""
    body_size: int
    body_hash: bytes


class Event:
    """A header with its exact bytes, its id, and its body."""

    __slots__ = ("_header", "body", "header_bytes", "id")

    def __init__(self, header: Header | None, header_bytes: bytes, event_id: EventId, body: bytes) -> None:
        """Parts that belong together: see `read_event`, `link_event` and `held_event`, which make sure of it."""
        self._header = header
        self.header_bytes = header_bytes
        self.id = event_id
        self.body = body

    @property
    def header(self) -> Header:
        """What its header says. What only passes through, on its way from the own store to others, is not decoded."""
        header = self._header
        if header is None:
            header = self._header = Header(*decode_trusted(self.header_bytes))  # type: ignore[misc]
        return header

    def __repr__(self) -> str:
        """Enough to find it."""
        return f"Event({self.header.type} {self.header.log.hex()[:8]}:{self.header.seq} {self.id.hex()[:8]})"

    @property
    def height(self) -> int:
        """How many events its branch has, this one included."""
        return self.header.seq + 1

    @property
    def size(self) -> int:
        """Bytes of header and body."""
        return len(self.header_bytes) + len(self.body)

    def check_follows(self, before: "Event") -> None:
        """Raise unless this event directly follows `before`: same group and log, seq + 1, its id as previous, a greater clock."""
        check_follows(self.header, before.header, before.id)


def check_follows(header: Header, before: Header, before_id: EventId) -> None:
    """Raise `WrongLogError`, `LogGapError` or `ClockNotIncreasingError` unless `header` follows `before`."""
    if header.log != before.log or header.group != before.group:
        raise WrongLogError("an event of another log or group")
    if header.seq != before.seq + 1 or header.previous != before_id:
        raise LogGapError(f"event {header.seq} of log {header.log.hex()[:12]} does not follow {before.seq}")
    if header.hlc <= before.hlc:
        raise ClockNotIncreasingError(f"the clock of event {header.seq} of log {header.log.hex()[:12]} does not increase")


def read_header(data: bytes) -> Header:
    """The header in `data`. Raises `NotCanonicalError`, `HeaderInvalidError` or `VersionUnknownError`."""
    if len(data) > HEADER_SIZE_MAX:
        raise HeaderInvalidError(f"a header of {len(data)} bytes; {HEADER_SIZE_MAX} are allowed")
    fields = decode_shallow(data)
    if type(fields) is not list or not fields or type(fields[0]) is not int:
        raise HeaderInvalidError("an event header is an array that starts with its version")
    if fields[0] != EVENT_VERSION:
        raise VersionUnknownError(f"events of version {fields[0]} are not known here", fix="upgrade recmesh at this site")
    if len(fields) != HEADER_FIELDS:
        raise HeaderInvalidError(f"an event header of {len(fields)} fields instead of {HEADER_FIELDS}")
    header = Header._make(fields)
    _check_fields(header)
    if len(data) != _encoded_size(header):
        raise NotCanonicalError("not the deterministic CBOR encoding of its value")
    return header


def read_event(header_bytes: bytes, body: bytes) -> Event:
    """The event with these bytes: header well-formed, body of the size and hash that it promises. Chain and signature are the run's matter."""
    header = read_header(header_bytes)
    if len(body) != header.body_size or hash_bytes(body) != header.body_hash:
        raise BodyMismatchError(f"the body of event {header.seq} of log {header.log.hex()[:12]} is not the one that its header names")
    return Event(header, header_bytes, EventId(event_hash(header_bytes)), body)


def held_event(header_bytes: bytes, event_id: EventId, body: bytes) -> Event:
    """The event with these parts, out of the own store: it was checked when it came, and is not checked again."""
    return Event(None, header_bytes, event_id, body)


def link_event(  # noqa: PLR0913  (the fields of a header)
    *, group: GroupId, log: LogId, seq: int, previous: bytes, hlc: int, type_: str, refs: list[EventId], body: bytes
) -> Event:
    """A new event at this place of a log."""
    header = Header(EVENT_VERSION, group, log, seq, previous, hlc, type_, refs, len(body), hash_bytes(body))
    _check_fields(header)
    header_bytes = encode(list(header))
    return Event(header, header_bytes, EventId(event_hash(header_bytes)), body)


def _check_fields(header: Header) -> None:
    """Raise `HeaderInvalidError` unless every field has its type and size."""
    _, group, log, seq, previous, hlc, type_, refs, body_size, body_hash = header
    for value in (group, log, previous, body_hash):
        if type(value) is not bytes or len(value) != ID_SIZE:
            raise HeaderInvalidError("an id or hash in an event header that is not 32 bytes")
    for number, most in ((seq, UINT64_MAX - 1), (hlc, UINT64_MAX), (body_size, BODY_SIZE_MAX)):
        if type(number) is not int or not 0 <= number <= most:
            raise HeaderInvalidError("a number in an event header that is out of range")
    if type(type_) is not str or not type_ or len(type_.encode()) > TYPE_BYTES_MAX:
        raise HeaderInvalidError(f"an event type that is not 1 to {TYPE_BYTES_MAX} bytes of text")
    if type(refs) is not list or len(refs) > REFS_MAX:
        raise HeaderInvalidError(f"more than {REFS_MAX} refs in an event header")
    for ref in refs:
        if type(ref) is not bytes or len(ref) != ID_SIZE:
            raise HeaderInvalidError("a ref in an event header that is not 32 bytes")


def _encoded_size(header: Header) -> int:
    """How many bytes `encode` makes of a header with these fields, and nobody makes of it in fewer."""
    _, _, _, seq, _, hlc, type_, refs, body_size, _ = header
    type_size = len(type_.encode())
    heads = head_size(seq) + head_size(hlc) + head_size(type_size) + head_size(body_size)
    return 3 + heads + type_size + ID_FIELD_SIZE * (4 + len(refs))  # The array, the version and the array of refs: one byte each.
