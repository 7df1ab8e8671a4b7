"""Watched folders where something is wrong: with the folder, with the disk, with the group, with whoever asks."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from peer.api.ingest_models import Watch
from peer.operations import watch_folder, watching
from peer.operations.adding import Adding
from tests.integration.running_peer import DEADLINE_S, RunningPeer, running_peer
from tests.integration.test_watch import BY_HAND, RECORDINGS, TOKENS, WATCH, counts, damage, mcap, names, scan

GROUPS = "/api/v1/sync/groups"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "robots"
    path.mkdir()
    return path


@pytest.fixture
async def peer(tmp_path: Path, folder: Path) -> AsyncIterator[RunningPeer]:
    settings: dict[str, Any] = {**BY_HAND, "ingest_folders": [str(tmp_path / "free")]}
    (tmp_path / "free" / "drives").mkdir(parents=True)
    async with running_peer(tmp_path / "data", "alpha", **settings) as running:
        await running.post(GROUPS, {"name": "lab"}, status=201)
        await running.post(WATCH, {"folder": str(folder)}, Watch, status=201)
        yield running


async def refused(peer: RunningPeer, folder: object, **more: object) -> str:
    problem = await peer.post(WATCH, {"folder": str(folder), **more}, status=409)
    return str(problem["code"])


async def problem_codes(peer: RunningPeer) -> set[str]:
    return {each["code"] for each in (await peer.get("/api/v1/status"))["problems"]}


async def test_folders_that_cannot_be_watched_are_refused(peer: RunningPeer, folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder.parent / "link").symlink_to(folder)
    (folder.parent / "file").touch()

    for path in (
        *(folder, folder.parent / "link", folder / "inner", folder.parent),
        *(peer.root, peer.root / "blobs", folder.parent / "nowhere", folder.parent / "file", "relative", "/"),
    ):
        assert await refused(peer, path) == "watch_folder", path
    assert (await peer.post(WATCH, {"folder": str(folder), "group": "nowhere"}, status=404))["code"] == "not_found"
    other = folder.parent / "other"
    other.mkdir()
    assert (await peer.post(WATCH, {"folder": str(other), "machine": "a\nb"}, status=400))["code"] == "request_invalid"
    assert (await peer.post(WATCH, {"folder": str(other), "tags": [" "]}, status=400))["code"] == "request_invalid"
    assert [each["folder"] for each in await peer.get(WATCH, (Watch))] == [str(folder)]


async def test_a_folder_is_watched_no_more(peer: RunningPeer, folder: Path) -> None:
    mcap(folder / "a.mcap", 1)
    await scan(peer)

    removed = await peer.call("DELETE", WATCH, params={"folder": str(folder)}, model=Watch)
    mcap(folder / "b.mcap", 2)

    assert removed["added"] == 1
    assert await peer.post(f"{WATCH}/scan", {}) == []
    assert await names(peer) == ["a"]
    assert (await peer.call("DELETE", WATCH, params={"folder": str(folder)}, status=404))["code"] == "not_found"
    assert (await peer.call("DELETE", WATCH, status=400))["code"] == "request_invalid"
    await peer.post(WATCH, {"folder": str(folder)}, Watch, status=201)
    assert counts(await scan(peer)) == (1, 1, 0, 0, 0)


async def test_a_folder_is_left_and_another_named_while_a_large_file_is_read(
    peer: RunningPeer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is being read is still added; nothing after it is."""
    reading, go_on = asyncio.Event(), asyncio.Event()
    keep = Adding.keep

    async def slowly(*arguments: Any, **options: Any) -> Any:
        reading.set()
        await asyncio.wait_for(go_on.wait(), DEADLINE_S)
        return await keep(*arguments, **options)

    monkeypatch.setattr(Adding, "keep", slowly)
    for number in range(3):
        mcap(folder / f"{number}.mcap", number)
    (folder.parent / "other").mkdir()
    scanning = asyncio.create_task(peer.post(f"{WATCH}/scan", {}))
    await asyncio.wait_for(reading.wait(), DEADLINE_S)

    await peer.call("DELETE", WATCH, params={"folder": str(folder)}, model=Watch)
    await peer.post(WATCH, {"folder": str(folder.parent / "other")}, Watch, status=201)
    go_on.set()
    (watched,) = await asyncio.wait_for(scanning, DEADLINE_S)

    assert watched["folder"] == str(folder.parent / "other")
    assert await names(peer) == ["0"]
    await peer.post(WATCH, {"folder": str(folder)}, Watch, status=201)
    assert [counts(each) for each in await peer.post(f"{WATCH}/scan", {}, Watch)] == [(0, 0, 0, 0, 0), (2, 1, 0, 0, 0)]


