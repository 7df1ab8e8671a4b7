"""The folder of a recording, wherever it was copied to: whether the files in it are those that its manifest lists."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from materializer.layout import original_name
from materializer.manifest import MANIFEST_CBOR, MANIFEST_JSON, Manifest
from materializer.manifest_reading import MANIFEST_BYTES_MAX, read_manifest
from materializer.rosbag import METADATA_FILE
from peer.errors import FileUnreadableError, ManifestInvalidError

GOOD, MISSING, DIFFERENT = "good", "missing", "different"


class CheckedFile(NamedTuple):
    """A file that a manifest lists, and what became of it."""

    name: str
    state: str


class CheckedFolder(NamedTuple):
    """What a manifest says, and what is beside it."""

    manifest: Manifest
    files: list[CheckedFile]


def check_folder(path: Path) -> CheckedFolder:
    """Compare files with the manifest at `path`, or in the folder `path`. Blocks. Raises `FileUnreadableError` or `ManifestInvalidError`."""
    folder = path if path.is_dir() else path.parent
    found = [each for each in (folder / MANIFEST_CBOR, folder / MANIFEST_JSON) if each.exists()] if path.is_dir() else [path]
    if not found:
        raise FileUnreadableError(f"there is no {MANIFEST_CBOR} or {MANIFEST_JSON} in {folder}", fix="name the folder of a recording")
    first, *others = [read_manifest(_read(each)) for each in found]
    if any(other.manifest_id != first.manifest_id for other in others):
        raise ManifestInvalidError(f"the two manifests in {folder} are not of the same", fix="copy the folder again")
    entries = list(_entries(first))
    original = original_name(entry["name"] for entry in entries)
    return CheckedFolder(first, [CheckedFile(entry["name"], _state_of(folder, entry, original)) for entry in entries])


def _entries(manifest: Manifest) -> Iterator[dict[str, Any]]:
    for entry in (*manifest.fields["chunks"], *manifest.fields["attachments"]):
        if "/" in entry["name"] or entry["name"] in {"", ".", ".."}:
            raise ManifestInvalidError("a file in the manifest has a name that leads elsewhere", fix="take the one that recmesh wrote")
        yield entry


def _state_of(folder: Path, entry: dict[str, Any], original: str) -> str:
    """What became of a file. Where a `metadata.yaml` was written, that of the recorder lies beside it, under the name `original`."""
    state = _state(folder / entry["name"], entry)
    if state is not GOOD and entry["name"] == METADATA_FILE and (folder / original).is_file():
        return _state(folder / original, entry)
    return state


def _state(path: Path, entry: dict[str, Any]) -> str:
    try:
        if not path.is_file():
            return MISSING
        with path.open("rb") as file:
            is_same = path.stat().st_size == entry["size_bytes"] and hashlib.file_digest(file, "sha256").digest() == entry["sha256"]
    except OSError as error:
        raise _unreadable(path, error) from error
    return GOOD if is_same else DIFFERENT


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MANIFEST_BYTES_MAX + 1)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> FileUnreadableError:
    return FileUnreadableError(f"{path} cannot be read: {error.strerror or error}", fix="check the path and its permissions")
