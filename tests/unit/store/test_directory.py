import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from peer.errors import DataDirectoryLockedError, DataDirectoryMissingError, DataDirectoryVersionError, FileUnreadableError
from peer.store.directory import FORMAT, DataDirectory, write_durably
from tests.patience import mortal

HOLD_LOCK = """
import sys
from pathlib import Path
from peer.store.directory import DataDirectory
with DataDirectory(Path(sys.argv[1])).lock():
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    directory = DataDirectory(tmp_path / "site")
    directory.create()
    return directory


def test_a_new_directory_is_private_and_has_the_version_of_this_recmesh(directory: DataDirectory) -> None:
    directory.open()

    assert directory.version_file.read_text() == f"{FORMAT}\n"
    assert stat.S_IMODE(directory.root.stat().st_mode) == 0o700
    assert stat.S_IMODE(directory.keys.stat().st_mode) == 0o700


def test_setting_up_twice_changes_nothing(directory: DataDirectory) -> None:
    (directory.keys / "peer.key").write_text("kept")
    before = directory.version_file.stat().st_ino

    directory.create()

    assert directory.version_file.stat().st_ino == before
    assert (directory.keys / "peer.key").read_text() == "kept"


def test_a_directory_that_was_never_set_up_says_how_to_do_that(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryMissingError) as caught:
        DataDirectory(tmp_path / "nothing").open()

    assert "recmesh init" in caught.value.fix


def test_a_path_that_cannot_become_a_directory_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(FileUnreadableError, match="cannot set up"):
        DataDirectory(tmp_path / "file" / "site").create()


@pytest.mark.parametrize(("version", "word"), [(str(FORMAT + 1), "up to"), ("0", "too old"), ("", "no version"), ("one", "no version")])
def test_a_directory_of_another_version_is_refused_with_what_to_do(directory: DataDirectory, version: str, word: str) -> None:
    directory.version_file.write_text(version)

    with pytest.raises(DataDirectoryVersionError, match=word) as caught:
        directory.open()

    assert caught.value.fix


def test_a_second_process_is_told_who_has_the_directory(directory: DataDirectory) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD_LOCK, directory.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        with mortal(other):
            assert other.stdout.readline() == "locked\n"
        with pytest.raises(DataDirectoryLockedError, match=f"process {other.pid}") as caught, directory.lock():
            pass
        assert caught.value.fix
        other.kill()

    with directory.lock():
        assert directory.lock_file.read_text() == f"{os.getpid()}\n"


def test_the_lock_is_free_again_after_its_block(directory: DataDirectory) -> None:
    for _ in range(2):
        with directory.lock():
            pass


def test_a_durable_write_replaces_the_file_as_a_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    (tmp_path / "secret.partial").write_text("left by a crash")

    write_durably(path, b"new")

    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
