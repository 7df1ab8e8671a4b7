"""Holding recordings, and saying how long they are kept: each command as it should go, and as it should not; and what it means at another site."""

import getpass
from pathlib import Path

import pytest

from tests.end_to_end.commands import Command
from tests.end_to_end.processes import Site, wait_until

pytestmark = pytest.mark.xdist_group("commands")


@pytest.fixture
def mine(recmesh: Command, bag: Path, tmp_path: Path) -> str:
    """A recording of this test's own."""
    name = tmp_path.name[:100]
    assert recmesh("recording", "add", str(bag), "--group", "lab", "--name", name).status == 0
    return name


def test_a_hold_needs_a_reason_and_stops_a_removal_until_it_is_lifted(recmesh: Command, mine: str) -> None:
    assert recmesh("recording", "hold", mine).status == 2
    assert recmesh("recording", "hold", mine, "--reason", " ").code == "config_invalid"
    assert recmesh("recording", "hold", "nothing", "--reason", "x").code == "not_found"
    assert recmesh("recording", "unhold", mine).code == "no_change"
    held = recmesh("recording", "hold", mine, "--reason", "insurance, case 1137", "--json").json["hold"]
    assert (held["reason"], held["by"]["person"]) == ("insurance, case 1137", getpass.getuser())
    assert "insurance, case 1137" in recmesh("recording", "show", mine).out
    refused = recmesh("recording", "remove", mine, "--yes")
    assert (refused.status, refused.code, "insurance" in refused.err) == (1, "recording_held", True)
    assert recmesh("recording", "hold", mine, "--reason", "insurance, case 1137").code == "no_change"
    assert recmesh("recording", "unhold", mine, "--reason", "settled", "--json").json["hold"] is None
    assert recmesh("recording", "remove", mine, "--yes").status == 0


def test_retention_is_a_class_or_a_time_and_stops_a_removal_until_it_ran_out(recmesh: Command, mine: str) -> None:
    assert recmesh("recording", "retain", mine, "raw").status == 2
    for wrong in (("gold",), ("raw", "--until", "yesterday"), ("raw", "--until", "2020-01-01"), ("permanent", "--until", "60d")):
        assert recmesh("recording", "retain", mine, *wrong, "--reason", "x").status in {1, 2}
    kept = recmesh("recording", "retain", mine, "raw", "--until", "60d", "--reason", "paper", "--json").json["retention"]
    assert (kept["class"], kept["has_run_out"], kept["reason"]) == ("raw", False, "paper")
    assert "raw: until" in recmesh("recording", "show", mine).out
    assert recmesh("recording", "remove", mine, "--yes").code == "recording_retained"
    assert recmesh("recording", "retain", mine, "raw", "--until", "30d", "--reason", "less").code == "request_invalid"
    assert recmesh("recording", "retain", mine, "raw", "--until", "90d", "--reason", "more").status == 0
    assert "for ever" in recmesh("recording", "retain", mine, "permanent", "--reason", "museum").out
    assert recmesh("recording", "remove", mine, "--yes").code == "recording_retained"
    assert recmesh("recording", "retain", mine, "default", "--reason", "as the others", "--json").json["retention"]["class"] is None
    assert recmesh("recording", "remove", mine, "--yes").status == 0


def test_a_hold_of_one_site_stops_others_and_not_every_site_may_hold(recmesh: Command, mine: str, tmp_path: Path) -> None:
    guest = Site("keeper", tmp_path / "guest")
    guest.start()
    try:
        guest.json("group", "join", recmesh("group", "invite", "lab", "--role", "admin").out.strip())
        theirs = Site("writer", tmp_path / "writer")
        theirs.start()
        try:
            theirs.json("group", "join", recmesh("group", "invite", "lab").out.strip())
            wait_until(lambda: mine in theirs.recordings(), "the recording is known")
            assert "not_allowed" in theirs.command("recording", "hold", mine, "--reason", "x", status=1).stderr
            assert "not_allowed" in theirs.command("recording", "retain", mine, "raw", "--reason", "x", status=1).stderr
        finally:
            assert theirs.stop() == 0
        wait_until(lambda: guest.recordings().get(mine, {}).get("state") == "local", "its bytes are at the guest")
        recmesh("recording", "hold", mine, "--reason", "crash")
        wait_until(lambda: guest.json("recording", "show", mine)["hold"] is not None, "the hold is known")
        for command in (("remove", mine, "--yes"), ("drop", mine)):
            assert "recording_held" in guest.command("recording", *command, status=1).stderr
        guest.json("recording", "unhold", mine)
        wait_until(lambda: recmesh("recording", "show", mine, "--json").json["hold"] is None, "it is lifted")
    finally:
        assert guest.stop() == 0
