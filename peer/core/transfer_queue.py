"""Which blobs are fetched next, and which of those under way make room. Pure: time is an argument, of a clock that never jumps.

Blobs of one kind (same group, same site that recorded them, same reason) share a lane, and one back-off: what keeps one of them from coming mostly
keeps the others. A more urgent reason goes first everywhere, and has a site's blobs to itself. Then comes what failed less often.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import NamedTuple

from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.packed_wishes import PackedWishes
from peer.core.wishes import PRIORITIES, Why, Wish
from peer.errors import BlobImpossibleError, BlobMismatchError, DiskFullError, MeshError

BACK_OFF_MS = (0, 5_000, 10_000, 20_000, 40_000, 60_000)
"""How long a lane waits after failures in a row; the last one for good. One success begins it anew."""

HINT_PAUSE_MS = 1_000
"""Who learns that something changed tries again after this long, whatever the back-off says."""

WRONG_TRIES_MAX = 12
"""A blob that came wrong from everybody who has it this often is given up."""


SLOW_MAX = 4
"""Blobs that hardly come may have so many places of their own, beside those for all others."""

SLOW_PER_SOURCE_MAX = 2
"""Of these, those that come from one peer."""


class Fault(Enum):
    """What is to become of a blob that did not arrive."""

    RETRY = auto()
    """Try again, later and later."""
    WRONG = auto()
    """The same, but not for ever: everybody who could be asked has other bytes."""
    TERMINAL = auto()
    """It can never arrive."""
    PAUSE_ALL = auto()
    """It does not fit here for now, nor does anything that is as large."""


def fault_of(error: MeshError) -> Fault:
    """What `error` means for the queue."""
    match error:
        case BlobImpossibleError():
            return Fault.TERMINAL
        case BlobMismatchError():
            return Fault.WRONG
        case DiskFullError():
            return Fault.PAUSE_ALL
        case _:
            return Fault.RETRY


class Lane(NamedTuple):
    """Blobs that share a back-off."""

    group: GroupId
    site: PeerId
    why: Why


class Step(NamedTuple):
    """What is to be done now."""

    start: list[Wish]
    stop: list[BlobId]


class _Entry(NamedTuple):
    """A waiting blob by its place in the order."""

    urgency: int
    """Of its reason, negative."""
    failures: int
    priority: int
    """Negative."""
    number: int
    blob: BlobId


class _Running(NamedTuple):
    lane: Lane
    started_ms: int
    size: int


@dataclass
class _Gate:
    """A back-off."""

    failures: int = 0
    closed_ms: int = -1
    opens_ms: int = 0

    def close(self, started_ms: int, now_ms: int) -> None:
        """Something that was begun then failed now; what was begun before the last failure is no further one."""
        if started_ms < self.closed_ms:
            return
        self.opens_ms = now_ms + BACK_OFF_MS[min(self.failures, len(BACK_OFF_MS) - 1)]
        self.failures += 1
        self.closed_ms = now_ms


class TransferQueue:
    """All blobs that are to come here and have not."""

    def __init__(self, running_max: int) -> None:
        """At most `running_max` are under way at once."""
        self.paused = False
        """True while nothing is to be fetched."""
        self.is_crowded = False
        """True while something waits, perhaps for what is under way."""
        self.bytes_wanted = 0
        """Of all that is wanted, whatever is here of it."""
        self._running_max = running_max
        self._wishes = PackedWishes()
        self._of: dict[EventId, BlobId | set[BlobId]] = {}
        """The only blob of a recording, mostly, or all of them."""
        self._held: set[BlobId] = set()
        self._running: dict[BlobId, _Running] = {}
        self._stopping: set[BlobId] = set()
        self._giving_way: set[BlobId] = set()
        """Those of them that hardly came."""
        self._now_ms = 0
        self._failures: dict[BlobId, int] = {}
        self._entries: dict[BlobId, _Entry] = {}
        self._lanes: defaultdict[Lane, list[_Entry]] = defaultdict(list)
        """Heaps; an entry that is not that of its blob any more is passed over."""
        self._gates: defaultdict[Lane, _Gate] = defaultdict(_Gate)
        self._all = _Gate()
        """For faults that keep everything from coming that is not smaller than `_too_large`."""
        self._too_large = 0
        self._number = 0
        self._numbers: dict[BlobId, int] = {}
        """In which order those were wanted that do not wait: what made room has its place back."""

    # What is wanted

    @property
    def wanted(self) -> Mapping[BlobId, Wish]:
        """What is wanted, also what is under way or held."""
        return self._wishes

    @property
    def recordings(self) -> Collection[EventId]:
        """Those of which something is wanted."""
        return self._of.keys()

    @property
    def running(self) -> Collection[BlobId]:
        """What is under way."""
        return self._running.keys()

    def blobs_of(self, recording: EventId) -> frozenset[BlobId]:
        """What is wanted of a recording."""
        found = self._of.get(recording, ())
        return frozenset(found if isinstance(found, AbstractSet | tuple) else [found])

    def want(self, wish: Wish) -> None:
        """Take a wish; one for the same blob gives way."""
        blob = wish.file.blob
        before = self._wishes.get(blob)
        if not self._wishes.put(wish):
            return
        if before is not None:
            self._forget_wish(before)
        its = self._of.setdefault(wish.file.recording, blob)
        if isinstance(its, set):
            its.add(blob)
        elif its != blob:
            self._of[wish.file.recording] = {its, blob}
        self.bytes_wanted += wish.file.size
        self._place(blob)

    def keep_only(self, blobs: AbstractSet[BlobId]) -> None:
        """Nothing else is wanted any more."""
        for blob in [blob for blob in self._wishes if blob not in blobs]:
            self.forget(blob)

    def forget(self, blob: BlobId) -> None:
        """It is not to come any more, or it is here."""
        wish = self._wishes.get(blob)
        if wish is not None:
            self._wishes.remove(blob)
            self._forget_wish(wish)
        self._entries.pop(blob, None)
        self._failures.pop(blob, None)
        self._numbers.pop(blob, None)

    def _forget_wish(self, wish: Wish) -> None:
        self.bytes_wanted -= wish.file.size
        its = self._of[wish.file.recording]
        if isinstance(its, set):
            its.discard(wish.file.blob)
        if not isinstance(its, set) or not its:
            del self._of[wish.file.recording]

    # What is let through

    def hold(self, blob: BlobId) -> None:
        """Do not fetch it, wanted or not."""
        self._held.add(blob)
        self._take(blob)

    def release(self, blob: BlobId) -> None:
        """It may be fetched again, as if it never failed."""
        self._held.discard(blob)
        self._failures.pop(blob, None)
        if blob in self._wishes:
            self._place(blob)

    def open_all(self) -> None:
        """Wait for nothing: try everything at once."""
        self._gates.clear()
        self._all = _Gate()

    def hint(self, blob: BlobId) -> None:
        """Something changed about it: perhaps somebody has it now."""
        wish = self._wishes.get(blob)
        gate = self._gates.get(_lane(wish)) if wish is not None else None
        if gate is not None:
            gate.opens_ms = min(gate.opens_ms, gate.closed_ms + HINT_PAUSE_MS)

    # What happens

    def step(self, now_ms: int, may_ask: Callable[[GroupId, PeerId], bool], slow: Mapping[BlobId, AbstractSet[str]] = MappingProxyType({})) -> Step:
        """What is to be begun, and what to be stopped. `may_ask` tells whether there is anybody to ask for blobs of a site in a group.

        `slow` is what hardly comes, and from whom: some of it keeps nobody from anything, and the rest makes room where somebody waits.
        """
        stop = [blob for blob in self._running if self.paused or blob in self._held or blob not in self._wishes]
        start: list[Wish] = []
        asked: dict[tuple[GroupId, PeerId], bool] = {}
        beside = self._slow_ones(slow)
        self._now_ms = now_ms
        while not self.paused:
            found = self._first(now_ms, (asked, may_ask), beside)
            if found is None:
                break
            lane, entry = found
            if len(self._running) - len(beside) >= self._running_max:
                giving_way = [blob for blob in slow if blob in self._running and blob not in beside and blob not in self._stopping]
                self._giving_way.update(giving_way)
                stop += giving_way or self._least_urgent(entry)
                break
            stop += self._beside(lane)
            self._take(entry.blob)
            wish = self._wishes[entry.blob]
            self._running[entry.blob] = _Running(lane, now_ms, wish.file.size)
            start.append(wish)
        self.is_crowded = bool(self._entries and self._running)
        new = [blob for blob in dict.fromkeys(stop) if blob not in self._stopping]
        self._stopping.update(new)
        return Step(start, new)

    def _slow_ones(self, slow: Mapping[BlobId, AbstractSet[str]]) -> set[BlobId]:
        """Those of what hardly comes that may go on in places of their own."""
        found: set[BlobId] = set()
        of_source: Counter[str] = Counter()
        for blob in self._running:
            sources = slow.get(blob, frozenset())
            if blob in slow and len(found) < SLOW_MAX and all(of_source[source] < SLOW_PER_SOURCE_MAX for source in sources):
                found.add(blob)
                of_source.update(sources)
        return found

    def arrived(self, blob: BlobId) -> None:
        """It is here."""
        running = self._end(blob)
        self._gates.pop(running.lane, None)
        if running.size >= self._too_large:
            self._all = _Gate()
        self.forget(blob)

    def failed(self, blob: BlobId, fault: Fault, now_ms: int) -> bool:
        """It did not arrive; whether it is given up."""
        running = self._end(blob)
        failures = self._failures.get(blob, 0) + 1
        if blob in self._wishes:
            self._failures[blob] = failures
        if fault is Fault.TERMINAL or (fault is Fault.WRONG and failures >= WRONG_TRIES_MAX):
            self.hold(blob)
            return True
        if fault is Fault.PAUSE_ALL:
            self._too_large = min(running.size, self._too_large) if now_ms < self._all.opens_ms else running.size
        gate = self._all if fault is Fault.PAUSE_ALL else self._gates[running.lane]
        gate.close(running.started_ms, now_ms)
        if blob in self._wishes:
            self._place(blob)
        return False

    def stopped(self, blob: BlobId) -> None:
        """It was stopped as `step` said, and goes on where it was when its time comes; what hardly came after all others."""
        is_slow = blob in self._giving_way
        running = self._end(blob)
        if is_slow and blob in self._wishes:
            self._failures[blob] = self._failures.get(blob, 0) + 1
        if blob in self._wishes:
            self._place(blob)
        if is_slow and all(entry.failures for entry in self._lanes.get(running.lane, ())):
            self._gates[running.lane].close(running.started_ms, self._now_ms)

    def opens_ms(self, now_ms: int) -> int | None:
        """When a back-off ends next; None if none does."""
        waiting = {lane for lane, entries in self._lanes.items() if entries}
        gates = [self._all, *(gate for lane, gate in self._gates.items() if lane in waiting)]
        return min((gate.opens_ms for gate in gates if gate.opens_ms > now_ms), default=None)

    def waiting(self, count: int) -> list[Wish]:
        """Some of those that wait for their turn, in order."""
        return [self._wishes[entry.blob] for entry in heapq.nsmallest(count, self._entries.values())]

    def _end(self, blob: BlobId) -> _Running:
        self._stopping.discard(blob)
        self._giving_way.discard(blob)
        return self._running.pop(blob)

    def _take(self, blob: BlobId) -> None:
        """It waits no more, and keeps its number."""
        entry = self._entries.pop(blob, None)
        if entry is not None:
            self._numbers[blob] = entry.number

    def _place(self, blob: BlobId) -> None:
        """Give a waiting blob its place in the order."""
        if blob in self._running or blob in self._held:
            return
        wish = self._wishes[blob]
        before = self._entries.get(blob)
        number = self._numbers.pop(blob, None) or (before.number if before is not None else self._number + 1)
        self._number = max(self._number, number)
        entry = _Entry(-PRIORITIES[wish.why], self._failures.get(blob, 0), -wish.priority, number, blob)
        self._entries[blob] = entry
        heapq.heappush(self._lanes[_lane(wish)], entry)

    def _first(
        self, now_ms: int, asking: tuple[dict[tuple[GroupId, PeerId], bool], Callable[[GroupId, PeerId], bool]], beside: AbstractSet[BlobId]
    ) -> tuple[Lane, _Entry] | None:
        """The first of all that may be begun."""
        asked, may_ask = asking
        urgent: dict[tuple[GroupId, PeerId], int] = {}
        for running in (running for blob, running in self._running.items() if blob not in beside):
            key = running.lane.group, running.lane.site
            urgent[key] = max(PRIORITIES[running.lane.why], urgent.get(key, 0))
        found: tuple[Lane, _Entry] | None = None
        for lane in list(self._lanes):
            entries = self._lanes[lane]
            while entries and self._entries.get(entries[0].blob) != entries[0]:
                heapq.heappop(entries)
            if not entries:
                del self._lanes[lane]
                continue
            key = lane.group, lane.site
            gate = self._gates.get(lane)
            is_shut = (gate is not None and now_ms < gate.opens_ms) or PRIORITIES[lane.why] < urgent.get(key, 0)
            first = None if is_shut else self._first_that_fits(entries, now_ms)
            if first is None or (found is not None and found[1] < first):
                continue
            if key not in asked:
                asked[key] = may_ask(*key)
            if asked[key]:
                found = lane, first
        return found

    def _first_that_fits(self, entries: Sequence[_Entry], now_ms: int) -> _Entry | None:
        """The first of a lane, or while that does not fit the first of those that may."""
        if now_ms >= self._all.opens_ms or self._wishes.size_of(entries[0].blob) < self._too_large:
            return entries[0]
        waiting = (entry for entry in entries if self._entries.get(entry.blob) == entry)
        return min((entry for entry in waiting if self._wishes.size_of(entry.blob) < self._too_large), default=None)

    def _least_urgent(self, entry: _Entry) -> list[BlobId]:
        """The one that makes room for `entry`, if any is less urgent."""
        found = min(self._running, key=lambda blob: PRIORITIES[self._running[blob].lane.why])
        is_less = PRIORITIES[self._running[found].lane.why] < -entry.urgency
        return [found] if is_less and not self._stopping else []

    def _beside(self, lane: Lane) -> list[BlobId]:
        """Less urgent ones of the same site."""
        running = self._running.items()
        return [blob for blob, (other, *_) in running if other[:2] == lane[:2] and PRIORITIES[other.why] < PRIORITIES[lane.why]]


def _lane(wish: Wish) -> Lane:
    return Lane(wish.file.group, wish.file.site, wish.why)
