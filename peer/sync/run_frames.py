"""Frames that carry runs, nearly all that crosses a link in a backfill: written and read in a half of the time that any message takes.

A frame that is not as nearly always is read as every other one is, and what is wrong with it is said there.
"""

from collections.abc import Iterable

from peer.core.encoding import array_head, bytes_head, decode_shallow, encode, head_size
from peer.core.event import HEADER_SIZE_MAX
from peer.core.identity import ID_SIZE, SIGNATURE_SIZE, GroupId, LogId
from peer.core.run import RUN_EVENTS_MAX, Run
from peer.errors import NotCanonicalError

NAME = "events"
FIELDS = 4
ID_SIZES = (ID_SIZE, ID_SIZE, SIGNATURE_SIZE)

_BEGIN = array_head(1 + FIELDS) + encode(NAME)
_PAIR = array_head(2)

Fields = tuple[GroupId, LogId, bytes, tuple[tuple[bytes, bytes], ...]]
"""Group, log, signature, and header and body of each event."""


def write_run_frame(group: GroupId, log: LogId, run: Run) -> bytes:
    """The frame that brings `run` to others: the message `events`."""
    pieces = [_BEGIN, encode(group), encode(log), encode(run.signature), array_head(len(run.events))]
    for event in run.events:
        header, body = event.header_bytes, event.body
        pieces += (_PAIR, bytes_head(len(header)), header, bytes_head(len(body)), body)
    return b"".join(pieces)


def read_run_frame(frame: bytes) -> Fields | None:
    """The fields of the message `events` in `frame`, None if this takes a closer look."""
    if not frame.startswith(_BEGIN):
        return None
    try:
        fields = decode_shallow(frame)
    except NotCanonicalError:
        return None
    assert type(fields) is list, "it begins like an array"
    _, *ids, rows = fields
    if any(type(each) is not bytes or len(each) != size for each, size in zip(ids, ID_SIZES, strict=True)) or not _is_table(rows):
        return None
    headers, bodies = zip(*rows, strict=True)
    if {*map(type, headers), *map(type, bodies)} != {bytes} or max(map(len, headers)) > HEADER_SIZE_MAX:
        return None
    if len(frame) != len(_BEGIN) + _size(ids) + head_size(len(rows)) + len(rows) * len(_PAIR) + _size(headers) + _size(bodies):
        return None  # Some length is written in more bytes than it takes, or something follows.
    group, log, signature = ids
    return group, log, signature, tuple(zip(headers, bodies, strict=True))


def _is_table(rows: object) -> bool:
    return type(rows) is list and 0 < len(rows) <= RUN_EVENTS_MAX and set(map(type, rows)) == {list} and set(map(len, rows)) == {2}


def _size(values: Iterable[bytes]) -> int:
    """How many bytes these take, each encoded as short as it can be."""
    lengths = list(map(len, values))
    return sum(lengths) + sum(map(head_size, lengths))
