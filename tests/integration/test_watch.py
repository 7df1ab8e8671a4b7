"""Watched folders: what becomes a recording, what waits, what is known already, what cannot be read; each file counted once."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from peer.api.ingest_models import Watch
from peer.cli.sample import write_sample
from tests.integration.running_peer import RunningPeer, running_peer
from tests.mcap_samples import write_mcap

WATCH, RECORDINGS, TOKENS = "/api/v1/watch", "/api/v1/recordings", "/api/v1/tokens"
BY_HAND: dict[str, Any] = {"watch": {"settle": 0, "interval": 3600}}
"""Nothing is looked into but when a test says so."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "robots"
    path.mkdir()
    return path


@pytest.fixture
async def peer(tmp_path: Path, folder: Path) -> AsyncIterator[RunningPeer]:
    async with running_peer(tmp_path / "data", "alpha", **BY_HAND) as running:
        await running.post("/api/v1/sync/groups", {"name": "lab"}, status=201)
        await running.post(WATCH, {"folder": str(folder), "tags": ["night"], "machine": "rover"}, Watch, status=201)
        yield running


def mcap(path: Path, number: int) -> Path:
    """A file that no other number equals."""
    return write_mcap(path, messages=4, payload=f"{number} ".encode())


async def scan(peer: RunningPeer) -> dict[str, Any]:
    """The one watched folder after a look into it."""
    (watched,) = await peer.post(f"{WATCH}/scan", {}, Watch)
    return dict(watched)


def counts(watched: dict[str, Any]) -> tuple[int, ...]:
    return tuple(watched[key] for key in ("added", "duplicates", "waiting", "quarantined", "unreadable"))


async def names(peer: RunningPeer) -> list[str]:
    return sorted(each["name"] for each in (await peer.get(RECORDINGS, params={"limit": "1000"}))["recordings"])


def cut(path: Path) -> None:
    """As its recorder has it that goes on writing: the end is missing."""
    path.write_bytes(path.read_bytes()[:-20])


def damage(path: Path) -> None:
    """Closed, and broken inside: the records are other than their lengths say."""
    data = bytearray(path.read_bytes())
    data[8:-8] = bytes(len(data) - 16)
    path.write_bytes(data)


async def test_a_hundred_files_are_each_counted_once_and_rightly(peer: RunningPeer, folder: Path) -> None:
    """Dropped in, renamed from `.active`, half-written, damaged, no MCAP at all, twice."""
    dropped = [mcap(folder / f"dropped_{number}.mcap", number) for number in range(30)]
    active = [mcap(folder / f"active_{number}.mcap.active", 100 + number) for number in range(20)]
    half = [mcap(folder / f"half_{number}.mcap", 200 + number) for number in range(15)]
    whole = [path.read_bytes() for path in half]
    for path in half:
        cut(path)
    for number in range(10):
        damage(mcap(folder / f"damaged_{number}.mcap", 300 + number))
    for number in range(5):
        (folder / f"alien_{number}.mcap").write_text("no recording")
    for number in range(15):
        shutil.copy(dropped[number], folder / f"twice_{number}.mcap")
    for name in (".hidden.mcap", "copying.mcap.part", "notes.txt", "old.mcap~", "x.tmp"):
        (folder / name).write_bytes(dropped[0].read_bytes())

    assert counts(await scan(peer)) == (30, 15, 15, 15, 0)
    assert counts(await scan(peer)) == (30, 15, 15, 15, 0)

    for path in active:
        path.rename(path.with_suffix(""))
    for path, data in zip(half[:10], whole, strict=False):
        path.write_bytes(data)

    assert counts(await scan(peer)) == (60, 15, 5, 15, 0)
    found = await names(peer)
    assert len(found) == 60
    assert set(found) >= {"dropped_0", "active_19", "half_9"}
    quarantine = folder / "_quarantine"
    assert sum(not path.name.endswith(".why.txt") for path in quarantine.iterdir()) == 15
    assert "mcap_truncated" in (quarantine / "damaged_0.mcap.why.txt").read_text()
    assert "not_mcap" in (quarantine / "alien_0.mcap.why.txt").read_text()
    assert {path.name for path in folder.iterdir()} >= {*(path.name for path in dropped), ".hidden.mcap", "notes.txt"}
    status = await peer.get("/api/v1/status")
    assert [each["code"] for each in status["problems"]] == ["watch_quarantined"]


async def test_a_file_whose_summary_is_sound_and_whose_messages_are_not_is_broken(peer: RunningPeer, folder: Path) -> None:
    """Nobody would notice before somebody wants to see just these messages."""
    path = write_mcap(folder / "rotten.mcap", payload=os.urandom(5000))
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)

    assert counts(await scan(peer)) == (0, 0, 0, 1, 0)
    assert "mcap_truncated" in (folder / "_quarantine" / "rotten.mcap.why.txt").read_text()


