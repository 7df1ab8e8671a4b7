"""Peers as processes: starting, stopping, what stands in their way, and what works without one."""

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from peer.cli.sample import write_sample
from tests.end_to_end.processes import COMMAND_S, Site
from tests.patience import mortal, status_of

pytestmark = pytest.mark.xdist_group("processes")
ONE_LINE = re.compile(r"recmesh: [^\n]+ \[([a-z_]+)\]\n\Z")


def recmesh(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("RECMESH_")}
    return subprocess.run(
        [sys.executable, "-m", "peer.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_S,
        env={**clean, **(environment or {})},
    )


def refused(done: subprocess.CompletedProcess[str], status: int) -> str:
    """The code of the one line that a command ended with."""
    line = ONE_LINE.match(done.stderr)
    assert line, done.stderr
    assert (done.returncode, done.stdout) == (status, "")
    return line[1]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site with a group and a recording, on which no peer runs."""
    folder = tmp_path_factory.mktemp("stopped")
    site = Site("idle", folder / "data")
    site.start()
    write_sample(folder / "one.mcap", 128 * 1024, 1)
    site.command("group", "create", "lab")
    site.command("recording", "add", str(folder / "one.mcap"))
    assert site.stop() == 0
    return site


@pytest.fixture
def copied(stopped: Site, tmp_path: Path) -> Path:
    """A copy of that site's directory, to be damaged."""
    shutil.copytree(stopped.folder, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_peer_says_when_it_is_ready_and_stops_when_it_is_told(tmp_path: Path) -> None:
    site = Site("short", tmp_path / "data")
    site.start()
    address = site.folder / "admin.address"
    assert address.read_text() == f"127.0.0.1:{site.admin}\n"

    assert site.stop() == 0

    assert not address.exists()
    assert (tmp_path / "short.log").read_text() == ""


def test_an_empty_directory_is_set_up_on_request(tmp_path: Path) -> None:
    data = tmp_path / "fresh"
    environment = {"RECMESH_NAME": "fresh", "RECMESH_LISTEN": "127.0.0.1:0", "RECMESH_ADMIN": "127.0.0.1:0"}
    command = [sys.executable, "-m", "peer.cli", "serve", "--init", "--json", "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}) as process:
        assert process.stdout is not None
        text = ""
        with mortal(process):
            for row in process.stdout:
                text += row
                if row == "}\n":
                    break
        process.terminate()
        assert status_of(process) == 0

    ready = json.loads(text)
    assert ready["name"] == "fresh"
    assert recmesh("id", "--data", str(data)).stdout.strip() == ready["peer_id"]


@pytest.mark.parametrize("which", ["listen", "admin"])
def test_a_port_in_use_is_one_line_and_exit_2(copied: Path, which: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other = "admin" if which == "listen" else "listen"
        ports = {f"RECMESH_{which.upper()}": f"127.0.0.1:{taken.getsockname()[1]}", f"RECMESH_{other.upper()}": "127.0.0.1:0"}
        assert refused(recmesh("serve", "--data", str(copied), environment=ports), 2) == "port_in_use"

    assert not (copied / "admin.address").exists()


def test_a_second_process_is_kept_out(stopped: Site) -> None:
    stopped.start()
    try:
        assert refused(recmesh("serve", "--data", str(stopped.folder)), 2) == "data_directory_locked"
        assert stopped.status()["ready"]
    finally:
        assert stopped.stop() == 0


@pytest.mark.parametrize(
    ("version", "command"), [("2", ["serve"]), ("0", ["serve"]), ("x", ["serve"]), ("99", ["verify"]), ("99", ["rebuild"]), ("99", ["state", "lab"])]
)
def test_a_directory_of_another_version_is_left_alone(copied: Path, version: str, command: list[str]) -> None:
    (copied / "version").write_text(f"{version}\n")
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*") if path.is_file()}

    assert refused(recmesh(*command, "--data", str(copied)), 2) == "data_directory_version"

    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*") if path.is_file()} == before


def test_a_log_database_of_a_newer_version_is_left_alone(copied: Path) -> None:
    """One that has other tables, too: a version number alone, over the tables of this one, is a byte that flipped."""
    with sqlite3.connect(copied / "log.db") as database:
        database.execute("CREATE TABLE news (what TEXT)")
        database.execute("PRAGMA user_version = 99")
    database.close()

    assert refused(recmesh("serve", "--data", str(copied)), 2) == "data_directory_version"


def test_a_log_database_that_is_none_is_one_problem(copied: Path) -> None:
    """What a start makes of it is in tests/end_to_end/test_damage.py."""
    (copied / "log.db").write_bytes(b"this is no database" * 1000)

    checked = recmesh("verify", "--data", str(copied), "--json")
    assert (checked.returncode, json.loads(checked.stdout)["problems"][0]["code"]) == (1, "store_corrupt")


def test_damaged_projections_are_computed_again(copied: Path) -> None:
    before = json.loads(recmesh("state", "lab", "--json", "--data", str(copied)).stdout)
    (copied / "views.db").write_bytes(b"this is no database" * 1000)

    again = recmesh("state", "lab", "--json", "--data", str(copied))

    assert json.loads(again.stdout) == before


def test_a_missing_token_or_key_is_one_line(copied: Path) -> None:
    (copied / "admin.token").unlink()
    assert (
        refused(recmesh("serve", "--data", str(copied), environment={"RECMESH_ADMIN": "127.0.0.1:0", "RECMESH_LISTEN": "none"}), 1) == "token_invalid"
    )
    (copied / "keys" / "peer.key").unlink()
    assert refused(recmesh("serve", "--data", str(copied)), 2) == "not_initialised"


def test_verify_rebuild_and_state_work_without_a_peer(copied: Path) -> None:
    verified = recmesh("verify", "--deep", "--json", "--data", str(copied))
    state = recmesh("state", "lab", "--json", "--data", str(copied))
    rebuilt = recmesh("rebuild", "--json", "--data", str(copied))

    assert json.loads(verified.stdout)["ok"]
    assert json.loads(state.stdout)["tables"]["recordings"][0]["name"] == "one"
    assert json.loads(rebuilt.stdout)["groups"][0]["view_events"] == 4
    assert refused(recmesh("state", "nowhere", "--data", str(copied)), 1) == "not_found"


def test_verify_without_a_peer_changes_nothing(copied: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in copied.rglob("*") if path.is_file()}

    assert recmesh("verify", "--deep", "--data", str(copied)).returncode == 0

    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in copied.rglob("*") if path.is_file()}
    changed = {path.name for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert changed <= {"lock", *(f"{name}.db-{part}" for name in ("log", "views", "ledger") for part in ("shm", "wal"))}


def test_verify_tells_what_is_wrong_and_where(copied: Path) -> None:
    blob = max((path for path in (copied / "blobs").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    blob.chmod(0o644)
    blob.write_bytes(b"x" + blob.read_bytes()[1:])

    done = recmesh("verify", "--deep", "--data", str(copied))

    assert done.returncode == 1
    assert str(blob) in done.stdout
    assert ONE_LINE.match(done.stderr)[1] == "verify_failed"  # type: ignore[index]


def test_the_demonstration_ends_well_and_leaves_nothing_running(tmp_path: Path) -> None:
    done = recmesh("demo", "--json", environment={"TMPDIR": str(tmp_path)})

    result = json.loads(done.stdout)
    assert done.returncode == 0
    assert result["ok"]
    assert result["seconds"] < 60
    assert set(result["manifests"]) == {"first", "second", "third"}
    assert "SIGKILL" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_demonstration_takes_a_recording_of_ones_own(tmp_path: Path) -> None:
    write_sample(tmp_path / "own.mcap", 3 * 1024 * 1024, 1)

    assert recmesh("demo", "--recording", str(tmp_path / "own.mcap"), environment={"TMPDIR": str(tmp_path)}).returncode == 0
    assert refused(recmesh("demo", "--recording", str(tmp_path / "none.mcap")), 1) == "file_unreadable"
