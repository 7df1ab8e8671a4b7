"""Consecutive events of one log, read together: half of the work of reading them one by one, which decides in every case of doubt.

All headers are decoded as one array and looked at column by column. Nothing is accepted here that `read_event` and `check_follows` refuse: where a
column is not as nearly always, the events are read one by one, and what is wrong is named there.
"""

import itertools
from collections.abc import Iterator, Sequence
from operator import lt
from typing import NamedTuple

from peer.core.encoding import array_head, decode_shallow, head_size
from peer.core.event import (
    BODY_SIZE_MAX,
    EVENT_VERSION,
    HEADER_FIELDS,
    HEADER_SIZE_MAX,
    ID_FIELD_SIZE,
    REFS_MAX,
    TYPE_BYTES_MAX,
    UINT64_MAX,
    Event,
    Header,
    read_event,
)
from peer.core.hashing import event_hash_each, hash_each
from peer.core.identity import ID_SIZE, EventId
from peer.errors import NotCanonicalError

TOGETHER_MIN = 3
"""Fewer events are read one by one."""


class _Columns(NamedTuple):
    """The fields of headers, field by field."""

    versions: tuple[int, ...]
    groups: tuple[bytes, ...]
    logs: tuple[bytes, ...]
    seqs: tuple[int, ...]
    previous: tuple[bytes, ...]
    clocks: tuple[int, ...]
    types: tuple[str, ...]
    refs: tuple[list[bytes], ...]
    body_sizes: tuple[int, ...]
    body_hashes: tuple[bytes, ...]


_FIELD_TYPES = (int, bytes, bytes, int, bytes, int, str, list, int, bytes)
_BODY_HEADS = bytes(head_size(size) for size in range(BODY_SIZE_MAX + 1))


def read_chain(parts: Sequence[tuple[bytes, bytes]]) -> list[Event]:
    """The events with these headers and bodies, as `read_event` gives them, each following the one before.

    Raises what `read_event` and `check_follows` raise.
    """
    events = _read_together(parts) if len(parts) >= TOGETHER_MIN else None
    if events is None:
        events = [read_event(*part) for part in parts]
        for before, event in itertools.pairwise(events):
            event.check_follows(before)
    return events


def _read_together(parts: Sequence[tuple[bytes, bytes]]) -> list[Event] | None:
    """The events, None where it takes a closer look to tell."""
    headers, bodies = zip(*parts, strict=True)
    rows = _decode(headers)
    if rows is None:
        return None
    fields = tuple(zip(*rows, strict=True))
    if any(set(map(type, field)) != {expected} for field, expected in zip(fields, _FIELD_TYPES, strict=True)):
        return None
    columns = _Columns(*fields)
    ids = [*map(EventId, event_hash_each(headers))]
    if not (_are_in_range(columns) and _are_linked(columns, ids, bodies) and _sizes(columns) == list(map(len, headers))):
        return None
    return list(map(Event, _headers(columns, ids), headers, ids, bodies))


def _headers(columns: _Columns, ids: Sequence[EventId]) -> Iterator[Header]:
    """The headers. What they have in common is there once in memory: of a third of their bytes there were as many copies as events."""
    same: dict[str, str] = {}
    shared = columns._replace(
        groups=(columns.groups[0],) * len(ids),
        logs=(columns.logs[0],) * len(ids),
        previous=(columns.previous[0], *ids[:-1]),
        types=tuple(same.setdefault(each, each) for each in columns.types),
    )
    return map(Header._make, zip(*shared, strict=True))


def _decode(headers: Sequence[bytes]) -> list[list[object]] | None:
    if max(map(len, headers)) > HEADER_SIZE_MAX:
        return None
    try:
        rows = decode_shallow(array_head(len(headers)) + b"".join(headers))
    except NotCanonicalError:
        return None
    is_table = type(rows) is list and set(map(type, rows)) == {list} and set(map(len, rows)) == {HEADER_FIELDS}
    return rows if is_table else None  # type: ignore[return-value]


def _are_in_range(columns: _Columns) -> bool:
    """Whether each value is one that its field may have. What `_are_linked` compares with something sound need not be looked at."""
    refs = list(itertools.chain.from_iterable(columns.refs))
    return (
        set(columns.versions) == {EVENT_VERSION}
        and {len(each) for each in (columns.groups[0], columns.logs[0], columns.previous[0])} == {ID_SIZE}
        and 0 <= columns.seqs[0] <= columns.seqs[-1] < UINT64_MAX
        and 0 <= columns.clocks[0] <= columns.clocks[-1] <= UINT64_MAX
        and all(0 < len(each.encode()) <= TYPE_BYTES_MAX for each in set(columns.types))
        and max(columns.body_sizes) <= BODY_SIZE_MAX
        and max(map(len, columns.refs)) <= REFS_MAX
        and set(map(type, refs)) <= {bytes}
        and set(map(len, refs)) <= {ID_SIZE}
    )


def _are_linked(columns: _Columns, ids: Sequence[EventId], bodies: Sequence[bytes]) -> bool:
    """Whether each event follows the one before and has the body that it names."""
    count = len(ids)
    return (
        columns.groups.count(columns.groups[0]) == count
        and columns.logs.count(columns.logs[0]) == count
        and columns.seqs == tuple(range(columns.seqs[0], columns.seqs[0] + count))
        and list(columns.previous[1:]) == ids[:-1]
        and all(map(lt, columns.clocks, columns.clocks[1:]))
        and list(columns.body_sizes) == list(map(len, bodies))
        and list(columns.body_hashes) == hash_each(bodies)
    )


def _sizes(columns: _Columns) -> list[int]:
    """How long the headers are if each value is encoded as short as it can be; nothing where numbers get longer in between.

    No encoding of a value is shorter. So if each header has this length, none of them, decoded in one row, took bytes of the next one.
    """
    ends = (columns.seqs[0], columns.seqs[-1]), (columns.clocks[0], columns.clocks[-1])
    if any(head_size(low) != head_size(high) for low, high in ends):
        return []
    types = {each: head_size(len(each.encode())) + len(each.encode()) for each in set(columns.types)}
    same = 3 + head_size(columns.seqs[0]) + head_size(columns.clocks[0]) + 4 * ID_FIELD_SIZE  # As in `event._encoded_size`.
    return [
        same + types[type_] + _BODY_HEADS[size] + len(refs) * ID_FIELD_SIZE
        for type_, size, refs in zip(columns.types, columns.body_sizes, columns.refs, strict=True)
    ]
