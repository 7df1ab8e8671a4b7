"""Parts of digests: they are read in slices, and who asks for them without end takes no place of others."""

import random
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest

from materializer import agreement, digest_parts
from materializer.agreement import Agreement
from materializer.digest import TABLES, row_hash
from materializer.tables import projected_rows
from peer.core.interfaces import StoredEvent
from peer.sync import limits
from peer.sync.digests import DigestWant
from tests.histories import MemoryViews, random_story, run
from tests.samples import GROUP, key_pair

ALICE, MALLORY, STRANGER = (key_pair(name).peer_id for name in ("alice", "mallory", "eve"))


def test_who_asks_without_end_leaves_room_for_others() -> None:
    members = {ALICE: None, MALLORY: None}
    replica: Any = SimpleNamespace(groups={GROUP: SimpleNamespace(roster=SimpleNamespace(members=members))})
    nothing = cast("Any", None)
    site = Agreement(nothing, nothing, replica, nothing, lambda: 0)
    for number in range(2 * agreement.WAITING_MAX):
        site.hear(MALLORY, DigestWant(GROUP, bytes(32), "chunks", number.to_bytes(2, "big")))
        site.hear(STRANGER, DigestWant(GROUP, bytes(32), "chunks", b""))
    site.hear(ALICE, DigestWant(GROUP, bytes(32), "chunks", b""))

    assert [peer for peer, _ in site._waiting] == [MALLORY] * agreement.WAITING_OF_PEER_MAX + [ALICE]


class CountingViews(MemoryViews):
    """Counts reads."""

    def __init__(self, events: list[StoredEvent]) -> None:
        super().__init__()
        self.project(events)
        self.reads = 0

    async def read(self, work: Any) -> Any:
        self.reads += 1
        return await super().read(work)


@pytest.mark.parametrize("slice_", [1, 7, 4096])
def test_parts_that_are_read_in_slices_are_those_of_all_rows(monkeypatch: pytest.MonkeyPatch, slice_: int) -> None:
    monkeypatch.setattr(digest_parts, "SLICE", slice_)
    monkeypatch.setattr(limits, "DIGEST_ENTRIES_MAX", 10_000)
    views = CountingViews([event for seed in range(3) for event in random_story(random.Random(seed), Counter(), 150)])
    nothing: Any = None
    site = Agreement(views, nothing, nothing, nothing, lambda: 0)
    site._basis_of = lambda *_arguments: bytes(32)  # type: ignore[method-assign]
    site._comparing.ours = lambda _group: SimpleNamespace(basis=bytes(32))  # type: ignore[method-assign,assignment,return-value]
    for table in (*TABLES, "no table"):
        rows = sorted(projected_rows(views.connection, table, 1)) if table in TABLES else []
        assert rows or table == "no table"
        for prefix in (b"", bytes(rows[0][0][:1]) if rows else b"x", bytes(rows[-1][0][:2]) if rows else b"xy"):
            before = views.reads
            part = run(site._part(DigestWant(GROUP, bytes(32), table, prefix)))
            expected = {row[0]: row_hash(table, GROUP, row).to_bytes(32, "big") for row in rows if row[0].startswith(prefix)}
            assert part is not None
            assert dict(part.entries) == expected
            assert views.reads - before >= max(1, len(rows) // slice_)
