"""Projections are functions of the set of events: whatever the order and the pages they come in, the same bytes come out."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from materializer.digest import digest_of_export, state_digest
from materializer.queries import Projections
from materializer.tables import Place, read_digests, recompute_digests
from peer.core.encoding import encode
from peer.core.interfaces import StoredEvent
from tests.conftest import LONG
from tests.histories import BLOBS, ROLES, MemoryViews, NoFollower, random_story, run
from tests.plain_reading import Reading, plain_reading
from tests.samples import GROUP

SEEDS = st.integers(0, 2**64 - 1)


def deliver(chance: random.Random, events: list[StoredEvent], seen: Counter[str]) -> MemoryViews:
    """Project `events` in a random order, in random pages, with roles that are judged anew again and again until all are what they are."""
    views = MemoryViews()
    shuffled = chance.sample(events, len(events))
    seen["late parents"] += late_parents(shuffled)
    while shuffled:
        size = chance.randrange(1, 12)
        page, shuffled = shuffled[:size], shuffled[size:]
        views.project([stored._replace(role=chance.choice(ROLES)) if chance.random() < 0.3 else stored for stored in page])
        if chance.random() < 0.3:
            seen["judged anew"] += views.judge(lambda row: chance.choice(ROLES) if chance.random() < 0.5 else row.role)
    roles = {stored.event.id: stored.role for stored in events}
    seen["judged anew"] += views.judge(lambda row: roles[row.event_id])
    assert not views.judge(lambda row: roles[row.event_id])
    return views


def late_parents(events: list[StoredEvent]) -> int:
    """How many events that name a recording come before it."""
    created = {each.event.id: number for number, each in enumerate(events) if each.event.header.type == "recording.create"}
    return sum(1 for number, each in enumerate(events) for recording, place in created.items() if place > number and recording in each.event.body)


def check_digests(views: MemoryViews) -> bytes:
    """The digests that are kept are those of the rows, and those of the export."""
    (group_no,) = views.connection.execute("SELECT group_no FROM groups").fetchone()
    kept, computed = read_digests(views.connection, group_no), recompute_digests(views.connection, Place(group_no, GROUP))
    assert {name: digest for name, digest in computed.items() if any(digest)} == {name: digest for name, digest in kept.items() if any(digest)}
    digest = state_digest(GROUP, kept)
    assert digest == digest_of_export(views.export())
    return digest


async def everything(views: MemoryViews) -> list[object]:
    """What people see."""
    projections = Projections(views, NoFollower())
    found = await projections.recordings([GROUP])
    entries = [await projections.tree_entry(GROUP, view.recording) for view in found]
    said = [await projections.settings(GROUP), await projections.annotations(GROUP), await projections.recordings([GROUP], deleted=True)]
    said += [await projections.machines(GROUP), sorted((await projections.holders(GROUP, BLOBS)).items())]
    return [found, entries, await projections.group_state(GROUP), await projections.wanted_blobs(GROUP), said]


def check_any_order(seed: int, seen: Counter[str]) -> None:
    """A random history, delivered three times in different ways, gives the same bytes."""
    chance = random.Random(seed)
    events = random_story(chance, seen)
    straight = MemoryViews()
    straight.project(events)
    expected, digest = encode(straight.export()), check_digests(straight)
    for _ in range(2):
        other = deliver(chance, events, seen)
        assert encode(other.export()) == expected
        assert check_digests(other) == digest
        assert _sorted(run(everything(other))) == _sorted(run(everything(straight)))
    tables = straight.export()["tables"]
    seen["conflicts"] += sum(1 for row in tables["registers"] if not row["wins"])
    seen["settings in conflict"] += sum(1 for row in tables["settings"] if not row["wins"])
    seen["changed annotations"] += sum(each.edited_by is not None for each in run(Projections(straight, NoFollower()).annotations(GROUP)))
    seen["copies"] += len(run(Projections(straight, NoFollower()).holders(GROUP, BLOBS)))
    seen["releases"] += sum(row["release"] for row in tables["receipts"])
    seen["annotations"] += len(tables["annotations"])
    seen["hidden recordings"] += len(tables["recordings"]) - len(run(everything(straight))[0])
    seen.update(f"manifest {row['state']}" for row in tables["manifests"])


def test_any_order_and_any_pages_give_the_same_bytes() -> None:
    seen: Counter[str] = Counter()

    @given(SEEDS)
    def check(seed: int) -> None:
        check_any_order(seed, seen)

    check()
    floor = 50 if LONG else 1
    minimum = {
        "late parents": 1000,
        "judged anew": 1000,
        "settings in conflict": 20,
        "annotations": 50,
        "changed annotations": 5,
        "copies": 20,
        "releases": 20,
        "deletions": 50,
        "hidden recordings": 20,
        "conflicts": 100,
        "poison": 100,
        "forged": 100,
        "manifest complete": 50,
        "manifest mismatch": 20,
        "manifest waiting": 20,
    }
    print(dict(seen))  # noqa: T201  (what happened, for whoever reads the output)
    assert not {name: seen[name] for name, least in minimum.items() if seen[name] < least * floor}


def check_what_counts(seed: int) -> None:
    """The reading of the rules in the test knows no pages, rows or shadows."""
    chance = random.Random(seed)
    events = [each._replace(role=chance.choice(ROLES)) if chance.random() < 0.2 else each for each in random_story(chance, Counter())]
    views = MemoryViews()
    views.project(events)
    assert projected(views) == plain_reading(events)


def projected(views: MemoryViews) -> Reading:
    """What the views say, as the plain reading says it."""
    tables = views.export()["tables"]
    registers: dict[tuple[object, ...], tuple[bytes, set[bytes]]] = {}
    for row in [*tables["registers"], *tables["settings"]]:
        recording = (row["recording"],) if "recording" in row else ()
        winner, live = registers.setdefault((*recording, *row["register"].split(":", 1)), (b"", set()))
        live.add(row["id"])
        registers[*recording, *row["register"].split(":", 1)] = (row["id"] if row["wins"] else winner, live)
    ids = {
        name: {row["id"] for row in tables[name]}
        for name in ("recordings", "chunks", "chunk_topics", "attachments", "annotations", "poison", "receipts")
    }
    return Reading(
        ids["recordings"],
        ids["chunks"] | ids["chunk_topics"] | ids["attachments"],
        ids["annotations"],
        ids["poison"],
        ids["receipts"],
        {key: (winner, frozenset(live)) for key, (winner, live) in registers.items()},
    )


@given(SEEDS)
def test_what_counts_is_what_the_rules_say(seed: int) -> None:
    check_what_counts(seed)


def _sorted(shown: list[object]) -> list[object]:
    """Blobs have no order of their own."""
    return [*shown[:3], sorted(shown[3]), *shown[4:]]  # type: ignore[call-overload]
