"""Kill -9 at named places of what a watched folder does: every file is counted once, every recording is there once, and whole."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.end_to_end.processes import Site, found
from tests.integration.test_watch import damage, mcap

LONG = os.environ.get("RECMESH_TEST_LONG") == "1"
BY_HAND = {"RECMESH_WATCH__SETTLE": "0", "RECMESH_WATCH__INTERVAL": "3600"}
BEGIN, APPEND, END = "begin", "append", "end"


class Kill(NamedTuple):
    """Where, and while which files are new: the first ones, one more of an open bag, or its metadata."""

    failpoint: str
    stage: str
    passage: int = 1


SHORT = (Kill("watch.after_events", BEGIN, 2), Kill("open.after_chunks", APPEND), Kill("open.after_finalize", END))
ALL = (
    *SHORT,
    *(Kill("watch.before_events", BEGIN), Kill("watch.before_move", BEGIN)),
    *(Kill(f"watch.{place}", stage) for place in ("before_commit", "after_commit") for stage in (BEGIN, APPEND, END)),
    *(Kill(f"watch.{place}", BEGIN, passage) for place in ("before_commit", "after_commit") for passage in (2, 3)),
    *(Kill(f"watch.{place}", BEGIN, passage) for place in ("before_events", "after_events") for passage in (1, 2)),
    *(Kill(f"store.{place}", stage) for place in ("before_commit", "after_commit") for stage in (BEGIN, APPEND, END)),
    *(Kill(f"recording.{place}", BEGIN, passage) for place in ("before_events", "after_events") for passage in (1, 2)),
    *(Kill(f"blob.{place}", stage) for place in ("after_hash", "before_rename", "after_rename") for stage in (BEGIN, APPEND)),
    *(Kill("views.after_commit", stage) for stage in (BEGIN, APPEND, END)),
    *(Kill("open.before_chunks", APPEND), Kill("watch.after_events", APPEND), Kill("open.before_finalize", END)),
)
PLAN = ALL if LONG else SHORT


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site("robot", tmp_path / "data")
    made.start(BY_HAND)
    found(made)
    yield made
    if made.is_running:
        made.kill()


@pytest.mark.long_story
def test_kill_9_anywhere_counts_each_file_once_and_adds_it_once(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "robots"
    folder.mkdir()
    site.ask("POST", "watch", json={"folder": str(folder)})
    hits: Counter[str] = Counter()
    left = list(PLAN)
    number = 0
    while left:
        for stage in (BEGIN, APPEND, END):
            put(folder, number, stage)
            kill = left.pop(0) if left and left[0].stage == stage else None
            if kill is not None:
                hits[kill.failpoint] += die(site, kill, tmp_path / f"hit-{number}-{stage}")
            (watched,) = site.ask("POST", "watch/scan", json={})
            done = number * 4 + (3 if stage == BEGIN else 4)
            assert [watched[key] for key in ("added", "duplicates", "quarantined", "waiting")] == [done, number + 1, number + 1, 0], (kill, stage)
        number += 1
        recordings = site.recordings()
        assert len(recordings) == 2 * number
        bag = recordings[f"bag_{number - 1}"]
        assert (bag["state"], bag["chunk_count"], recordings[f"single_{number - 1}"]["state"]) == ("local", 3, "local")
    assert sum(hits.values()) == len(PLAN)
    site.stop()
    assert site.json("verify", "--deep")["ok"] is True


def put(folder: Path, number: int, stage: str) -> None:
    """A single file, a copy of it, a broken one, and the begin of a bag; one more of the bag; its metadata."""
    bag = folder / f"bag_{number}"
    bag.mkdir(exist_ok=True)
    if stage == BEGIN:
        single = mcap(folder / f"single_{number}.mcap", 10 * number)
        (folder / f"single_{number}_copy.mcap").write_bytes(single.read_bytes())
        damage(mcap(folder / f"broken_{number}.mcap", 10 * number + 1))
        mcap(bag / "0.mcap", 10 * number + 2)
        mcap(bag / "1.mcap", 10 * number + 3)
    elif stage == APPEND:
        mcap(bag / "2.mcap", 10 * number + 4)
    else:
        (bag / "metadata.yaml").write_text(f"number: {number}\n")


def die(site: Site, kill: Kill, record: Path) -> int:
    """Restart the site with the failpoint set, let it look into the folder, and start it again without. How often it was hit."""
    site.kill()
    site.start({**BY_HAND, "RECMESH_FAILPOINT": f"{kill.failpoint}:{kill.passage}", "RECMESH_FAILPOINT_FILE": str(record)})
    with contextlib.suppress(httpx.TransportError):
        site.ask("POST", "watch/scan", json={})
    assert site.died() == -9, kill
    site.start(BY_HAND)
    return len(record.read_text().split()) if record.exists() else 0
