"""Folders that recordings are written to, for programs that know nothing of us."""

import asyncio
import errno
import json
import os
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from rosbags.rosbag2 import Reader

from peer.api.bag_models import Exported
from peer.api.editing_models import RecordingShown
from peer.core.hashing import hash_bytes
from peer.operations import exporting
from tests.integration.running_peer import RunningPeer, running_peer
from tests.mcap_samples import REAL_RECORDINGS
from tests.raw_mcap import raw_messages
from tests.unit.materializer.test_rosbag import write_bag

RECORDINGS = "/api/v1/recordings"
REAL_BAG = sorted(REAL_RECORDINGS.glob("wbag_*.mcap"))


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[RunningPeer]:
    (tmp_path / "free").mkdir()
    settings: dict[str, Any] = {"ingest_folders": [str(tmp_path / "free")]}
    async with running_peer(tmp_path / "data", "alpha", **settings) as running:
        await running.post("/api/v1/sync/groups", {"name": "lab"}, status=201)
        yield running


@pytest.fixture
def bag(tmp_path: Path) -> list[Path]:
    return write_bag(tmp_path / "drive", {"/a": {}, "/b": {}})


async def add(peer: RunningPeer, path: Path) -> dict[str, Any]:
    added: dict[str, Any] = await peer.post(RECORDINGS, {"paths": [str(path)]}, RecordingShown, status=201)
    return added


