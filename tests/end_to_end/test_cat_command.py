"""`recmesh recording cat`: as it should go, ended early, and where something is wrong."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mcap.writer import Writer

from tests.end_to_end.commands import Command
from tests.end_to_end.processes import Site
from tests.mcap_samples import START_NS
from tests.patience import PATIENCE_S, mortal, status_of

pytestmark = pytest.mark.xdist_group("commands")
NS_PER_S = 1_000_000_000


def write_chatter(path: Path, count: int) -> Path:
    """A message a second on each of three topics: text of ROS, JSON, and bytes."""
    writer = Writer(str(path))
    writer.start(profile="ros2", library="test")
    text = writer.register_channel("/chatter", "cdr", writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data"))
    pose = writer.register_channel("/pose", "json", writer.register_schema("Pose", "jsonschema", b"{}"))
    camera = writer.register_channel("/camera", "raw", 0)
    for number in range(count):
        words = f"hello {number}\x1b[31m".encode() + b"\0"
        time_ns = START_NS + number * NS_PER_S
        writer.add_message(text, time_ns, b"\0\1\0\0" + len(words).to_bytes(4, "little") + words, time_ns, number)
        writer.add_message(pose, time_ns + 1, json.dumps({"x": number}).encode(), time_ns, number)
        writer.add_message(camera, time_ns + 2, number.to_bytes(2, "big") * 100, time_ns, number)
    writer.finish()
    return path


@pytest.fixture(scope="module")
def chatter(site: Site, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = write_chatter(tmp_path_factory.mktemp("chatter") / "chatter.mcap", 20_000)
    site.command("recording", "add", str(path), "--group", "lab")
    return "chatter"


def test_text_is_shown_as_text(recmesh: Command, chatter: str) -> None:
    """And obeyed by no terminal."""
    result = recmesh("recording", "cat", chatter, "--topic", "/chatter", "--limit", "2")

    assert result.out == (
        "2023-11-14T22:13:20.000000000Z  /chatter  hello 0\N{REPLACEMENT CHARACTER}[31m\n"
        "2023-11-14T22:13:21.000000000Z  /chatter  hello 1\N{REPLACEMENT CHARACTER}[31m\n"
    )
    rows = recmesh("recording", "cat", chatter, "--limit", "3").out.splitlines()
    assert [row.split("  ")[1] for row in rows] == ["/chatter", "/pose", "/camera"]
    assert rows[1].endswith('{"x":0}')
    assert rows[2].endswith("... (200 bytes)")


def test_times_are_written_as_everywhere(recmesh: Command, chatter: str) -> None:
    def topics(*arguments: str) -> list[str]:
        result = recmesh("recording", "cat", chatter, "--json", *arguments)
        assert result.status == 0, result.err
        return [json.loads(row)["topic"] + str(json.loads(row)["sequence"]) for row in result.out.splitlines()]

    assert topics("--start", "+12.5s", "--end", "+14s") == ["/chatter13", "/pose13", "/camera13"]
    assert topics("--topic", "/pose", "--start", "2023-11-14T22:13:30Z", "--end", "2023-11-14T22:13:32Z") == ["/pose10", "/pose11"]
    assert topics("--topic", "/pose", "--topic", "/camera", "--start", "+19999s") == ["/pose19999", "/camera19999"]
    assert topics("--start", "1d") == []
    assert "No messages there" in recmesh("recording", "cat", chatter, "--start", "1d").err


def test_payloads_are_given_as_they_are(recmesh: Command, chatter: str) -> None:
    assert recmesh("recording", "cat", chatter, "--topic", "/pose", "--raw", "--limit", "1").out.endswith(b'{"x": 0}'.hex() + "\n")
    document = recmesh("recording", "cat", chatter, "--topic", "/pose", "--raw", "--json", "--limit", "1").json
    assert (document["data_encoding"], document["data"]) == ("base64", "eyJ4IjogMH0=")


def test_messages_become_a_file_that_can_be_added_and_never_replace_one(recmesh: Command, chatter: str, tmp_path: Path) -> None:
    out = str(tmp_path / "part.mcap")

    assert recmesh("recording", "cat", chatter, "--start", "+10s", "--end", "+12s", "--out", out)[:2] == (0, "")

    added = recmesh("recording", "add", out, "--group", "lab", "--json").json
    assert (added["message_count"], added["start_time"]) == (6, "2023-11-14T22:13:30.000000000Z")
    again = recmesh("recording", "cat", chatter, "--out", out)
    assert (again.status, again.code) == (2, "config_invalid")
    assert recmesh("recording", "cat", "nothing", "--out", f"{out}2").code == "not_found"
    assert [path.name for path in tmp_path.iterdir()] == ["part.mcap"]


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["nothing"], 1, "not_found"),
        (["chatter", "--topic", "/nothing"], 1, "not_found"),
        (["chatter", "--start", "soon"], 2, "config_invalid"),
        (["chatter", "--start", "+2s", "--end", "+1s"], 1, "request_invalid"),
        (["chatter", "--limit", "0"], 2, "usage"),
    ],
)
def test_what_cannot_be_read_is_one_line(recmesh: Command, chatter: str, arguments: list[str], status: int, code: str) -> None:
    assert chatter == "chatter"
    result = recmesh("recording", "cat", *arguments)

    assert (result.status, result.out, result.code) == (status, "", code)


def test_a_stream_that_ends_with_an_error_is_exit_1_after_what_was_good(recmesh: Command, site: Site, tmp_path: Path) -> None:
    path = write_chatter(tmp_path / "damaged.mcap", 20_000)
    sound = path.read_bytes()
    path.write_bytes(sound[: len(sound) // 2] + bytes(64) + sound[len(sound) // 2 + 64 :])
    site.command("recording", "add", str(path), "--group", "lab")

    result = recmesh("recording", "cat", "damaged", "--topic", "/chatter")

    assert (result.status, result.code) == (1, "mcap_damaged")
    assert 1000 < len(result.out.splitlines()) < 19_000
    assert recmesh("recording", "cat", "damaged", "--out", str(tmp_path / "part.mcap")).status == 3
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.mcap"]


def start_cat(site: Site, **streams: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-m", "peer.cli", "recording", "cat", "chatter"],
        env={**os.environ, "RECMESH_DATA": str(site.folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **streams,  # type: ignore[arg-type]
    )


def test_a_reader_that_has_seen_enough_ends_it_without_a_word(site: Site, chatter: str) -> None:
    """As `| head` does."""
    assert chatter
    with start_cat(site) as process, mortal(process):
        assert process.stdout is not None
        assert process.stderr is not None
        assert "hello 0" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE_S) in (0, 1)


def test_an_interruption_is_exit_130(site: Site, chatter: str) -> None:
    assert chatter
    with start_cat(site) as process, mortal(process):
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert status_of(process) == 130
        assert process.stderr.read() == ""