async def test_a_folder_that_is_gone_or_leads_elsewhere_is_a_problem_until_it_is_back(peer: RunningPeer, folder: Path) -> None:
    mcap(folder / "a.mcap", 1)
    await scan(peer)
    away = folder.rename(folder.with_name("away"))

    assert (await scan(peer))["last_error"]["code"] == "file_unreadable"
    assert "file_unreadable" in await problem_codes(peer)
    folder.symlink_to(away)
    assert (await scan(peer))["last_error"]["code"] == "file_unreadable"
    folder.unlink()
    away.rename(folder)
    mcap(folder / "b.mcap", 2)

    back = await scan(peer)
    assert (back["last_error"], counts(back)) == (None, (2, 0, 0, 0, 0))
    assert await problem_codes(peer) == set()


async def test_a_group_that_was_left_is_a_problem(peer: RunningPeer, folder: Path) -> None:
    await peer.call("DELETE", f"{GROUPS}/lab", params={"now": "1"})
    mcap(folder / "a.mcap", 1)

    watched = await scan(peer)

    assert watched["last_error"]["code"] in ("watch_folder", "not_allowed")
    assert watched["added"] == 0
    assert watched["last_error"]["code"] in await problem_codes(peer)


async def test_links_are_not_followed(peer: RunningPeer, folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "bag").mkdir(parents=True)
    (folder / "a.mcap").symlink_to(mcap(outside / "a.mcap", 1))
    mcap(outside / "bag" / "b.mcap", 2)
    (folder / "bag").symlink_to(outside / "bag")
    (folder / "inner").mkdir()
    (folder / "inner" / "c.mcap").symlink_to(outside / "a.mcap")
    (folder / "_quarantine").symlink_to(outside)
    damage(mcap(folder / "broken.mcap", 3))

    assert counts(await scan(peer)) == (0, 0, 0, 0, 1)
    assert sorted(path.name for path in outside.iterdir()) == ["a.mcap", "bag"]
    assert (folder / "broken.mcap").exists()
    os.mkfifo(folder / "pipe.mcap")
    assert counts(await scan(peer)) == (0, 0, 0, 0, 1)


