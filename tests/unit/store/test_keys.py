import shutil
import stat
from pathlib import Path

import pytest

from peer.core.certificate import LogKind
from peer.errors import ConfigError, DataDirectoryMissingError
from peer.store.keys import KeyFiles
from tests.samples import GROUP


@pytest.fixture
def keys(tmp_path: Path) -> KeyFiles:
    return KeyFiles(tmp_path)


def test_a_peer_key_is_made_once_and_read_back(keys: KeyFiles, tmp_path: Path) -> None:
    made = keys.create_peer_key()

    assert keys.peer_key().peer_id == made.peer_id
    assert stat.S_IMODE((tmp_path / "peer.key").stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="exists"):
        keys.create_peer_key()


def test_a_missing_peer_key_says_what_to_do(keys: KeyFiles) -> None:
    with pytest.raises(DataDirectoryMissingError) as caught:
        keys.peer_key()

    assert caught.value.fix


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"00" * 31, b"zz" * 32, b"00" * 400])
def test_a_damaged_peer_key_is_a_clear_error(keys: KeyFiles, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "peer.key").write_bytes(content)

    with pytest.raises(ConfigError, match="does not hold a key"):
        keys.peer_key()


def test_the_fence_of_a_log_key_holds_while_its_file_stays_where_it_was_made(keys: KeyFiles) -> None:
    made = keys.new_log_key(GROUP, LogKind.DATA)
    read = keys.log_key(GROUP, LogKind.DATA)

    assert read is not None
    assert (read.key.public, read.fence) == (made.key.public, made.fence)


def test_the_fence_of_a_log_key_tells_a_copy_from_the_original(tmp_path: Path) -> None:
    folder = tmp_path / "original"
    folder.mkdir()
    made = KeyFiles(folder).new_log_key(GROUP, LogKind.DATA)

    shutil.copytree(folder, tmp_path / "copy")
    copied = KeyFiles(tmp_path / "copy").log_key(GROUP, LogKind.DATA)

    assert copied is not None
    assert copied.key.public == made.key.public
    assert copied.fence != made.fence


def test_a_key_that_is_gone_or_damaged_is_no_key(keys: KeyFiles, tmp_path: Path) -> None:
    assert keys.log_key(GROUP, LogKind.CONTROL) is None

    keys.new_log_key(GROUP, LogKind.CONTROL)
    (path,) = tmp_path.iterdir()
    path.write_text("nothing")

    assert keys.log_key(GROUP, LogKind.CONTROL) is None


def test_control_and_data_logs_have_keys_of_their_own(keys: KeyFiles) -> None:
    data, control = keys.new_log_key(GROUP, LogKind.DATA), keys.new_log_key(GROUP, LogKind.CONTROL)

    assert data.key.public != control.key.public
