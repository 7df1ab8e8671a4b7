"""Commands that say things about recordings: once as they should go, once as they should not."""

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
    assert [each["name"] for each in recmesh("recording", "list", "--property", "title=Night run", "--json").json] == [mine]
    assert recmesh("recording", "set", mine, "title", "", "--json").json["title"] is None
    assert recmesh("recording", "set", mine, "a b", "x").code == "request_invalid"
    assert recmesh("recording", "set", mine, "title").status == 2
    assert recmesh("recording", "list", "--property", "title").code == "request_invalid"


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
    reply = recmesh("recording", "annotate", mine, "--label", "why", "--reply-to", first["id"][:12], "--json").json
    assert reply["reply_to"] == first["id"]
    assert [each["id"] for each in recmesh("recording", "annotations", mine, "--json").json] == [reply["id"], first["id"]]
    assert "left wheel" in recmesh("recording", "annotations", mine).out
    left = recmesh("recording", "unannotate", first["id"][:12], "--json").json
    assert [each["id"] for each in left["annotations"]] == [reply["id"]]
    assert recmesh("recording", "unannotate", first["id"]).code == "not_found"
    assert recmesh("recording", "annotate", mine, "--label", "x", "--end", "+1s").status == 2
    assert recmesh("recording", "annotate", mine, "--label", "x", "--start", "soon").status == 2
    assert recmesh("recording", "annotate", mine, "--label", "x", "--start", "+2s", "--end", "+1s").code == "request_invalid"
    assert recmesh("recording", "annotate", mine).status == 2
    assert recmesh("recording", "annotations", "nothing").code == "not_found"


def test_a_site_reviews_a_recording_once(recmesh: Command, mine: str) -> None:
    assert [each["value"] for each in recmesh("recording", "review", mine, "good", "--json").json["reviews"]] == ["good"]
    assert [each["value"] for each in recmesh("recording", "review", mine, "bad", "--json").json["reviews"]] == ["bad"]
    assert "bad" in recmesh("recording", "show", mine).out
    assert recmesh("recording", "review", mine, "", "--json").json["reviews"] == []
    assert recmesh("recording", "review", mine, "a\nb").code == "request_invalid"
    assert recmesh("recording", "review", mine).status == 2


def test_what_one_site_says_the_others_show_and_only_a_creator_or_admin_deletes(recmesh: Command, mine: str, tmp_path: Path) -> None:
    guest = Site("critic", tmp_path / "guest")
    guest.start()
    try:
        guest.json("group", "join", recmesh("group", "invite", "lab").out.strip())
        guest.json("recording", "set", mine, "title", "Seen by two")
        guest.json("recording", "review", mine, "good")
        note = guest.json("recording", "annotate", mine, "--label", "odd")
        wait_until(lambda: bool(recmesh("recording", "show", mine, "--json").json["annotations"]), "the note of the guest is here")
        shown = recmesh("recording", "show", mine, "--json").json
        forbidden = (("recording", "remove", mine, "--yes"), ("group", "set", "lab", "retention", "1"))
        refused = [guest.command(*command, status=1).stderr for command in forbidden]
        recmesh("recording", "unannotate", note["id"])
        recmesh("recording", "remove", mine, "--yes")
        wait_until(lambda: mine not in guest.recordings(), "the guest hides what was deleted")
        here, there = recmesh("group", "show", "lab", "--json").json, guest.json("group", "show", "lab")
    finally:
        assert guest.stop() == 0
    assert (shown["title"], [each["value"] for each in shown["reviews"]], shown["annotations"][0]["author_name"]) == (
        "Seen by two",
        ["good"],
        "critic",
    )
    assert all("not_allowed" in each for each in refused)
    assert (here["state_digest"], here["events"]) == (there["state_digest"], there["events"])
