"""What comes here when, with bytes that come or fail as the test says."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import BlobSource, BlobStore, Replica, WantedBlob
from peer.core.transfer_queue import WRONG_TRIES_MAX
from peer.core.transfers import Hold
from peer.core.wishes import PRIORITIES, Why, Wish
from peer.errors import BlobImpossibleError, BlobMismatchError, DiskFullError, MeshError, StoreError, TransportError
from peer.operations import fetching as fetching_module
from peer.operations.fetching import LOOK_BATCH, Around, Fetching, KeptTransfers
from peer.store.database import open_database
from peer.store.transfers import TransferStore
from peer.store.unread import UnreadRows
from tests.patience import PATIENCE_S

GROUP = GroupId(b"g" * 32)
SITE = PeerId(b"s" * 32)
SOURCE = cast("BlobSource", object())


def wish(number: int, why: Why = Why.POLICY, recording: int = 0) -> Wish:
    name = number.to_bytes(32, "big")
    file = WantedBlob(GROUP, EventId(recording.to_bytes(32, "big")), BlobId(name), 100, 2**20, BlobId(name), name, SITE)
    return Wish(file, why, PRIORITIES[why], "")


@dataclass
class Bytes:
    """What is here, what comes, and how it fails."""

    here: set[BlobId] = field(default_factory=set)
    errors: dict[BlobId, MeshError] = field(default_factory=dict)
    """By blob, or by piece list."""
    held_up: set[BlobId] = field(default_factory=set)
    tries: Counter[BlobId] = field(default_factory=Counter)
    running: set[BlobId] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    dripping: set[BlobId] = field(default_factory=set)
    """What hardly comes."""
    offered: list[BlobId] = field(default_factory=list)
    """What others may be asked for, too, while it comes."""
    looked: int = 0
    """How often it was asked what is here."""

    def has(self, blob: BlobId) -> bool:
        self.looked += 1
        return blob in self.here

    async def fetch(self, wanted: WantedBlob, sources: Sequence[BlobSource]) -> None:
        assert sources == [SOURCE]
        self.tries[wanted.blob] += 1
        self.running.add(wanted.blob)
        try:
            while wanted.blob in self.held_up:
                self.changed.clear()
                await self.changed.wait()
        finally:
            self.running.remove(wanted.blob)
        for wrong in (wanted.blob, wanted.pieces):
            if wrong in self.errors:
                raise self.errors[wrong]
        self.here.add(wanted.blob)

    def offer(self, blob: BlobId, sources: Sequence[BlobSource]) -> None:
        assert sources == [SOURCE, SOURCE]
        self.offered.append(blob)

    def slow(self) -> Mapping[BlobId, AbstractSet[str]]:
        return {blob: frozenset({"dripper"}) for blob in self.dripping & self.running}

    def let(self, *wishes: Wish) -> None:
        self.held_up.difference_update(each.file.blob for each in wishes)
        self.changed.set()


class Wishes:
    """What somebody wants, whatever it is."""

    page = LOOK_BATCH

    def __init__(self) -> None:
        self.all: list[Wish] = []

    async def wishes(self, _: GroupId, recordings: Collection[EventId] | None) -> Sequence[Wish]:
        return [each for each in self.all if recordings is None or each.file.recording in recordings]

    async def pages(self, _: GroupId) -> AsyncGenerator[Sequence[Wish], None]:
        for start in range(0, len(self.all), self.page):
            yield self.all[start : start + self.page]


class Groups:
    """One group."""

    groups = {GROUP: None}  # noqa: RUF012  (nobody changes it)


class Scene:
    """A `Fetching` with all that is around it."""

    run = staticmethod(Fetching.run)

    def __init__(self, folder: Path) -> None:
        self.database = folder / "bytes.db"
        self.bytes, self.wishes = Bytes(), Wishes()
        self.arrived: list[EventId] = []
        self.discarded: list[BlobId] = []
        self.reports: list[str] = []
        self.sources: list[BlobSource] = [SOURCE]
        self.task: asyncio.Task[None] | None = None
        self.ended: list[BaseException | None] = []

    @asynccontextmanager
    async def running(self, change: Callable[[KeptTransfers], None] = lambda _: None) -> AsyncIterator[Fetching]:
        """It runs; what people decided is kept from one time to the next."""
        async with await open_database(self.database, "bytes") as database:
            kept = TransferStore(database, UnreadRows())
            change(kept)
            around = Around(
                lambda *_: self.sources,
                lambda _, recording: self.arrived.append(recording),
                self.discarded.append,
                lambda event, _: self.reports.append(event),
            )
            stores = cast("BlobStore", self.bytes), cast("Replica", Groups()), kept
            fetching = Fetching(self.bytes, stores, [self.wishes], around)
            await fetching.load()
            task = self.task = asyncio.create_task(self.run(fetching))
            fetching.touched(frozenset())
            try:
                yield fetching
            finally:
                task.cancel()
                self.ended += await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    assert all(isinstance(each, asyncio.CancelledError) for each in scene.ended), scene.ended


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(0.001)


async def test_what_is_given_up_is_told_kept_on_disk_and_tried_again_when_somebody_says_so(scene: Scene) -> None:
    bad, good = wish(1), wish(2)
    scene.wishes.all = [bad, good]
    scene.bytes.errors[bad.file.blob] = BlobImpossibleError("never")
    async with scene.running() as fetching:
        await until(lambda: bad.file.blob in fetching.held and good.file.blob in scene.bytes.here)
        held = fetching.held[bad.file.blob]
        assert (held.hold, held.code, held.text) == (Hold.GIVEN_UP, "blob_impossible", "never")
        assert scene.reports == ["a blob is given up"]
    async with scene.running() as fetching:
        assert fetching.held == {bad.file.blob: held}
        later = wish(3)
        scene.wishes.all.append(later)
        fetching.touched(frozenset())
        await until(lambda: later.file.blob in scene.bytes.here)
        assert scene.bytes.tries[bad.file.blob] == 1
        scene.bytes.errors.clear()
        await fetching.release([bad.file.blob])
        await until(lambda: bad.file.blob in scene.bytes.here)
    async with scene.running() as fetching:
        assert not fetching.held


async def test_looking_at_very_many_files_holds_up_nobody_for_long(scene: Scene) -> None:
    """Each file is looked for on the disk: events have their turn every few hundred of them."""
    scene.wishes.all = [wish(number) for number in range(20 * LOOK_BATCH)]
    scene.sources = []
    async with scene.running() as fetching:
        longest = before = 0
        async with asyncio.timeout(PATIENCE_S):
            while len(fetching.queue.wanted) < len(scene.wishes.all):
                await asyncio.sleep(0)
                longest, before = max(longest, scene.bytes.looked - before), scene.bytes.looked

        assert 0 < longest <= 2 * LOOK_BATCH


@pytest.mark.parametrize("error", [BlobImpossibleError("never"), BlobMismatchError("wrong"), TransportError("nobody")])
@pytest.mark.parametrize("lie_comes", ["first", "last", "alone, before"])
async def test_who_lies_about_a_blob_keeps_nobody_from_it(scene: Scene, error: MeshError, lie_comes: str) -> None:
    """Another recording says of the same blob that it has another list of pieces, which leads to nothing. It is looked at apart from that."""
    scene.wishes.page = 1
    honest = wish(1, recording=7)
    lie = honest._replace(file=honest.file._replace(recording=EventId(b"l" * 32), pieces=BlobId(b"l" * 32)))
    scene.bytes.errors[lie.file.pieces] = error
    scene.wishes.all = [honest, lie] if lie_comes == "last" else [lie, honest] if lie_comes == "first" else [lie]
    async with scene.running() as fetching:
        if lie_comes == "alone, before":
            await until(lambda: scene.bytes.tries[lie.file.blob])
            scene.wishes.all = [lie, honest]
            fetching.touched({(GROUP, honest.file.recording)})

        await until(lambda: scene.bytes.here)

        assert not fetching.held


async def test_where_all_lie_about_a_blob_it_is_given_up(scene: Scene) -> None:
    one = wish(1, recording=7)
    other = one._replace(file=one.file._replace(recording=EventId(b"l" * 32), pieces=BlobId(b"l" * 32)))
    scene.wishes.all = [one, other]
    scene.bytes.errors[one.file.blob] = BlobImpossibleError("never")
    async with scene.running() as fetching:
        await until(lambda: fetching.held)

        assert scene.bytes.tries[one.file.blob] == 2


async def test_who_asks_for_a_recording_has_it_tried_whatever_became_of_it(scene: Scene) -> None:
    bad = wish(1, recording=7)
    scene.wishes.all = [bad]
    scene.bytes.errors[bad.file.blob] = BlobImpossibleError("never")
    async with scene.running() as fetching:
        await until(lambda: bad.file.blob in fetching.held)
        scene.bytes.errors.clear()
        await fetching.asked(GROUP, bad.file.recording)
        await until(lambda: bad.file.blob in scene.bytes.here)
        assert scene.arrived == [bad.file.recording]


async def test_a_full_disk_is_a_problem_until_something_fits(scene: Scene) -> None:
    large, small = wish(1), wish(2)
    scene.wishes.all = [large]
    scene.bytes.errors[large.file.blob] = DiskFullError("full")
    async with scene.running() as fetching:
        await until(lambda: scene.bytes.tries[large.file.blob] == 2)
        await until(lambda: isinstance(fetching.problem, DiskFullError))
        scene.wishes.all.append(small)
        fetching.touched(frozenset())
        fetching.links_changed()
        await until(lambda: small.file.blob in scene.bytes.here)
        assert not fetching.held


async def test_a_full_disk_keeps_nobody_from_giving_up(scene: Scene) -> None:
    bad, good = wish(1), wish(2)
    scene.wishes.all = [bad]
    scene.bytes.errors[bad.file.blob] = BlobImpossibleError("never")

    async def full(_: object) -> None:
        raise DiskFullError("full")

    async with scene.running(lambda kept: setattr(kept, "hold", full)) as fetching:
        await until(lambda: isinstance(fetching.problem, DiskFullError))
        scene.wishes.all.append(good)
        fetching.touched(frozenset())
        await until(lambda: good.file.blob in scene.bytes.here)
        assert scene.bytes.tries[bad.file.blob] == 1


async def test_a_broken_disk_ends_it(scene: Scene) -> None:
    scene.wishes.all = [wish(1)]
    scene.bytes.errors[wish(1).file.blob] = StoreError("broken")
    async with scene.running():
        await until(lambda: scene.task is not None and scene.task.done())
    assert isinstance(scene.ended.pop(), ExceptionGroup)


async def test_what_is_wanted_no_more_stops_and_what_is_cancelled_leaves_nothing(scene: Scene) -> None:
    gone, cancelled, paused = wish(1, recording=1), wish(2, recording=2), wish(3, recording=3)
    scene.wishes.all = [gone, cancelled, paused]
    scene.bytes.held_up = {each.file.blob for each in scene.wishes.all}
    async with scene.running() as fetching:
        await until(lambda: len(scene.bytes.running) == 3)
        scene.wishes.all.remove(gone)
        fetching.touched({(GROUP, gone.file.recording)})
        await fetching.hold([cancelled], Hold.CANCELLED)
        await fetching.hold([paused], Hold.PAUSED)
        await until(lambda: not scene.bytes.running)
        await until(lambda: scene.discarded == [cancelled.file.blob])
        assert set(fetching.queue.wanted) == {cancelled.file.blob, paused.file.blob}
        scene.bytes.let(gone, cancelled, paused)
        await fetching.release([paused.file.blob])
        await until(lambda: scene.bytes.here == {paused.file.blob})


async def test_something_more_urgent_takes_over_and_what_made_room_goes_on(scene: Scene) -> None:
    backlog = [wish(number) for number in range(1, 6)]
    urgent = wish(9, Why.ASKED, recording=9)
    scene.wishes.all = list(backlog)
    scene.bytes.held_up = {each.file.blob for each in (*backlog, urgent)}
    async with scene.running() as fetching:
        await until(lambda: len(scene.bytes.running) == 4)
        scene.wishes.all.append(urgent)
        fetching.touched({(GROUP, urgent.file.recording)})
        await until(lambda: scene.bytes.running == {urgent.file.blob})
        scene.bytes.let(urgent)
        await until(lambda: len(scene.bytes.running) == 4)
        scene.bytes.let(*backlog)
        await until(lambda: len(scene.bytes.here) == 6)


async def test_with_nobody_to_ask_it_waits_and_begins_when_a_link_comes_up(scene: Scene) -> None:
    scene.wishes.all, scene.sources = [wish(1)], []
    async with scene.running() as fetching:
        await until(lambda: fetching.queue.wanted)
        assert fetching.waiting(5) == [wish(1).file]
        scene.sources = [SOURCE]
        fetching.links_changed()
        await until(lambda: scene.bytes.here)


async def test_what_fails_is_tried_again_at_once_then_later_and_at_once_when_a_link_comes_up(scene: Scene) -> None:
    scene.wishes.all = [wish(1)]
    blob = wish(1).file.blob
    scene.bytes.errors[blob] = TransportError("nobody")
    async with scene.running() as fetching:
        await until(lambda: scene.bytes.tries[blob] == 2)
        await until(lambda: not scene.bytes.running)
        scene.bytes.errors[blob] = BlobMismatchError("wrong")
        fetching.links_changed()
        await until(lambda: scene.bytes.tries[blob] >= 3)
        scene.bytes.errors.clear()
        fetching.links_changed()
        await until(lambda: blob in scene.bytes.here)
        assert set(scene.reports) == {"a blob did not arrive"}


async def test_a_liar_alone_makes_nobody_give_up_for_good(scene: Scene) -> None:
    """What came wrong from all who could be asked is tried again once somebody else can be."""
    blob = wish(1).file.blob
    scene.wishes.all = [wish(1)]
    scene.bytes.errors[blob] = BlobMismatchError("wrong")
    async with scene.running() as fetching:
        async with asyncio.timeout(PATIENCE_S):
            while blob not in fetching.held:
                fetching.queue.open_all()
                fetching.touched({(GROUP, wish(1).file.recording)})
                await asyncio.sleep(0.001)
        assert scene.bytes.tries[blob] == WRONG_TRIES_MAX
    del scene.bytes.errors[blob]
    async with scene.running() as fetching:
        await until(lambda: fetching.queue.wanted)
        assert fetching.held
        fetching.links_changed()
        await until(lambda: blob in scene.bytes.here)
        assert not fetching.held


async def test_a_full_disk_ends_nothing_when_a_link_comes_up(scene: Scene) -> None:
    blob = wish(2).file.blob
    scene.wishes.all = [wish(2), wish(3)]
    async with scene.running() as fetching:
        await until(lambda: blob in scene.bytes.here)
        await fetching.hold([wish(9)], Hold.GIVEN_UP, BlobMismatchError("wrong"))

        async def full(_: object) -> None:
            raise DiskFullError("full")

        fetching.kept.release = full  # type: ignore[method-assign, assignment]
        fetching.links_changed()
        await until(lambda: isinstance(fetching.problem, DiskFullError))
        scene.wishes.all.append(wish(4))
        fetching.touched(frozenset())
        await until(lambda: wish(4).file.blob in scene.bytes.here)


async def test_who_links_up_is_asked_for_what_is_on_its_way(scene: Scene) -> None:
    slow, waiting = wish(1), wish(2)
    scene.wishes.all = [slow]
    scene.bytes.held_up = {slow.file.blob, waiting.file.blob}
    async with scene.running() as fetching:
        await until(lambda: slow.file.blob in scene.bytes.running)
        scene.sources.append(SOURCE)
        fetching.links_changed()
        assert scene.bytes.offered == [slow.file.blob]
        fetching.addresses_changed()
        assert scene.bytes.offered == 2 * [slow.file.blob]


async def test_files_that_somebody_drips_do_not_keep_others_from_coming(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than there are places, and all were wanted before."""
    monkeypatch.setattr(fetching_module, "LOOK_AT_SLOW_MS", 5)
    dripped, good = [wish(number) for number in range(1, 7)], [wish(number) for number in range(10, 30)]
    scene.wishes.all = [*dripped, *good]
    scene.bytes.held_up = scene.bytes.dripping = {each.file.blob for each in dripped}
    async with scene.running():
        await until(lambda: scene.bytes.here >= {each.file.blob for each in good})
        assert len(scene.bytes.running) >= 2, "nor are they given up"
