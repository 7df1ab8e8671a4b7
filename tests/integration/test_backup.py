"""Backups: a consistent copy beside a writer, refused where it would be worth nothing, and doubted to the last byte."""

import asyncio
import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from peer.api.backup_routes import Backup
from peer.api.models import Verified
from peer.core.certificate import LogKind
from peer.errors import BackupTargetError, DiskFullError, MeshError, StoreCorruptError, StoreError
from peer.store import backup as backup_module
from peer.store.backup import create_backup
from peer.store.backup_verification import verify_backup
from peer.store.database import SCHEMAS, read_migrations
from peer.store.directory import DataDirectory
from peer.store.manifest import MANIFEST_FILE
from tests.integration.running_peer import running_peer
from tests.integration.store_site import running_store
from tests.samples import GROUP, SampleLog, genesis, note
from tests.small_disk import small_disk

__all__ = ["small_disk"]


async def fill(root: Path, events: int = 200) -> DataDirectory:
    """A data directory with a group, own events, and files of all sorts."""
    log = SampleLog("alice")
    async with running_store(root) as store:
        await store.create_group(genesis())
        await store.append(log.certificate, log.write_notes(100))
        for number in range(events // 10):
            await store.write(GROUP, LogKind.DATA, [note(number)] * 10)
    (root / "config.toml").write_text('name = "site"\n')
    (root / "admin.token").write_text("secret\n")
    (root / "views.db").write_text("computed again")
    (root / "admin.address").write_text("127.0.0.1:1")
    (root / "blobs/large").write_text("bytes")
    (root / "log.db.damaged-1").write_text("old")
    (root / "something.partial").write_text("half")
    return DataDirectory(root)


async def test_a_backup_holds_what_cannot_be_had_again_and_nothing_else(tmp_path: Path) -> None:
    directory = await fill(tmp_path / "site")

    made = create_backup(directory, tmp_path / "new/backup")

    names = {each.name for each in made.manifest.files}
    keys = {f"keys/{path.name}" for path in directory.keys.iterdir()}
    assert names == {"config.toml", "admin.token", "version", "log.db", *keys}
    there = [path for path in (tmp_path / "new/backup").rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path / "new/backup").as_posix() for path in there} == {*names, MANIFEST_FILE}
    assert {stat.S_IMODE(path.stat().st_mode) for path in there} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new/backup", tmp_path / "new/backup/keys")} == {0o700}
    result = await verify_backup(tmp_path / "new/backup")
    assert result.problems == []
    assert (result.checked["events"], result.checked["files"]) == (300, len(names))


async def test_what_is_committed_when_it_begins_is_in_it_and_what_comes_meanwhile_whole_or_not(tmp_path: Path) -> None:
    """A writer goes on all the time; each backup verifies and has at least what was acknowledged before it."""
    directory = await fill(tmp_path / "site", events=20_000)
    async with running_store(tmp_path / "site") as store:
        written = 20_100
        made: list[int] = []

        async def write() -> None:
            nonlocal written
            while len(made) < 3:
                await store.write(GROUP, LogKind.DATA, [note()] * 7)
                written += 7

        async def back_up() -> None:
            for number in range(3):
                before = written
                await asyncio.to_thread(create_backup, directory, tmp_path / f"backup-{number}")
                result = await verify_backup(tmp_path / f"backup-{number}")
                assert result.problems == []
                assert before <= result.checked["events"] <= written + 7
                made.append(result.checked["events"])

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write())
            tasks.create_task(back_up())
    assert made[0] < made[1] < made[2]


async def test_a_folder_that_is_in_use_or_inside_is_refused_and_left_alone(tmp_path: Path) -> None:
    directory = await fill(tmp_path / "site")
    (tmp_path / "used").mkdir()
    (tmp_path / "used/file").write_text("mine")

    for target in (tmp_path / "used", tmp_path / "used/file", tmp_path / "site", tmp_path / "site/inside", tmp_path / "site/keys/inside"):
        with pytest.raises(BackupTargetError):
            create_backup(directory, target)

    assert [path.name for path in (tmp_path / "used").iterdir()] == ["file"]
    assert (await verify_backup(tmp_path / "used")).problems[0].code == "backup_incomplete"
    create_backup(directory, tmp_path / "site/backups/here")


async def test_a_full_disk_leaves_nothing_that_looks_like_a_backup(tmp_path: Path, small_disk: Path) -> None:
    directory = await fill(tmp_path / "site", events=40_000)
    assert directory.log_database.stat().st_size > 8 * 1024 * 1024

    with pytest.raises(DiskFullError) as raised:
        create_backup(directory, small_disk / "backup")

    assert raised.value.code == "disk_full"
    assert list(small_disk.iterdir()) == []


async def test_nobody_waits_for_a_backup_that_was_broken_off(tmp_path: Path) -> None:
    directory = await fill(tmp_path / "site")
    stop = threading.Event()
    stop.set()

    with pytest.raises(StoreError, match="broken off"):
        create_backup(directory, tmp_path / "backup", stop)

    assert not (tmp_path / "backup").exists()


