"""What docs/recordings.md tells a robot engineer to type, typed: the whole path of one recording, and the picture in the page, drawn anew."""

import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcap.writer import CompressionType, Writer

from tests.end_to_end.machines import ROOT
from tests.end_to_end.pages import SECTION, World, blocks, read_page
from tests.end_to_end.processes import wait_until

PAGE = read_page("recordings.md")
TEXT = re.compile(r"```text\n(.*?)```", re.DOTALL)
PICTURE = ROOT / "docs" / "recordings.svg"
WRITE = "RECMESH_WRITE_PICTURES"
"""Set to 1, the picture is written and not compared."""
BEGIN_NS = 1_777_887_000 * 10**9
"""4 May 2026, 09:30 UTC."""
SECONDS = 20
NS_PER_S = 10**9
RATES = {"/imu": 50, "/camera/compressed": 10, "/cmd_vel": 5}
STOPS = range(8, 11)
"""Seconds in which nobody steers."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A robot and an office that share a group."""
    world = World(tmp_path)
    world.group = "fleet"
    for name in ("office", "robot"):
        world.sets_up(name)
    world.machine("office").types("recmesh group create fleet")
    world.joins("robot", world.invitation("office"))
    yield world
    world.end()


def write_bag(folder: Path) -> None:
    """What a recorder leaves: a bag in two files, with its `metadata.yaml`."""
    folder.mkdir(parents=True)
    for number in range(2):
        write_part(folder / f"run-7_{number}.mcap", range(number * SECONDS // 2, (number + 1) * SECONDS // 2))
    (folder / "metadata.yaml").write_text("rosbag2_bagfile_information:\n  version: 9\n")
    for path in folder.iterdir():
        os.utime(path, (BEGIN_NS / NS_PER_S, BEGIN_NS / NS_PER_S))


def write_part(path: Path, seconds: range) -> None:
    """One file of the bag: these seconds of it."""
    writer = Writer(str(path), compression=CompressionType.ZSTD)
    writer.start(profile="ros2", library="recorder")
    schema = writer.register_schema("demo/Sample", "jsonschema", b'{"type": "object"}')
    channels = {topic: writer.register_channel(topic, "json", schema) for topic in RATES}
    for second in seconds:
        for topic, rate in RATES.items():
            for number in range(0 if topic == "/cmd_vel" and second in STOPS else rate):
                time_ns = BEGIN_NS + second * NS_PER_S + number * NS_PER_S // rate
                data = json.dumps({"n": second * rate + number, "x": round(math.sin(second + number / rate), 3)}).encode()
                writer.add_message(channels[topic], time_ns, data, time_ns, number)
    writer.finish()


def listed(world: World, name: str) -> dict[str, Any]:
    """The recording of the page, as a machine lists it; empty while it does not."""
    return dict(world.recordings(name).get("run-7", {}))


def shown(world: World, name: str) -> dict[str, Any]:
    """The recording of the page, with all that belongs to it."""
    return dict(json.loads(world.machine(name).types("recmesh recording show run-7 --json")))


def annotations(world: World, name: str) -> dict[str, dict[str, Any]]:
    """What was said about it, by label."""
    found: list[dict[str, Any]] = json.loads(world.machine(name).types("recmesh recording annotations run-7 --json"))
    return {each["label"]: each for each in found}


def printed(section: str) -> str:
    """What the page says that the last command of a section prints."""
    return TEXT.findall(dict(SECTION.findall(PAGE))[section])[-1].strip("\n")


@pytest.mark.long_story
def test_the_whole_path_of_one_recording(world: World) -> None:
    write_bag(world.machine("robot").home / "bags" / "run-7")
    is_made(world)
    is_found_and_read(world)
    is_talked_about(world)
    is_drawn(world)
    is_taken_away(world)
    comes_back(world)


def is_made(world: World) -> None:
    """A recorder leaves it, a site takes it, another gets it."""
    (made,) = blocks(PAGE, "Made on the robot")
    assert "run-7" in world.does(made)
    wait_until(lambda: listed(world, "office").get("state") == "local", "the office has all bytes")
    at_office = listed(world, "office")
    assert (at_office["tags"], at_office["machine"], at_office["chunk_count"]) == (["night"], "rover-7", 2)
    home = world.machine("office").data / "recordings"
    assert {path.name for path in home.glob("fleet-*/run-7/*")} >= {"run-7_0.mcap", "run-7_1.mcap", "metadata.yaml", "manifest.json"}


def is_found_and_read(world: World) -> None:
    """By a filter, with a timeline; then its messages."""
    (found,) = blocks(PAGE, "Found at the office")
    assert "run-7" in world.types(world.machine("office"), found.lines[0])
    assert printed("Found at the office") in world.types(world.machine("office"), found.lines[1])
    world.types(world.machine("office"), found.lines[2])
    (read,) = blocks(PAGE, "Read")
    assert world.does(read) == printed("Read")


def is_talked_about(world: World) -> None:
    """By two people at two sites."""
    said, answered, corrected = blocks(PAGE, "Talked about")
    world.does(said)
    wait_until(lambda: "bump" in annotations(world, "robot"), "the robot hears of it")
    world.stands_for["<annotation>"] = annotations(world, "robot")["bump"]["id"][:12]
    wait_until(lambda: shown(world, "robot")["tags"] == ["checked"], "and of the tags")
    world.does(answered)
    wait_until(lambda: shown(world, "office")["review_average"] == "3.00", "the office has both reviews")
    assert "Second lap, with a stop" in world.does(corrected)
    wait_until(lambda: set(annotations(world, "robot")) == {"stop", "no bump"}, "the robot has the correction")
    view = shown(world, "robot")
    assert view["properties"] == {"title": "Second lap, with a stop", "place": "hall 3"}
    assert annotations(world, "robot")["no bump"]["reply_to"] == annotations(world, "office")["stop"]["id"]
    assert not view["conflicts"]


def is_drawn(world: World) -> None:
    """As in the page, byte for byte."""
    (draw,) = blocks(PAGE, "Drawn")
    world.does(draw)
    drawn = (world.machine("office").home / "run-7.svg").read_bytes()
    if os.environ.get(WRITE) == "1":
        PICTURE.write_bytes(drawn)
    assert drawn == PICTURE.read_bytes(), f"{WRITE}=1 lets this test write the picture anew"


def is_taken_away(world: World) -> None:
    """As the recorder wrote it."""
    (take,) = blocks(PAGE, "Taken away")
    world.does(take)
    made, taken = world.machine("robot").home / "bags" / "run-7", world.machine("office").home / "run-7"
    for name in ("run-7_0.mcap", "run-7_1.mcap"):
        assert (taken / name).read_bytes() == (made / name).read_bytes()
    assert (taken / "metadata.yaml").is_file()


def comes_back(world: World) -> None:
    """Deleted by one, restored by another, with all that was said."""
    before = shown(world, "office")
    remove, restore = blocks(PAGE, "Deleted and restored")
    world.does(remove)
    wait_until(lambda: not listed(world, "office"), "it is hidden at the office")
    assert "Second lap" in world.does(restore)
    wait_until(lambda: listed(world, "robot").get("state") == "local", "the robot has it again")
    after = shown(world, "office")
    assert {key: value for key, value in after.items() if key != "revision"} == {key: value for key, value in before.items() if key != "revision"}


def test_every_command_of_the_page_is_typed() -> None:
    done = ("Made on the robot", "Found at the office", "Read", "Talked about", "Drawn", "Taken away", "Deleted and restored")

    assert sum(len(blocks(PAGE, section)) for section in done) == PAGE.count("```sh\n")
    assert set(re.findall(r"^## (.+)$", PAGE, re.MULTILINE)) == {*done, "When sites disagree", "What cannot be read"}
