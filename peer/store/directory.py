"""The data directory: where everything of one peer lies, its lock, its version. Files are written aside, flushed and renamed: whole or not at all."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peer.durable import sync_folder
from peer.errors import DataDirectoryLockedError, DataDirectoryMissingError, DataDirectoryVersionError, FileUnreadableError

FORMAT = 1
FORMAT_OLDEST = 1
FOLDER_MODE = 0o700
PRIVATE_MODE = 0o600
FOLDERS = ("keys", "blobs", "blobs/incoming", "recordings", "backups")


class DataDirectory:
    """The places in one data directory. Making one of these touches nothing; see `create` and `open`."""

    def __init__(self, root: Path) -> None:
        """The directory at `root`, which need not exist."""
        self.root = root
        self.config = root / "config.toml"
        self.keys = root / "keys"
        self.log_database = root / "log.db"
        self.views_database = root / "views.db"
        self.hub_database = root / "hub.db"
        self.watch_database = root / "watch.db"
        self.bytes_database = root / "bytes.db"
        self.ledger = root / "ledger.db"
        self.blobs = root / "blobs"
        self.recordings = root / "recordings"
        self.cache = root / "cache"
        self.recovering = root / "recovering"
        self.backups = root / "backups"
        self.lock_file = root / "lock"
        self.token_file = root / "admin.token"
        self.tokens = root / "tokens.json"
        self.audit_log = root / "audit.log"
        self.version_file = root / "version"

    @property
    def exists(self) -> bool:
        """True if it was set up: the version is written last."""
        return self.version_file.is_file()

    def create(self) -> None:
        """Make the folders and, last, the version file. What is there stays as it is."""
        try:
            self.root.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            for name in FOLDERS:
                (self.root / name).mkdir(mode=FOLDER_MODE, exist_ok=True)
            if not self.exists:
                write_durably(self.version_file, f"{FORMAT}\n".encode())
        except OSError as error:
            raise FileUnreadableError(f"cannot set up {self.root}: {error.strerror}", fix="choose another directory with --data") from error

    def open(self) -> None:
        """Check that it is there and of a format that this version reads. Raises `DataDirectoryMissingError` or `DataDirectoryVersionError`."""
        try:
            text = self.version_file.read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError as error:
            raise DataDirectoryMissingError(f"{self.root} is not set up yet", fix="run: recmesh init") from error
        except OSError as error:
            raise DataDirectoryMissingError(f"{self.version_file} cannot be read: {error.strerror}", fix="check its permissions") from error
        if not text.isdecimal():
            raise DataDirectoryVersionError(f"{self.version_file} holds no version number", fix=f"restore it; this recmesh writes {FORMAT}")
        version = int(text)
        if version > FORMAT:
            raise DataDirectoryVersionError(
                f"{self.root} has format {version}; this recmesh knows up to {FORMAT}", fix="install the newer recmesh again"
            )
        if version < FORMAT_OLDEST:
            raise DataDirectoryVersionError(
                f"{self.root} has format {version}, which is too old; this recmesh reads {FORMAT_OLDEST} to {FORMAT}",
                fix="start it once with a recmesh in between, or set up a new directory and join again",
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Have this directory for ourselves. Raises `DataDirectoryLockedError` if another process has it. The lock dies with its process."""
        file = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_MODE)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                owner = os.pread(file, 32, 0).decode("ascii", errors="replace").strip() or "unknown"
                raise DataDirectoryLockedError(
                    f"{self.root} is in use by process {owner}", fix="stop that process, or choose another directory with --data"
                ) from error
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(file)


def write_durably(path: Path, data: bytes, *, mode: int = PRIVATE_MODE) -> None:
    """Give `path` the content `data`: after a crash it has the old or the new one, whole; when this returns, the new one."""
    aside = path.with_name(path.name + ".partial")
    aside.unlink(missing_ok=True)
    file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(file, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(path)
    sync_folder(path.parent)


def is_disk_full(error: OSError) -> bool:
    """True if `error` says that there is no space, or no share of it left for us."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
