"""Two real sites, the clock of one of which is wrong by ten years, ahead or behind, and set right later. And two that think of one name at once."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peer.cli.sample import write_sample
from tests.end_to_end.processes import Site, agree, found, join, wait_until

TEN_YEARS_S = 10 * 365 * 24 * 3600
SHIFTED = """
import os, time
by = int(os.environ["RECMESH_TEST_CLOCK_S"])
right, right_ns = time.time, time.time_ns
time.time = lambda: right() + by
time.time_ns = lambda: right_ns() + by * 10**9
"""


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[tuple[Site, Site]]:
    """Two of one group, whose clocks are right."""
    pair = Site("office", tmp_path / "office"), Site("robot", tmp_path / "robot")
    try:
        for site in pair:
            site.start()
        found(pair[0])
        join(*pair)
        yield pair
    finally:
        for site in pair:
            if site.is_running:
                site.stop()


def restart(site: Site, folder: Path, wrong_by_s: int) -> None:
    """With a clock that is wrong by so much."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(SHIFTED)
    if site.is_running:
        site.stop()
    site.start({"PYTHONPATH": str(folder), "RECMESH_TEST_CLOCK_S": str(wrong_by_s)} if wrong_by_s else None)


def add(site: Site, folder: Path, name: str) -> str:
    """A recording; its id."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.mcap"
    write_sample(path, 4096, sum(map(ord, f"{folder}{name}")))
    return str(site.add(path)["id"])


def change(site: Site, recording: str, value: str) -> None:
    """Say something about a recording in each way in which what was said before can be replaced."""
    site.ask("PATCH", f"recordings/{recording}", json={"properties": {"title": value, "place": value}})
    tags = {"good": "bad", "bad": "good"}
    site.ask("POST", f"recordings/{recording}/tags", json={"add": [value], "remove": [tags[value]]})


def shown(site: Site, recording: str) -> tuple[Any, ...]:
    """What holds. Nobody disagrees, at no time: each has seen what it replaces."""
    view = site.ask("GET", f"recordings/{recording}")
    assert not view["conflicts"]
    return view["properties"].get("title"), view["properties"].get("place"), view["tags"], "deleted" if view["deleted"] else "kept"


def both_show(sites: tuple[Site, Site], recording: str, *expected: Any) -> None:
    """At both sites, which agree on all there is."""
    wait_until(lambda: all(shown(site, recording) == expected for site in sites), f"both show {expected}")
    wait_until(lambda: len({site.group()["state_digest"] for site in sites}) == 1, "both have the same digest")


@pytest.mark.parametrize("wrong_by_s", [TEN_YEARS_S, -TEN_YEARS_S], ids=["ahead", "behind"])
def test_a_wrong_clock_decides_nothing_that_others_have_seen_and_changed_since(sites: tuple[Site, Site], tmp_path: Path, wrong_by_s: int) -> None:
    office, robot = sites
    recording = add(office, tmp_path, "run")
    wait_until(lambda: agree(sites, 1), "the robot has it")
    restart(robot, tmp_path / "clock", wrong_by_s)
    change(robot, recording, "bad")
    both_show(sites, recording, "bad", "bad", ["bad"], "kept")
    wrong_ms = [each["time_ms"] for each in robot.json("events", "lab") if each["type"] == "recording.set"]
    assert all(abs(each / 1000 - time.time() - wrong_by_s) < 3600 for each in wrong_ms)
    assert wrong_by_s < 0 or any(each["code"] == "clock_ahead" for each in office.status()["problems"])

    change(office, recording, "good")
    both_show(sites, recording, "good", "good", ["good"], "kept")
    office.ask("DELETE", f"recordings/{recording}")
    both_show(sites, recording, "good", "good", ["good"], "deleted")
    office.ask("POST", f"recordings/{recording}/restore", json={})
    change(robot, recording, "bad")
    both_show(sites, recording, "bad", "bad", ["bad"], "kept")
    change(office, recording, "good")
    both_show(sites, recording, "good", "good", ["good"], "kept")

    restart(robot, tmp_path / "clock", 0)
    both_show(sites, recording, "good", "good", ["good"], "kept")
    change(robot, recording, "bad")
    both_show(sites, recording, "bad", "bad", ["bad"], "kept")
    change(office, recording, "good")
    both_show(sites, recording, "good", "good", ["good"], "kept")
    own = add(robot, tmp_path / "robot-bags", "later")
    wait_until(lambda: agree(sites, 2), "what the robot adds now is complete at both")
    assert office.ask("GET", f"recordings/{own}")["state"] == "local"
    for site in sites:
        assert site.json("verify")["ok"]


def test_two_sites_that_think_of_one_name_at_once_keep_both_and_the_later_folder_has_a_short_id(sites: tuple[Site, Site], tmp_path: Path) -> None:
    office, robot = sites
    robot.stop()
    first = add(office, tmp_path / "one", "run")
    office.stop()
    robot.start()
    second = add(robot, tmp_path / "two", "Run")
    office.start()

    wait_until(lambda: agree(sites, 2), "both have both")
    for site in sites:
        assert {each["id"]: name for name, each in site.recordings().items()} == {first: "run", second: "Run"}
        wait_until(lambda site=site: folders(site) == {"run", f"Run-{second[:8]}"}, f"the later folder has a short id at the {site.name}")  # type: ignore[misc]
        told = site.command("recording", "show", "run", status=1).stderr
        assert first[:12] in told
        assert second[:12] in told


def folders(site: Site) -> set[str]:
    """What a person sees of recordings in the file manager."""
    return {path.name for home in (site.folder / "recordings").iterdir() if not home.name.startswith(".") for path in home.iterdir()}
