"""Commands about watched folders and open recordings: as they should go, and where something is wrong."""

from pathlib import Path

import pytest

from tests.end_to_end.commands import Command
from tests.integration.test_watch import damage, mcap

pytestmark = pytest.mark.xdist_group("commands")


def test_a_folder_is_watched_looked_into_listed_and_left(recmesh: Command, tmp_path: Path) -> None:
    folder = tmp_path / "bags"
    folder.mkdir()
    mcap(folder / "watched_run.mcap", 900)
    (folder / "half.mcap").write_bytes((folder / "watched_run.mcap").read_bytes()[:-9])
    damage(mcap(folder / "broken.mcap", 901))

    added = recmesh("watch", "add", str(folder), "--group", "lab", "--tag", "night", "--machine", "r9")
    assert (added.status, added.out) == (0, f"{folder}\n")
    assert recmesh("watch", "add", str(folder), "--group", "lab").code == "watch_folder"
    scanned = recmesh("watch", "scan", "--json").json[0]
    assert [scanned[key] for key in ("added", "duplicates", "waiting", "quarantined")] == [1, 0, 1, 1]
    listed = recmesh("watch", "list")
    assert (str(folder) in listed.out, "half.mcap: not closed yet" in listed.err) == (True, True)
    assert recmesh("recording", "list", "--machine", "r9", "--tag", "night", "--json").json[0]["name"] == "watched_run"
    assert "watch_quarantined" in {each["code"] for each in recmesh("status", "--json").json["problems"]}
    removed = recmesh("watch", "remove", str(folder))
    assert (removed.status, removed.out) == (0, f"not watched any more: {folder}\n")
    assert recmesh("watch", "remove", str(folder)).code == "not_found"
    assert recmesh("watch", "list", "--json").json == []
    assert "`recmesh watch add DIR`" in recmesh("watch", "list").err


def test_a_recording_stays_open_grows_and_is_finalized(recmesh: Command, tmp_path: Path) -> None:
    first, second = mcap(tmp_path / "grown_0.mcap", 910), mcap(tmp_path / "grown_1.mcap", 911)

    added = recmesh("recording", "add", str(first), "--name", "grown", "--group", "lab", "--open", "--json").json
    assert (added["state"], added["chunk_count"]) == ("open", 1)
    assert recmesh("recording", "fetch", "grown").out == f"grown {added['id']} open\n"
    grown = recmesh("recording", "append", "grown", str(second))
    assert (grown.status, grown.out) == (0, f"grown {added['id']} open\n")
    assert "recording finalize" in grown.err
    assert recmesh("recording", "append", "grown", str(second), "--json").json["chunk_count"] == 2
    ended = recmesh("recording", "finalize", "grown", "--json").json
    assert (ended["state"], ended["finalized"], ended["chunk_count"]) == ("local", True, 2)
    assert recmesh("recording", "append", "grown", str(first)).code == "recording_finalized"
    assert recmesh("recording", "finalize", "grown").code == "no_change"
    assert recmesh("recording", "add", str(second), "--name", "Grown", "--group", "lab").code == "name_taken"
