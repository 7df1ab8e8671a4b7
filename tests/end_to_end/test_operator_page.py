"""What docs/operator.md tells an operator to type, typed: without a hub, with one, behind firewalls. In the order of the page."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peer.cli.sample import write_sample
from tests.end_to_end.pages import World, blocks, read_page
from tests.end_to_end.processes import wait_until

PAGE = read_page("operator.md")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.end()


def peers(world: World, name: str) -> dict[str, Any]:
    listed = json.loads(world.machine(name).types("recmesh peer list --json"))
    return {each["name"]: each for each in listed}


def _is_found(world: World, one: str, other: str) -> bool:
    shown = peers(world, one).get(other, {})
    return (shown.get("state"), shown.get("source")) == ("up_to_date", "gossip")


def test_without_a_hub_one_introduction_is_enough(world: World) -> None:
    *set_up, look = blocks(PAGE, "Without a hub")
    for block in set_up:
        world.does(block)

    for one, other in (("office", "yard"), ("yard", "office")):
        wait_until(lambda one=one, other=other: _is_found(world, one, other), f"the {one} has a link to the {other}, and was told of it")  # type: ignore[misc]
    world.does(look)

    (link,) = [link for link in world.status("office")["links"] if link["name"] == "yard"]
    told_by = {world.machine(name).types("recmesh id") for name in ("field", "yard")}
    assert link["route"] == "direct"
    assert link["learned_from"] in told_by
    assert link["ttl"] in {0, 1}  # Told by the field, or by the yard, which was itself told of the office.
    world.have(world.adds("yard"), "office", "field", "yard")


def test_with_a_hub_nobody_tells_anybody_an_address_and_without_it_the_mesh_goes_on(world: World) -> None:
    start, depot, track, look = blocks(PAGE, "With a hub")
    ids: dict[str, str] = {}
    world.does(start)
    hub = world.machine("hub")
    world.stands_for["<url of the hub>"] = world.status("hub")["hub"]["url"]
    world.stands_for["<key>"] = hub.types("recmesh hub key create --hive depot-tests --uses 2")
    for block in (depot, track):
        machine = world.machine(block.machine)
        world.stands_for["<home>"] = str(machine.home)
        for line in block.lines:
            if line.startswith("recmesh peer add"):
                break
            world.types(machine, line)
        ids[block.machine] = machine.types("recmesh id")
    for block, other in ((depot, "track"), (track, "depot")):
        world.stands_for[f"<id of {other}>"] = ids[other]
        world.types(world.machine(block.machine), block.lines[-1])
    world.group = "depot-tests"

    wait_until(lambda: peers(world, "track").get("depot", {}).get("state") == "up_to_date", "the track has a link to the depot")
    world.have(world.adds("depot") + world.adds("track"), "depot", "track")
    assert "depot" in world.does(look)

    hub.is_lost()
    names = list(world.recordings("depot"))
    world.have(names + world.adds("depot") + world.adds("track"), "depot", "track")


def test_behind_firewalls_everything_goes_over_links_that_are_dialled(world: World, tmp_path: Path) -> None:
    relay, quarry, mine = blocks(PAGE, "Behind firewalls")
    world.does(relay._replace(lines=relay.lines[:-2]))
    for which, line in zip(("first", "second"), relay.lines[-2:], strict=True):
        world.stands_for[f"<{which} invitation>"] = world.machine("relay").types(line)
    bags = tmp_path / "run-1"
    bags.mkdir()
    write_sample(bags / "run-1.mcap", 1024 * 1024, 1)
    world.stands_for["~/bags/run-1"] = str(bags)
    world.does(quarry)
    world.does(mine)
    world.group = "survey"

    world.have(["run-1"], "quarry", "mine")
    assert world.recordings("relay")["run-1"]["state"] == "remote"
    wait_until(lambda: _routes(world, "mine").get("quarry") == "relayed", "the mine hears of the quarry through the relay")
    assert world.status("mine")["endpoint"] is None


def _routes(world: World, name: str) -> dict[str, str]:
    return {link["name"]: link["route"] for link in world.status(name)["links"]}


def test_every_command_of_the_page_is_typed() -> None:
    done = ("Without a hub", "With a hub", "Behind firewalls")

    assert sum(len(blocks(PAGE, section)) for section in done) == PAGE.count("```sh\n")
    assert set(re.findall(r"^## (.+)$", PAGE, re.MULTILINE)) == {*done, "Where to look"}
