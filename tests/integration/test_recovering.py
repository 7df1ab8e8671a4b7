"""Recordings that a crash cut off, added with what can be read of them."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader

from materializer.mcap_recovery import METADATA_NAME
from peer.api.bag_models import RecordingAdded
from peer.core.hashing import sha256
from tests.integration.running_peer import RunningPeer, running_peer
from tests.mcap_samples import write_mcap
from tests.raw_mcap import raw_chunks, raw_messages

RECORDINGS = "/api/v1/recordings"


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[RunningPeer]:
    async with running_peer(tmp_path / "data", "alpha") as running:
        await running.post("/api/v1/sync/groups", {"name": "lab"}, status=201)
        yield running


def cut_bag(folder: Path) -> tuple[Path, Path]:
    """A folder with one whole file and one that was cut in the middle of a chunk."""
    folder.mkdir()
    whole = write_mcap(folder / "drive_0.mcap", messages=100)
    data = write_mcap(folder / "drive_1.mcap", messages=100, payload=b"second").read_bytes()
    (folder / "drive_1.mcap").write_bytes(data[: raw_chunks(data)[5].stop - 30])
    return whole, folder / "drive_1.mcap"


async def add(peer: RunningPeer, path: Path, **options: Any) -> Any:
    status = options.pop("status", 201)
    model = RecordingAdded if status == 201 else None
    return await peer.post(RECORDINGS, {"paths": [str(path)], **options}, model, status=status)


def blob(peer: RunningPeer, chunk: dict[str, Any]) -> Path:
    name: str = chunk["blob_id"]
    return peer.root / "blobs" / name[:2] / name[2:4] / name


async def test_what_can_be_read_is_added_and_what_was_lost_is_told_and_stays_visible(peer: RunningPeer, tmp_path: Path) -> None:
    whole, cut = cut_bag(tmp_path / "drive")
    before = {path: path.read_bytes() for path in (whole, cut)}
    refused = await add(peer, tmp_path / "drive", status=400)
    assert refused["code"] == "mcap_truncated"
    assert "--recover" in json.dumps(refused)

    added = await add(peer, tmp_path / "drive", recover=True, tags=["rainy"])

    there = raw_messages(before[cut])
    (told,) = added["recovered"]
    assert (told["source_name"], told["message_count"], told["ends_early"]) == ("drive_1.mcap", len(there), True)
    assert (told["source_sha256"], told["source_size_bytes"]) == (sha256(before[cut]).hex(), len(before[cut]))
    (place,) = told["places"]
    assert place["what"] == "a chunk that is cut off"
    assert int(place["start_time_ns"]) > there[-1].log_time
    assert [chunk["source_name"] for chunk in added["chunks"]] == ["drive_0.mcap", "drive_1.mcap"]
    assert added["message_count"] == 100 + len(there)
    assert blob(peer, added["chunks"][0]).read_bytes() == before[whole], "a file that is whole is added as it is"
    assert raw_messages(blob(peer, added["chunks"][1]).read_bytes()) == there
    assert {path: path.read_bytes() for path in (whole, cut)} == before, "the originals stay as they are"
    shown = await peer.get(f"{RECORDINGS}/drive")
    assert sorted(shown["tags"]) == ["rainy", "recovered"]
    sentence = shown["properties"]["recovered"]
    assert f"drive_1.mcap: {len(there)} messages recovered" in sentence
    assert place["start_time_ns"] in sentence
    with blob(peer, added["chunks"][1]).open("rb") as file:
        notes = [each.metadata for each in make_reader(file).iter_metadata() if each.name == METADATA_NAME]
    assert notes[0]["source_sha256"] == sha256(before[cut]).hex()
    assert not list((peer.root / "recovering").iterdir()), "nothing is left of the work"


async def test_only_files_that_are_whole_are_moved(peer: RunningPeer, tmp_path: Path) -> None:
    whole, cut = cut_bag(tmp_path / "drive")
    data = cut.read_bytes()
    await add(peer, tmp_path / "drive", recover=True, take="move")
    assert not whole.exists()
    assert cut.read_bytes() == data


async def test_a_whole_recording_is_added_as_without_it(peer: RunningPeer, tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "a.mcap")
    added = await add(peer, path, recover=True)
    assert (added["recovered"], added["tags"], added["properties"]) == ([], [], {})
    assert blob(peer, added["chunks"][0]).read_bytes() == path.read_bytes()


async def test_where_nothing_can_be_read_nothing_is_added(peer: RunningPeer, tmp_path: Path) -> None:
    (tmp_path / "a.mcap").write_bytes(write_mcap(tmp_path / "b.mcap").read_bytes()[:20])
    assert (await add(peer, tmp_path / "a.mcap", recover=True, status=400))["code"] == "mcap_unrecoverable"
    (tmp_path / "c.mcap").write_bytes(b"")
    assert (await add(peer, tmp_path / "c.mcap", recover=True, status=400))["code"] == "mcap_empty"
    (tmp_path / "d.mcap").write_bytes(b"nothing of the kind")
    assert (await add(peer, tmp_path / "d.mcap", recover=True, status=400))["code"] == "not_mcap"
    os.mkfifo(tmp_path / "e.mcap")
    for name in ("e.mcap", "nowhere.mcap"):
        assert (await add(peer, tmp_path / name, recover=True, status=400))["code"] == "file_unreadable"
    assert (await peer.get(RECORDINGS))["recordings"] == []


async def test_what_a_crash_left_of_the_work_goes_at_the_next_start(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "data", "alpha"):
        pass
    left = tmp_path / "data" / "recovering" / "half"
    left.mkdir(parents=True)
    (left / "a.mcap").write_bytes(b"half")
    async with running_peer(tmp_path / "data", "alpha"):
        assert not left.exists()
