"""Kill -9 while a copy is dropped: before its release is in the log everything stays, after that the bytes go at the next start."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.processes import Site, found, join, wait_until
from tests.end_to_end.test_kills import write_bag

STAYS = ("drop.after_proofs",)
GOES = ("drop.after_release", "drop.between_files", "drop.before_end")
ROUNDS = 10 if os.environ.get("RECMESH_TEST_LONG") == "1" else 1
QUICK = {"RECMESH_RECEIPT_DELAY": "0.1"}
RUN = "recordings/run"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Site, Site]]:
    """Two sites with a copy each of one recording of two files."""
    dropper, keeper = Site("dropper", tmp_path / "a"), Site("keeper", tmp_path / "b")
    dropper.start(QUICK)
    found(dropper)
    keeper.start(QUICK)
    join(dropper, keeper)
    bags = tmp_path / "run"
    bags.mkdir()
    for number in range(2):
        write_bag(bags / f"run_{number}.mcap", number)
    dropper.command("recording", "add", str(bags))
    yield dropper, keeper
    for site in (dropper, keeper):
        if site.is_running:
            site.kill()


def state(site: Site) -> str:
    return str(site.ask("GET", RUN)["state"])


def blobs(site: Site) -> int:
    return len([path for path in (site.folder / "blobs").glob("??/??/*") if path.is_file()])


def killed_at(failpoint: str, site: Site, hits: Path) -> None:
    """Drop the copy of a site that dies there, and start it again."""
    site.stop()
    site.start({**QUICK, "RECMESH_FAILPOINT": f"{failpoint}:1", "RECMESH_FAILPOINT_FILE": str(hits)})
    wait_until(lambda: linked(site), "they are linked")
    with contextlib.suppress(httpx.HTTPError):
        site.ask("POST", f"{RUN}/drop", json={})
    site.died()
    site.start(QUICK)
    wait_until(lambda: linked(site), "they are linked again")


def linked(site: Site) -> bool:
    return any(link["state"] == "up_to_date" for link in site.ask("GET", "status")["links"])


@pytest.mark.long_story
def test_a_kill_while_a_copy_is_dropped_leaves_one_that_counts_or_a_release_that_is_carried_out(pair: tuple[Site, Site], tmp_path: Path) -> None:
    dropper, keeper = pair
    hits = tmp_path / "hits"
    for failpoint in (STAYS + GOES) * ROUNDS:
        for site in pair:
            wait_until(lambda site=site: site.ask("GET", RUN)["copies"] == 2 and state(site) == "local", "both have it, and say so")  # type: ignore[misc]
        held = blobs(keeper)
        killed_at(failpoint, dropper, hits)
        assert (state(keeper), blobs(keeper)) == ("local", held)
        if failpoint in STAYS:
            assert (state(dropper), blobs(dropper)) == ("local", held)
            # What was promised for the round that died with its process binds no more.
            wait_until(lambda: httpx_status(keeper) == 200, "the keeper may drop its own copy")
            assert httpx_status(dropper) == 409
            keeper.ask("POST", f"{RUN}/fetch", json={})
            continue
        wait_until(lambda: blobs(dropper) == 0, "the bytes are gone")
        for site in pair:
            wait_until(lambda site=site: [each["name"] for each in site.ask("GET", RUN)["replicas"]] == ["keeper"], "one copy is left")  # type: ignore[misc]
        assert httpx_status(keeper) == 409
        assert (state(dropper), blobs(dropper)) == ("remote", 0)
        dropper.ask("POST", f"{RUN}/fetch", json={})

    passed = Counter(hits.read_text().split())
    print(dict(passed))  # noqa: T201
    assert passed == dict.fromkeys(STAYS + GOES, ROUNDS)
    for site in pair:
        assert site.json("verify", "--deep")["ok"]


def httpx_status(site: Site) -> int:
    """What becomes of the wish to drop the copy of a site."""
    try:
        site.ask("POST", f"{RUN}/drop", json={})
    except httpx.HTTPStatusError as error:
        return error.response.status_code
    return 200
