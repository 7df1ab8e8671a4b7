"""The messages of a link: one deterministic CBOR array per frame, its first item the message's name, the rest its fields in order.

Decoding checks types and sizes and nothing else; what a message may mean when is the session's matter.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from peer.core.certificate import CERTIFICATE_SIZE_MAX
from peer.core.encoding import Value, decode, encode
from peer.core.event import HEADER_SIZE_MAX
from peer.core.frontier import Tip, Tips
from peer.core.identity import ID_SIZE, NONCE_SIZE, PUBLIC_KEY_SIZE, SIGNATURE_SIZE, EventId, GroupId, LogId, PeerId
from peer.core.run import RUN_EVENTS_MAX
from peer.errors import LimitExceededError, MalformedFrameError, NotCanonicalError
from peer.sync import limits
from peer.sync.blob_messages import BLOB_NAMES, BLOB_READERS, PossessionMessage, blob_fields
from peer.sync.blob_messages import BlobPart as BlobPart  # noqa: PLC0414
from peer.sync.blob_messages import BlobWant as BlobWant  # noqa: PLC0414
from peer.sync.blob_messages import Possession as Possession  # noqa: PLC0414
from peer.sync.blob_messages import PossessionWant as PossessionWant  # noqa: PLC0414
from peer.sync.blob_messages import RoundsEnded as RoundsEnded  # noqa: PLC0414
from peer.sync.blob_messages import RoundsWant as RoundsWant  # noqa: PLC0414
from peer.sync.digests import DIGEST_NAMES, DIGEST_READERS, digest_fields
from peer.sync.digests import DigestPart as DigestPart  # noqa: PLC0414
from peer.sync.digests import Digests as Digests  # noqa: PLC0414
from peer.sync.digests import DigestWant as DigestWant  # noqa: PLC0414
from peer.sync.fields import (
    read_bytes,
    read_bytes_up_to,
    read_code,
    read_flag,
    read_group,
    read_items,
    read_log,
    read_name,
    read_text,
    read_tuple,
    read_whole,
)
from peer.sync.hearsay import HEARSAY_READERS
from peer.sync.hearsay import Records as Records  # noqa: PLC0414
from peer.sync.hearsay import Sites as Sites  # noqa: PLC0414
from peer.sync.membership import MEMBERSHIP_NAMES, MEMBERSHIP_READERS
from peer.sync.membership import Guest as Guest  # noqa: PLC0414  (the messages are one vocabulary in two files)
from peer.sync.membership import Join as Join  # noqa: PLC0414
from peer.sync.membership import Joined as Joined  # noqa: PLC0414
from peer.sync.membership import JoinRefused as JoinRefused  # noqa: PLC0414
from peer.sync.membership import JoinRequest as JoinRequest  # noqa: PLC0414
from peer.sync.membership import Member as Member  # noqa: PLC0414
from peer.sync.membership import Offer as Offer  # noqa: PLC0414
from peer.sync.run_frames import read_run_frame

INCARNATION_SIZE = 16
VERSIONS_MAX = 16
GRANT_MAX = 2**40


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
    """True if a `join` follows."""
    groups: tuple[GroupId, ...] = ()
    """What the dialler wants to speak about. A listener, which does not know yet to whom it speaks, names nothing."""


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


Message = (
    Hello
    | Proof
    | Join
    | Joined
    | JoinRequest
    | JoinRefused
    | Guest
    | Member
    | Offer
    | Have
    | Want
    | Unwant
    | Unknown
    | Events
    | Rejected
    | Credit
    | BlobWant
    | BlobPart
    | PossessionMessage
    | Records
    | Sites
    | Digests
    | DigestWant
    | DigestPart
    | Ping
    | Pong
    | Error
)


def encode_message(message: Message) -> bytes:
    """The frame for `message`."""
    match message:
        case Hello():
            fields: list[object] = ["hello", list(message.versions), *message[1:]]
        case Proof(signature, joining, groups):
            fields = ["proof", signature, joining, list(groups)]
        case Have(group, complete, more, logs):
            entries = [[entry.log, entry.certificate, [list(tip) for tip in entry.tips]] for entry in logs]
            fields = ["have", group, complete, more, entries]
        case Want(group, log, positions, search):
            fields = ["want", group, log, list(positions), search]
        case Events(group, log, signature, events):
            fields = ["events", group, log, signature, [[header, body] for header, body in events]]
        case Records(group, entries) | Sites(group, entries):
            fields = [_NAMES[type(message)], group, [list(entry) for entry in entries]]
        case Digests() | DigestWant() | DigestPart():
            fields = [_NAMES[type(message)], *digest_fields(message)]
        case BlobWant() | BlobPart() | PossessionWant() | Possession() | RoundsWant() | RoundsEnded():
            fields = [_NAMES[type(message)], *blob_fields(message)]
        case _:
            fields = [_NAMES[type(message)], *message]
    return encode(fields)


def decode_message(frame: bytes) -> Message:
    """The message in `frame`. Raises `MalformedFrameError` or `LimitExceededError`."""
    if len(frame) > limits.FRAME_SIZE_MAX:
        raise LimitExceededError(f"a frame of {len(frame)} bytes; {limits.FRAME_SIZE_MAX} are allowed")
    run = read_run_frame(frame)
    if run is not None:
        return Events(*run)
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
    listed = tuple(read_whole(version) for version in read_items(versions, VERSIONS_MAX))
    return Hello(
        listed,
        PeerId(read_bytes(peer, PUBLIC_KEY_SIZE)),
        read_bytes(nonce, NONCE_SIZE),
        read_bytes(incarnation, INCARNATION_SIZE),
        read_bytes(process, INCARNATION_SIZE),
        read_name(name),
        read_bytes_up_to(record, limits.RECORD_SIZE_MAX),
    )


def _proof(fields: list[Value]) -> Proof:
    signature, joining, groups = fields
    named = tuple(read_group(group) for group in read_items(groups, limits.GROUPS_PER_LINK_MAX))
    return Proof(read_bytes(signature, SIGNATURE_SIZE), read_flag(joining), named)


def _have(fields: list[Value]) -> Have:
    group, complete, more, logs = fields
    return Have(read_group(group), read_flag(complete), read_flag(more), tuple(_log_entry(entry) for entry in read_items(logs, limits.HAVE_LOGS_MAX)))


def _log_entry(value: Value) -> LogEntry:
    log, certificate, tips = read_tuple(value, 3)
    listed = tuple(_tip(tip) for tip in read_items(tips, limits.TIPS_PER_LOG_MAX))
    if not listed or list(listed) != sorted(set(listed)):
        raise MalformedFrameError("tips that are missing, repeated or out of order")
    return LogEntry(read_log(log), read_bytes_up_to(certificate, CERTIFICATE_SIZE_MAX), listed)


def _tip(value: Value) -> Tip:
    height, event_id = read_tuple(value, 2)
    if read_whole(height) < 1:
        raise MalformedFrameError("a tip of height 0")
    return Tip(read_whole(height), EventId(read_bytes(event_id, ID_SIZE)))


def _want(fields: list[Value]) -> Want:
    group, log, positions, search = fields
    ids = tuple(EventId(read_bytes(position, ID_SIZE)) for position in read_items(positions, limits.POSITIONS_MAX))
    return Want(read_group(group), read_log(log), ids, read_flag(search))


def _unwant(fields: list[Value]) -> Unwant:
    return Unwant(read_group(fields[0]), read_log(fields[1]))


def _unknown(fields: list[Value]) -> Unknown:
    return Unknown(read_group(fields[0]), read_log(fields[1]))


def _events(fields: list[Value]) -> Events:
    group, log, signature, events = fields
    pairs = []
    for event in read_items(events, RUN_EVENTS_MAX):
        header, body = read_tuple(event, 2)
        if not isinstance(body, bytes):
            raise MalformedFrameError("an event body that is not bytes")
        pairs.append((read_bytes_up_to(header, HEADER_SIZE_MAX), body))
    if not pairs:
        raise MalformedFrameError("a run without events")
    return Events(read_group(group), read_log(log), read_bytes(signature, SIGNATURE_SIZE), tuple(pairs))


def _rejected(fields: list[Value]) -> Rejected:
    group, log, code = fields
    return Rejected(read_group(group), read_log(log), read_code(code))


def _credit(fields: list[Value]) -> Credit:
    size = read_whole(fields[0])
    if not 0 < size <= GRANT_MAX:
        raise MalformedFrameError("a grant of credit that is out of range")
    return Credit(size)


def _ping(fields: list[Value]) -> Ping:
    return Ping(read_whole(fields[0]))


def _pong(fields: list[Value]) -> Pong:
    return Pong(read_whole(fields[0]))


def _error(fields: list[Value]) -> Error:
    code, text, group = fields
    if group != b"":
        read_group(group)
    assert isinstance(group, bytes)
    return Error(read_code(code), read_text(text), group)


_READERS: Mapping[str, tuple[int, Callable[[list[Value]], Message]]] = {
    "hello": (7, _hello),
    "proof": (3, _proof),
    **MEMBERSHIP_READERS,
    "have": (4, _have),
    "want": (4, _want),
    "unwant": (2, _unwant),
    "unknown": (2, _unknown),
    "events": (4, _events),
    "rejected": (3, _rejected),
    "credit": (1, _credit),
    **BLOB_READERS,
    **HEARSAY_READERS,
    **DIGEST_READERS,
    "ping": (1, _ping),
    "pong": (1, _pong),
    "error": (3, _error),
}

_NAMES: Mapping[type, str] = {
    **MEMBERSHIP_NAMES,
    Unwant: "unwant",
    Unknown: "unknown",
    Rejected: "rejected",
    Credit: "credit",
    **BLOB_NAMES,
    Records: "records",
    Sites: "sites",
    **DIGEST_NAMES,
    Ping: "ping",
    Pong: "pong",
    Error: "error",
}
