"""Whatever arrives in whatever order, SQLite and the simulator's memory hold the same, say the same and send the same."""

import asyncio
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from peer.core.event import Event
from peer.core.identity import EventId
from peer.core.run import Draft, Run, read_run, sign_run
from peer.errors import EventRejectedError
from tests.conftest import LONG
from tests.integration.store_site import fork, read_log, running_store
from tests.samples import GROUP, SampleLog, genesis, parts
from tests.simulation.memory_store import MemoryStore

EXAMPLES = 1000 if LONG else 40
LINES_MAX = 5
EVENTS_MAX = 8

Line = list[Event]


def grow(shape: list[tuple[int, int, int]]) -> tuple[SampleLog, list[Line]]:
    """A log with forks: each line of it from its first event to its tip. `shape`: which line is left, after how many events, for how many more."""
    log = SampleLog("alice")
    lines: list[Line] = [list(log.write_notes(EVENTS_MAX).events)]
    for number, (parent, after, count) in enumerate(shape):
        line = lines[parent % len(lines)]
        kept = line[: after % (len(line) + 1)]
        branch = fork(log, kept[-1] if kept else None, "")
        run = branch.write(*(Draft("note", f"{number} {each}".encode()) for each in range(count)))
        lines.append([*kept, *run.events])
    return log, lines


def deliver(memory: MemoryStore, log: SampleLog, run: Run, met: Counter[str]) -> type[Exception] | None:
    """Append to the memory; the error, if it is refused."""
    try:
        commit = memory.commit(log.certificate, run)
    except EventRejectedError as error:
        met["refused"] += 1
        return type(error)
    met["overlapping"] += commit is not None and len(commit.run.events) < len(run.events)
    met["duplicate"] += commit is None
    return None


async def compare(shape: list[tuple[int, int, int]], pieces: list[tuple[int, int, int]], have: list[tuple[int, int]], met: Counter[str]) -> None:
    log, lines = grow(shape)
    memory = MemoryStore()
    memory.create_group(genesis())
    runs = [lines[line % len(lines)][start : start + count] for line, start, count in pieces] + lines  # In the end everything arrives.
    signed = [sign_run(log.key, events) for events in runs if events]
    with tempfile.TemporaryDirectory() as folder:
        async with running_store(Path(folder) / "site") as store:
            await store.create_group(genesis())

            results = await asyncio.gather(*(store.append(log.certificate, run) for run in signed), return_exceptions=True)

            expected = [deliver(memory, log, run, met) for run in signed]
            assert [None if result is None else type(result) for result in results] == expected
            tips = memory.groups[GROUP].tips
            met["forks"] += store.counts(GROUP).forks
            assert store.replica.groups[GROUP].tips == tips
            places = [EventId(line[height % len(line)].id) for line, height in ((lines[line % len(lines)], height) for line, height in have)]
            found = {event.id for run in await read_log(store, log, places, size_max=1) for event in run.events}
            if tips:
                page = memory.read_after(GROUP, log.certificate.log, places, 1 << 24)
                assert found == {event.id for run in page.runs for event in run.events}
            assert await store.held(GROUP, places) == memory.held(GROUP, places)
            assert (await store.verify()).problems == []
            before = store.replica.groups[GROUP]
            for run in await read_log(store, log, size_max=1):
                read_run(log.certificate, parts(run), run.signature)
        async with running_store(Path(folder) / "site") as store:
            after = store.replica.groups[GROUP]
            assert (after.tips, after.counts, after.hlc) == (before.tips, before.counts, before.hlc)


SHAPES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 20), st.integers(1, EVENTS_MAX)), max_size=LINES_MAX)
PIECES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 7), st.integers(1, 16)), min_size=5, max_size=25)
PLACES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 20)), max_size=3)


def test_the_disk_and_the_memory_agree() -> None:
    met: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES)
    @given(shape=SHAPES, pieces=PIECES, have=PLACES)
    def agree(shape: list[tuple[int, int, int]], pieces: list[tuple[int, int, int]], have: list[tuple[int, int]]) -> None:
        asyncio.run(compare(shape, pieces, have, met))

    agree()
    assert met["forks"] >= EXAMPLES // 2
    assert met["refused"] >= EXAMPLES // 2
    assert met["overlapping"] >= EXAMPLES // 2
    assert met["duplicate"] >= EXAMPLES // 2
