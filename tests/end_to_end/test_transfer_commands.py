"""What people say about transfers on the command line, and what it answers."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.cli.sample import write_sample
from tests.end_to_end.commands import Command
from tests.end_to_end.processes import Site, found, join, wait_until


@pytest.fixture
def unlimited(recmesh: Command) -> Iterator[Command]:
    """The shared site, as it was afterwards."""
    yield recmesh
    assert recmesh("transfers", "limit", "off").status == 0
    assert recmesh("transfers", "resume").status == 0


def test_with_nothing_on_its_way_all_of_it_can_be_told_what_to_do(unlimited: Command) -> None:
    for action in ("pause", "cancel", "retry", "resume"):
        answer = unlimited("transfers", action, "--json")
        assert (answer.status, answer.json) == (0, {"paused": action in {"pause", "cancel", "retry"}, "transfers": []})
    assert "until `recmesh transfers resume`" in unlimited("transfers", "pause").err
    for action in ("pause", "resume", "cancel", "retry"):
        assert unlimited("transfers", action, "abcdef12").code == "not_found"
        assert unlimited("transfers", action, "first").code == "not_found"
    assert unlimited("transfers", "--follow", "pause").status == 2


def test_limits_are_shown_as_they_were_set_and_wrong_ones_refused(unlimited: Command) -> None:
    assert unlimited("transfers", "limit", "1M:5M").out.splitlines() == ["limit     1M:5M", "up now    976.6 KiB/s", "down now  4.8 MiB/s"]
    timetable = "00:00,off 08:00,1M:5M"
    assert unlimited("transfers", "limit", timetable).status == 0
    assert unlimited("transfers", "limit", "--json").json["limit"] == timetable
    for wrong in ("fast", "1", "08:00", "26:00,1M"):
        refused = unlimited("transfers", "limit", wrong)
        assert (refused.status, refused.code) == (1, "request_invalid")
    assert unlimited("transfers", "limit", "1M", "--peer", "nobody").code == "not_found"
    assert unlimited("transfers", "limit", "off").out.splitlines() == [
        "limit     off",
        "up now    as fast as possible",
        "down now  as fast as possible",
    ]


def test_a_recording_on_its_way_is_cancelled_tried_again_and_followed_to_its_end(tmp_path: Path) -> None:
    giver, taker = Site("giver", tmp_path / "giver"), Site("taker", tmp_path / "taker")
    try:
        for site in (giver, taker):
            site.start()
        found(giver)
        join(giver, taker)
        taker.command("transfers", "limit", "off:200k")
        path = tmp_path / "long.mcap"
        write_sample(path, 8_000_000, 1)
        added = giver.add(path)
        wait_until(lambda: [each["state"] for each in taker.ask("GET", "transfers")] == ["receiving"], "it is on its way")
        (shown,) = taker.json("transfers")
        assert (shown["why"], shown["recording"]) == ("policy", added["id"])
        assert "receiving" in taker.command("transfers").stdout
        wait_until(lambda: taker.ask("GET", "transfers")[0]["rate"], "it is known how fast it comes")
        (told,) = [row for row in taker.command("status").stdout.splitlines() if row.startswith("transfer ")]
        assert re.fullmatch(
            rf"transfer {shown['id'][:12]}  .+ of 7\.\d MiB  receiving, .+/s, \d+:\d\d:\d\d left, from {giver.json('id')['peer_id'][:12]}", told
        ), told
        cancelled = taker.command("transfers", "cancel", "long").stdout.split()
        assert cancelled == [shown["id"][:12]]
        wait_until(lambda: [each["state"] for each in taker.ask("GET", "transfers")] == ["cancelled"], "it is cancelled")
        assert "cancelled" in taker.command("transfers", "--follow").stdout
        taker.command("transfers", "limit", "off:8M")
        taker.command("transfers", "retry", shown["id"][:10])
        lines = [json.loads(row) for row in taker.command("--json", "transfers", "--follow").stdout.splitlines()]
        assert all(row["id"] == shown["id"] for row in lines)
        wait_until(lambda: taker.recordings()["long"]["state"] == "local", "it is here")
    finally:
        for site in (giver, taker):
            if site.is_running:
                site.kill()
