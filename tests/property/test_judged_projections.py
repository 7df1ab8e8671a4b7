"""Whatever arrives while roles change, and whenever the process dies: the projections end as if all were computed from scratch in one go."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import pytest

from materializer import runner
from materializer.runner import Materializer
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


async def follow(store: ArrivingStore, views: CrashingViews, chance: random.Random) -> None:
    """Let a materializer follow until everything is here and projected, started again after each crash."""
    materializer: Materializer | None = None
    while True:
        try:
            if materializer is None or chance.random() < 0.03:
                materializer = Materializer(views, cast("EventStore", store), cast("Replica", store))
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
    history, chance = DecidedHistory(seed, seen), random.Random(seed)
    store = ArrivingStore(shuffled_by_log(history.events, chance), chance, seen)
    views = CrashingViews(chance, seen)
    run(follow(store, views, chance))
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
    print(dict(seen))  # noqa: T201  (what happened, for whoever reads the output)
    assert not {name: seen[name] for name, least in MINIMUM.items() if seen[name] < least * HISTORIES // 3}