async def test_what_is_added_has_the_tags_and_the_machine_of_the_folder(peer: RunningPeer, folder: Path) -> None:
    mcap(folder / "drive.mcap", 1)

    await scan(peer)

    (recording,) = (await peer.get(RECORDINGS))["recordings"]
    assert (recording["name"], recording["tags"], recording["machine"], recording["state"]) == ("drive", ["night"], "rover", "local")


async def test_a_name_that_was_used_gets_a_number_and_a_file_with_new_content_is_another_one(peer: RunningPeer, folder: Path) -> None:
    mcap(folder / "rosbag.mcap", 1)
    await scan(peer)
    mcap(folder / "rosbag.mcap", 2)
    (folder / "Rosbag").mkdir()
    mcap(folder / "Rosbag" / "Rosbag_0.mcap", 3)
    (folder / "Rosbag" / "metadata.yaml").write_text("{}\n")

    assert counts(await scan(peer)) == (3, 0, 0, 0, 0)
    assert await names(peer) == ["Rosbag-3", "rosbag", "rosbag-2"]


async def test_a_bag_is_open_until_its_metadata_is_there_and_its_last_file_waits(peer: RunningPeer, folder: Path) -> None:
    bag = folder / "run"
    bag.mkdir()
    for number in (0, 1, 2):
        mcap(bag / f"run_{number}.mcap", number)
    last = (bag / "run_2.mcap").read_bytes()
    cut(bag / "run_2.mcap")

    assert counts(await scan(peer)) == (2, 0, 1, 0, 0)
    (recording,) = (await peer.get(RECORDINGS))["recordings"]
    assert (recording["name"], recording["state"], recording["chunk_count"], recording["finalized"]) == ("run", "open", 2, False)

    (bag / "run_2.mcap").write_bytes(last)
    mcap(bag / "run_10.mcap", 10)
    assert counts(await scan(peer)) == (4, 0, 0, 0, 0)
    (bag / "metadata.yaml").write_text("rosbag2_bagfile_information: {}\n")
    assert counts(await scan(peer)) == (4, 0, 0, 0, 0)

    shown = await peer.get(f"{RECORDINGS}/{recording['id']}")
    assert (shown["state"], shown["manifest_state"], shown["chunk_count"]) == ("local", "complete", 4)
    assert [chunk["source_name"] for chunk in shown["chunks"]] == ["run_0.mcap", "run_1.mcap", "run_2.mcap", "run_10.mcap"]
    assert [each["source_name"] for each in shown["attachments"]] == ["metadata.yaml"]
    assert len(await names(peer)) == 1


async def test_metadata_ends_no_bag_of_which_a_file_is_being_written(peer: RunningPeer, folder: Path) -> None:
    """Also not where the recorder names such a file otherwise."""
    bag = folder / "run"
    bag.mkdir()
    for number in (0, 1):
        mcap(bag / f"run_{number}.mcap", number)
    whole = (bag / "run_1.mcap").read_bytes()
    cut(bag / "run_1.mcap")
    (bag / "metadata.yaml").write_text("a: b\n")

    async def state() -> tuple[str, int]:
        (recording,) = (await peer.get(RECORDINGS))["recordings"]
        return recording["state"], recording["chunk_count"]

    assert counts(await scan(peer)) == (1, 0, 1, 0, 0)
    assert await state() == ("open", 1)
    (bag / "run_1.mcap").unlink()
    (bag / "run_1.mcap.active").write_bytes(whole)
    assert counts(await scan(peer)) == (1, 0, 0, 0, 0)
    assert await state() == ("open", 1)
    (bag / "run_1.mcap.active").rename(bag / "run_1.mcap")
    assert counts(await scan(peer)) == (2, 0, 0, 0, 0)
    assert await state() == ("local", 2)


async def test_a_copy_of_a_bag_and_a_renamed_file_are_known_already(peer: RunningPeer, folder: Path) -> None:
    bag = folder / "run"
    bag.mkdir()
    for number in (0, 1):
        mcap(bag / f"run_{number}.mcap", number)
    (bag / "metadata.yaml").write_text("{}\n")
    mcap(folder / "single.mcap", 2)
    await scan(peer)
    shutil.copytree(bag, folder / "run_copy")
    (folder / "single.mcap").rename(folder / "renamed.mcap")

    assert counts(await scan(peer)) == (3, 3, 0, 0, 0)
    assert await names(peer) == ["run", "single"]


