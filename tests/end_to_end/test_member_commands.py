"""Commands about members, invitations, logs, peers and settings, as it should go and as it should not. Other ids are made up: nobody has them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.cli.sample import write_sample
from tests.end_to_end.commands import Command
from tests.end_to_end.processes import Site

pytestmark = pytest.mark.xdist_group("commands")
GHOST, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A peer of its own, with the group `crew` and a recording."""
    folder = tmp_path_factory.mktemp("lone")
    site = Site("lone", folder / "data")
    site.start()
    site.command("group", "create", "crew")
    write_sample(folder / "mine.mcap", 1, 1)
    site.add(folder / "mine.mcap")
    yield site
    assert site.stop() == 0


@pytest.fixture
def on(lone: Site, recmesh: Command) -> Command:
    """A command on that peer."""
    return lambda *arguments: recmesh("--data", str(lone.folder), *arguments)


def test_an_invitation_is_revoked_once(on: Command) -> None:
    made = on("group", "invite", "crew", "--json").json

    revoked = on("group", "revoke", "crew", made["id"][:8], "--json")

    assert (revoked.json["id"], revoked.json["state"]) == (made["id"], "revoked")
    assert "revoked" in on("group", "invitations", "crew").out
    assert on("group", "revoke", "crew", made["id"]).code == "no_change"
    assert on("group", "revoke", "crew", "0" * 64).code == "not_found"
    assert on("group", "invitations", "nowhere").code == "not_found"


def test_a_member_is_added_changed_and_removed(on: Command) -> None:
    added = on("peer", "add", "--name", "ghost", "--peer-id", GHOST, "--group", "crew", "--role", "reader", "--json")
    preview = on("group", "role", "crew", "ghost", "writer", "--dry-run", "--json")
    changed = on("group", "role", "crew", "ghost", "writer", "--json")
    said = on("group", "remove", "crew", GHOST[:8])
    taken_back = on("group", "role", "crew", GHOST, "reader")

    assert added.json["shared_groups"][0]["role"] == "reader"
    assert (preview.json["dry_run"], preview.json["would_leave_out"]) == (True, [])
    assert changed.json == {**preview.json, "dry_run": False}
    assert "stays as it is" in said.err
    assert said.out == "ghost is removed from crew (was writer)\n"
    assert "No site is linked" in said.err
    assert taken_back.out == "ghost is reader in crew (was none)\n"
    assert on("group", "remove", "crew", "ghost").status == 0
    for command, status, code in (
        (["remove", "crew", "ghost"], 1, "no_change"),
        (["remove", "crew", "lone"], 1, "not_allowed"),
        (["remove", "crew", "nobody"], 1, "not_found"),
        (["remove", "crew", "ghost", "--since", "soon"], 2, "config_invalid"),
        (["role", "crew", "nobody", "admin"], 1, "not_found"),
        (["role", "crew", "ghost", "owner"], 2, "usage"),
    ):
        result = on("group", *command)
        assert (result.status, result.code, result.out) == (status, code, "")


def test_an_event_is_voided_once(on: Command, tmp_path: Path) -> None:
    write_sample(tmp_path / "wrong.mcap", 1, 1)
    added = on("recording", "add", str(tmp_path / "wrong.mcap"), "--json").json

    voided = on("group", "void", "crew", added["id"][:12], "--json")

    assert (voided.json["event_id"], voided.json["void"]) == (added["id"], True)
    assert on("recording", "show", "wrong").code == "not_found"
    assert on("group", "void", "crew", added["id"]).code == "no_change"
    assert on("group", "void", "crew", "xyz").code == "request_invalid"


def test_logs_are_rotated_and_sealed(on: Command) -> None:
    log = on("events", "crew", "--json").json[-1]["log"]

    rotated = on("group", "rotate-log", "crew", "--json")
    sealed = on("group", "rotate-log", "crew", "--seal", log[:10])

    assert log in {each["log"] for each in rotated.json["rotated"]}
    assert f"sealed {log[:12]}" in sealed.out
    assert on("group", "rotate-log", "crew", "--seal", "0" * 64).code == "not_found"
    assert on("group", "rotate-log", "nowhere").code == "not_found"


