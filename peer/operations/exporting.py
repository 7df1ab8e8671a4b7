"""Exporting a recording: a folder of its own, that rosbag2 plays and that nobody but its owner changes.

Copies, never links: who works on them must not reach the bytes that are shared. Every byte is hashed on its way, so what is exported is what was
recorded. The folder is built beside its place and appears there by a rename; nothing is overwritten.
"""

import asyncio
import errno
import os
import shutil
import threading
from pathlib import Path

from materializer.fields import FILE_NAME_BYTES_MAX
from materializer.layout import Contents, folder_contents, stored_files
from materializer.manifest import Manifest
from peer.core.encoding import decode_map
from peer.core.hashing import hash_bytes, new_blake3
from peer.core.identity import BlobId
from peer.core.interfaces import BlobStore
from peer.durable import clone, sync_folder, write_new
from peer.errors import BytesDamagedError, FileUnreadableError, NotFoundError, RequestError, TargetFullError, TargetTakenError
from peer.operations.json_form import Json
from peer.operations.recordings import Recordings
from peer.threads import in_thread

COPY_SIZE = 1024 * 1024
ASIDE_SUFFIX = ".recmesh-export"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _StoppedError(Exception):
    pass


class Exporting:
    """Exports recordings whose bytes are here."""

    def __init__(self, recordings: Recordings, blobs: BlobStore, data_directory: Path) -> None:
        """Never writes into `data_directory`."""
        self._recordings = recordings
        self._blobs = blobs
        self._data_directory = data_directory
        self._busy: set[Path] = set()

    async def export(self, reference: str, to: str, *, dry_run: bool) -> Json:
        """Write a recording to the new folder `to`, or only say what would be written there."""
        view = await self._recordings.find(reference)
        cbor, _ = await self._recordings.manifest(reference)
        manifest = Manifest(decode_map(cbor), cbor, hash_bytes(cbor))
        files = stored_files(manifest)
        missing = [name for name, file in files.items() if not self._blobs.has(file.blob)]
        if missing:
            text = f"{len(missing)} of {len(files)} files of {view.name} are not here, {missing[0]} for one"
            raise NotFoundError(text, fix=f"bring them here: `recmesh recording fetch {view.recording.hex()[:12]}`, or export with --fetch")
        target = Path(to)
        if not target.is_absolute():
            raise RequestError(f"{target} is not an absolute path", fix="write the whole path")
        place = await asyncio.to_thread(_place, target)
        if place in self._busy:
            raise TargetTakenError(f"{target} is being written", fix="choose another name")
        self._busy.add(place)
        try:
            contents = await in_thread(None, lambda stop: self._export(manifest, target, stop, dry_run=dry_run))
        finally:
            self._busy.discard(place)
        sizes = {**{name: file.size for name, file in contents.stored.items()}, **{name: len(data) for name, data in contents.written.items()}}
        return {
            "id": view.recording.hex(),
            "name": view.name,
            "to": str(target),
            "dry_run": dry_run,
            "size_bytes": sum(sizes.values()),
            "files": [{"name": name, "size_bytes": size} for name, size in sorted(sizes.items())],
        }

    def _export(self, manifest: Manifest, target: Path, stop: threading.Event, *, dry_run: bool) -> Contents:
        self._check(target)
        contents = folder_contents(manifest, self._blobs.path)
        size = sum(file.size for file in contents.stored.values()) + sum(map(len, contents.written.values()))
        free = shutil.disk_usage(target.parent).free
        if size > free:
            raise TargetFullError(
                f"{size} bytes do not fit into {target.parent}, where {free} are free", fix="free some space, or name another folder"
            )
        if not dry_run:
            self._write(contents, target, stop)
        return contents

    def _check(self, target: Path) -> None:
        if os.path.lexists(target):
            raise TargetTakenError(f"{target} exists", fix="name a new folder: nothing is overwritten")
        if not target.parent.is_dir():
            raise FileUnreadableError(f"{target.parent} is no folder", fix="make it first")
        if target.resolve().is_relative_to(self._data_directory.resolve()):
            raise RequestError(f"{target} lies in the data directory", fix="name a folder outside of it")

    def _write(self, contents: Contents, target: Path, stop: threading.Event) -> None:
        aside = _aside(target)
        shutil.rmtree(aside, ignore_errors=True)  # What a crash left.
        try:
            aside.mkdir()
            for name, file in contents.stored.items():
                self._copy(file.blob, aside / name, stop)
            for name, data in contents.written.items():
                write_new(aside / name, data)
            sync_folder(aside)
            target.mkdir()  # Ours alone from here on: a rename takes the place of an empty folder and of no other.
            aside.rename(target)
            sync_folder(target.parent)
        except OSError as error:
            if error.errno in _FULL:
                raise TargetFullError(f"no space to write {target}: {error.strerror}", fix="free some space, or name another folder") from error
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                raise TargetTakenError(f"{target} exists", fix="name a new folder: nothing is overwritten") from error
            raise FileUnreadableError(f"{target} cannot be written: {error.strerror}", fix="check the path and its permissions") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _copy(self, blob: BlobId, path: Path, stop: threading.Event) -> None:
        """The bytes of a blob under another name, hashed. Raises `BytesDamagedError` if they are not what they were."""
        hasher = new_blake3()
        with self._blobs.path(blob).open("rb") as source, path.open("x+b") as target:
            shared = clone(source.fileno(), target.fileno())
            reader = target if shared else source
            while part := reader.read(COPY_SIZE):
                if stop.is_set():
                    raise _StoppedError
                hasher.update(part)
                if not shared:
                    target.write(part)
            target.flush()
            os.fsync(target.fileno())
        if hasher.digest() != blob:
            fix = "`recmesh verify --deep` shows what is damaged here; another site may have it still"
            raise BytesDamagedError(f"the bytes of {path.name} here are not what was recorded", fix=fix)


def _place(target: Path) -> Path:
    """The same for the same folder, however it is written."""
    return Path(os.path.realpath(target.parent)) / target.name


def _aside(target: Path) -> Path:
    """Where it is built: a name of its own for each, and no longer than one may be."""
    name = f".{target.name}{ASIDE_SUFFIX}"
    if len(os.fsencode(name)) > FILE_NAME_BYTES_MAX:
        name = f".{hash_bytes(os.fsencode(target.name)).hex()}{ASIDE_SUFFIX}"
    return target.with_name(name)
