"""What is in the folder of a recording, in the readable tree and where it is exported: its files, both forms of the manifest, and `metadata.yaml`.

A bag of rosbag2 always has a `metadata.yaml` that names the files as they are called in this folder: the one that its recorder wrote, where that
does so, else one that is written here; then the recorder's lies beside it under another name. The manifest names what was recorded.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from materializer.manifest import MANIFEST_CBOR, MANIFEST_JSON, Manifest
from materializer.rosbag import METADATA_FILE, ORIGINAL_FILE, YAML_SIZE_MAX, BagFile, fits, is_bag, is_written, write_metadata
from peer.core.identity import BlobId
from peer.core.names import check_name, folded
from peer.errors import MeshError


class Stored(NamedTuple):
    """A file whose bytes are those of a blob."""

    blob: BlobId
    size: int


class Layout(NamedTuple):
    """The files of a folder by their names, beside those of the manifest."""

    stored: Mapping[str, Stored]
    writes_metadata: bool
    """True if `metadata.yaml` is one that is written here."""

    @property
    def names(self) -> set[str]:
        """All files of the folder."""
        return {*self.stored, MANIFEST_CBOR, MANIFEST_JSON, *((METADATA_FILE,) if self.writes_metadata else ())}


class Contents(NamedTuple):
    """A folder as it is to be."""

    stored: Mapping[str, Stored]
    written: Mapping[str, bytes]


def stored_files(manifest: Manifest) -> dict[str, Stored]:
    """The files of a recording, by the names that the manifest gives them."""
    entries = [*manifest.fields["chunks"], *manifest.fields["attachments"]]
    return {checked(entry["name"]): Stored(BlobId(entry["blob_id"]), entry["size_bytes"]) for entry in entries}


def layouts(manifest: Manifest) -> Iterator[Layout]:
    """Those that the folder of this recording may have: which one it has depends on what is in its files."""
    files = stored_files(manifest)
    kept = _kept(manifest)
    if not is_bag(manifest.fields) or (kept is None and any(folded(name) == METADATA_FILE for name in files)):
        yield Layout(files, writes_metadata=False)
    elif kept is None:
        yield Layout(files, writes_metadata=True)
    else:
        yield Layout(files, writes_metadata=False)
        yield Layout({original_name(files) if name == METADATA_FILE else name: file for name, file in files.items()}, writes_metadata=True)


def folder_contents(manifest: Manifest, path_of: Callable[[BlobId], Path]) -> Contents:
    """What is to be in the folder. Blocks: reads the files, whose bytes are at `path_of` their blobs."""
    found = list(layouts(manifest))
    written = {MANIFEST_CBOR: manifest.cbor, MANIFEST_JSON: manifest.json}
    kept = _kept(manifest)
    text = None if kept is None else _read(path_of(kept.blob))
    chunks = [BagFile(checked(chunk["name"]), path_of(BlobId(chunk["blob_id"]))) for chunk in manifest.fields["chunks"]]
    layout = found[-1]
    if layout.writes_metadata and not (text is not None and fits(text, [file.name for file in chunks], manifest.fields["message_count"])):
        try:
            return Contents(layout.stored, {**written, METADATA_FILE: write_metadata(chunks, manifest.manifest_id, text)})
        except (MeshError, OSError):
            pass  # Bytes that are no MCAP files, whatever was said of them: nothing plays these.
    return Contents(found[0].stored, written)


def is_as_written(manifest: Manifest, name: str, data: bytes) -> bool:
    """True if a file of the folder that is no blob has what belongs into it."""
    match name:
        case "manifest.cbor":
            return data == manifest.cbor
        case "manifest.json":
            return data == manifest.json
        case _:
            return is_written(data, manifest.manifest_id)


def checked(name: str) -> str:
    """`name`, which the pure code has checked; once more, here where it becomes a path. The folder of a long name may be longer than a name."""
    check_name(name[:128], "file")
    check_name("x" + name[128:], "file")
    return name


def _kept(manifest: Manifest) -> Stored | None:
    """The `metadata.yaml` that came with the recording."""
    for entry in manifest.fields["attachments"]:
        if entry["name"] == METADATA_FILE:
            return Stored(BlobId(entry["blob_id"]), entry["size_bytes"])
    return None


def original_name(files: Iterable[str]) -> str:
    """A name for the recorder's `metadata.yaml` that none of `files` has."""
    taken, name, number = {folded(each) for each in files}, ORIGINAL_FILE, 1
    while name in taken:
        name = f"metadata.original-{number}.yaml"
        number += 1
    return name


def _read(path: Path) -> bytes:
    """As much of a file as a `metadata.yaml` may have, and a byte more."""
    with path.open("rb") as file:
        return file.read(YAML_SIZE_MAX + 1)
