"""Who takes a copy where a group wants more than there are. Pure.

Each site decides for itself alone, and all in the same way, from what all know: the roster, what sites said they hold, and how much room each says it
has. So the same sites are chosen everywhere, without a word about it. A hash of site and recording gives each recording an order of its own: copies
spread, and where a site goes only what it was chosen for moves to others.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from peer.core.hashing import hash_bytes
from peer.core.identity import EventId, PeerId

MARGIN_BYTES = 64 * 1024 * 1024
"""What a site must have room for beside a copy: others are chosen at the same time, and everybody's numbers are a little old."""


class Lacking(NamedTuple):
    """A recording of which there are too few copies."""

    recording: EventId
    size: int
    """Of all its files."""
    holders: Collection[PeerId]
    """Members that hold all of it."""
    wanted: int


def takers(lacking: Lacking, room: Mapping[PeerId, int], more: int = 0) -> list[PeerId]:
    """Who is to take a copy now, of the sites that were heard lately, with the bytes that each has room for.

    `more` sites beside those that are needed, where the ones before them did not do it for long.
    """
    needed = lacking.wanted - len(lacking.holders)
    if needed <= 0:
        return []
    able = [peer for peer, free in room.items() if peer not in lacking.holders and free >= lacking.size + MARGIN_BYTES]
    return sorted(able, key=lambda peer: place(lacking.recording, peer))[: needed + more]


def place(recording: EventId, peer: PeerId) -> bytes:
    """Where a site stands in the order of a recording."""
    return hash_bytes(recording + peer)
