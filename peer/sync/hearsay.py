"""The messages by which members hand on what third ones said of themselves: part of the vocabulary of `messages`."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from peer.core.encoding import Value
from peer.core.identity import GroupId
from peer.sync import limits
from peer.sync.fields import read_bytes_up_to, read_group, read_items, read_tuple, read_whole


class Records(NamedTuple):
    """Where members of this group can be dialled."""

    group: GroupId
    entries: tuple[tuple[bytes, int], ...]
    """Signed peer records, each with its TTL: how often it may still be passed on."""


class Sites(NamedTuple):
    """How members of this group are."""

    group: GroupId
    entries: tuple[tuple[bytes, int], ...]
    """Signed statuses, each with the number of links that it came over to the sender."""


def _read_entries(value: Value) -> tuple[tuple[bytes, int], ...]:
    found = []
    for entry in read_items(value, limits.NEIGHBOURS_MAX):
        data, number = read_tuple(entry, 2)
        found.append((read_bytes_up_to(data, limits.RECORD_SIZE_MAX), read_whole(number)))
    return tuple(found)


def _records(fields: list[Value]) -> Records:
    return Records(read_group(fields[0]), _read_entries(fields[1]))


def _sites(fields: list[Value]) -> Sites:
    return Sites(read_group(fields[0]), _read_entries(fields[1]))


HEARSAY_READERS: Mapping[str, tuple[int, Callable[[list[Value]], Records | Sites]]] = {"records": (2, _records), "sites": (2, _sites)}
