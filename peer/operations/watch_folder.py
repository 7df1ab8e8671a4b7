"""A watched folder as it lies on the disk: what is in it, what can be read, and where goes what cannot.

Nothing here deletes anything or follows a symbolic link. A recorder may be writing to any file while it is looked at.
"""

import contextlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from materializer.fields import FILE_NAME_BYTES_MAX, is_line
from materializer.mcap_format import MAGIC
from peer.errors import FileUnreadableError, MeshError
from peer.operations.files import MCAP_SUFFIX, METADATA_FILE, natural_key

ENTRIES_MAX = 50_000
"""Files and folders of one watched folder that are looked at. The rest waits until somebody has made room."""
QUARANTINE = "_quarantine"
WHY_SUFFIX = ".why.txt"
ACTIVE_SUFFIX = ".active"
TEMPORARY_SUFFIXES = (ACTIVE_SUFFIX, "~", ".tmp", ".temp", ".part", ".partial", ".crdownload", ".filepart", ".swp")
"""Names that recorders and copiers give to what they are not done with, compared case-folded."""
_TEXT_MODE = 0o644


class Entry(NamedTuple):
    """An MCAP file, or the metadata of a bag."""

    path: str
    """From the watched folder on."""
    identity: str
    modified_ns: int


class Bag(NamedTuple):
    """A sub-folder with MCAP files: one recording."""

    item: str
    files: list[Entry]
    """In natural order."""
    metadata: Entry | None
    is_busy: bool
    """True if a recorder has a file in it that is not to be looked at yet."""


class Listing(NamedTuple):
    """What there is to look into."""

    files: list[Entry]
    bags: list[Bag]
    nameless: list[str]
    """Files and folders whose names no history can hold."""
    is_cut: bool
    """True if there is more than is looked at."""


class Readiness(StrEnum):
    """How far a file is."""

    CLOSED = "closed"
    OPEN = "not closed yet"
    """Its closing magic is missing: it is being written or copied, or whoever wrote it was cut off."""
    ALIEN = "not an MCAP file"
    FRESH = "it changed a moment ago"
    GONE = "gone"


def list_folder(folder: Path, data_directory: Path) -> Listing:
    """What is in a watched folder and directly below it. Blocks. Raises `FileUnreadableError` for one that is gone, or is now somewhere else."""
    try:
        if folder.resolve() != folder:
            raise FileUnreadableError(f"{folder} is a symbolic link now", fix="watch the folder that it leads to, or put the folder back")
        left = [ENTRIES_MAX]
        files, bags, nameless = [], [], []
        for entry in _entries(folder, left):
            if not _is_text(entry.name):
                nameless += [entry.name] if _would_be_taken(entry) else []
            elif entry.is_dir(follow_symlinks=False):
                bag = None if Path(entry.path) == data_directory else _bag(entry, left, nameless)
                if bag is not None:
                    bags.append(bag)
            elif (found := _file(entry, "")) is not None and _is_mcap(entry.name):
                files.append(found)
    except OSError as error:
        raise FileUnreadableError(f"{folder} cannot be looked into: {error.strerror}", fix="put it back, or stop watching it") from error
    return Listing(sorted(files, key=_order), sorted(bags, key=lambda bag: natural_key(Path(bag.item))), nameless, left[0] <= 0)


def readiness(path: Path) -> Readiness:
    """How far the file at `path` is. Blocks. Raises `FileUnreadableError` if it may not be read."""
    try:
        with _opened(path) as file:
            size = os.fstat(file).st_size
            start = os.pread(file, len(MAGIC), 0)
            end = os.pread(file, len(MAGIC), max(len(MAGIC), size - len(MAGIC)))
    except FileNotFoundError:
        return Readiness.GONE
    except OSError as error:
        raise FileUnreadableError(f"{path} cannot be read: {error.strerror}", fix="give the user of recmesh read access to it") from error
    if start == MAGIC:
        return Readiness.CLOSED if end == MAGIC else Readiness.OPEN
    return Readiness.OPEN if MAGIC.startswith(start) else Readiness.ALIEN


def identity_of(path: Path) -> str | None:
    """What changes when the bytes at `path` may have changed; None if nothing or no plain file is there."""
    try:
        state = path.lstat()
    except OSError:
        return None
    return _identity(state) if stat.S_ISREG(state.st_mode) else None