async def test_of_a_damaged_or_missing_log_no_backup_is_made(tmp_path: Path) -> None:
    directory = await fill(tmp_path / "site")
    data = bytearray(directory.log_database.read_bytes())
    data[5 * 8192 : 5 * 8192 + 100] = os.urandom(100)
    directory.log_database.write_bytes(data)
    with pytest.raises(StoreCorruptError):
        create_backup(directory, tmp_path / "backup")
    directory.log_database.unlink()
    with pytest.raises(StoreCorruptError):
        create_backup(directory, tmp_path / "backup")

    assert not (tmp_path / "backup").exists()


def _flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x01
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("code", "harm"),
    [
        ("backup_incomplete", lambda folder: (folder / MANIFEST_FILE).unlink()),
        ("backup_damaged", lambda folder: _flip(folder / MANIFEST_FILE, 40)),
        ("backup_damaged", lambda folder: (folder / MANIFEST_FILE).write_text("{}")),
        ("backup_file_changed", lambda folder: _flip(folder / "log.db", 30_000)),
        ("backup_file_changed", lambda folder: _flip(folder / "config.toml", 3)),
        ("backup_file_changed", lambda folder: (folder / "log.db").write_bytes(b"")),
        ("backup_file_missing", lambda folder: (folder / "admin.token").unlink()),
        ("backup_file_missing", lambda folder: (folder / "keys/peer.key").unlink()),
        ("backup_file_unlisted", lambda folder: (folder / "keys/other.key").write_text("planted")),
        ("backup_file_unlisted", lambda folder: (folder / "log.db-journal").write_text("planted")),
    ],
)
async def test_whatever_changed_in_a_backup_is_found(tmp_path: Path, code: str, harm: Callable[[Path], object]) -> None:
    create_backup(await fill(tmp_path / "site"), tmp_path / "backup")
    harm(tmp_path / "backup")

    result = await verify_backup(tmp_path / "backup")

    assert code in {each.code for each in result.problems}


async def test_a_backup_that_an_older_version_made_verifies_and_stays_as_it_is(tmp_path: Path) -> None:
    directory = await fill(tmp_path / "site")
    connection = sqlite3.connect(directory.log_database)
    first = read_migrations(SCHEMAS / "log")[0].sql
    for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        if f"CREATE TABLE {table} " not in first:
            connection.execute(f"DROP TABLE {table}")
    connection.execute("PRAGMA user_version=1")
    connection.close()
    create_backup(directory, tmp_path / "backup")
    before = (tmp_path / "backup/log.db").read_bytes()

    result = await verify_backup(tmp_path / "backup")

    assert result.problems == []
    assert result.checked["events"] == 300
    assert (tmp_path / "backup/log.db").read_bytes() == before


async def test_a_log_that_is_false_is_found_though_its_hash_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can write a manifest cannot sign events: a log that SQLite likes, and its manifest, are made anew around a changed body."""
    directory = await fill(tmp_path / "site")
    monkeypatch.setattr(backup_module, "_check_copy", lambda copy, _: copy.execute("UPDATE events SET body = x'a0' WHERE position = 7"))
    create_backup(directory, tmp_path / "backup")

    result = await verify_backup(tmp_path / "backup")

    assert {each.code for each in result.problems} == {"body_mismatch"}


async def test_a_backup_put_into_place_is_a_copy_that_opens_new_logs(tmp_path: Path) -> None:
    directory = await fill(tmp_path / "site")
    create_backup(directory, tmp_path / "backup")
    shutil.rmtree(tmp_path / "site")
    shutil.copytree(tmp_path / "backup", tmp_path / "site")

    async with running_store(tmp_path / "site") as store:
        (stored,) = await store.write(GROUP, LogKind.DATA, [note()])
        assert stored.event.header.seq == 0
        assert store.counts(GROUP).events == 301
        assert (await store.verify()).ok


def test_what_is_no_data_directory_cannot_be_backed_up(tmp_path: Path) -> None:
    with pytest.raises(MeshError) as raised:
        create_backup(DataDirectory(tmp_path / "none"), tmp_path / "backup")

    assert raised.value.code == "not_initialised"


async def test_a_running_peer_makes_and_checks_backups_over_its_api(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "site", "alpha") as peer:
        await peer.post("/api/v1/sync/groups", {"name": "lab"})

        made = await peer.post("/api/v1/backup", {"directory": str(tmp_path / "backup")}, Backup, status=201)
        result = await peer.post("/api/v1/backup/verify", {"directory": str(tmp_path / "backup")}, Verified)
        again = await peer.post("/api/v1/backup", {"directory": str(tmp_path / "backup")}, status=409)
        relative = await peer.post("/api/v1/backup", {"directory": "backup"}, status=400)

    assert made["peer_id"] == peer.peer_id
    assert (result["ok"], result["checked"]["groups"]) == (True, 1)
    assert (again["code"], relative["code"]) == ("backup_target", "request_invalid")
    assert not Path("backup").exists()
