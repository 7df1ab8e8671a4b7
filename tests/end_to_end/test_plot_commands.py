"""Finding, the timeline and pictures, by the commands that people use."""

import subprocess
import sys
from pathlib import Path

import pytest
from mcap.writer import Writer

from tests.end_to_end.commands import Command
from tests.end_to_end.processes import Site

pytestmark = pytest.mark.xdist_group("commands")


def test_a_recording_is_drawn_as_png_and_svg(recmesh: Command, tmp_path: Path) -> None:
    assert recmesh("recording", "annotate", "first", "--label", "a bump", "--start", "+1s").status == 0
    count = recmesh("recording", "show", "first", "--json").json["message_count"]
    for name, beginning in (("picture.png", b"\x89PNG"), ("picture.svg", b"<?xml")):
        drawn = recmesh("recording", "plot", "first", "--out", str(tmp_path / name), "--bins", "10", "--json")

        assert (drawn.json["message_count"], drawn.json["bins"]) == (count, 10)
        assert (tmp_path / name).read_bytes().startswith(beginning)
    svg = (tmp_path / "picture.svg").read_bytes()
    assert b"<!-- a bump -->" in svg
    assert b"<!-- first: messages per second by topic -->" in svg
    assert recmesh("recording", "plot", "first", "--out", str(tmp_path / "picture.svg"), "--bins", "10").status == 0
    assert (tmp_path / "picture.svg").read_bytes() == svg, "the same again"
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["picture.png", "picture.svg"], "nothing is left beside them"


def test_one_topic_can_be_drawn(recmesh: Command, tmp_path: Path) -> None:
    topics = {each["topic"]: each["message_count"] for each in recmesh("recording", "show", "first", "--json").json["topics"]}
    drawn = recmesh("recording", "plot", "first", "--out", str(tmp_path / "one.svg"), "--topic", "/camera", "--json").json

    assert (drawn["topics"], drawn["message_count"]) == (1, topics["/camera"])
    assert recmesh("recording", "plot", "first", "--out", str(tmp_path / "two.svg"), "--topic", "/none").code == "not_found"


def test_what_cannot_be_drawn_is_one_clear_error_and_no_file(recmesh: Command, tmp_path: Path) -> None:
    with (tmp_path / "silent.mcap").open("wb") as file:
        writer = Writer(file)
        writer.start()
        writer.finish()
    assert recmesh("recording", "add", str(tmp_path / "silent.mcap")).status == 0
    (tmp_path / "folder.png").mkdir()

    for out in ("picture.pdf", "picture", "folder.png", "nowhere/picture.png"):
        result = recmesh("recording", "plot", "first", "--out", str(tmp_path / out))
        assert (result.status, result.code) == (2, "config_invalid")
    assert recmesh("recording", "plot", "silent", "--out", str(tmp_path / "x.png")).code == "recording_empty"
    assert recmesh("recording", "plot", "nobody", "--out", str(tmp_path / "x.png")).code == "not_found"
    full = recmesh("recording", "plot", "first", "--out", "/proc/x.png")
    assert (full.status, full.code) == (2, "config_invalid"), "a folder that nobody can write to"
    assert recmesh("recording", "show", "silent").status == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.png", "silent.mcap"]


def test_the_timeline_has_a_line_for_each_topic_and_annotation(recmesh: Command, site: Site) -> None:
    assert recmesh("recording", "annotate", "first", "--label", "a-hole", "--start", "+0s", "--end", "+1h").status == 0
    shown = recmesh("recording", "show", "first").out
    timeline = shown[shown.rindex("0 s") :]

    for topic in recmesh("recording", "show", "first", "--json").json["topics"]:
        assert topic["topic"] in timeline
    assert "a-hole" in timeline
    assert "=>" in timeline
    plain = subprocess.run(
        [sys.executable, "-m", "peer.cli", "recording", "show", "first", "--data", str(site.folder)],
        check=True,
        capture_output=True,
        timeout=60,
        env={"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin:/bin", "TZ": "UTC"},
    )
    assert plain.stdout.isascii()
    assert b"/camera" in plain.stdout[plain.stdout.rindex(b"0 s") :]


def test_lists_are_sorted_by_what_is_asked_for(recmesh: Command, bag: Path) -> None:
    for name in ("sort-a", "sort-b"):
        assert recmesh("recording", "add", str(bag), "--name", name, "--machine", "sorter").status == 0

    def names(*options: str) -> list[str]:
        return [each["name"] for each in recmesh("recording", "list", "--machine", "sorter", *options, "--json").json]

    assert names() == ["sort-b", "sort-a"]
    assert names("--reverse") == names("--sort", "name") == ["sort-a", "sort-b"]
    assert names("--topic", "/cam*") == ["sort-b", "sort-a"]
    for wrong in (("--sort", "colour"), ("--state", "colour")):
        refused = recmesh("recording", "list", *wrong)
        assert (refused.status, refused.code) == (2, "usage")
        assert "'colour' is not one of '" in refused.err
        assert "`recmesh recording list --help`" in refused.err, "not the list of all commands"


def test_no_command_but_plot_loads_what_draws() -> None:
    code = "import sys, peer.cli.main, peer.cli.plotting; sys.exit(any(name.startswith(('matplotlib', 'numpy')) for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
