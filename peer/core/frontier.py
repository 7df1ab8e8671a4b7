"""Frontiers: what a peer holds of each log, one entry per branch. Two peers compare frontiers, never local positions."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from peer.core.identity import EventId, LogId


class Tip(NamedTuple):
    """The last event of a branch. `height` = seq + 1, the number of events of the branch."""

    height: int
    event_id: EventId


Tips = tuple[Tip, ...]
"""The tips of one log, lowest first, nearly always one."""


def sorted_tips(tips: Iterable[Tip]) -> Tips:
    """Tips in the one order that is written and compared."""
    return tuple(sorted(set(tips)))


def extend_tips(tips: Tips, previous: bytes, last: Tip) -> Tips:
    """The tips after a run that follows the event `previous` and ends at `last`: a branch grows, or a new one appears beside the others."""
    return sorted_tips([*(tip for tip in tips if tip.event_id != previous), last])


def height(tips: Tips) -> int:
    """Height of the highest branch, 0 for a log that is not held."""
    return max((tip.height for tip in tips), default=0)


def events_held(frontier: Mapping[LogId, Tips]) -> int:
    """How many events are held, exact without forks: the sum of the heights."""
    return sum(height(tips) for tips in frontier.values())


def events_between(tips: Tips, above: Tips) -> int:
    """How many more events `above` has on its highest branch: an estimate for people, exact without forks."""
    return max(0, height(above) - height(tips))
