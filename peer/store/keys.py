"""Private keys, each in a file of its own and never in a database.

The fence: whoever remembers a key's file remembers its inode and ctime, too. A copied or restored directory has other ones, and what was written on
at the original is not written on here: a new log with a fresh key is opened instead.
"""

import errno
import os
from pathlib import Path
from typing import NamedTuple

from peer.core.certificate import LogKind
from peer.core.identity import SEED_SIZE, GroupId, KeyPair
from peer.errors import ConfigError, DataDirectoryMissingError, DiskFullError, StoreError
from peer.store.directory import write_durably

PEER_KEY_FILE = "peer.key"
GROUP_CHARACTERS = 16
KEY_FILE_BYTES_MAX = 256


class Fence(NamedTuple):
    """What a file was when it was written: a copy of it differs."""

    inode: int
    ctime_ns: int


class OpenKey(NamedTuple):
    """The key of a log that is written on, and the fence of its file."""

    key: KeyPair
    fence: Fence


class KeyFiles:
    """The folder `keys` of a data directory."""

    def __init__(self, folder: Path) -> None:
        """The key files in `folder`."""
        self._folder = folder

    def create_peer_key(self) -> KeyPair:
        """Make this peer's key. There must be none yet: a peer id is for ever."""
        path = self._folder / PEER_KEY_FILE
        if path.exists():
            raise ConfigError(f"{path} exists: this peer has a key", fix="choose another directory with --data")
        return _write_new(path)

    def peer_key(self) -> KeyPair:
        """This peer's key. Raises `DataDirectoryMissingError` without one, `ConfigError` for a damaged file."""
        path = self._folder / PEER_KEY_FILE
        if not path.is_file():
            raise DataDirectoryMissingError(
                f"{path} is missing",
                fix="restore it from a backup, or set up another directory with --data DIR and join again",
            )
        key = _read(path)
        if key is None:
            raise ConfigError(f"{path} does not hold a key", fix="restore it from a backup")
        return key

    def log_key_files(self) -> dict[str, Path]:
        """The files of log keys, each by the first digits of its group's id."""
        return {path.name[:GROUP_CHARACTERS]: path for path in sorted(self._folder.glob("*-*.key"))}

    def peer_fence(self) -> Fence:
        """The fence of this peer's key."""
        return _fence(self._folder / PEER_KEY_FILE)

    def new_log_key(self, group: GroupId, kind: LogKind) -> OpenKey:
        """A fresh key for this peer's log of `kind` in `group`, durable. It takes the place of the one before."""
        path = self._log_path(group, kind)
        key = _write_new(path)
        return OpenKey(key, _fence(path))

    def log_key(self, group: GroupId, kind: LogKind) -> OpenKey | None:
        """The key that was made last, if it is there and readable."""
        path = self._log_path(group, kind)
        try:
            key = _read(path)
            return None if key is None else OpenKey(key, _fence(path))
        except (OSError, ConfigError):
            return None

    def _log_path(self, group: GroupId, kind: LogKind) -> Path:
        return self._folder / f"{group.hex()[:GROUP_CHARACTERS]}-{kind.name.lower()}.key"


def _write_new(path: Path) -> KeyPair:
    key = KeyPair(os.urandom(SEED_SIZE))
    try:
        write_durably(path, key.seed.hex().encode() + b"\n")
    except OSError as error:
        kind = DiskFullError if error.errno == errno.ENOSPC else StoreError
        raise kind(f"{path} cannot be written: {error.strerror}", fix="check the space and the permissions of this disk") from error
    return key


def _read(path: Path) -> KeyPair | None:
    try:
        with path.open("rb") as file:
            text = file.read(KEY_FILE_BYTES_MAX)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", fix="check its permissions") from error
    try:
        return KeyPair(bytes.fromhex(text.decode("ascii").strip()))
    except ValueError:
        return None


def _fence(path: Path) -> Fence:
    status = path.stat()
    return Fence(status.st_ino, status.st_ctime_ns)
