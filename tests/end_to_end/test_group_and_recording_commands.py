"""Commands about groups and recordings: once as it should go, once as it should not."""

import getpass
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from peer.cli.output import size
from peer.cli.sample import write_sample
from tests.end_to_end.commands import Command
from tests.end_to_end.processes import Site, wait_until
from tests.patience import mortal, status_of

pytestmark = pytest.mark.xdist_group("commands")


def test_a_group_is_created_shown_and_not_created_twice(recmesh: Command) -> None:
    created = recmesh("group", "create", "workshop", "--json")

    assert recmesh("group", "show", "workshop", "--json").json == created.json
    assert created.json in recmesh("group", "list", "--json").json
    assert "workshop" in recmesh("group", "list").out
    assert (created.json["role"], created.json["conflicts"]) == ("owner", [])
    assert recmesh("group", "create", "Workshop").code == "name_taken"
    assert recmesh("group", "show", created.json["group_id"][:6]).status == 0
    assert recmesh("group", "leave", "workshop", "--yes").status == 0, "others use this site, too, and name no group"


@pytest.mark.parametrize("name", ["a/b", ".a", "a" * 129, "a b", "..", ""])
def test_a_group_name_that_could_not_be_a_path_is_refused(recmesh: Command, name: str) -> None:
    result = recmesh("group", "create", name)

    assert (result.status, result.code) == (1, "name_invalid")


def test_an_unknown_group_is_exit_1(recmesh: Command) -> None:
    for command in (["group", "show"], ["group", "invite"], ["group", "invitations"], ["events"]):
        result = recmesh(*command, "nowhere")
        assert (result.status, result.out, result.code) == (1, "", "not_found")


def test_an_invitation_is_the_one_line_on_standard_output(recmesh: Command) -> None:
    before = recmesh("group", "invitations", "lab", "--json").json
    result = recmesh("group", "invite", "lab", "--role", "reader", "--expires", "1h")

    assert result.out.count("\n") == 1
    assert result.out.startswith("recmesh1")
    assert "group join" in result.err
    (listed,) = [each for each in recmesh("group", "invitations", "lab", "--json").json if each not in before]
    assert (listed["role"], listed["state"]) == ("reader", "open")
    assert "reader" in recmesh("group", "invitations", "lab").out
    assert recmesh("group", "invite", "lab", "--expires", "soon").status == 2


def test_an_invitation_is_read_from_the_line_a_file_or_standard_input(recmesh: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    invitation = recmesh("group", "invite", "lab").out
    (tmp_path / "invitation").write_text(invitation)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(invitation.encode())))

    for given in (invitation.strip(), f"@{tmp_path / 'invitation'}", "-"):
        assert recmesh("group", "join", given, "--json").json["role"] == "owner"
    assert recmesh("group", "join", f"@{tmp_path / 'none'}").code == "file_unreadable"
    typo = recmesh("group", "join", invitation.strip()[:-1])
    assert (typo.status, typo.code) == (1, "invitation_typo")


def test_another_site_joins_and_has_what_was_there(recmesh: Command, site: Site, tmp_path: Path) -> None:
    guest = Site("guest", tmp_path / "guest")
    guest.start()
    try:
        joined = guest.json("group", "join", recmesh("group", "invite", "lab").out.strip())
        wait_until(lambda: guest.group()["state_digest"] == site.group()["state_digest"], "both show the same")
        fetched = guest.json("recording", "fetch", "first")
        shown = recmesh("peer", "show", "guest", "--json").json
    finally:
        assert guest.stop() == 0

    assert joined["role"] == "writer"
    assert [each["state"] for each in fetched] == ["local"]
    assert shown["shared_groups"][0]["name"] == "lab"
    assert "guest" in recmesh("peer", "list").out
    assert recmesh("peer", "show", "nobody").code == "not_found"


def test_events_are_listed_and_followed(recmesh: Command, site: Site) -> None:
    listed = recmesh("events", "lab", "--json").json

    assert [event["type"] for event in listed][:4] == ["member.set", "recording.create", "chunk.add", "recording.finalize"]
    assert "recording.create" in recmesh("events", "lab").out
    with subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-m", "peer.cli", "events", "lab", "--follow", "--json"],
        env={**os.environ, "RECMESH_DATA": str(site.folder)},
        stdout=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        try:
            with mortal(following):
                seen = [json.loads(following.stdout.readline()) for _ in listed]
                recmesh("group", "invite", "lab")
                new = json.loads(following.stdout.readline())
            following.send_signal(signal.SIGINT)
            assert status_of(following) == 130
        finally:
            following.send_signal(signal.SIGABRT)  # If it still runs it shows where.
    assert seen == listed
    assert new["type"] == "invite"


def test_a_recording_is_added_listed_and_shown(recmesh: Command, bag: Path) -> None:
    added = recmesh("recording", "add", str(bag), "--group", "lab", "--name", "mine", "--tag", "dry", "--machine", "r7", "--json").json

    listed = recmesh("recording", "list", "--tag", "dry", "--machine", "r7", "--json").json
    shown = recmesh("recording", "show", "mine", "--json").json
    assert [each["id"] for each in listed] == [added["id"]]
    assert {**shown, "recovered": []} == added
    for key in ("id", "group", "name", "site", "machine", "state", "size_bytes", "chunk_count", "message_count", "start_time_ns", "end_time_ns"):
        assert key in listed[0]
    for key in ("tags", "manifest_id", "finalized", "copies", "copies_wanted", "bytes_here"):
        assert key in listed[0]
    for key in ("chunks", "topics", "replicas", "annotations", "reviews", "conflicts"):
        assert key in shown
    assert (shown["start_time_ns"], shown["start_time"]) == ("1", "1970-01-01T00:00:00.000000001Z")
    for word in ("mine", "r7", "/camera", "manifest"):
        assert word in recmesh("recording", "show", "mine").out
    assert recmesh("recording", "list", "--since", "2026-10-01", "--until", "2d", "--json").json == []


