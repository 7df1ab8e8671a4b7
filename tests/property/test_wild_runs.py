"""Runs that their author signed and that name anything at all as what comes before them: the store refuses or takes them as memory does, and goes on.

A refusal has to be one: an error that nobody expects stops the store for good.
"""

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from peer.core.certificate import LogKind, certify
from peer.core.event import Event, link_event
from peer.core.identity import EventId
from peer.core.run import Run, read_run, sign_run
from peer.errors import EventRejectedError
from tests.conftest import LONG
from tests.integration.store_site import running_store
from tests.samples import GROUP, SampleLog, genesis, key_pair, parts
from tests.simulation.memory_store import MemoryStore

EXAMPLES = 600 if LONG else 30
RUNS = 40


def logs_of_two() -> list[SampleLog]:
    """Logs of both kinds; two of them have one key."""
    logs = [SampleLog("alice"), SampleLog("alice", kind=LogKind.CONTROL), SampleLog("mallory"), SampleLog("mallory", label="other")]
    twin = SampleLog("mallory", label="other")
    twin.certificate = certify(key_pair("mallory"), GROUP, twin.key.public, LogKind.CONTROL)
    return [*logs, twin]


def wild_run(chance: random.Random, log: SampleLog, known: Mapping[EventId, Event]) -> Run:
    """One to five events of `log`; what the first says of its place may be true, or that of an event of any log, or made up."""
    fits = [event for event in known.values() if event.header.log == log.certificate.log]
    any_ = list(known.values())
    before = chance.choice(fits) if fits and chance.random() < 0.6 else chance.choice(any_) if any_ and chance.random() < 0.7 else None
    previous: bytes = before.id if before else log.certificate.log if chance.random() < 0.8 else chance.randbytes(32)
    seq = before.header.seq + 1 if before else 0
    if chance.random() < 0.15:
        seq = chance.choice([0, 1, seq + 1, 2**63, 2**64 - 2])
    hlc = before.header.hlc + 1 if before else 1
    if chance.random() < 0.15:
        hlc = chance.choice([0, 1, 2**63, 2**64 - 9])
    events = []
    for number in range(chance.randrange(1, 6)):
        body = chance.randbytes(chance.randrange(3))
        events.append(
            link_event(
                group=GROUP,
                log=log.certificate.log,
                seq=min(seq + number, 2**64 - 2),
                previous=previous,
                hlc=min(hlc + number, 2**64 - 1),
                type_=chance.choice(["note", "member.set"]),
                refs=[],
                body=body,
            )
        )
        previous = events[-1].id
    return sign_run(log.key, events)


async def follow(seed: int, seen: Counter[str]) -> None:
    """A history of wild runs, told to the disk and to the memory."""
    chance, memory, known = random.Random(seed), MemoryStore(), dict[EventId, Event]()
    memory.create_group(genesis())
    logs = logs_of_two()
    with tempfile.TemporaryDirectory() as folder:
        async with running_store(Path(folder) / "site") as store:
            await store.create_group(genesis())
            told: list[Run] = []
            for _ in range(RUNS):
                log = chance.choice(logs)
                run = chance.choice(told) if told and chance.random() < 0.1 else wild_run(chance, log, known)
                log = next(each for each in logs if each.certificate.log == run.log)
                try:
                    read_run(log.certificate, parts(run), run.signature)
                except EventRejectedError:
                    seen["refused at the door"] += 1
                    continue
                told.append(run)
                ours = await outcome(store.append(log.certificate, run))
                try:
                    commit, theirs = memory.commit(log.certificate, run), None
                    seen["stored"] += commit is not None
                except EventRejectedError as error:
                    theirs = type(error)
                    before = known.get(EventId(run.first.header.previous))
                    seen["of another log"] += before is not None and before.header.log != run.log
                    seen["refused"] += 1
                assert ours == theirs
                known.update({event.id: event for event in run.events if event.id in memory.ids() or chance.random() < 0.3})
            assert store.failure is None
            assert store.replica.groups[GROUP].tips == memory.groups[GROUP].tips
            assert (await store.verify()).problems == []
            seen["forks"] += store.counts(GROUP).forks


async def outcome(append: object) -> type[Exception] | None:
    """The error of an append, if it is one of an event."""
    try:
        await append  # type: ignore[misc]
    except EventRejectedError as error:
        return type(error)
    return None


def test_no_signed_run_stops_the_store() -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES)
    @given(st.integers(0, 2**64 - 1))
    def hold(seed: int) -> None:
        asyncio.run(follow(seed, seen))

    hold()
    print(dict(seen))  # noqa: T201

    assert all(seen[name] >= EXAMPLES for name in ("stored", "refused", "of another log", "forks", "refused at the door"))
