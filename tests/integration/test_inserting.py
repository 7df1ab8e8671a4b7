"""What is inserted run by run is read back byte by byte, whatever the sizes of its parts."""

import random
from pathlib import Path

import pytest

from peer.core.event import BODY_SIZE_MAX, REFS_MAX, TYPE_BYTES_MAX
from peer.core.identity import EventId
from peer.core.run import RUN_EVENTS_MAX, Draft
from tests.integration.store_site import read_log, running_store
from tests.samples import SampleLog, genesis, parts

ID = EventId(b"\x11" * 32)
LARGEST = Draft("t" * TYPE_BYTES_MAX, b"\xff" * BODY_SIZE_MAX, [ID] * REFS_MAX)
CHANCE = random.Random(5)
RUNS: dict[str, list[Draft]] = {
    "as many events as a run may have": [Draft("note", b"%d" % number) for number in range(RUN_EVENTS_MAX)],
    "no bodies": [Draft("note", b"")] * 7,
    "the largest bodies and headers between the smallest": [Draft("n", b""), LARGEST, Draft("n", b"\0"), LARGEST, LARGEST, Draft("n", b"")],
    "all sizes": [Draft("note", CHANCE.randbytes(CHANCE.choice([0, 1, 23, 24, 255, 256, 4000])), [ID] * CHANCE.randrange(9)) for _ in range(60)],
}


@pytest.mark.parametrize("what", RUNS)
async def test_a_run_is_read_as_it_came_with(what: str, tmp_path: Path) -> None:
    log = SampleLog("alice")
    before, run, after = log.write_notes(3), log.write(*RUNS[what]), log.write_notes(3)
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        for each in (before, run, after):
            await store.append(log.certificate, each)

        held = [(event.header_bytes, event.body, event.id) for each in await read_log(store, log) for event in each.events]
        followed = await store.events_after(0, 1000)
        signatures = await store._database.fetch("SELECT signature FROM events WHERE signature IS NOT NULL ORDER BY position")

        result = await store.verify()

    written = [event for each in (before, run, after) for event in each.events]
    assert held == [(header, body, event.id) for (header, body), event in zip([*parts(before), *parts(run), *parts(after)], written, strict=True)]
    assert [stored.position for stored in followed] == list(range(1, len(followed) + 1))
    assert [signature for (signature,) in signatures] == [each.signature for each in (before, run, after)]
    assert result.problems == []
    assert result.checked["events"] == len(written)
