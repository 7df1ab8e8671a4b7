"""Kill -9 while a backup is made and while a damaged log is replaced: no half backup verifies, no readable event is lost."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from peer.failpoints import FAILPOINTS
from peer.store.backup import create_backup
from peer.store.backup_verification import verify_backup
from peer.store.directory import DataDirectory
from peer.store.keys import KeyFiles
from peer.store.recovery import recover, reports
from peer.store.verification import verify_log
from tests.integration.test_recovery import EVENTS, check_new, fill, flip, ids_in
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
BACKUP = ("backup.after_log", "backup.before_manifest")
SALVAGE = {"salvage.before_commit": (1, 2, 3, 4), "salvage.after_commit": (1, 2, 3, 4), "salvage.before_swap": (1,), "salvage.after_move": (1,)}
"""At which passage the process dies. The first is the making of the database, the second that of the group."""

BACKUP_SCRIPT = """
import sys
from pathlib import Path
from peer.store.backup import create_backup
from peer.store.directory import DataDirectory
create_backup(DataDirectory(Path(sys.argv[1])), Path(sys.argv[2]))
"""
RECOVER_SCRIPT = """
import asyncio, sys
from pathlib import Path
from tests.integration.test_recovery import repair
asyncio.run(repair(Path(sys.argv[1])))
"""


async def killed(script: str, point: str, passage: int, hits: Path, *arguments: Path) -> None:
    """Run `script` until it is killed at `point`."""
    environment = os.environ | {"RECMESH_FAILPOINT": f"{point}:{passage}", "RECMESH_FAILPOINT_FILE": str(hits), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, *(str(each) for each in arguments)]
    died = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert died.returncode == -signal.SIGKILL, died.stderr


@pytest.mark.parametrize("point", BACKUP)
async def test_a_backup_that_was_killed_does_not_verify_and_is_not_gone_on_with(tmp_path: Path, point: str) -> None:
    original = await fill(tmp_path / "site")

    await killed(BACKUP_SCRIPT, point, 1, tmp_path / "hits", tmp_path / "site", tmp_path / "backup")

    assert (tmp_path / "hits").read_text().split() == [point]
    assert (tmp_path / "backup/log.db").exists()
    assert [each.code for each in (await verify_backup(tmp_path / "backup")).problems] == ["backup_incomplete"]
    create_backup(DataDirectory(tmp_path / "site"), tmp_path / "another")
    assert (await verify_backup(tmp_path / "another")).problems == []
    assert await ids_in(tmp_path / "site") == original


@pytest.mark.parametrize(("point", "passage"), [(point, passage) for point, passages in SALVAGE.items() for passage in passages])
async def test_a_repair_that_was_killed_is_done_again_or_ended(tmp_path: Path, point: str, passage: int) -> None:
    """Killed twice at the same place, then let through: what could be read at first is there, and the damaged file still is, too."""
    site = tmp_path / "site"
    original = await fill(site)
    flip(site / "log.db", 0)
    damaged = (site / "log.db").read_bytes()

    await killed(RECOVER_SCRIPT, point, passage, tmp_path / "hits", site)
    if point != "salvage.after_move":
        await killed(RECOVER_SCRIPT, point, passage, tmp_path / "hits", site)
    await recover(DataDirectory(site), KeyFiles(site / "keys").peer_key(), lambda *_: None)

    assert set(Counter((tmp_path / "hits").read_text().split())) == {point}
    assert len(await check_new(site, original)) == EVENTS
    (report,) = reports(DataDirectory(site))
    assert report.moved_to is not None
    assert (site / report.moved_to).read_bytes() == damaged
    assert sorted(each.name for each in site.glob("log.db.*") if ".damaged-" not in each.name) == []


async def test_a_kill_right_after_the_swap_leaves_the_new_log(tmp_path: Path) -> None:
    site = tmp_path / "site"
    original = await fill(site)
    flip(site / "log.db", 0)

    await killed(RECOVER_SCRIPT, "salvage.after_swap", 1, tmp_path / "hits", site)

    assert (tmp_path / "hits").read_text().split() == ["salvage.after_swap"]
    assert (await verify_log(site / "log.db", KeyFiles(site / "keys"))).problems == []
    assert await ids_in(site) == original


def test_every_failpoint_of_backup_and_repair_is_hit_here() -> None:
    there = {name for name in FAILPOINTS if name.startswith(("backup.", "salvage."))}

    assert there == {*BACKUP, *SALVAGE, "salvage.after_swap"}
