"""What a hub told, kept on disk so that a dead hub changes nothing, also after a restart. It is read as carefully as what the hub itself answers."""

import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

from resolver.hub_answers import PEERS_MAX, Described, ListedPeer, described_form, is_hive, is_id, listed_form, read_described, read_listed

FORMAT = 1
CACHE_SIZE_MAX = 4 * 1024 * 1024
JOINED_MAX = 256


class Seen(NamedTuple):
    """A peer that the hub lists, with what it says of itself once it was asked."""

    listed: ListedPeer
    described: Described | None
    looked_s: float
    """When its description was asked for, by a steady clock; minus infinity if not in this run."""


class Kept(NamedTuple):
    """What is kept."""

    swarm: str | None
    """What this site is at the hub."""
    joined: frozenset[str]
    """The hives that it has joined there by itself."""
    seen: Sequence[Seen]


class CacheFile(NamedTuple):
    """Where it is kept."""

    load: Callable[[], bytes | None]
    save: Callable[[bytes], None]
    """Durable when it returns; does without where the disk is full."""


NOTHING = Kept(None, frozenset(), ())


def write_kept(hub: str, kept: Kept) -> bytes:
    """For the hub at this address."""
    seen = [
        {"listed": listed_form(each.listed), "described": described_form(each.described)}
        for each in kept.seen[:PEERS_MAX]
        if each.described is not None
    ]
    document = {"format": FORMAT, "hub": hub, "swarm": kept.swarm, "joined": sorted(kept.joined), "seen": seen}
    return (json.dumps(document, indent=1) + "\n").encode()


def read_kept(data: bytes | None, hub: str) -> Kept:
    """Nothing if it is damaged, or of another hub."""
    try:
        document = json.loads(data[:CACHE_SIZE_MAX]) if data else None
    except (ValueError, RecursionError):
        return NOTHING
    match document:
        case {"format": 1, "hub": str(url), "swarm": swarm, "joined": list(joined), "seen": list(seen)} if url == hub:
            found = (_read_seen(each) for each in seen[:PEERS_MAX])
            return Kept(
                swarm if isinstance(swarm, str) and is_id(swarm) else None,
                frozenset(each for each in joined[:JOINED_MAX] if is_hive(each)),
                tuple(each for each in found if each is not None),
            )
        case _:
            return NOTHING


def _read_seen(value: object) -> Seen | None:
    if not isinstance(value, dict):
        return None
    listed, described = read_listed(value.get("listed")), read_described(value.get("described"))
    return None if listed is None or described is None else Seen(listed._replace(online=None), described, float("-inf"))