async def export(peer: RunningPeer, name: str, to: Path, **options: Any) -> Any:
    return await peer.post(f"{RECORDINGS}/{name}/export", {"to": str(to), **options.pop("body", {})}, **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def check_export(peer: RunningPeer, to: Path, originals: list[Path], name: str) -> None:
    """The folder has what was recorded, byte for byte, and a reader of rosbag2 plays it."""
    answer = await export(peer, name, to, model=Exported, status=200)
    found = contents(to)
    assert {path.name: found[path.name] for path in originals} == {path.name: path.read_bytes() for path in originals}
    assert set(found) == {*(path.name for path in originals), "manifest.cbor", "manifest.json", "metadata.yaml"}
    assert {each["name"]: each["size_bytes"] for each in answer["files"]} == {name: len(data) for name, data in found.items()}
    assert answer["size_bytes"] == sum(map(len, found.values()))
    shown = await peer.get(f"{RECORDINGS}/{name}")
    assert shown["manifest_id"] == hash_bytes(found["manifest.cbor"]).hex()
    for chunk in json.loads(found["manifest.json"])["chunks"]:
        assert hash_bytes(found[chunk["name"]]).hex() == chunk["blob_id"]
    for path in to.iterdir():
        assert path.stat().st_nlink == 1, "a copy: who works on it does not reach what is shared"
        assert os.access(path, os.W_OK)
    assert [path.name for path in to.parent.iterdir() if path.name.startswith(".")] == [], "nothing is left beside it"
    expected = [message for path in originals for message in raw_messages(path.read_bytes())]
    with Reader(to) as reader:
        read = [(connection.topic, time_ns, bytes(data)) for connection, time_ns, data in reader.messages()]
    assert sorted(read) == sorted((message.topic, message.log_time, message.data) for message in expected)


async def test_an_exported_folder_is_what_was_recorded_and_can_be_played(peer: RunningPeer, tmp_path: Path, bag: list[Path]) -> None:
    await add(peer, tmp_path / "drive")
    await check_export(peer, tmp_path / "out", bag, "drive")


@pytest.mark.needs("real recordings")
@pytest.mark.skipif(len(REAL_BAG) < 5, reason="real recordings are not here: ../shared/recordings is missing")
async def test_a_real_split_bag_is_exported_as_it_was_recorded(peer: RunningPeer, tmp_path: Path) -> None:
    await peer.post(RECORDINGS, {"paths": [str(path) for path in REAL_BAG], "name": "wbag"}, status=201)
    await check_export(peer, tmp_path / "out", REAL_BAG, "wbag")


async def test_a_dry_run_says_the_same_and_writes_nothing(peer: RunningPeer, tmp_path: Path, bag: list[Path]) -> None:
    await add(peer, tmp_path / "drive")
    before = sorted(tmp_path.iterdir())
    dry = await export(peer, "drive", tmp_path / "out", body={"dry_run": True}, model=Exported, status=200)
    assert sorted(tmp_path.iterdir()) == before
    wet = await export(peer, "drive", tmp_path / "out", model=Exported, status=200)
    assert {**dry, "dry_run": False} == wet
    assert {path.name for path in bag} < {each["name"] for each in wet["files"]}


async def test_nothing_is_overwritten(peer: RunningPeer, tmp_path: Path, bag: list[Path]) -> None:
    await add(peer, tmp_path / "drive")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("full", "empty", "file", "link", "drive"):
        assert (await export(peer, "drive", tmp_path / name, status=409))["code"] == "target_taken"
    assert contents(tmp_path / "full") == {"mine.txt": b"mine"}
    assert not (tmp_path / "nowhere").exists()
    assert (await export(peer, "drive", tmp_path / "no" / "out", status=400))["code"] == "file_unreadable"
    assert (await export(peer, "drive", peer.root / "blobs" / "out", status=400))["code"] == "request_invalid"
    assert bag[0].exists()


async def test_bytes_that_are_not_here_are_named_with_the_way_to_them(peer: RunningPeer, tmp_path: Path, bag: list[Path]) -> None:
    added = await add(peer, tmp_path / "drive")
    blob = added["chunks"][1]["blob_id"]
    (peer.root / "blobs" / blob[:2] / blob[2:4] / blob).unlink()
    refused = await export(peer, "drive", tmp_path / "out", status=404)
    assert bag[1].name in refused["detail"]
    assert "recording fetch" in json.dumps(refused)
    assert not (tmp_path / "out").exists()


async def test_damaged_bytes_are_found_on_the_way_and_nothing_appears(peer: RunningPeer, tmp_path: Path, bag: list[Path]) -> None:
    added = await add(peer, tmp_path / "drive")
    blob = added["chunks"][2]["blob_id"]
    path = peer.root / "blobs" / blob[:2] / blob[2:4] / blob
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    before = sorted(tmp_path.iterdir())
    assert (await export(peer, "drive", tmp_path / "out", status=500))["code"] == "bytes_damaged"
    assert sorted(tmp_path.iterdir()) == before
    assert bag[0].exists()


async def test_a_full_disk_is_told_and_nothing_appears(peer: RunningPeer, tmp_path: Path, bag: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    await add(peer, tmp_path / "drive")
    before = sorted(tmp_path.iterdir())
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(exporting.shutil, "disk_usage", lambda _: usage._replace(free=10))
        assert (await export(peer, "drive", tmp_path / "out", status=507))["code"] == "target_full"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(exporting, "write_new", full)
        assert (await export(peer, "drive", tmp_path / "out", status=507))["code"] == "target_full"
    assert sorted(tmp_path.iterdir()) == before
    assert (await peer.get("/health/ready"))["ok"], "somebody else's disk is no reason to stop"
    assert bag[0].exists()


async def test_what_a_crash_left_beside_the_folder_is_no_hindrance(peer: RunningPeer, tmp_path: Path, bag: list[Path]) -> None:
    await add(peer, tmp_path / "drive")
    (tmp_path / ".out.recmesh-export").mkdir()
    (tmp_path / ".out.recmesh-export" / "drive_0.mcap").write_bytes(b"half")
    await check_export(peer, tmp_path / "out", bag, "drive")


async def test_two_exports_to_one_folder_do_not_mix(peer: RunningPeer, tmp_path: Path, bag: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """However it is written: the second would take away what the first has written so far."""
    await add(peer, bag[0].parent)
    (tmp_path / "other").symlink_to(tmp_path)
    is_writing, may_go_on = threading.Event(), threading.Event()
    flush = exporting.sync_folder

    def held(folder: Path) -> None:
        is_writing.set()
        assert may_go_on.wait(60)
        flush(folder)

    monkeypatch.setattr(exporting, "sync_folder", held)
    first = asyncio.create_task(export(peer, "drive", tmp_path / "out", status=200))
    try:
        assert await asyncio.to_thread(is_writing.wait, 60)
        second = asyncio.create_task(export(peer, "drive", tmp_path / "other" / "out", status=409))
        await asyncio.wait([second], timeout=10)
    finally:
        may_go_on.set()
    assert (await second)["code"] == "target_taken"
    await first
    assert {path.name: path.read_bytes() for path in bag}.items() <= contents(tmp_path / "out").items()


async def test_a_folder_may_have_a_name_as_long_as_names_are(peer: RunningPeer, tmp_path: Path, bag: list[Path]) -> None:
    await add(peer, bag[0].parent)
    to = tmp_path / ("ä" * 127)
    await export(peer, "drive", to, status=200)
    assert set(contents(to)) >= {path.name for path in bag}


async def test_a_token_from_elsewhere_exports_only_below_the_folders_that_are_free(peer: RunningPeer, tmp_path: Path, bag: list[Path]) -> None:
    await add(peer, tmp_path / "drive")
    headers = {}
    for tier in ("admin", "operator"):
        made = await peer.post("/api/v1/tokens", {"name": tier, "tier": tier}, status=201)
        headers[tier] = {"Authorization": f"Bearer {made['token']}"}
    for place in (tmp_path / "out", tmp_path / "free" / ".." / "out", peer.root / "blobs" / "out"):
        assert (await export(peer, "drive", place, headers=headers["admin"], status=403))["code"] == "path_not_allowed"
    assert (await export(peer, "drive", tmp_path / "free" / "out", headers=headers["operator"], status=403))["code"] == "tier_too_low"
    await export(peer, "drive", tmp_path / "free" / "out", headers=headers["admin"], model=Exported, status=200)
    assert (tmp_path / "free" / "out" / bag[0].name).read_bytes() == bag[0].read_bytes()