def test_settings_are_set_and_shown(on: Command) -> None:
    assert on("group", "set", "crew", "retention", "reference").out == "retention = reference\n"
    assert on("group", "set", "crew", "required_properties", "robot,task").out == "required_properties = robot, task\n"
    on("group", "set", "crew", "min_copies", "2")
    listed = {each["key"]: each["value"] for each in on("group", "settings", "crew", "--json").json}
    assert listed == {"retention": "reference", "required_properties": ["robot", "task"], "min_copies": 2}
    assert "robot, task" in on("group", "settings", "crew").out
    assert on("group", "set", "crew", "retention", "reference").code == "no_change"
    for key, value in (("retention", "90d"), ("min_copies", "0"), ("min_copies", "two"), ("required_properties", "a b")):
        refused = on("group", "set", "crew", key, value)
        assert (refused.code, key in refused.err) == ("request_invalid", True)
    assert on("group", "set", "crew", "a b", "c").code == "request_invalid"
    assert on("group", "settings", "nowhere").code == "not_found"


def test_a_peer_is_shown_paused_resumed_tested_and_forgotten(on: Command) -> None:
    assert on("peer", "add", "--name", "other", "--peer-id", OTHER, "--endpoint", "http://127.0.0.1:1", "--group", "elsewhere").status == 0

    assert on("peer", "show", "other", "--json").json["expected_groups"] == ["elsewhere"]
    assert "elsewhere" in on("peer", "list").out
    assert on("peer", "pause", "other").out == "paused other\n"
    assert on("peer", "show", "other", "--json").json["paused"]
    assert on("peer", "resume", "other").out == "resumed other\n"
    tested = on("peer", "test", "other", "--json")
    assert (tested.status, tested.code, json.loads(tested.out)["failed"]) == (1, "unreachable", "tcp")
    assert "failed  tcp" in on("peer", "test", "other").out
    assert on("peer", "remove", "other").out == "forgot other\n"
    for command in (["show"], ["pause"], ["resume"], ["test"], ["remove"]):
        assert on("peer", *command, "other").code == "not_found"


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        (["--peer-id", "zz"], 1, "request_invalid"),
        (["--peer-id", OTHER, "--endpoint", "x"], 1, "request_invalid"),
        (["--peer-id", OTHER, "--group", "a/b"], 1, "name_invalid"),
        (["--peer-id", OTHER, "--role", "king"], 2, "usage"),
        ([], 2, "usage"),
    ],
)
def test_a_peer_that_cannot_be_is_not_added(on: Command, options: list[str], status: int, code: str) -> None:
    result = on("peer", "add", "--name", "other", *options)

    assert (result.status, result.code, result.out) == (status, code, "")


def test_where_nobody_knocked_nobody_is_accepted_or_ignored(on: Command) -> None:
    assert on("peer", "pending", "--json").json == []
    assert "Nobody knocked" in on("peer", "pending").err
    assert on("peer", "accept", GHOST, "--group", "crew").code == "not_found"
    assert on("peer", "ignore", GHOST).code == "not_found"
    assert on("peer", "accept", GHOST).status == 2


def test_leaving_asks_first_and_an_owner_goes_at_once(on: Command, lone: Site) -> None:
    assert on("group", "create", "short-lived").status == 0

    asked = subprocess.run(
        [sys.executable, "-m", "peer.cli", "--data", str(lone.folder), "group", "leave", "short-lived"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    left = on("group", "leave", "short-lived", "--yes")

    assert (asked.returncode, asked.stdout, "--yes" in asked.stderr) == (2, "", True)
    assert left.out == "left short-lived\n"
    assert "stays one of its owners" in left.err
    assert on("group", "show", "short-lived").code == "not_found"
    assert on("group", "leave", "short-lived", "--yes").code == "not_found"
