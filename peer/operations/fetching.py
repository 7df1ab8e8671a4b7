"""Bringing bytes here: asks all who have wishes what is to come, and has it fetched from linked peers as the queue says.

What fails is tried again later and later, and at once when a link comes up; what can never arrive is given up and told. What is missing is computed,
not remembered; what people decided about it is kept over restarts.
"""

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import NamedTuple, Protocol

from peer.core.counts import Count
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import BlobSource, BlobStore, Replica, WantedBlob
from peer.core.transfer_queue import Fault, TransferQueue, fault_of
from peer.core.transfers import Held, Hold
from peer.core.wishes import Claim, Why, Wish, Wishing, claim_of, is_stronger, rivals, strongest
from peer.errors import BlobMismatchError, DiskFullError, MeshError, StoreError

LOOK_BATCH = 256
"""Recordings, or files, that are looked at together."""

RUNNING_MAX = 4
"""Blobs that arrive at once."""

LOOK_AT_SLOW_MS = 1000
"""How often it is looked whether what is under way hardly comes, while something else waits for its place."""

REFUTED = 1_000_000
"""As good as so many failures: what is said of a blob cannot be true."""

PAUSED_SETTING = "paused"
Touched = AbstractSet[tuple[GroupId, EventId]]


class Fetches(Protocol):
    """What fetches one blob."""

    async def fetch(self, wanted: WantedBlob, sources: Sequence[BlobSource]) -> None:
        """Bring it here from one of `sources`. Raises `TransportError` or `DiskFullError`; when cancelled, goes on next time where it was."""
        ...

    def offer(self, blob: BlobId, sources: Sequence[BlobSource]) -> None:
        """These can be asked now for what is on its way."""
        ...

    def slow(self) -> Mapping[BlobId, AbstractSet[str]]:
        """What hardly comes, and from whom. Called now and then while somebody waits for its place."""
        ...


class KeptTransfers(Protocol):
    """Where it is remembered what people decided."""

    async def held(self) -> Sequence[Held]:
        """Blobs that are not fetched."""
        ...

    async def hold(self, held: Sequence[Held]) -> None:
        """Remember, durably, that these are not fetched, and why."""
        ...

    async def release(self, blobs: Collection[BlobId]) -> None:
        """They are fetched again."""
        ...

    async def settings(self) -> Mapping[str, str]:
        """What is set for all transfers, by name."""
        ...

    async def set(self, name: str, value: str | None) -> None:
        """Set or, with None, unset something, durably."""
        ...


class Around(NamedTuple):
    """What a `Fetching` calls."""

    sources: Callable[[GroupId, PeerId, int], Sequence[BlobSource]]
    """Whom to ask, best first, for what that site has recorded in that group; and how urgent it is, as the priority of a wish."""
    arrived: Callable[[GroupId, EventId], None]
    """Hears of each recording of which a file came."""
    discard: Callable[[BlobId], None]
    """Deletes what came so far of a blob."""
    report: Callable[[str, Mapping[str, object]], None]
    """Takes what happened, as a constant, and fields: for the log."""