def test_a_recording_that_is_not_there_is_exit_1(recmesh: Command) -> None:
    for command in ("show", "fetch"):
        assert recmesh("recording", command, "nothing").code == "not_found"


@pytest.mark.parametrize("case", ["missing", "empty", "text", "cut", "two ways", "name"])
def test_what_is_no_recording_is_one_line(recmesh: Command, bag: Path, tmp_path: Path, case: str) -> None:
    (tmp_path / "empty.mcap").touch()
    (tmp_path / "text.mcap").write_text("not a recording at all")
    (tmp_path / "cut.mcap").write_bytes(bag.read_bytes()[:30_000])
    expected = {
        "missing": ([str(tmp_path / "missing.mcap")], "file_unreadable"),
        "empty": ([str(tmp_path / "empty.mcap")], "mcap_empty"),
        "text": ([str(tmp_path / "text.mcap")], "not_mcap"),
        "cut": ([str(tmp_path / "cut.mcap")], "mcap_truncated"),
        "two ways": ([str(bag), "--link", "--move"], "config_invalid"),
        "name": ([str(bag), "--name", "a/b"], "name_invalid"),
    }
    arguments, code = expected[case]
    before = recmesh("recording", "list", "--json").json

    result = recmesh("recording", "add", "--group", "lab", *arguments)

    assert (result.out, result.code) == ("", code)
    assert result.err.count("\n") == 1
    assert result.status == (2 if code == "config_invalid" else 1)
    assert recmesh("recording", "list", "--json").json == before


def test_fetching_some_of_several_is_exit_5(recmesh: Command) -> None:
    result = recmesh("recording", "fetch", "first", "nothing", "--json")

    assert (result.status, result.code) == (5, "some_failed")
    assert [each["name"] for each in result.json] == ["first"]


def test_a_dry_run_says_how_many_bytes_would_come_and_fetches_none(recmesh: Command, site: Site, bag: Path, tmp_path: Path) -> None:
    assert recmesh("recording", "add", str(bag), "--name", "alone").status == 0
    shown = recmesh("recording", "show", "alone", "--json").json
    (blob,) = (each["blob_id"] for each in shown["chunks"])
    stored, aside = site.folder / "blobs" / blob[:2] / blob[2:4] / blob, tmp_path / "aside"
    stored.rename(aside)
    try:
        dry = recmesh("recording", "fetch", "alone", "--dry-run")
        assert (dry.status, dry.out) == (0, f"alone {shown['id']} missing, {size(shown['size_bytes'])} would come\n")
        assert recmesh("transfers", "--json").json == []
    finally:
        aside.rename(stored)
    assert recmesh("recording", "fetch", "alone", "--dry-run").out.endswith(" local, 0 B would come\n")
    assert recmesh("recording", "fetch", "nothing", "--dry-run").code == "not_found"
    assert recmesh("recording", "remove", "alone", "--yes").status == 0


def test_with_nothing_on_its_way_transfers_says_so(recmesh: Command) -> None:
    assert recmesh("transfers", "--json").json == []
    assert recmesh("transfers").err == "Nothing on its way.\n"
    assert recmesh("transfers", "--follow").status == 0
    assert recmesh("transfers", "nonsense").status == 2


def test_a_recording_shows_who_added_it_and_what_its_recorder_dropped(recmesh: Command, tmp_path: Path) -> None:
    write_sample(tmp_path / "dropping.mcap", 64 * 1024, 1)

    added = recmesh(
        "recording", "add", str(tmp_path / "dropping.mcap"), "--group", "lab", "--operator", "ann", "--dropped", "12", "--check", "--json"
    )

    provenance = added.json["provenance"]
    assert (provenance["operator"], provenance["source_path"]) == ("ann", str(tmp_path / "dropping.mcap"))
    shown = " ".join(recmesh("recording", "show", "dropping").out.split())
    for text in ("dropped 12", "added by ann", f":{tmp_path}/dropping.mcap", "added with recmesh "):
        assert text in shown
    mine = recmesh("recording", "add", str(tmp_path / "dropping.mcap"), "--group", "lab", "--name", "by-login", "--json").json
    assert mine["provenance"]["operator"] == getpass.getuser()
    assert "dropped not said" in " ".join(recmesh("recording", "show", "by-login").out.split())
    many = recmesh("recording", "add", str(tmp_path / "dropping.mcap"), "--group", "lab", "--name", "many", "--dropped", "1", "--dropped", "2")
    assert many.code == "request_invalid"


def test_a_copy_of_a_recording_is_checked_without_a_peer(recmesh: Command, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shown,) = (site.folder / "recordings").glob("lab-*/first")
    copy = shutil.copytree(shown, tmp_path / "copy")
    expected = recmesh("recording", "show", "first", "--json").json
    monkeypatch.setenv("RECMESH_DATA", str(tmp_path / "nowhere"))

    checked = recmesh("recording", "check", str(copy), "--json")

    assert (checked.status, checked.json["manifest_id"], checked.json["version"]) == (0, expected["manifest_id"], 2)
    assert [file["state"] for file in checked.json["files"]] == ["good"]
    (copy / "first.mcap").write_bytes(b"other")
    changed = recmesh("recording", "check", str(copy / "manifest.json"))
    assert (changed.status, changed.code) == (5, "some_failed")
    assert "different  first.mcap" in changed.out
    assert recmesh("recording", "check", str(tmp_path)).code == "file_unreadable"
