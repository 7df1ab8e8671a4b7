"""Whatever arrives while roles change, whenever the process dies, whoever projects: the projections end as if all were computed in one go."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from materializer import apart, runner
from materializer.apart import Apart, WorkerFailedError
from materializer.page_bytes import decode_page, decode_touched, encode_page, encode_touched
from materializer.projector import Projector
from materializer.runner import Materializer
from materializer.writing import EventPage, OutOfStepError, Touched, write_page
from peer.core.control import Role
from peer.core.encoding import encode
from peer.core.interfaces import EventStore, Replica
from tests.conftest import LONG
from tests.histories import MemoryViews, run
from tests.judged_histories import ArrivingStore, DecidedHistory, roles_by_definition, shuffled_by_log
from tests.plain_reading import plain_reading
from tests.property.test_projections import check_digests, projected

HISTORIES = 3000 if LONG else 150
MINIMUM = {
    "cuts": 3,
    "voids": 1,
    "seals": 0.5,
    "role changes": 3,
    "re-adds": 0.3,
    "judgements": 2,
    "judged otherwise meanwhile": 1,
    "crashes before a commit": 0.3,
    "crashes after a commit": 0.3,
    "crashes while rows were judged": 0.1,
    "events that do not count": 5,
}
"""How often each must have happened, for each history."""
MINIMUM_APART = {
    "role changes": 3,
    "judgements": 2,
    "judged otherwise meanwhile": 1,
    "crashes before a commit": 0.1,
    "crashes while rows were judged": 0.1,
    "pages of others": 5,
    "others died before a commit": 0.3,
    "others died after a commit": 0.3,
}


class CrashError(Exception):
    """The process dies."""


class CrashingViews(MemoryViews):
    """Views whose process dies now and then: before a commit, or after it."""

    def __init__(self, chance: random.Random, seen: Counter[str]) -> None:
        super().__init__()
        self.chance = chance
        self.seen = seen

    async def transaction(self, work: Callable[[Any], Any]) -> Any:
        """As those of the real database."""
        place = self.chance.random()
        judging = getattr(work, "func", None) is runner.apply_roles
        if place < 0.03:
            self.seen["crashes before a commit"] += 1
            raise CrashError
        done = await super().transaction(work)
        if place < 0.06 or (judging and place < 0.12):
            self.seen["crashes after a commit"] += 1
            self.seen["crashes while rows were judged"] += judging
            raise CrashError
        return done


class OtherWorker:
    """What another process does, without a process: it sees bytes and the file, remembers rows by itself, and dies now and then."""

    def __init__(self, views: CrashingViews) -> None:
        self._views = views
        self._projector = Projector()

    async def project(self, page: EventPage, *, anew: bool) -> Touched:
        """As `Worker.project`."""
        read, is_anew = decode_page(encode_page(page, anew=anew))
        if is_anew:
            self._projector = Projector()
        place = self._views.chance.random()
        if place < 0.05:
            self._views.seen["others died before a commit"] += 1
            raise WorkerFailedError
        try:
            touched = await MemoryViews.transaction(self._views, partial(write_page, projector=self._projector, page=read))
        except OutOfStepError:
            raise WorkerFailedError from None
        if place < 0.1:
            self._views.seen["others died after a commit"] += 1
            raise WorkerFailedError
        self._views.seen["pages of others"] += 1
        return decode_touched(encode_touched(touched))

    async def end(self) -> None:
        """As `Worker.end`."""


def another(views: CrashingViews) -> Apart:
    """Lets another one project from the first page on."""

    async def start(_path: Path) -> OtherWorker:
        return OtherWorker(views)

    return Apart(Path(), start, lambda _why: None, many=1)


async def follow(store: ArrivingStore, views: CrashingViews, chance: random.Random, other: Apart | None) -> None:
    """Let a materializer follow until everything is here and projected, started again after each crash."""
    materializer: Materializer | None = None
    while True:
        if other is not None:
            await asyncio.sleep(0)  # It begins meanwhile.
        try:
            if materializer is None or chance.random() < 0.03:
                materializer = Materializer(views, cast("EventStore", store), cast("Replica", store), other)
                await materializer.start()
            if not store.is_whole:
                store.arrive(chance.randrange(1, 10))
            await materializer.catch_up()  # One step of `run`, which never ends.
            if store.is_whole and materializer.position == len(store.held):
                return
        except CrashError:
            materializer = None


def check_judged(seed: int, seen: Counter[str]) -> None:
    """One history, arriving in some order, with crashes."""
    store, views, chance = arriving(seed, seen)
    run(follow(store, views, chance, None))
    check_all(store, views, seen)


async def check_judged_apart(seed: int, seen: Counter[str]) -> None:
    """The same, and somebody else projects."""
    store, views, chance = arriving(seed, seen)
    await follow(store, views, chance, another(views))
    check_all(store, views, seen)


def arriving(seed: int, seen: Counter[str]) -> tuple[ArrivingStore, CrashingViews, random.Random]:
    """A history that arrives in some order, and views of nothing."""
    history, chance = DecidedHistory(seed, seen), random.Random(seed)
    return ArrivingStore(shuffled_by_log(history.events, chance), chance, seen), CrashingViews(chance, seen), chance


def check_all(store: ArrivingStore, views: CrashingViews, seen: Counter[str]) -> None:
    """The views are those of all that came."""
    roles = roles_by_definition(store.held)
    final = [stored._replace(role=roles[stored.event.id]) for stored in store.held]
    seen["events that do not count"] += sum(1 for role in roles.values() if role is Role.NONE)
    scratch = MemoryViews()
    scratch.project(final)
    assert encode(views.export()) == encode(scratch.export())
    assert check_digests(views) == check_digests(scratch)
    assert projected(views) == plain_reading(final)


@pytest.mark.parametrize("batch", range(3))
def test_projections_follow_every_change_of_roles(batch: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(batch, HISTORIES, 3):
        check_judged(seed, seen)
    check_seen(seen, MINIMUM)


@pytest.mark.parametrize("batch", range(3))
def test_it_makes_no_difference_that_another_process_projects(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "NOT_AGAIN_S", 0.0)
    seen: Counter[str] = Counter()
    for seed in range(batch, HISTORIES, 3):
        asyncio.run(check_judged_apart(seed, seen))
    check_seen(seen, MINIMUM_APART)


def check_seen(seen: Counter[str], minimum: Mapping[str, float]) -> None:
    print(dict(seen))  # noqa: T201  (what happened, for whoever reads the output)
    assert not {name: seen[name] for name, least in minimum.items() if seen[name] < least * HISTORIES // 3}