async def test_what_the_group_has_is_known_whoever_added_it_and_though_it_was_deleted(peer: RunningPeer, folder: Path, tmp_path: Path) -> None:
    path = mcap(tmp_path / "by_hand.mcap", 1)
    added = await peer.post(RECORDINGS, {"paths": [str(path)]}, status=201)
    await peer.call("DELETE", f"{RECORDINGS}/{added['id']}")
    shutil.copy(path, folder / "again.mcap")

    assert counts(await scan(peer)) == (0, 1, 0, 0, 0)
    assert await names(peer) == []


async def test_the_same_bytes_under_two_recordings_are_stored_once(peer: RunningPeer, tmp_path: Path) -> None:
    path = tmp_path / "large.mcap"
    write_sample(path, 4 * 1024 * 1024, 1)

    def used() -> int:
        return sum(each.stat().st_blocks * 512 for each in (peer.root / "blobs").rglob("*") if each.is_file())

    await peer.post(RECORDINGS, {"paths": [str(path)], "name": "one"}, status=201)
    before = used()
    await peer.post(RECORDINGS, {"paths": [str(path)], "name": "two"}, status=201)

    assert before >= path.stat().st_size
    assert used() == before
    assert [each["state"] for each in (await peer.get(RECORDINGS))["recordings"]] == ["local", "local"]


async def test_a_restart_and_a_rebuild_of_the_views_forget_nothing(tmp_path: Path, folder: Path) -> None:
    mcap(folder / "a.mcap", 1)
    shutil.copy(folder / "a.mcap", folder / "b.mcap")
    async with running_peer(tmp_path / "data", "alpha", **BY_HAND) as peer:
        await peer.post("/api/v1/sync/groups", {"name": "lab"}, status=201)
        await peer.post(WATCH, {"folder": str(folder)}, Watch, status=201)
        assert counts(await scan(peer)) == (1, 1, 0, 0, 0)
    for path in (tmp_path / "data").glob("views.db*"):
        path.unlink()

    async with running_peer(tmp_path / "data", "alpha", **BY_HAND) as peer:
        assert counts(await scan(peer)) == (1, 1, 0, 0, 0)
        assert await names(peer) == ["a"]


async def test_without_what_was_remembered_nothing_is_added_twice(tmp_path: Path, folder: Path) -> None:
    mcap(folder / "a.mcap", 1)
    async with running_peer(tmp_path / "data", "alpha", **BY_HAND) as peer:
        await peer.post("/api/v1/sync/groups", {"name": "lab"}, status=201)
        await peer.post(WATCH, {"folder": str(folder)}, status=201)
        await scan(peer)
    (tmp_path / "data" / "watch.db").write_bytes(b"damaged" * 2000)
    for suffix in ("-wal", "-shm"):
        (tmp_path / "data" / f"watch.db{suffix}").unlink(missing_ok=True)

    async with running_peer(tmp_path / "data", "alpha", **BY_HAND) as peer:
        assert await peer.get(WATCH) == []
        await peer.post(WATCH, {"folder": str(folder)}, Watch, status=201)
        assert counts(await scan(peer)) == (0, 1, 0, 0, 0)
        assert await names(peer) == ["a"]


async def test_a_file_that_changed_a_moment_ago_waits(tmp_path: Path, folder: Path) -> None:
    """Also one whose time is in the future, for as long as nobody has seen it unchanged."""
    settings: dict[str, Any] = {"watch": {"settle": 3600, "interval": 0.05}}
    old, fresh, future = (mcap(folder / f"{name}.mcap", number) for number, name in enumerate(("old", "fresh", "future")))
    os.utime(old, (1_000_000, 1_000_000))
    os.utime(future, (4_000_000_000, 4_000_000_000))
    async with running_peer(tmp_path / "data", "alpha", **settings) as peer:
        await peer.post("/api/v1/sync/groups", {"name": "lab"}, status=201)
        await peer.post(WATCH, {"folder": str(folder)}, Watch, status=201)

        (watched,) = await peer.until(WATCH, lambda found: found[0]["last_scan_ms"] is not None)

        assert counts(watched) == (1, 0, 2, 0, 0)
        assert [each["path"] for each in watched["waiting_files"]] == [fresh.name, future.name]
        assert await names(peer) == ["old"]


async def test_a_scan_waits_for_what_has_only_just_appeared(tmp_path: Path, folder: Path) -> None:
    mcap(folder / "fresh.mcap", 1)
    async with running_peer(tmp_path / "data", "alpha", watch={"settle": 0.3, "interval": 3600}) as peer:
        await peer.post("/api/v1/sync/groups", {"name": "lab"}, status=201)
        await peer.post(WATCH, {"folder": str(folder)}, Watch, status=201)

        assert counts(await scan(peer)) == (1, 0, 0, 0, 0)
