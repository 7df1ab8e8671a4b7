"""The messages of a link: one deterministic CBOR array per frame, its first item the message's name, the rest its fields in order.

Decoding checks types and sizes and nothing else; what a message may mean when is the session's matter.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from peer.core.certificate import CERTIFICATE_SIZE_MAX
from peer.core.encoding import Value, decode, encode
from peer.core.event import HEADER_SIZE_MAX
from peer.core.frontier import Tip, Tips
from peer.core.group import GENESIS_SIZE_MAX
from peer.core.identity import ID_SIZE, NONCE_SIZE, PUBLIC_KEY_SIZE, SIGNATURE_SIZE, EventId, GroupId, LogId, PeerId
from peer.core.names import is_name
from peer.core.run import RUN_EVENTS_MAX
from peer.errors import LimitExceededError, MalformedFrameError, NotCanonicalError
from peer.sync import limits

INCARNATION_SIZE = 16
VERSIONS_MAX = 16
GRANT_MAX = 2**40
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Hello(NamedTuple):
    """Who I claim to be. Both sides send one, the dialler first."""

    versions: tuple[int, ...]
    peer: PeerId
    nonce: bytes
    incarnation: bytes
    """Renewed when this peer may have become two: 16 bytes."""
    process: bytes
    """Renewed at each start: 16 bytes."""
    name: str
    record: bytes
    """A signed peer record that says where I can be dialled; empty if nowhere."""


class Proof(NamedTuple):
    """My signature over both hellos. The listener proves itself first."""

    signature: bytes
    joining: bool
    """True if a `join` follows from somebody who is in no group of yours yet."""


class Join(NamedTuple):
    """Let me in: I hold the key of this invitation."""

    group: GroupId
    key: bytes
    signature: bytes
    name: str


class Joined(NamedTuple):
    """You are in; this is how the group began."""

    group: GroupId
    genesis: bytes


class LogEntry(NamedTuple):
    """What I hold of one log."""

    log: LogId
    certificate: bytes
    """Empty where I sent it before on this link."""
    tips: Tips


class Have(NamedTuple):
    """What I hold, durably. The first of a group on a link is complete, in one or more frames; later ones name what changed."""

    group: GroupId
    complete: bool
    more: bool
    logs: tuple[LogEntry, ...]


class Want(NamedTuple):
    """Send me what you have of this log beyond these positions, now and as it comes."""

    group: GroupId
    log: LogId
    positions: tuple[EventId, ...]
    search: bool
    """True if the positions are my ids at tip, tip-1, -2, -4 ... 0, for you to find the highest that we share."""


class Unwant(NamedTuple):
    """Send me no more of this log: tell me your tips only."""

    group: GroupId
    log: LogId


class Unknown(NamedTuple):
    """I do not hold the positions that you want this log from: search."""

    group: GroupId
    log: LogId


class Events(NamedTuple):
    """One run."""

    group: GroupId
    log: LogId
    signature: bytes
    events: tuple[tuple[bytes, bytes], ...]
    """Header and body of each."""


class Rejected(NamedTuple):
    """A run of yours was not stored: nothing after it will be, from you."""

    group: GroupId
    log: LogId
    code: str


class Credit(NamedTuple):
    """You may send so many more bytes of `events` frames: I stored those before."""

    size: int


class Ping(NamedTuple):
    """Asks whether they are there."""

    number: int


class Pong(NamedTuple):
    """Answers that."""

    number: int


class Error(NamedTuple):
    """Why I close the link, or, with a group, why I do not speak about it."""

    code: str
    text: str
    group: bytes


Message = Hello | Proof | Join | Joined | Have | Want | Unwant | Unknown | Events | Rejected | Credit | Ping | Pong | Error


def encode_message(message: Message) -> bytes:
    """The frame for `message`."""
    match message:
        case Hello():
            fields: list[object] = ["hello", list(message.versions), *message[1:]]
        case Have(group, complete, more, logs):
            entries = [[entry.log, entry.certificate, [list(tip) for tip in entry.tips]] for entry in logs]
            fields = ["have", group, complete, more, entries]
        case Want(group, log, positions, search):
            fields = ["want", group, log, list(positions), search]
        case Events(group, log, signature, events):
            fields = ["events", group, log, signature, [[header, body] for header, body in events]]
        case _:
            fields = [_NAMES[type(message)], *message]
    return encode(fields)


def decode_message(frame: bytes) -> Message:
    """The message in `frame`. Raises `MalformedFrameError` or `LimitExceededError`."""
    if len(frame) > limits.FRAME_SIZE_MAX:
        raise LimitExceededError(f"a frame of {len(frame)} bytes; {limits.FRAME_SIZE_MAX} are allowed")
    try:
        fields = decode(frame, depth_max=limits.FRAME_DEPTH_MAX)
    except NotCanonicalError as error:
        raise MalformedFrameError(f"a frame that is {error.text}") from error
    if not isinstance(fields, list) or not fields or not isinstance(fields[0], str) or fields[0] not in _READERS:
        raise MalformedFrameError("a frame without a known message name")
    count, read = _READERS[fields[0]]
    if len(fields) != count + 1:
        raise MalformedFrameError(f"a {fields[0]} message with {len(fields) - 1} fields instead of {count}")
    return read(fields[1:])


def _hello(fields: list[Value]) -> Hello:
    versions, peer, nonce, incarnation, process, name, record = fields
    listed = tuple(_whole(version) for version in _items(versions, VERSIONS_MAX))
    return Hello(
        listed,
        PeerId(_bytes(peer, PUBLIC_KEY_SIZE)),
        _bytes(nonce, NONCE_SIZE),
        _bytes(incarnation, INCARNATION_SIZE),
        _bytes(process, INCARNATION_SIZE),
        _name(name),
        _bytes_up_to(record, limits.RECORD_SIZE_MAX),
    )


def _proof(fields: list[Value]) -> Proof:
    return Proof(_bytes(fields[0], SIGNATURE_SIZE), _flag(fields[1]))


def _join(fields: list[Value]) -> Join:
    group, key, signature, name = fields
    return Join(_group(group), _bytes(key, PUBLIC_KEY_SIZE), _bytes(signature, SIGNATURE_SIZE), _name(name))


def _joined(fields: list[Value]) -> Joined:
    return Joined(_group(fields[0]), _bytes_up_to(fields[1], GENESIS_SIZE_MAX))


def _have(fields: list[Value]) -> Have:
    group, complete, more, logs = fields
    return Have(_group(group), _flag(complete), _flag(more), tuple(_log_entry(entry) for entry in _items(logs, limits.HAVE_LOGS_MAX)))


def _log_entry(value: Value) -> LogEntry:
    log, certificate, tips = _tuple_of(value, 3)
    listed = tuple(_tip(tip) for tip in _items(tips, limits.TIPS_PER_LOG_MAX))
    if not listed or list(listed) != sorted(set(listed)):
        raise MalformedFrameError("tips that are missing, repeated or out of order")
    return LogEntry(_log(log), _bytes_up_to(certificate, CERTIFICATE_SIZE_MAX), listed)


def _tip(value: Value) -> Tip:
    height, event_id = _tuple_of(value, 2)
    if _whole(height) < 1:
        raise MalformedFrameError("a tip of height 0")
    return Tip(_whole(height), EventId(_bytes(event_id, ID_SIZE)))


def _want(fields: list[Value]) -> Want:
    group, log, positions, search = fields
    ids = tuple(EventId(_bytes(position, ID_SIZE)) for position in _items(positions, limits.POSITIONS_MAX))
    return Want(_group(group), _log(log), ids, _flag(search))


def _unwant(fields: list[Value]) -> Unwant:
    return Unwant(_group(fields[0]), _log(fields[1]))


def _unknown(fields: list[Value]) -> Unknown:
    return Unknown(_group(fields[0]), _log(fields[1]))


def _events(fields: list[Value]) -> Events:
    group, log, signature, events = fields
    pairs = []
    for event in _items(events, RUN_EVENTS_MAX):
        header, body = _tuple_of(event, 2)
        if not isinstance(body, bytes):
            raise MalformedFrameError("an event body that is not bytes")
        pairs.append((_bytes_up_to(header, HEADER_SIZE_MAX), body))
    if not pairs:
        raise MalformedFrameError("a run without events")
    return Events(_group(group), _log(log), _bytes(signature, SIGNATURE_SIZE), tuple(pairs))


def _rejected(fields: list[Value]) -> Rejected:
    group, log, code = fields
    return Rejected(_group(group), _log(log), _code(code))


def _credit(fields: list[Value]) -> Credit:
    size = _whole(fields[0])
    if not 0 < size <= GRANT_MAX:
        raise MalformedFrameError("a grant of credit that is out of range")
    return Credit(size)


def _ping(fields: list[Value]) -> Ping:
    return Ping(_whole(fields[0]))


def _pong(fields: list[Value]) -> Pong:
    return Pong(_whole(fields[0]))


def _error(fields: list[Value]) -> Error:
    code, text, group = fields
    if group != b"":
        _group(group)
    assert isinstance(group, bytes)
    return Error(_code(code), _text(text), group)


_READERS: Mapping[str, tuple[int, Callable[[list[Value]], Message]]] = {
    "hello": (7, _hello),
    "proof": (2, _proof),
    "join": (4, _join),
    "joined": (2, _joined),
    "have": (4, _have),
    "want": (4, _want),
    "unwant": (2, _unwant),
    "unknown": (2, _unknown),
    "events": (4, _events),
    "rejected": (3, _rejected),
    "credit": (1, _credit),
    "ping": (1, _ping),
    "pong": (1, _pong),
    "error": (3, _error),
}

_NAMES: Mapping[type, str] = {
    Proof: "proof",
    Join: "join",
    Joined: "joined",
    Unwant: "unwant",
    Unknown: "unknown",
    Rejected: "rejected",
    Credit: "credit",
    Ping: "ping",
    Pong: "pong",
    Error: "error",
}


def _items(value: Value, count_max: int) -> list[Value]:
    if not isinstance(value, list):
        raise MalformedFrameError("a field that is not an array")
    if len(value) > count_max:
        raise LimitExceededError(f"an array of {len(value)} items; {count_max} are allowed")
    return value


def _tuple_of(value: Value, count: int) -> list[Value]:
    if not isinstance(value, list) or len(value) != count:
        raise MalformedFrameError(f"a field that is not an array of {count}")
    return value


def _bytes(value: Value, size: int) -> bytes:
    if not isinstance(value, bytes) or len(value) != size:
        raise MalformedFrameError(f"a field that is not {size} bytes")
    return value


def _bytes_up_to(value: Value, size_max: int) -> bytes:
    if not isinstance(value, bytes):
        raise MalformedFrameError("a field that is not bytes")
    if len(value) > size_max:
        raise LimitExceededError(f"a field of {len(value)} bytes; {size_max} are allowed")
    return value


def _group(value: Value) -> GroupId:
    return GroupId(_bytes(value, ID_SIZE))


def _log(value: Value) -> LogId:
    return LogId(_bytes(value, ID_SIZE))


def _flag(value: Value) -> bool:
    if not isinstance(value, bool):
        raise MalformedFrameError("a field that is not true or false")
    return value


def _whole(value: Value) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MalformedFrameError("a field that is not a whole number")
    return value


def _text(value: Value) -> str:
    if not isinstance(value, str) or len(value) > limits.TEXT_CHARACTERS_MAX:
        raise MalformedFrameError("a field that is not a short text")
    return value


def _code(value: Value) -> str:
    if not isinstance(value, str) or not _CODE.fullmatch(value):
        raise MalformedFrameError("a field that is not a code")
    return value


def _name(value: Value) -> str:
    if not isinstance(value, str) or not is_name(value):
        raise MalformedFrameError("a field that is not a name")
    return value
