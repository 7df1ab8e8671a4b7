"""The commands around bags: once as it should go, once as it should not."""

import json
from pathlib import Path

import pytest
from rosbags.rosbag2 import Reader

from tests.end_to_end.commands import Command
from tests.end_to_end.processes import Site, agree, found, join, wait_until
from tests.mcap_samples import write_mcap
from tests.raw_mcap import raw_chunks, raw_messages
from tests.unit.materializer.test_rosbag import write_bag

pytestmark = pytest.mark.xdist_group("commands")


def cut_file(path: Path) -> bytes:
    """A file that ends in the middle of a chunk."""
    data = write_mcap(path, messages=100).read_bytes()
    path.write_bytes(data[: raw_chunks(data)[4].stop - 20])
    return path.read_bytes()


def test_a_recording_is_exported_and_nothing_overwritten(recmesh: Command, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "exported", {"/a": {}})
    assert recmesh("recording", "add", str(tmp_path / "exported")).status == 0
    target = tmp_path / "out"

    dry = recmesh("recording", "export", "exported", "--to", str(target), "--dry-run")
    assert (dry.status, target.exists()) == (0, False)
    assert all(name in dry.out for name in ("metadata.yaml", "manifest.json", *(path.name for path in bag)))
    done = recmesh("recording", "export", "exported", "--to", str(target), "--json")

    assert (done.json["to"], done.json["dry_run"]) == (str(target), False)
    assert {each["name"] for each in done.json["files"]} == {path.name for path in target.iterdir()}
    with Reader(target) as reader:
        assert reader.message_count == 30
    assert recmesh("recording", "export", "exported", "--to", str(target)).code == "target_taken"
    assert recmesh("recording", "export", "nowhere", "--to", str(tmp_path / "other")).code == "not_found"
    assert recmesh("recording", "export", "exported").status == 2


def test_a_recording_that_a_crash_cut_is_added_with_what_can_be_read(recmesh: Command, tmp_path: Path) -> None:
    data = cut_file(tmp_path / "crashed.mcap")
    refused = recmesh("recording", "add", str(tmp_path / "crashed.mcap"))
    assert (refused.code, "--recover" in refused.err) == ("mcap_truncated", True)

    done = recmesh("recording", "add", str(tmp_path / "crashed.mcap"), "--recover")

    count = len(raw_messages(data))
    assert done.status == 0
    assert f"crashed.mcap: {count} messages recovered" in done.out
    assert "a chunk that is cut off" in done.out
    assert "what came after is not known" in done.err
    shown = recmesh("recording", "show", "crashed")
    assert f"{count} messages recovered" in shown.out
    assert (tmp_path / "crashed.mcap").read_bytes() == data


def test_one_file_is_recovered_without_a_peer(recmesh: Command, tmp_path: Path) -> None:
    data = cut_file(tmp_path / "crashed.mcap")
    missing = ("--data", str(tmp_path / "no peer"))

    done = recmesh("recording", "recover", str(tmp_path / "crashed.mcap"), "--to", str(tmp_path / "new.mcap"), "--json", *missing)

    assert done.json["message_count"] == len(raw_messages((tmp_path / "new.mcap").read_bytes())) == len(raw_messages(data))
    assert (done.json["source_size_bytes"], done.json["ends_early"]) == (len(data), True)
    again = recmesh("recording", "recover", str(tmp_path / "crashed.mcap"), "--to", str(tmp_path / "new.mcap"), *missing)
    assert (again.status, again.code) == (1, "target_taken")
    same = recmesh("recording", "recover", str(tmp_path / "crashed.mcap"), "--to", str(tmp_path / "crashed.mcap"), *missing)
    assert same.status == 2
    assert (tmp_path / "crashed.mcap").read_bytes() == data


def test_bytes_of_another_site_are_brought_and_exported(tmp_path: Path) -> None:
    first, second = Site("first", tmp_path / "first"), Site("second", tmp_path / "second")
    for site in (first, second):
        site.start()
    found(first)
    join(first, second)
    bag = write_bag(tmp_path / "drive", {"/a": {}})
    first.command("recording", "add", str(tmp_path / "drive"))
    wait_until(lambda: agree([first, second], 1), "the recording is at both sites")
    wait_until(lambda: second.json("recording", "show", "drive")["state"] == "local", "its bytes are, too")
    blob = second.json("recording", "show", "drive")["chunks"][1]["blob_id"]
    (second.folder / "blobs" / blob[:2] / blob[2:4] / blob).unlink()

    refused = second.command("recording", "export", "drive", "--to", str(tmp_path / "out"), status=1)
    assert "--fetch" in refused.stderr
    assert not (tmp_path / "out").exists()
    second.command("recording", "export", "drive", "--to", str(tmp_path / "out"), "--fetch")

    assert {path.name: path.read_bytes() for path in bag} == {path.name: (tmp_path / "out" / path.name).read_bytes() for path in bag}
    with Reader(tmp_path / "out") as reader:
        assert reader.message_count == 30
    assert json.loads((tmp_path / "out" / "manifest.json").read_bytes())["message_count"] == 30
    for site in (first, second):
        assert site.stop() == 0
