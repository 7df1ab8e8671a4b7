"""Commands that say things about recordings: once as they should go, once as they should not."""

import getpass
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.commands import Command
from tests.end_to_end.processes import Site, wait_until

pytestmark = pytest.mark.xdist_group("commands")
NS_PER_S = 10**9


@pytest.fixture
def mine(recmesh: Command, bag: Path, tmp_path: Path) -> str:
    """A recording of this test's own."""
    name = tmp_path.name[:100]
    assert recmesh("recording", "add", str(bag), "--group", "lab", "--name", name).status == 0
    return name


def test_remove_asks_on_a_terminal_and_needs_yes_without_one(recmesh: Command, site: Site, bag: Path) -> None:
    recmesh("recording", "add", str(bag), "--group", "lab", "--name", "unwanted")
    refused = recmesh("recording", "remove", "unwanted")
    assert (refused.status, refused.code) == (2, "config_invalid")
    assert "--yes" in refused.err
    assert on_a_terminal(site, "recording", "remove", "unwanted", answer="n\n") == 130
    assert recmesh("recording", "show", "unwanted").status == 0
    assert on_a_terminal(site, "recording", "remove", "unwanted", answer="y\n") == 0
    assert recmesh("recording", "show", "unwanted").code == "not_found"
    listed = recmesh("recording", "list", "--deleted", "--json").json
    assert [each["deleted"] for each in listed if each["name"] == "unwanted"] == [True]
    assert "unwanted" not in recmesh("recording", "list").out
    assert "deleted" in recmesh("recording", "list", "--deleted").out
    assert recmesh("recording", "restore", "unwanted", "--json").json["state"] == "local"
    assert recmesh("recording", "restore", "unwanted").code == "no_change"
    gone = recmesh("recording", "remove", "unwanted", "--yes", "--json").json
    assert gone["deleted"]
    assert recmesh("recording", "fetch", gone["id"]).code == "request_invalid"
    assert recmesh("recording", "remove", "nothing", "--yes").code == "not_found"