async def test_in_a_folder_that_may_not_be_written_nothing_is_moved(peer: RunningPeer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is broken there is not read again and again."""
    damage(mcap(folder / "broken.mcap", 1))
    (folder / "alien.mcap").write_text("no recording")
    mcap(folder / "sound.mcap", 2)

    def read_only(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("peer.operations.watch_taking.move_to_quarantine", read_only)
    assert counts(await scan(peer)) == (1, 0, 0, 0, 2)
    monkeypatch.setattr("peer.operations.watch_taking.readiness", read_only)

    assert counts(await scan(peer)) == (1, 0, 0, 0, 2)
    assert {path.name for path in folder.iterdir()} == {"broken.mcap", "alien.mcap", "sound.mcap"}
    assert "watch_unreadable" in await problem_codes(peer)


async def test_a_full_disk_holds_up_and_loses_nothing(small_disk: Path, folder: Path) -> None:
    async with running_peer(small_disk / "data", "alpha", **BY_HAND) as peer:
        await peer.post(GROUPS, {"name": "lab"}, status=201)
        await peer.post(WATCH, {"folder": str(folder)}, Watch, status=201)
        mcap(folder / "a.mcap", 1)

        watched = await scan(peer)

        assert (watched["added"], watched["last_error"]["code"]) == (0, "disk_full")
        assert "disk_full" in await problem_codes(peer)
        assert (folder / "a.mcap").exists()


async def test_large_folders_are_taken_bit_by_bit_and_no_further_than_the_limit(
    peer: RunningPeer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "FILES_PER_TURN_MAX", 2)
    monkeypatch.setattr(watch_folder, "ENTRIES_MAX", 6)
    for number in range(9):
        mcap(folder / f"{number}.mcap", number)

    watched = await scan(peer)

    assert (watched["added"], watched["last_error"]["code"]) == (6, "watch_folder")
    for path in list(folder.iterdir()):
        if path.stem in set(await names(peer)):
            path.unlink()
    watched = await scan(peer)
    assert (counts(watched), watched["last_error"]) == ((9, 0, 0, 0, 0), None)


async def test_files_that_are_gone_are_forgotten_beyond_a_limit_and_stay_counted(
    peer: RunningPeer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "REMEMBERED_MAX", 2)
    for number in range(5):
        mcap(folder / f"{number}.mcap", number)
    await scan(peer)
    shutil.copy(folder / "0.mcap", folder / "again.mcap")
    for number in range(5):
        (folder / f"{number}.mcap").unlink()

    assert counts(await scan(peer)) == (5, 1, 0, 0, 0)
    assert counts(await scan(peer)) == (5, 1, 0, 0, 0)


async def test_a_token_from_elsewhere_watches_ingest_folders_alone(peer: RunningPeer, folder: Path, tmp_path: Path) -> None:
    headers = {}
    for tier in ("viewer", "operator", "admin"):
        made = await peer.post(TOKENS, {"name": tier, "tier": tier}, status=201)
        headers[tier] = {"Authorization": f"Bearer {made['token']}"}
    free, other = tmp_path / "free" / "drives", tmp_path / "other"
    other.mkdir()
    (free / "out").symlink_to(other)

    for tier, path, code in (
        ("viewer", free, "tier_too_low"),
        ("operator", free, "path_not_allowed"),
        ("admin", other, "path_not_allowed"),
        ("admin", free / "out", "path_not_allowed"),
        ("admin", tmp_path / "nowhere", "path_not_allowed"),
    ):
        problem = await peer.post(WATCH, {"folder": str(path)}, headers=headers[tier], status=403)
        assert problem["code"] == code
    (free / "out").unlink()
    await peer.post(WATCH, {"folder": str(free)}, Watch, headers=headers["admin"], status=201)
    assert len(await peer.get(WATCH, Watch, headers=headers["viewer"])) == 2
    await peer.call("DELETE", WATCH, params={"folder": str(free)}, headers=headers["viewer"], status=403)
    recording = await peer.post(RECORDINGS, {"paths": [str(mcap(folder / "a.mcap", 1))], "open": True}, status=201)
    problem = await peer.post(f"{RECORDINGS}/{recording['id']}/chunks", {"paths": [str(other)]}, headers=headers["admin"], status=403)
    assert problem["code"] == "path_not_allowed"


async def test_a_name_that_no_history_can_hold_is_told_and_holds_up_nothing(peer: RunningPeer, folder: Path) -> None:
    whole = mcap(folder / "sound.mcap", 1).read_bytes()
    for name in (b"line\nbreak.mcap", b"latin-\xe9.mcap", b"folder\xff/a.mcap", b"bag/\x1b[31m.mcap", b"latin-\xe9.txt", b".\xe9.mcap"):
        path = folder / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(whole)

    assert counts(await scan(peer)) == (1, 0, 0, 0, 4)
    assert counts(await scan(peer)) == (1, 0, 0, 0, 4)
    (problem,) = [each for each in (await peer.get("/api/v1/status"))["problems"] if each["code"] == "file_unreadable"]
    assert all(character.isprintable() for character in problem["text"])
    assert problem["fix"] == "rename it"


async def test_a_quiet_bag_without_metadata_is_ended_where_the_operator_wants_that(tmp_path: Path, folder: Path) -> None:
    bag = folder / "run"
    bag.mkdir()
    for number in range(2):
        os.utime(mcap(bag / f"run_{number}.mcap", number), (1_000_000, 1_000_000))
    for quiet, state in ((0, "open"), (60, "local")):
        async with running_peer(tmp_path / "data", "alpha", watch={"settle": 0, "interval": 3600, "quiet": quiet}) as peer:
            if quiet == 0:
                await peer.post(GROUPS, {"name": "lab"}, status=201)
                await peer.post(WATCH, {"folder": str(folder)}, Watch, status=201)
            assert counts(await scan(peer)) == (2, 0, 0, 0, 0)
            assert [each["state"] for each in (await peer.get(RECORDINGS))["recordings"]] == [state]


async def test_what_comes_to_a_bag_after_its_end_is_a_recording_of_its_own_and_a_broken_part_is_left_out(peer: RunningPeer, folder: Path) -> None:
    bag = folder / "run"
    bag.mkdir()
    for number in range(3):
        mcap(bag / f"run_{number}.mcap", number)
    damage(bag / "run_1.mcap")
    (bag / "metadata.yaml").write_text("{}\n")

    assert counts(await scan(peer)) == (2, 0, 0, 1, 0)
    assert (folder / "_quarantine" / "run" / "run_1.mcap").exists()
    mcap(bag / "run_3.mcap", 3)

    assert counts(await scan(peer)) == (3, 0, 0, 1, 0)
    assert await names(peer) == ["run", "run_3"]
