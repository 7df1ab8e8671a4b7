"""Registers: everything about a recording that changes. A pure function of the set of writes to one register, in whatever order they came.

A write replaces those that its refs name. Among the writes that nobody replaced the highest (preference, rank, hlc, event id) wins; the others stay
visible as conflicts. Preference is what makes a present tag beat an absent one; rank is the author's role, so an owner wins over a concurrent write.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from peer.core.identity import EventId

FINALIZE = "finalize"
TAG_PREFIX = "tag:"


class Write(NamedTuple):
    """A write that counts: its author might make it."""

    preference: int
    rank: int
    hlc: int
    event_id: EventId
    refs: Collection[EventId]


class Standing(NamedTuple):
    """How the writes of a register stand to each other."""

    winner: EventId | None
    live: frozenset[EventId]
    """The winner, and those that conflict with it."""


def resolve(writes: Iterable[Write]) -> Standing:
    """Who wins, and who is still there, among all writes of one register."""
    known = list(writes)
    replaced = {ref for write in known for ref in write.refs if ref != write.event_id}
    live = [write for write in known if write.event_id not in replaced]
    if not live:
        return Standing(None, frozenset())
    return Standing(max(live, key=_height).event_id, frozenset(write.event_id for write in live))


def tag_register(tag: str) -> str:
    """The register of a tag within its recording."""
    return TAG_PREFIX + tag


def _height(write: Write) -> tuple[int, int, int, EventId]:
    return write.preference, write.rank, write.hlc, write.event_id