class Fetching:
    """Keeps what this site is to have complete."""

    def __init__(self, fetches: Fetches, stores: tuple[BlobStore, Replica, KeptTransfers], wishings: Sequence[Wishing], around: Around) -> None:
        """Begins with `load`."""
        self.queue = TransferQueue(RUNNING_MAX)
        self.held: dict[BlobId, Held] = {}
        """What is not fetched, and why."""
        self.settings: Mapping[str, str] = {}
        """What was set for all transfers when this began."""
        self.problem: MeshError | None = None
        """Why nothing arrives, if the reason is here."""
        self._fetches = fetches
        self._blobs, self._replica, self.kept = stores
        self._wishings = wishings
        self._around = around
        self._wake = asyncio.Event()
        self._look_at: set[tuple[GroupId, EventId]] = set()
        self._look_at_all = True
        self._is_link_new = False
        self._tasks: dict[BlobId, asyncio.Task[None]] = {}
        self._ended_how: Counter[str] = Counter()
        self._rivals: dict[BlobId, set[Wish]] = {}
        """Wishes for blobs of which different things are said: who lies about a blob keeps nobody from it."""
        self._failures: Counter[Claim] = Counter()
        """Of what is said of those."""

    async def load(self) -> None:
        """Take up what people decided before."""
        self.held = {held.blob: held for held in await self.kept.held()}
        for blob in self.held:
            self.queue.hold(blob)
        self.settings = await self.kept.settings()
        self.queue.paused = PAUSED_SETTING in self.settings

    # What changes outside

    def touched(self, recordings: Touched) -> None:
        """These recordings changed; all of them if the set is empty."""
        self._look_at |= recordings
        self._look_at_all = self._look_at_all or not recordings
        self._wake.set()

    def links_changed(self) -> None:
        """Somebody may have what nobody had, or had wrong: ask at once."""
        self._is_link_new = True
        self.addresses_changed()
        self._open_all()

    def addresses_changed(self) -> None:
        """Somebody may be somewhere else: what is on its way is waited for no more where they were."""
        for blob in self._tasks:
            wish = self.queue.wanted.get(blob)
            if wish is not None:
                self._fetches.offer(blob, self._around.sources(wish.file.group, wish.file.site, wish.priority))

    # What people decide

    async def asked(self, group: GroupId, recording: EventId) -> None:
        """A person waits for this recording: fetch it whatever was decided about it, and ask everybody at once."""
        of_it = self.queue.blobs_of(recording)
        await self.release([blob for blob, held in self.held.items() if held.recording == recording or blob in of_it])
        self._look_at.add((group, recording))
        self._open_all()

    async def pause(self) -> None:
        """Fetch nothing until `resume`, over restarts, too."""
        await self.kept.set(PAUSED_SETTING, "1")
        self.queue.paused = True
        self._wake.set()

    async def resume(self) -> None:
        """Go on."""
        await self.kept.set(PAUSED_SETTING, None)
        self.queue.paused = False
        self._open_all()

    async def hold(self, wishes: Sequence[Wish], hold: Hold, error: MeshError | None = None) -> None:
        """Do not fetch these, until they are released."""
        since_ms, code, text = time.time_ns() // 1_000_000, error.code if error else "", error.text if error else ""
        held = [Held(wish.file.blob, wish.file.group, wish.file.recording, hold, code, text, since_ms) for wish in wishes]
        await self.kept.hold(held)
        for each in held:
            self.held[each.blob] = each
            self.queue.hold(each.blob)
            if hold is Hold.CANCELLED and each.blob not in self._tasks:
                self._around.discard(each.blob)
        self._wake.set()

    async def release(self, blobs: Collection[BlobId]) -> None:
        """Fetch these again, as if nothing had failed."""
        found = [blob for blob in blobs if blob in self.held]
        if found:
            await self.kept.release(found)
        for blob in found:
            self.held.pop(blob, None)
            self.queue.release(blob)
            for each in self._rivals.get(blob, ()):
                self._failures.pop(claim_of(each.file), None)
        self._open_all()

    # What is going on

    def waiting(self, count: int) -> list[WantedBlob]:
        """Some of what waits for its turn, in order."""
        return [wish.file for wish in self.queue.waiting(count)]

    def counts(self) -> Iterator[Count]:
        """What is to come, and what became of what was to."""
        yield Count("wanted_files", "Files that are to come here and have not.", len(self.queue.wanted))
        yield Count("wanted_bytes", "Bytes of all files that are to come here, whatever is here of them.", self.queue.bytes_wanted)
        yield Count("paused", "1 while nothing is fetched because a person said so.", float(self.queue.paused))
        holds = Counter(held.hold.value for blob, held in self.held.items() if blob in self.queue.wanted)
        for hold in Hold:
            yield Count("held_files", "Files that are not fetched, by the reason.", holds[hold.value], {"reason": hold.value})
        for outcome in ("arrived", "failed", "given_up"):
            text = "Files that were fetched, by what came of it."
            yield Count("fetched_files", text, self._ended_how[outcome], {"outcome": outcome}, only_grows=True)

    def is_coming(self, blob: BlobId) -> bool:
        """True while it is on its way."""
        return blob in self._tasks

    async def run(self) -> None:
        """Look and fetch until cancelled. Raises `StoreError` when the disk fails, but not when it is full."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._until_woken()
                if self._is_link_new:
                    self._is_link_new = False
                    await self._release_if_room([blob for blob, held in self.held.items() if held.code == BlobMismatchError.code])
                await self._look()
                slow = self._fetches.slow() if self.queue.is_crowded else {}
                step = self.queue.step(_now_ms(), lambda group, site: bool(self._around.sources(group, site, 0)), slow)
                for blob in step.stop:
                    self._tasks[blob].cancel()
                for wish in step.start:
                    task = self._tasks[wish.file.blob] = tasks.create_task(self._fetch(wish))
                    task.add_done_callback(partial(self._ended, wish.file.blob))

    def _open_all(self) -> None:
        self.queue.open_all()
        self._wake.set()

    async def _until_woken(self) -> None:
        now_ms = _now_ms()
        opens_ms = self.queue.opens_ms(now_ms)
        if self.queue.is_crowded:
            opens_ms = min(now_ms + LOOK_AT_SLOW_MS, opens_ms or now_ms + LOOK_AT_SLOW_MS)
        alarm = None if opens_ms is None else asyncio.get_running_loop().call_later((opens_ms - now_ms) / 1000, self._wake.set)
        await self._wake.wait()
        self._wake.clear()
        if alarm is not None:
            alarm.cancel()

    async def _release_if_room(self, blobs: Collection[BlobId]) -> None:
        try:
            if blobs:
                await self.release(blobs)
        except DiskFullError as error:
            self.problem = error  # Another time, then.

    async def _look(self) -> None:
        await self._look_at_what_changed()
        await self._reconsider()

    async def _look_at_what_changed(self) -> None:
        look_at, look_at_all = self._look_at, self._look_at_all
        self._look_at, self._look_at_all = set(), False
        try:
            await self._look_at_these(look_at, look_at_all=look_at_all)
        except DiskFullError:  # What rules look at is written down.
            self._look_at |= look_at
            self._look_at_all = self._look_at_all or look_at_all
            self._wake.set()
            raise

    async def _look_at_these(self, look_at: Touched, *, look_at_all: bool) -> None:
        if look_at_all:
            await self._look_at_all_of_it()
            return
        by_group: defaultdict[GroupId, list[EventId]] = defaultdict(list)
        for group, recording in look_at:
            by_group[group].append(recording)
        for group, recordings in by_group.items():
            for start in range(0, len(recordings), LOOK_BATCH):
                await self._look_at_some(group, recordings[start : start + LOOK_BATCH])

    async def _look_at_all_of_it(self) -> None:
        """A page at a time: there may be very many files, neither all in memory nor without a pause for events in between."""
        running = set(self.queue.running)  # What may be here before this is through.
        found: set[BlobId] = set()
        rivalry: dict[BlobId, set[Wish]] = {}
        for group in list(self._replica.groups):
            for wishing in self._wishings:
                async with contextlib.aclosing(wishing.pages(group)) as pages:
                    async for page in pages:
                        for batch in _batches(page):
                            missing = [wish for wish in batch if not self._blobs.has(wish.file.blob)]
                            _note_rivals(rivalry, [*self._standing(missing, found), *missing])
                            self._take_up(missing, found, running)
                            await asyncio.sleep(0)
        self._rivals = rivalry
        self.queue.keep_only(found)
        self._failures = Counter({claim: count for claim, count in self._failures.items() if claim.blob in self._rivals})

    def _take_up(self, wishes: Sequence[Wish], found: set[BlobId], running: AbstractSet[BlobId]) -> None:
        """Want what is missing, and was not `found` at this look or is more urgent by this."""
        for blob, wish in strongest(wishes, lambda _: False, self._failures).items():
            standing = self.queue.wanted.get(blob) if blob in found else None
            found.add(blob)
            if (blob not in running or not self._blobs.has(blob)) and (standing is None or is_stronger(wish, standing, self._failures)):
                self.queue.want(wish)

    def _standing(self, wishes: Sequence[Wish], found: AbstractSet[BlobId]) -> list[Wish]:
        """The wishes of pages before this one for the same blobs."""
        blobs = {wish.file.blob for wish in wishes if wish.file.blob in found}
        return [self.queue.wanted[blob] for blob in blobs if blob in self.queue.wanted]

    async def _look_at_some(self, group: GroupId, recordings: Sequence[EventId]) -> None:
        wishes = [wish for wishing in self._wishings for wish in await wishing.wishes(group, recordings)]
        wished = {wish.file.blob for wish in wishes}
        if any(self.queue.blobs_of(recording) - wished for recording in recordings):
            self.touched(frozenset())  # Something is wanted no more, or for another recording: what is missing is found anew.
        standing_ones = [self.queue.wanted[blob] for blob in wished if blob in self.queue.wanted]
        _note_rivals(self._rivals, [*standing_ones, *wishes])
        for blob, wish in strongest(wishes, self._blobs.has, self._failures).items():
            standing = self.queue.wanted.get(blob)
            if standing is None or self._is_for_the_same(wish, standing) or is_stronger(wish, standing, self._failures):
                self.queue.want(wish)
            self.queue.hint(blob)

    def _is_for_the_same(self, wish: Wish, standing: Wish) -> bool:
        """Whether a wish only says anew what another one said of a file, or says something that did not fail more often."""
        is_same = standing.file.recording == wish.file.recording
        return is_same and self._failures[claim_of(wish.file)] <= self._failures[claim_of(standing.file)]

    async def _reconsider(self) -> None:
        """Do not give up blobs of which something else is said than what was given up."""
        given_up = [blob for blob in self._rivals if blob in self.held and self.held[blob].hold is Hold.GIVEN_UP and blob in self.queue.wanted]
        await self._release_if_room([blob for blob in given_up if self._failures[claim_of(self.queue.wanted[blob].file)] < REFUTED])

    async def _fetch(self, wish: Wish) -> None:
        wanted = wish.file
        blob = wanted.blob
        try:
            await self._fetches.fetch(wanted, self._around.sources(wanted.group, wanted.site, wish.priority))
        except MeshError as error:
            if isinstance(error, StoreError) and not isinstance(error, DiskFullError):
                raise
            await self._failed(wish, error)
        else:
            self.problem = None
            self.queue.arrived(blob)
            self._ended_how["arrived"] += 1
            if wish.why is Why.ASKED:
                self._look_at.add((wanted.group, wanted.recording))  # Perhaps this was all that somebody waited for.
            self._around.arrived(wanted.group, wanted.recording)

    def _ended(self, blob: BlobId, task: "asyncio.Task[None]") -> None:
        if self._tasks.get(blob) is task:
            del self._tasks[blob]
            if blob in self.queue.running:  # It was stopped, perhaps before it began.
                self.queue.stopped(blob)
                if blob in self.held and self.held[blob].hold is Hold.CANCELLED:
                    self._around.discard(blob)
        self._wake.set()

    def _fault(self, wish: Wish, error: MeshError) -> Fault:
        """What an error means. Where something else is said of the blob, too, that is believed next, and nothing is given up before."""
        fault, found = fault_of(error), self._rivals.get(wish.file.blob)
        if not found or fault is Fault.PAUSE_ALL:
            return fault
        self._failures[claim_of(wish.file)] += REFUTED if fault is Fault.TERMINAL else 1
        self.touched({(each.file.group, each.file.recording) for each in found} if fault is not Fault.TERMINAL else frozenset())
        return fault if all(self._failures[claim_of(each.file)] >= REFUTED for each in found) else Fault.RETRY

    async def _failed(self, wish: Wish, error: MeshError) -> None:
        blob = wish.file.blob
        fields = {"blob": blob.hex(), "code": error.code, "error": error.text}
        self.problem = error if isinstance(error, DiskFullError) else self.problem
        if not self.queue.failed(blob, self._fault(wish, error), _now_ms()):
            self._ended_how["failed"] += 1
            self._around.report("a blob did not arrive", fields)
            return
        self._ended_how["given_up"] += 1
        self._around.report("a blob is given up", fields)
        try:
            await self.hold([wish], Hold.GIVEN_UP, error)
        except DiskFullError as full:
            self.problem = full  # After a restart it is tried, and given up, once more.


def _note_rivals(noted: dict[BlobId, set[Wish]], wishes: Sequence[Wish]) -> None:
    for blob, found in rivals(wishes).items():
        noted.setdefault(blob, set()).update(found)


def _batches(wishes: Sequence[Wish]) -> Iterator[Sequence[Wish]]:
    return (wishes[start : start + LOOK_BATCH] for start in range(0, len(wishes), LOOK_BATCH))


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
