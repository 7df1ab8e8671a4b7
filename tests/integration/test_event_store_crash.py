"""A process that writes is killed between and after its commits. Whatever it said was stored is there, and what is there verifies."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from peer.core.certificate import LogKind
from peer.core.identity import EventId
from tests.integration.store_site import running_store
from tests.patience import PATIENCE_S
from tests.samples import GROUP, SampleLog, genesis, note

ROOT = Path(__file__).parents[2]
PASSAGES = {"store.before_commit": (2, 3, 4, 7, 12, 20), "store.after_commit": (2, 3, 4, 7, 12, 20)}
"""At which passage of the failpoint the process dies. The first is the start."""

WRITER = """
import asyncio, sys
from pathlib import Path
from tests.integration.test_event_store_crash import write_for_ever
asyncio.run(write_for_ever(Path(sys.argv[1])))
"""


async def write_for_ever(root: Path) -> None:
    """Append and write, printing the id of each event that is acknowledged, or announced, as soon as it is."""
    async with running_store(root) as store:
        await store.create_group(genesis())
        store.subscribe(lambda commit: print("announced", commit.run.last.id.hex(), flush=True))  # noqa: T201  (read by the test)

        async def append(label: str) -> None:
            log = SampleLog("alice", label=label)
            while True:
                run = log.write_notes(3)
                await store.append(log.certificate, run)
                print("acknowledged", run.last.id.hex(), flush=True)  # noqa: T201  (read by the test)

        async def write() -> None:
            while True:
                stored = await store.write(GROUP, LogKind.DATA, [note()])
                print("acknowledged", stored[-1].event.id.hex(), flush=True)  # noqa: T201  (read by the test)

        async with asyncio.TaskGroup() as tasks:
            for label in ("one", "two"):
                tasks.create_task(append(label))
            tasks.create_task(write())


@pytest.mark.parametrize(("point", "passage"), [(point, passage) for point, passages in PASSAGES.items() for passage in passages])
async def test_nothing_that_was_acknowledged_or_announced_is_lost_by_a_kill(tmp_path: Path, point: str, passage: int) -> None:
    hits = tmp_path / "hits"
    environment = os.environ | {"RECMESH_FAILPOINT": f"{point}:{passage}", "RECMESH_FAILPOINT_FILE": str(hits), "PYTHONPATH": str(ROOT)}

    command = [sys.executable, "-c", WRITER, str(tmp_path / "site")]
    died = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S)

    assert died.returncode == -signal.SIGKILL, died.stderr
    assert Counter(hits.read_text().split()) == {point: 1}
    told = {EventId(bytes.fromhex(line.split()[1])) for line in died.stdout.splitlines()}
    assert len(told) >= passage - 3
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        assert await store.held(GROUP, list(told)) == told
        verification = await store.verify()
        assert verification.problems == []
        (stored,) = await store.write(GROUP, LogKind.DATA, [note()])
        assert await store.held(GROUP, [stored.event.id]) == {stored.event.id}