def move_to_quarantine(folder: Path, path: str, why: MeshError) -> Path:
    """Move a file of a watched folder out of the way, and write beside it why. Blocks. Raises `OSError` where that is not possible."""
    home = folder / QUARANTINE
    target = home / path
    for each in (home, target.parent):
        with contextlib.suppress(FileExistsError):
            each.mkdir()
        if not stat.S_ISDIR(each.lstat().st_mode):
            raise NotADirectoryError(0, "is no folder", str(each))
    target = _free(target)
    when = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    text = target.with_name(target.name + WHY_SUFFIX)
    with os.fdopen(os.open(text, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, _TEXT_MODE), "w", encoding="utf-8") as file:
        file.write(f"{when} {path}: {why.text}; {why.fix} [{why.code}]\n")
    (folder / path).rename(target)
    return target


def count_quarantined(folder: Path) -> int:
    """How many files lie in quarantine. Blocks."""
    count = 0
    left = [ENTRIES_MAX]
    home = folder / QUARANTINE
    with contextlib.suppress(OSError):
        for entry in _entries(home, left) if not home.is_symlink() else ():
            inner = _entries(Path(entry.path), left) if entry.is_dir(follow_symlinks=False) else [entry]
            count += sum(not each.name.endswith(WHY_SUFFIX) for each in inner)
    return count


def is_ignored(name: str) -> bool:
    """True for what is hidden, is not finished, or lies in quarantine."""
    small = name.casefold()
    return name.startswith(".") or small == QUARANTINE or small.endswith(TEMPORARY_SUFFIXES)


def shown(path: str) -> str:
    """`path` as it can be shown: without what a terminal takes for a command, or no encoding holds."""
    text = path.encode(errors="replace").decode()
    return "".join("?" if unicodedata.category(character)[0] == "C" else character for character in text)


def _bag(folder: os.DirEntry[str], left: list[int], nameless: list[str]) -> Bag | None:
    """What a sub-folder is, None if it is no recording."""
    if is_ignored(folder.name):
        return None
    files, metadata, is_busy = [], None, False
    for entry in _entries(Path(folder.path), left):
        is_busy = is_busy or entry.name.casefold().endswith(ACTIVE_SUFFIX)
        found = _file(entry, f"{folder.name}/")
        if not _is_text(entry.name):
            nameless += [f"{folder.name}/{entry.name}"] if _would_be_taken(entry) else []
        elif found is not None and _is_mcap(entry.name):
            files.append(found)
        elif found is not None and entry.name == METADATA_FILE:
            metadata = found
    return Bag(folder.name, sorted(files, key=_order), metadata, is_busy) if files else None


def _file(entry: os.DirEntry[str], prefix: str) -> Entry | None:
    """A plain file that is to be looked at; None for anything else."""
    try:
        if is_ignored(entry.name) or not entry.is_file(follow_symlinks=False):
            return None
        state = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None  # It is gone again.
    return Entry(prefix + entry.name, _identity(state), state.st_mtime_ns)


def _entries(folder: Path, left: list[int]) -> Iterator[os.DirEntry[str]]:
    """What lies in `folder`, as long as any is `left` to be looked at."""
    with os.scandir(folder) as found:
        for entry in found:
            if left[0] <= 0:
                return
            left[0] -= 1
            yield entry


def _would_be_taken(entry: os.DirEntry[str]) -> bool:
    return not is_ignored(entry.name) and (_is_mcap(entry.name) or entry.is_dir(follow_symlinks=False))


def _is_text(name: str) -> bool:
    try:
        return is_line(name, FILE_NAME_BYTES_MAX)
    except UnicodeEncodeError:
        return False


def _is_mcap(name: str) -> bool:
    return name.casefold().endswith(MCAP_SUFFIX)


def _order(entry: Entry) -> tuple[tuple[int, int | str], ...]:
    return natural_key(Path(entry.path))


def _identity(state: os.stat_result) -> str:
    return f"{state.st_dev}:{state.st_ino}:{state.st_size}:{state.st_mtime_ns}"


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _free(path: Path) -> Path:
    """`path`, or with a number in its name, where nothing is yet: what lies in quarantine stays as it is."""
    number, found = 1, path
    while os.path.lexists(found):
        number += 1
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return found
