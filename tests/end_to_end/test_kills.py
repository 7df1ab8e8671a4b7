"""Kill -9 at named places of add, backfill, push and fetch: nothing acknowledged is lost, and both sites converge."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from mcap.writer import CompressionType, Writer

from tests.end_to_end.processes import Site, agree, found, join, wait_until

LONG = os.environ.get("RECMESH_TEST_LONG") == "1"


class Kill(NamedTuple):
    """Where, at whom, and at which passage."""

    failpoint: str
    at: str
    """`adder` or `taker`."""
    passage: int
    offline: bool
    """True if the taker is away during the add, so that it backfills."""


PLAN = (
    Kill("blob.after_hash", "adder", 1, offline=False),
    Kill("blob.before_rename", "adder", 1, offline=False),
    Kill("blob.after_rename", "adder", 1, offline=False),
    Kill("recording.before_events", "adder", 1, offline=False),
    Kill("recording.after_events", "adder", 1, offline=False),
    Kill("store.before_commit", "adder", 1, offline=False),
    Kill("store.after_commit", "adder", 1, offline=False),
    Kill("push.before_send", "adder", 1, offline=False),
    Kill("push.after_send", "adder", 1, offline=False),
    Kill("sync.after_store", "taker", 1, offline=False),
    Kill("sync.after_store", "taker", 1, offline=True),
    Kill("sync.between_pages", "adder", 1, offline=True),
    Kill("store.before_commit", "taker", 1, offline=True),
    Kill("store.after_commit", "taker", 1, offline=True),
    Kill("views.before_commit", "taker", 1, offline=False),
    Kill("views.after_commit", "taker", 1, offline=False),
    Kill("fetch.after_piece", "taker", 1, offline=False),
    Kill("fetch.before_rename", "taker", 1, offline=False),
    Kill("fetch.after_rename", "taker", 1, offline=False),
    Kill("tree.before_rename", "taker", 1, offline=False),
)


KILLS = 50 if LONG else len(PLAN)
"""The short version passes every failpoint of the plan once."""


def write_bag(path: Path, number: int) -> None:
    """A small MCAP file that no other equals; of two pieces."""
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.NONE)
        writer.start()
        schema = writer.register_schema("raw", "", b"")
        channel = writer.register_channel("/noise", "raw", schema)
        for index in range(12):
            payload = number.to_bytes(8, "big") + os.urandom(100_000)
            writer.add_message(channel, log_time=index, data=payload, publish_time=index)
        writer.finish()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Site, Site]]:
    """Two sites in one group, the first of which can be dialled."""
    adder, taker = Site("adder", tmp_path / "a"), Site("taker", tmp_path / "b")
    adder.start()
    found(adder)
    taker.start()
    join(adder, taker)
    yield adder, taker
    for site in (adder, taker):
        if site.is_running:
            site.kill()


@pytest.mark.long_story
def test_kill_9_anywhere_loses_nothing_acknowledged(pair: tuple[Site, Site], tmp_path: Path) -> None:
    """After each kill the site comes back, both agree, and everything that was answered is at both."""
    adder, taker = pair
    hits: Counter[str] = Counter()
    acknowledged: dict[str, str] = {}
    for number in range(KILLS):
        kill = PLAN[number % len(PLAN)]
        record = tmp_path / f"hit-{number}"
        name = f"bag-{number:03}"
        bag = tmp_path / f"{name}.mcap"
        write_bag(bag, number)
        _one_kill(kill, adder, taker, bag, record, acknowledged)
        hits[kill.failpoint] += len(record.read_text().split()) if record.exists() else 0
        if name not in adder.recordings():
            acknowledged[name] = adder.add(bag)["manifest_id"]
        try:
            wait_until(lambda number=number: agree([adder, taker], number + 1), f"both agree after {kill}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{_told(adder)}\n{_told(taker)}") from error
        for site in (adder, taker):
            view = site.recordings()
            assert {each: view[each]["manifest_id"] for each in acknowledged} == acknowledged
    print(f"{sum(hits.values())} kills: {dict(sorted(hits.items()))}")  # noqa: T201
    assert sum(hits.values()) == KILLS
    assert all(hits[kill.failpoint] for kill in PLAN[:KILLS])
    for site in (adder, taker):
        site.stop()
        assert site.json("verify", "--deep")["ok"] is True


def _one_kill(kill: Kill, adder: Site, taker: Site, bag: Path, record: Path, acknowledged: dict[str, str]) -> None:
    """Restart the victim with the failpoint set, add, wait for its end, and start it again without."""
    victim = adder if kill.at == "adder" else taker
    environment = {"RECMESH_FAILPOINT": f"{kill.failpoint}:{kill.passage}", "RECMESH_FAILPOINT_FILE": str(record)}
    if kill.offline:
        taker.stop()
    if victim is adder:
        adder.stop()
        adder.start(environment)
        wait_until(lambda: kill.offline or not adder.is_running or _is_linked(taker), "the taker is linked again")
    elif not kill.offline:
        taker.stop()
        taker.start(environment)
        wait_until(lambda: not taker.is_running or _is_linked(taker), "the taker is linked again")
    with contextlib.suppress(httpx.TransportError):
        acknowledged[bag.stem] = adder.add(bag)["manifest_id"]
    if kill.offline:
        taker.start(environment if victim is taker else None)
    assert victim.died() == -9
    if not adder.is_running:
        adder.start()
    if not taker.is_running:
        taker.start()


def _is_linked(site: Site) -> bool:
    with contextlib.suppress(Exception):
        return any(link["phase"] == "push" for link in site.status()["links"])
    return False


def _told(site: Site) -> str:
    """What a site says of itself, for whoever reads a failure."""
    if not site.is_running:
        return f"{site.name} is down"
    recordings = {name: (each["state"], each["finalized"]) for name, each in site.recordings().items()}
    status = site.status()
    log = (site.folder.parent / f"{site.name}.log").read_text()[-3000:]
    return f"{site.name}: {recordings}\n{status['groups']}\n{status['links']}\n{status['transfers']}\n{status['problems']}\n{log}"
