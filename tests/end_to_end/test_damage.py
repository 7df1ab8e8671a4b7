"""A log.db that is damaged at a real peer, by flipped bytes anywhere, cut off, or gone: the peer starts, and everything comes back by itself."""

import asyncio
import contextlib
import json
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from peer.cli.sample import write_sample
from peer.core.certificate import LogKind
from peer.core.encoding import encode
from peer.core.run import Draft
from peer.store.recovery import CHECKED_AT_START_MAX
from tests.end_to_end.processes import DEADLINE_S, Site, agree, found, join, wait_until
from tests.integration.store_site import running_store

pytestmark = pytest.mark.xdist_group("damage")
PAGE = 8192
LONG = os.environ.get("RECMESH_TEST_LONG") == "1"
FLIPS = 40 if LONG else 2
"""Restarts with flipped bytes; several bytes each."""


Case = tuple[int, Callable[[Path], object]]
"""At which of the two sites, and what is done to its log."""

SHORT: dict[str, Case] = {
    "noise at the site that is dialled": (0, lambda path: path.write_bytes(os.urandom(path.stat().st_size))),
    "cut off at the site that dials": (1, lambda path: os.truncate(path, path.stat().st_size // 2)),
    "gone at the site that is dialled": (0, Path.unlink),
}
MORE: dict[str, Case] = {
    "header at the site that is dialled": (0, lambda path: flip(path, 3)),
    "empty at the site that dials": (1, lambda path: path.write_bytes(b"")),
    "noise at the site that dials": (1, lambda path: path.write_bytes(os.urandom(path.stat().st_size))),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """Two sites in one group with four recordings, two from each. The second dials the first, which knows no way to the second.

    Each test leaves them as they were.
    """
    tmp_path = tmp_path_factory.mktemp("damage")
    first, second = Site("first", tmp_path / "first/data"), Site("second", tmp_path / "second/data")
    first.start()
    found(first)
    second.start()
    join(first, second)
    for number, site in enumerate((first, second, first, second)):
        write_sample(tmp_path / f"bag-{number}.mcap", 32 * 1024, number)
        site.add(tmp_path / f"bag-{number}.mcap")
    wait_until(lambda: agree([first, second], 4), "both agree")
    yield first, second
    for site in (first, second):
        if site.is_running:
            site.kill()


def event_ids(site: Site) -> set[str]:
    """The ids of all events of the group, as the peer tells them."""
    events: list[dict[str, str]] = site.ask("GET", "sync/groups/lab/events", params={"limit": "1000"})["events"]
    return {each["event_id"] for each in events}


def flip(path: Path, *offsets: int) -> None:
    with path.open("r+b") as file:
        for offset in offsets:
            byte = os.pread(file.fileno(), 1, offset)
            os.pwrite(file.fileno(), bytes([byte[0] ^ 0x55]), offset)


def damaged_files(site: Site) -> list[Path]:
    return sorted(path for path in site.folder.glob("log.db.damaged-*") if not path.name.endswith((".json", "-wal")))


def all_back(sites: tuple[Site, Site], ids: set[str]) -> None:
    """Everything is at both again, under its id, and verifies."""
    wait_until(lambda: agree(sites, 4), "both agree again")
    for site in sites:
        assert ids <= event_ids(site)
        assert site.json("verify", "--deep")["ok"] is True
        assert site.group()["forks"] == 0


@pytest.mark.parametrize("case", [*SHORT, *(MORE if LONG else ())])
def test_a_log_that_is_beyond_repair_is_filled_again_from_the_other_site(pair: tuple[Site, Site], case: str) -> None:
    """Without anybody doing anything: start it, and it is as it was; what was there is moved aside and shown."""
    at, harm = (SHORT | MORE)[case]
    site, ids = pair[at], event_ids(pair[0])
    site.stop()
    path, before = site.folder / "log.db", damaged_files(site)
    harm(path)
    damaged = path.read_bytes() if path.exists() else None
    wrong = json.loads(site.command("--json", "verify", status=1).stdout)
    assert {each["code"] for each in wrong["problems"]} <= {"store_corrupt", "log_missing"}

    site.start()

    all_back(pair, ids)
    assert [each.read_bytes() for each in damaged_files(site) if each not in before] == ([] if damaged is None else [damaged])
    assert "log_damaged" in {each["code"] for each in site.status()["problems"]}


def test_bytes_that_flip_anywhere_in_the_log_of_either_site_do_not_last(pair: tuple[Site, Site]) -> None:
    chance = random.Random(7)
    ids = event_ids(pair[0])
    repairs = 0
    for number in range(FLIPS):
        site = pair[number % 2]
        site.stop()
        size = (site.folder / "log.db").stat().st_size
        flip(site.folder / "log.db", *(chance.randrange(size) for _ in range(3)), chance.randrange(size // PAGE) * PAGE + 1)
        found_wrong = json.loads(site.command("--json", "verify", status=1).stdout)
        assert found_wrong["problems"]
        before = len(damaged_files(site))
        site.start()
        all_back(pair, ids)
        repairs += len(damaged_files(site)) - before
    print(f"{FLIPS} restarts on flipped bytes, {repairs} repairs")  # noqa: T201
    assert repairs == FLIPS


def test_verify_of_a_running_peer_finds_the_damage_and_the_next_start_puts_it_right(pair: tuple[Site, Site]) -> None:
    site, ids = pair[1], event_ids(pair[0])
    site.stop()
    data = (site.folder / "log.db").read_bytes()
    place = data.index(_first_headers(site)[0]) + 5
    site.start()
    flip(site.folder / "log.db", place)

    wrong = json.loads(site.command("--json", "verify", status=1).stdout)

    assert wrong["problems"]
    site.stop()
    site.start()
    all_back(pair, ids)


def test_what_only_this_site_had_survives_where_it_can_be_read(pair: tuple[Site, Site], tmp_path: Path) -> None:
    """The other site is away: what was acknowledged here and lies above the damage is not given up, but waits for what others bring."""
    first, second = pair
    for number, name in enumerate(("early", "late")):
        write_sample(tmp_path / f"{name}.mcap", 32 * 1024, 99 + number)
    first.add(tmp_path / "early.mcap")
    wait_until(lambda: agree(pair, 5), "both have the early one, with which a log begins")
    second.stop()
    late = first.add(tmp_path / "late.mcap")
    first.stop()
    data = (first.folder / "log.db").read_bytes()
    headers = _first_headers(first)
    flip(first.folder / "log.db", *(data.index(header) + 5 for header in headers))

    first.start()
    assert "late" not in first.recordings()
    assert (first.folder / "log.db.waiting").exists()
    second.start()

    wait_until(lambda: agree(pair, 6), "both agree, with the late one")
    assert first.recordings()["late"]["id"] == second.recordings()["late"]["id"] == late["id"]
    wait_until(lambda: not (first.folder / "log.db.waiting").exists(), "nothing waits any more")


def _first_headers(site: Site) -> list[bytes]:
    """The headers of the events with which data logs begin: harm there keeps all above from being appended."""
    connection = sqlite3.connect(site.folder / "log.db")
    headers = [row[0] for row in connection.execute("SELECT header FROM events WHERE height = 1")]
    connection.close()
    return [header for header in headers if b"recording.create" in header]


def test_damage_in_a_large_log_is_found_while_the_peer_runs_and_put_right_in_the_same_process(pair: tuple[Site, Site]) -> None:
    """Too large to be verified at the start: it is looked through beside the work, and the peer begins anew by itself."""
    first, second = pair
    second.stop()
    written = asyncio.run(_write_much(second))
    second.start()
    wait_until(lambda: first.group()["events"] == second.group()["events"], "the first has the many")
    second.stop()
    assert (second.folder / "log.db").stat().st_size > CHECKED_AT_START_MAX
    flip(second.folder / "log.db", (second.folder / "log.db").read_bytes().index(written) + 5)
    events, before = first.group()["events"], len(damaged_files(second))

    second.start()
    process = second.process
    wait_until(lambda: len(damaged_files(second)) == before + 1, "the damage is found", 2 * DEADLINE_S)

    wait_until(lambda: _events(second) == events, "everything is back")
    assert second.process is process
    assert second.is_running
    assert second.json("verify")["ok"] is True


async def _write_much(site: Site) -> bytes:
    """More than is verified at a start, of a type that no projection knows; the header of an event in the middle."""
    async with running_store(site.folder, 1_900_000_000_000) as store:
        (group,) = store.replica.groups
        written = [await store.write(group, LogKind.DATA, [Draft("padding", encode({"number": n}))] * 200) for n in range(90)]
    return written[50][100].event.header_bytes


def _events(site: Site) -> int:
    with contextlib.suppress(httpx.HTTPError):
        return int(site.group()["events"])
    return -1  # It begins anew just now.


def test_damaged_projections_are_computed_again(pair: tuple[Site, Site]) -> None:
    """Also where only reading a page in the middle shows it."""
    first = pair[0]
    before = first.group()["state_digest"]
    for spoiled in (range(PAGE, 40 * PAGE, 3 * PAGE), range(0, 64, 8)):
        first.stop()
        size = (first.folder / "views.db").stat().st_size
        flip(first.folder / "views.db", *(offset for offset in spoiled if offset < size))
        wrong = json.loads(first.command("--json", "verify", status=1).stdout)
        assert {each["code"] for each in wrong["problems"]} == {"store_corrupt"}
        first.start()
        wait_until(lambda: _events(first) >= 0 and first.group()["state_digest"] == before, "the projections are as they were")
        assert first.json("verify")["ok"] is True
