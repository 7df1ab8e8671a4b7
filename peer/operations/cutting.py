"""Cuts: up to where what somebody wrote keeps the role that it had."""

from collections.abc import AsyncIterator, Mapping, Sequence

from peer.core.clock import hlc_ms
from peer.core.control import POINTS_MAX, Point
from peer.core.event import Event
from peer.core.identity import EventId, GroupId, LogId, PeerId
from peer.core.interfaces import EventStore, GroupView

PAGE_BYTES = 1024 * 1024


async def full_cut(store: EventStore, group: GroupId, view: GroupView, peer: PeerId) -> list[Point]:
    """Points that leave everything of `peer` that is held here as it is: what counts and what does not.

    More than that was never seen here: should it come later, it counts as written after the decision.
    """
    logs = [log for log, certificate in view.certificates.items() if certificate.peer == peer]
    return _fitting([point for log in logs for point in await store.seal_points(group, log)])


async def cut_before(store: EventStore, group: GroupId, view: GroupView, peer: PeerId, since_ms: int) -> list[Point]:
    """Points that keep of `peer` what it says that it wrote before `since_ms`, as far as it counts now."""
    logs = [log for log, certificate in view.certificates.items() if certificate.peer == peer]
    return _fitting([point for log in logs for point in await _tips_before(store, group, log, since_ms)])


async def _tips_before(store: EventStore, group: GroupId, log: LogId, since_ms: int) -> list[Point]:
    """The last events of each branch whose clock is below `since_ms`. Clocks grow along a branch, so what they follow lies before it, too."""
    tips: dict[EventId, Event] = {}
    async for event in _events(store, group, log):
        if hlc_ms(event.header.hlc) < since_ms:
            tips.pop(EventId(event.header.previous), None)
            tips[event.id] = event
    return [Point(log, event.height, event.id) for event in tips.values()]


async def _events(store: EventStore, group: GroupId, log: LogId) -> AsyncIterator[Event]:
    """All events of `log` that count, each after the one before it."""
    seen: dict[EventId, None] = {}
    complete = False
    while not complete:
        page = await store.read_after(group, log, list(seen), PAGE_BYTES)
        for run in page.runs:
            seen.pop(EventId(run.first.header.previous), None)
            seen[run.last.id] = None
            for event in run.events:
                yield event
        complete = page.complete or not page.runs


def _fitting(points: Sequence[Point]) -> list[Point]:
    """As many as one decision can name, those of the longest logs first: what is left out is told before anything is written."""
    return sorted(sorted(points, key=lambda point: -point.height)[:POINTS_MAX])


def describe_left_out(left_out: Mapping[LogId, int]) -> list[dict[str, object]]:
    """For JSON, by log."""
    return [{"log": log.hex(), "events": count} for log, count in sorted(left_out.items())]
