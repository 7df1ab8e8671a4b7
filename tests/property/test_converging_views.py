"""Whatever happened, in whatever order it arrived: peers that hold the same events show the same, byte for byte.

Each history arrives many times: in other orders, in other pages, some of it twice, with the projections thrown away in between. Some arrivals are
those of a real store on a disk. The digest of what comes out is computed once more by code that shares nothing with that of the project.
"""

import asyncio
import copy
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest

from materializer.digest import TABLES, digest_of_export
from materializer.runner import Materializer
from peer.core.encoding import encode
from peer.core.interfaces import EventStore, Replica, StoredEvent
from peer.core.run import Run, sign_run
from tests.conftest import LONG
from tests.histories import MemoryViews, run
from tests.integration.views_site import running_views
from tests.judged_histories import ArrivingStore, DecidedHistory, roles_by_definition, shuffled_by_log
from tests.plain_digest import digest_of, plain_digest
from tests.property.test_projections import check_digests, everything, late_parents
from tests.samples import GROUP

HISTORIES = 400 if LONG else 16
SIZE = 110
"""Steps of a history."""
ARRIVALS = 25
ON_DISK = 5 if LONG else 1
"""Of the arrivals of a history those that a real store takes."""
BATCHES = 4
MINIMUM = {
    "late parents": 100,
    "conflicts": 0.5,
    "tombstones": 0.3,
    "restores": 0.2,
    "annotations taken back": 0.3,
    "cuts": 3,
    "voids": 1,
    "seals": 0.5,
    "forks": 1,
    "role changes": 3,
    "re-adds": 0.3,
    "poison": 2,
    "types that nobody knows": 1,
    "manifest complete": 0.5,
    "manifest mismatch": 0.02,
    "manifest waiting": 0.2,
    "sent twice": 1,
    "rebuilt in the middle": 3,
}
"""How often each must have happened, for each history."""


class Told:
    """What everybody must come to."""

    def __init__(self, history: DecidedHistory) -> None:
        """In one go, in the order in which it was written, by roles that are defined and not computed on the way."""
        roles = roles_by_definition(history.events)
        self.views = MemoryViews()
        self.views.project([stored._replace(role=roles[stored.event.id]) for stored in history.events])
        self.export = encode(self.views.export())
        self.digest = check_digests(self.views)
        self.shown = shown(self.views)


def shown(views: MemoryViews) -> str:
    """What people see of what is there. Blobs that are wanted have no order of their own."""
    return repr([sorted(each, key=repr) for each in run(everything(views)) if isinstance(each, list)])


def check_history(seed: int, seen: Counter[str], *, on_disk: int = ON_DISK) -> None:
    """One history, and all its arrivals."""
    history = DecidedHistory(seed, seen, SIZE, forks=True)
    told, chance = Told(history), random.Random(seed)
    assert plain_digest(told.export) == told.digest, f"seed {seed}"
    count(history, told, seen)
    for number in range(ARRIVALS):
        arrivals = shuffled_by_log(history.events, chance)
        seen["late parents"] += late_parents(arrivals)
        if number < on_disk:
            asyncio.run(arrive_on_disk(history, arrivals, told, chance, seen))
        else:
            arrive(arrivals, told, chance, seen)


def count(history: DecidedHistory, told: Told, seen: Counter[str]) -> None:
    """What is in this history."""
    tables = told.views.export()["tables"]
    types = Counter(stored.event.header.type for stored in history.events)
    seen["conflicts"] += sum(not row["wins"] for name in ("registers", "settings") for row in tables[name])
    seen["tombstones"] += sum(row["register"] == "deleted" and row["wins"] and row["value"] == encode(value=True) for row in tables["registers"])
    seen["restores"] += types["recording.restore"]
    seen["types that nobody knows"] += types["future.thing"]
    seen.update(f"manifest {row['state']}" for row in tables["manifests"])


def arrive(arrivals: list[StoredEvent], told: Told, chance: random.Random, seen: Counter[str]) -> None:
    """The events come to a materializer that judges them by what is here so far, and is asked to begin again now and then."""
    store, views = ArrivingStore(arrivals, chance, seen), MemoryViews()
    materializer = Materializer(views, cast("EventStore", store), cast("Replica", store))
    run(materializer.start())
    while not store.is_whole or materializer.position < len(store.held):
        if not store.is_whole:
            store.arrive(chance.randrange(1, 25))
        if chance.random() < 0.05:
            seen["rebuilt in the middle"] += 1
            run(materializer._clear())
        run(materializer.catch_up())  # One step of `run`, which never ends.
    assert encode(views.export()) == told.export
    assert check_digests(views) == told.digest
    assert shown(views) == told.shown


