"""`audit.log`: who changed what, one JSON document a line, in one file and one older one.

Appended at once and not synced to the disk: it is for people who look back, nothing is computed from it. A disk that fails loses lines, and never a
request.
"""

import errno
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from peer.errors import StoreError
from peer.store.directory import PRIVATE_MODE

FILE_BYTES_MAX = 8 * 1024 * 1024
OLDER_SUFFIX = ".1"


class AuditFile:
    """The file at one path. It is opened for each line: lines are few, and a file that was moved away is made anew."""

    def __init__(self, path: Path, report: Callable[[str, BaseException], None], *, bytes_max: int = FILE_BYTES_MAX) -> None:
        """`report` is told of the first of several failures in a row. `bytes_max` is the size at which the file becomes the older one."""
        self._path = path
        self._report = report
        self._bytes_max = bytes_max
        self._problem: StoreError | None = None

    @property
    def problem(self) -> StoreError | None:
        """Why the last line was not written, if it was not."""
        return self._problem

    def write(self, entry: Mapping[str, object]) -> None:
        """Append a line. Never raises."""
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        try:
            self._append(line)
        except OSError as error:
            failing = self._problem is not None
            self._problem = StoreError(
                f"{self._path} cannot be written: {error.strerror}", fix="check the space and the permissions of this disk: changes go unrecorded"
            )
            if not failing:
                self._report("the audit log cannot be written", error)
        else:
            self._problem = None

    def _append(self, line: bytes) -> None:
        if _size(self._path) and _size(self._path) + len(line) > self._bytes_max:
            self._path.replace(self._path.with_name(self._path.name + OLDER_SUFFIX))
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_MODE)
        try:
            size = os.fstat(file).st_size
            if os.write(file, line) != len(line):
                os.ftruncate(file, size)  # Half a line would spoil the next one, too.
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(file)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
