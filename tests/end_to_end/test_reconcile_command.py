"""`recmesh recording reconcile` and `verify --deep` at real processes: damage is told with its fix, mended, and told when it cannot be."""

from pathlib import Path

import pytest

from peer.cli.sample import write_sample
from tests.end_to_end.processes import Site, agree, found, join, wait_until
from tests.small_damage import flip_byte

pytestmark = pytest.mark.xdist_group("reconcile")


def blob_path(site: Site, recording: str) -> Path:
    name = site.json("recording", "show", recording)["chunks"][0]["blob_id"]
    return site.folder / "blobs" / name[:2] / name[2:4] / str(name)


def test_damage_is_found_told_and_mended_from_the_command_line(tmp_path: Path) -> None:
    first, second = Site("first", tmp_path / "first/data"), Site("second", tmp_path / "second/data")
    try:
        first.start()
        found(first)
        second.start()
        join(first, second)
        write_sample(tmp_path / "run.mcap", 3 * 1024 * 1024, 1)
        first.add(tmp_path / "run.mcap")
        wait_until(lambda: agree([first, second], 1), "both agree")
        wait_until(lambda: second.json("recording", "show", "run")["state"] == "local", "the bytes are at both")
        assert first.json("verify", "--deep")["ok"]
        assert first.json("recording", "reconcile", "run")["ok"]

        first.stop()
        second_path = blob_path(second, "run")
        flip_byte(second_path, 100)
        told = second.command("recording", "reconcile", "run", "--no-wait", status=5)
        assert "damaged here" in told.stdout
        assert "--restore" in told.stderr
        told = second.command("recording", "reconcile", "run", "--restore", status=5)
        assert "nobody who has them can be reached" in told.stderr
        problems = second.command("--json", "verify", "--deep", status=1).stdout
        assert "blob_corrupt" in problems

        first.start()
        wait_until(lambda: second.json("recording", "show", "run")["state"] == "local", "it comes once somebody has it")
        assert second_path.read_bytes() == (tmp_path / "run.mcap").read_bytes()
        assert second.json("recording", "reconcile", "run", "--restore")["ok"]
        wait_until(lambda: second.json("verify", "--deep")["ok"], "nothing is wrong any more")
    finally:
        for site in (first, second):
            if site.is_running:
                site.kill()