def on_a_terminal(site: Site, *arguments: str, answer: str) -> int:
    """Run a command whose standard input is a terminal; how it ended."""
    ours, theirs = pty.openpty()
    try:
        command = [sys.executable, "-m", "peer.cli", *arguments]
        process = subprocess.Popen(command, env={**os.environ, "RECMESH_DATA": str(site.folder)}, stdin=theirs, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        os.write(ours, answer.encode())
        _, said = process.communicate(timeout=30)
        assert "at every site" in said
        return process.returncode
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_title_is_set_found_and_taken_away(recmesh: Command, mine: str) -> None:
    assert recmesh("recording", "set", mine, "title", "Night run", "--json").json["title"] == "Night run"
    assert "Night run" in recmesh("recording", "show", mine).out
    hint = recmesh("recording", "set", mine, "title", "Night run").err
    assert "`recmesh recording list --property 'title=Night run'`" in hint, "it can be pasted"
    assert [each["name"] for each in recmesh("recording", "list", "--property", "title=Night run", "--json").json] == [mine]
    assert recmesh("recording", "set", mine, "title", "", "--json").json["title"] is None
    assert recmesh("recording", "set", mine, "a b", "x").code == "request_invalid"
    assert recmesh("recording", "set", mine, "title").status == 2
    assert recmesh("recording", "list", "--property", "title").code == "request_invalid"


def test_values_have_types(recmesh: Command, mine: str) -> None:
    assert recmesh("recording", "set", mine, "runs", "12", "--type", "number", "--json").json["properties"]["runs"] == 12
    assert recmesh("recording", "set", mine, "wet", "yes", "--type", "truth", "--json").json["properties"]["wet"] is True
    assert recmesh("recording", "set", mine, "code", "12", "--json").json["properties"]["code"] == "12"
    assert [each["name"] for each in recmesh("recording", "list", "--property", "runs=12", "--property", "wet=true", "--json").json] == [mine]
    assert "true" in recmesh("recording", "show", mine).out
    for value, value_type in (("1.5", "number"), ("twelve", "number"), ("maybe", "truth"), ("x", "colour")):
        assert recmesh("recording", "set", mine, "runs", value, "--type", value_type).status == 2
    assert recmesh("recording", "set", mine, "robot", "12", "--type", "number").code == "request_invalid"
    assert "runs" not in recmesh("recording", "set", mine, "runs", "", "--type", "number", "--json").json["properties"]


def test_what_the_group_requires_is_missing_until_it_is_said(recmesh: Command, mine: str) -> None:
    recmesh("group", "set", "lab", "required_properties", "surface")
    try:
        assert recmesh("recording", "show", mine, "--json").json["missing_properties"] == ["surface"]
        assert "missing" in recmesh("recording", "show", mine).out
        assert recmesh("recording", "set", mine, "surface", "gravel", "--json").json["missing_properties"] == []
        assert "missing" not in recmesh("recording", "show", mine).out
    finally:
        recmesh("group", "set", "lab", "required_properties", "")


def test_a_machine_is_described_for_all(recmesh: Command) -> None:
    assert "model=x7" in recmesh("machine", "set", "arm 1", "model", "x7", "--group", "lab").out
    done = recmesh("machine", "set", "arm 1", "axes", "6", "--type", "number", "--group", "lab", "--json").json
    assert done["properties"] == {"axes": 6, "model": "x7"}
    assert "arm 1" in recmesh("machine", "list").out
    assert [each["name"] for each in recmesh("machine", "list", "--group", "lab", "--json").json if each["properties"]] == ["arm 1"]
    assert "axes" in recmesh("machine", "show", "arm 1").out
    assert recmesh("machine", "show", "arm 1", "--json").json[0]["properties"]["axes"] == 6
    assert recmesh("machine", "show", "nobody").code == "not_found"
    assert recmesh("machine", "set", "arm 1", "a b", "x", "--group", "lab").code == "request_invalid"
    assert recmesh("machine", "set", "arm 1", "a", "x", "--type", "number").status == 2
    assert recmesh("machine", "list", "--group", "nowhere").code == "not_found"


def test_tags_are_words_with_plus_or_minus(recmesh: Command, mine: str) -> None:
    assert recmesh("recording", "tag", mine, "+night", "+rain", "--json").json["tags"] == ["night", "rain"]
    assert recmesh("recording", "tag", mine, "-rain", "+dry", "--json").json["tags"] == ["dry", "night"]
    assert recmesh("recording", "tag", mine, "--add", "wet", "--remove", "dry", "--json").json["tags"] == ["night", "wet"]
    assert recmesh("recording", "tag", mine, "-vqh", "--json").json["tags"] == ["night", "wet"], "no letter is an option here"
    for wrong in ((), ("night",), ("+",), ("-",), ("+a", "-a"), ("--nonsense",)):
        assert recmesh("recording", "tag", mine, *wrong).status in {1, 2}
    assert recmesh("recording", "tag", "nothing", "+a").code == "not_found"


def test_a_time_in_a_recording_is_annotated_answered_and_taken_back(recmesh: Command, mine: str) -> None:
    start_ns = int(recmesh("recording", "show", mine, "--json").json["start_time_ns"])
    first = recmesh("recording", "annotate", mine, "--label", "slip", "--start", "+1.5s", "--end", "+2s", "--text", "left wheel", "--json").json
    assert (first["start_ns"], first["end_ns"]) == (str(start_ns + 3 * NS_PER_S // 2), str(start_ns + 2 * NS_PER_S))
    reply = recmesh("recording", "annotate", mine, "--label", "why", "--reply-to", first["id"][:12], "--person", "ann", "--json").json
    assert reply["reply_to"] == first["id"]
    assert [each["id"] for each in recmesh("recording", "annotations", mine, "--json").json] == [first["id"], reply["id"]]
    assert [line.split()[-3:] for line in recmesh("recording", "annotations", mine).out.splitlines()[2:]] == [["at", "solo", "-"]]
    assert recmesh("recording", "edit-annotation", first["id"][:12], "--text", "right wheel", "--end", "none", "--json").json["end_ns"] is None
    moved = recmesh("recording", "edit-annotation", first["id"], "--start", "+1s", "--json").json
    assert (moved["label"], moved["start_ns"], moved["by"]["person"]) == ("slip", str(start_ns + NS_PER_S), first["by"]["person"])
    assert recmesh("recording", "edit-annotation", first["id"]).status == 2
    assert recmesh("recording", "edit-annotation", first["id"], "--start", "soon").status == 2
    assert recmesh("recording", "edit-annotation", first["id"], "--label", "").code == "request_invalid"
    assert recmesh("recording", "edit-annotation", "ab" * 32, "--label", "x").code == "not_found"
    assert "right wheel (changed)" in recmesh("recording", "annotations", mine).out
    left = recmesh("recording", "unannotate", first["id"][:12], "--json").json
    assert [each["id"] for each in left["annotations"]] == [reply["id"]]
    assert recmesh("recording", "unannotate", first["id"]).code == "not_found"
    assert recmesh("recording", "annotate", mine, "--label", "x", "--end", "+1s").status == 2
    assert "+12.5s" in recmesh("recording", "annotate", mine, "--label", "x", "--start", "1.5").err
    assert recmesh("recording", "annotate", mine, "--label", "x", "--start", "soon").status == 2
    assert recmesh("recording", "annotate", mine, "--label", "x", "--start", "+2s", "--end", "+1s").code == "request_invalid"
    assert recmesh("recording", "annotate", mine).status == 2
    assert recmesh("recording", "annotations", "nothing").code == "not_found"


def test_a_person_reviews_a_recording_once(recmesh: Command, mine: str) -> None:
    (review,) = recmesh("recording", "review", mine, "2", "--json").json["reviews"]
    assert (review["value"], review["by"]["person"], review["by"]["site"]) == (2, getpass.getuser(), "solo")
    assert [each["value"] for each in recmesh("recording", "review", mine, "5", "--json").json["reviews"]] == [5]
    assert "3.50 of 5 (2)" in recmesh("recording", "review", mine, "2", "--person", "ann").out
    shown = recmesh("recording", "show", mine).out
    assert "3.50 of 5 (2)" in shown
    assert "review by ann at solo" in shown
    assert "3.50" in next(line for line in recmesh("recording", "list").out.splitlines() if line.startswith(f"{mine} "))
    note = recmesh("recording", "annotate", mine, "--label", "odd", "--json").json["id"]
    assert recmesh("recording", "review", mine, "1", "--annotation", note, "--json").json["review_average"] == "3.50"
    told = recmesh("recording", "review", mine, "1", "--annotation", note[:8]).out
    assert told.endswith("1, 1.00 of 5 (1)\n"), "what is told is about the annotation, not about the recording"
    assert "1.00 of 5 (1)" in recmesh("recording", "annotations", mine).out
    recmesh("recording", "review", mine, "none", "--person", "ann")
    assert recmesh("recording", "review", mine, "", "--json").json["reviews"] == []
    for wrong in ("good", "0", "6", "4.5", "-1", "12"):
        assert recmesh("recording", "review", mine, *(["--"] if wrong == "-1" else []), wrong).status == 2
    assert recmesh("recording", "review", mine).status == 2


def test_what_one_site_says_the_others_show_and_only_a_creator_or_admin_deletes(recmesh: Command, mine: str, tmp_path: Path) -> None:
    guest = Site("critic", tmp_path / "guest")
    guest.start()
    try:
        guest.json("group", "join", recmesh("group", "invite", "lab").out.strip())
        guest.json("recording", "set", mine, "title", "Seen by two")
        guest.json("recording", "review", mine, "4")
        note = guest.json("recording", "annotate", mine, "--label", "odd")
        wait_until(lambda: bool(recmesh("recording", "show", mine, "--json").json["annotations"]), "the note of the guest is here")
        shown = recmesh("recording", "show", mine, "--json").json
        forbidden = (("recording", "remove", mine, "--yes"), ("group", "set", "lab", "retention", "raw"))
        refused = [guest.command(*command, status=1).stderr for command in forbidden]
        recmesh("recording", "unannotate", note["id"])
        recmesh("recording", "remove", mine, "--yes")
        wait_until(lambda: mine not in guest.recordings(), "the guest hides what was deleted")
        here, there = recmesh("group", "show", "lab", "--json").json, guest.json("group", "show", "lab")
    finally:
        assert guest.stop() == 0
    assert (shown["title"], [each["value"] for each in shown["reviews"]], shown["annotations"][0]["author_name"]) == (
        "Seen by two",
        [4],
        "critic",
    )
    assert all("not_allowed" in each for each in refused)
    assert (here["state_digest"], here["events"]) == (there["state_digest"], there["events"])
