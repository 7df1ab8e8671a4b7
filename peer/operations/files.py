"""The files of a recording that is to be added: which they are, in which order, and what it is called if nobody says so."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from peer.core.names import NAME_CHARACTERS_MAX, is_name
from peer.errors import FileUnreadableError, NameInvalidError, RequestError

MCAP_SUFFIX = ".mcap"
METADATA_FILE = "metadata.yaml"
FILES_MAX = 100_000
_NUMBERS = re.compile(r"([0-9]+)")
_SPLIT_SUFFIX = re.compile(r"_[0-9]+\Z")


class Selection(NamedTuple):
    """What becomes one recording."""

    chunks: Sequence[Path]
    """In their order."""
    attachments: Sequence[Path]
    name: str
    """What it is called by default."""


def select_files(paths: Sequence[Path]) -> Selection:
    """The files that `paths`, MCAP files in order or one folder, stand for. Blocks. Raises `FileUnreadableError` or `RequestError`."""
    if not paths:
        raise RequestError("no files are named", fix="name MCAP files, or one folder")
    for path in paths:
        if not path.is_absolute():
            raise RequestError(f"{path} is not an absolute path", fix="write the whole path")
    try:
        folders = [path for path in paths if path.is_dir()]
        if folders and len(paths) > 1:
            raise RequestError(f"{folders[0]} is a folder: it is a recording by itself", fix="add it alone, or name its files")
        if folders:
            return _folder(folders[0])
        if len({path.resolve() for path in paths}) != len(paths):
            raise RequestError("a file is named twice", fix="name each file once")
    except OSError as error:
        raise FileUnreadableError(f"{paths[0]}: cannot be read: {error.strerror}", fix="check the path and its permissions") from error
    stem = paths[0].stem if len(paths) == 1 else _SPLIT_SUFFIX.sub("", paths[0].stem)
    return Selection(paths, [], stem)


def natural_key(path: Path) -> tuple[tuple[int, int | str], ...]:
    """Orders `bag_2` before `bag_10`."""
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in _NUMBERS.split(path.name) if part)


def default_name(text: str) -> str:
    """A valid name made of `text`. Raises `NameInvalidError` if nothing is left of it."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip(".-").rstrip("-")[:NAME_CHARACTERS_MAX]
    if not is_name(name):
        raise NameInvalidError(f"{text!r} cannot be made a name", fix="choose one with --name")
    return name


def _folder(folder: Path) -> Selection:
    chunks = sorted((path for path in folder.iterdir() if path.suffix.lower() == MCAP_SUFFIX and path.is_file()), key=natural_key)
    if not chunks:
        raise FileUnreadableError(f"{folder}: there are no MCAP files in this folder", fix="name a folder with *.mcap files")
    if len(chunks) > FILES_MAX:
        raise RequestError(f"{folder}: {len(chunks)} files; a recording has up to {FILES_MAX}", fix="split it")
    metadata = folder / METADATA_FILE
    return Selection(chunks, [metadata] if metadata.is_file() else [], folder.resolve().name)