async def arrive_on_disk(history: DecidedHistory, arrivals: list[StoredEvent], told: Told, chance: random.Random, seen: Counter[str]) -> None:
    """The events come as signed runs, some of them twice, to a store that follows them at its own pace; then the directory is opened once more."""
    certificates = {log.certificate.log: log for log in history.logs}
    runs = runs_of(arrivals, certificates)
    with tempfile.TemporaryDirectory() as folder:
        async with running_views(Path(folder) / "site") as site:
            for number in range(0, len(runs), 7):
                again = chance.sample(runs[:number], min(number, chance.randrange(4)))
                seen["sent twice"] += len(again)
                batch = [*runs[number : number + 7], *again]
                await asyncio.gather(*(site.store.append(certificates[each.log].certificate, each) for each in batch))
                if chance.random() < 0.2:
                    seen["rebuilt in the middle"] += 1
                    await site.materializer.rebuild()
            await site.materializer.reached(site.store.position)
            assert encode(await site.views.export(GROUP)) == told.export
            assert (await site.views.group_state(GROUP)).state_digest == told.digest
        async with running_views(Path(folder) / "site") as site:
            assert encode(await site.views.export(GROUP)) == told.export
            await site.materializer.rebuild()
            assert encode(await site.views.export(GROUP)) == told.export


def runs_of(arrivals: list[StoredEvent], logs: Any) -> list[Run]:
    """What comes one after the other and follows one another is signed together."""
    parts: list[list[StoredEvent]] = []
    for stored in arrivals:
        if parts and parts[-1][-1].event.id == stored.event.header.previous:
            parts[-1].append(stored)
        else:
            parts.append([stored])
    return [sign_run(logs[part[0].event.header.log].key, [stored.event for stored in part]) for part in parts]


@pytest.mark.parametrize("batch", range(BATCHES))
def test_one_digest_and_one_export_whatever_the_order(batch: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(batch, HISTORIES, BATCHES):
        try:
            check_history(seed, seen)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
    print(dict(sorted(seen.items())))  # noqa: T201  (what happened, for whoever reads the output)
    assert not {name: seen[name] for name, least in MINIMUM.items() if seen[name] < least * HISTORIES // BATCHES}


def another(value: Any) -> Any:
    """Something else of the same kind."""
    match value:
        case bool() | int():
            return value + 1
        case str():
            return value + "x"
        case bytes():
            return value + b"x"
    return "x"


def exports(count_max: int) -> list[dict[str, Any]]:
    """What some histories come to."""
    return [Told(DecidedHistory(seed, Counter(), SIZE, forks=True)).views.export() for seed in range(count_max)]


def test_a_change_of_any_value_that_is_shown_changes_the_digest_by_both_computations() -> None:
    changed = set[tuple[str, str]]()
    for document in exports(12):
        digest = digest_of(document)
        assert digest == digest_of_export(document)
        for table, rows in document["tables"].items():
            for column in TABLES[table] if rows else ():
                other = copy.deepcopy(document)
                other["tables"][table][-1][column] = another(rows[-1][column])
                assert digest != digest_of(other) == digest_of_export(other) != digest, (table, column)
                changed.add((table, column))
        assert all(digest_of({**document, key: value}) != digest for key, value in (("version", 0), ("group", bytes(32))))
    assert changed == {(table, column) for table, columns in TABLES.items() for column in columns}


def test_whoever_is_shown_something_else_has_another_digest() -> None:
    """Histories that lack one event: where that can be seen anywhere, the digest says so."""
    differ = 0
    for seed in range(40 if LONG else 8):
        history, chance = DecidedHistory(seed, Counter()), random.Random(seed)
        whole = Told(history)
        for missing in chance.sample(range(len(history.events)), 12):
            history_without = copy.copy(history)
            history_without.events = history.events[:missing] + history.events[missing + 1 :]
            other = Told(history_without)
            if other.shown != whole.shown:
                differ += 1
                assert other.digest != whole.digest, f"seed {seed}, without event {missing}"
    assert differ > 20
