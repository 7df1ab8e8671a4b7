"""Holds bytes of recordings to the limits that people set, both ways, over HTTP and links. Events pass by it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from enum import Enum, auto
from typing import NamedTuple, TypeVar

from peer.core.bandwidth import NO_LIMIT, Allotment, Limit, Timetable
from peer.core.counts import Count
from peer.core.identity import PeerId

Part = TypeVar("Part", bytes, memoryview)

LOOK_S = 10.0
"""So often it is looked whether the time of day brings another limit."""


class Way(Enum):
    """Which way bytes travel."""

    UP = auto()
    DOWN = auto()


class _Lane:
    """One way, with those who wait."""

    def __init__(self) -> None:
        self._allotment = Allotment()
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._alarm: asyncio.TimerHandle | None = None

    def set(self, of_all: int | None, of_peers: Mapping[PeerId, int]) -> None:
        """These rates hold from now on."""
        self._allotment.set(of_all, of_peers)
        self._pump()

    async def take(self, peer: PeerId, size: int, urgency: int) -> int:
        """Wait until some of `size` bytes may pass; how many."""
        if self._allotment.is_free(peer):
            return size
        number = self._allotment.ask(peer, size, urgency)
        waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        self._pump()
        try:
            return await waiting
        finally:
            self._allotment.forget(number)
            self._waiting.pop(number, None)

    def _pump(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        for number, size in self._allotment.due(time.monotonic_ns()):
            waiting = self._waiting[number]
            if not waiting.done():
                waiting.set_result(size)
        next_ns = self._allotment.next_ns()
        if next_ns is not None:
            delay_s = max(0, next_ns - time.monotonic_ns()) / 1_000_000_000
            self._alarm = asyncio.get_running_loop().call_later(delay_s, self._pump)


class Bandwidth:
    """The limits of this site."""

    def __init__(self) -> None:
        self.changes = 0
        """Another number whenever other rates hold."""
        self._passed = dict.fromkeys(Way, 0)
        self._lanes = {Way.UP: _Lane(), Way.DOWN: _Lane()}
        self._timetable: Timetable | None = None
        self._of_peers: Mapping[PeerId, Timetable] = {}
        self._held: tuple[Limit, Mapping[PeerId, Limit]] = (NO_LIMIT, {})

    @property
    def now(self) -> Limit:
        """What holds now, for all peers together."""
        return self._held[0]

    def set(self, timetable: Timetable | None, of_peers: Mapping[PeerId, Timetable]) -> None:
        """These limits hold from now on. Needs a running event loop."""
        self._timetable, self._of_peers = timetable, of_peers
        self._look()

    async def take(self, way: Way, peer: PeerId, size: int, urgency: int = 0) -> int:
        """Wait until some of `size` bytes may pass to or from `peer`; how many. The more urgent goes first."""
        passed = await self._lanes[way].take(peer, size, urgency)
        self._passed[way] += passed
        return passed

    def counts(self) -> Iterator[Count]:
        """What was let through, and how much may be."""
        for way, limit in ((Way.UP, self.now.up), (Way.DOWN, self.now.down)):
            label = {"way": way.name.lower()}
            yield Count("recording_bytes", "Bytes of recordings that were given or asked for.", self._passed[way], label, only_grows=True)
            if limit is not None:
                yield Count("limit_bytes_per_second", "How fast bytes of recordings may travel now.", limit, label)

    async def run(self) -> None:
        """Follow the time of day until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self._look()

    def _look(self) -> None:
        day = time.localtime()
        minute = day.tm_hour * 60 + day.tm_min
        limit = self._timetable.at(day.tm_wday, minute) if self._timetable is not None else NO_LIMIT
        of_peers = {peer: timetable.at(day.tm_wday, minute) for peer, timetable in self._of_peers.items()}
        if (limit, of_peers) == self._held:
            return
        self._held = limit, of_peers
        self.changes += 1
        self._lanes[Way.UP].set(limit.up, {peer: each.up for peer, each in of_peers.items() if each.up is not None})
        self._lanes[Way.DOWN].set(limit.down, {peer: each.down for peer, each in of_peers.items() if each.down is not None})


class Pacing(NamedTuple):
    """What holds for the reads of somebody."""

    bandwidth: Bandwidth
    urgency: int

    async def read(self, peer: PeerId, start: int, stop: int, read: Callable[[int, int], AsyncGenerator[Part, None]]) -> AsyncGenerator[Part, None]:
        """What `read` gives of the bytes `start` to `stop`, asked for in parts that the limits let through."""
        while start < stop:
            end = start + await self.bandwidth.take(Way.DOWN, peer, stop - start, self.urgency)
            changes = self.bandwidth.changes
            async with contextlib.aclosing(read(start, end)) as stream:
                async for part in stream:
                    start += len(part)
                    yield part
                    if self.bandwidth.changes != changes:
                        break  # What was asked for under other limits is asked for anew.
                else:
                    start = end
