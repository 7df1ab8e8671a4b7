"""The readable tree: `<root>/<group>-<id8>/<recording>/` with the manifest in both forms, the chunk files and what else belongs to the recording.

A folder is there if and only if its recording is complete and all of its bytes are here; it is built aside and appears by a rename. Files are hard
links to the blobs, where that cannot be reflinks, else symbolic links. The tree is computed, like everything else here: what is right is left alone,
what is wrong or does not belong is replaced. Nothing that came from elsewhere becomes a path without the check of `core.names`.
"""

import asyncio
import contextlib
import os
import shutil
import stat
import threading
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from materializer.layout import Layout, checked, folder_contents, is_as_written, layouts, stored_files
from materializer.manifest import MANIFEST_CBOR, Manifest
from materializer.queries import TreeEntry
from peer.core.encoding import decode_map
from peer.core.identity import BlobId, EventId, GroupId
from peer.core.interfaces import BlobStore, Replica
from peer.core.names import check_name
from peer.durable import clone, sync_folder, write_new
from peer.errors import NotCanonicalError
from peer.failpoints import failpoint
from peer.threads import in_thread

ASIDE = ".building"
"""In the root. A name that starts with a dot belongs to no group."""
BATCH = 256
"""Recordings that are looked at together."""
SHORT_DIGITS = 8
FILE_MODE = 0o444
MANIFEST_BYTES_MAX = 64 * 1024 * 1024


class TreeQueries(Protocol):
    """What the tree asks of the views."""

    async def tree_entries(self, group: GroupId, recordings: Collection[EventId]) -> Sequence[tuple[EventId, TreeEntry]]:
        """What there is to show of recordings."""
        ...

    async def recording_ids(self, group: GroupId) -> list[EventId]:
        """All recordings of a group."""
        ...


class RecordingTree:
    """The folder of readable recordings. Every call may be repeated, after a crash too."""

    def __init__(self, root: Path, blobs: BlobStore, queries: TreeQueries, replica: Replica) -> None:
        """Builds below `root`, from `blobs`, what `queries` tell of the groups of `replica`."""
        self._root = root
        self._blobs = blobs
        self._queries = queries
        self._replica = replica
        self._turn = asyncio.Lock()

    def group_folder(self, group: GroupId) -> Path:
        """Where the recordings of a group are."""
        return self._root / f"{check_name(self._replica.groups[group].genesis.name, 'group')}-{group.hex()[:SHORT_DIGITS]}"

    async def refresh(self, group: GroupId, recordings: Iterable[EventId]) -> None:
        """Make the folders of these recordings what they should be: after their events or their bytes changed."""
        async with self._turn:
            await self._refresh(group, recordings)

    async def refresh_all(self, group: GroupId) -> None:
        """Go through a whole group, and remove folders of recordings that are no more: after a start, or where a listener missed something."""
        async with self._turn:
            folders = await self._refresh(group, await self._queries.recording_ids(group))
            await in_thread(None, lambda _: self._sweep(group, folders))

    async def wrong(self, group: GroupId, recordings: Collection[EventId]) -> list[str]:
        """Folders of these recordings that are there and are not what they should be: somebody worked on them."""
        async with self._turn:
            entries = await self._queries.tree_entries(group, recordings)
            return await in_thread(None, lambda _: wrong_folders(self._blobs, self.group_folder(group), [entry for _, entry in entries]))

    async def _refresh(self, group: GroupId, recordings: Iterable[EventId]) -> set[str]:
        """The names of the folders that these recordings have, or may have one day."""
        folders: set[str] = set()
        waiting = list(recordings)
        for start in range(0, len(waiting), BATCH):
            entries = await self._queries.tree_entries(group, waiting[start : start + BATCH])
            folders.update(entry.folder for _, entry in entries)
            await in_thread(None, partial(self._place_all, group, entries))
        return folders

    def _place_all(self, group: GroupId, entries: Iterable[tuple[EventId, TreeEntry]], stop: threading.Event) -> None:
        for recording, entry in entries:
            if stop.is_set():
                return
            self._place(group, recording, entry)

    def _folder(self, group: GroupId, entry: TreeEntry) -> Path:
        return self.group_folder(group) / checked(entry.folder)

    def _place(self, group: GroupId, recording: EventId, entry: TreeEntry) -> None:
        folder = self._folder(group, entry)
        manifest = entry.manifest
        if manifest is None or not _has_all(self._blobs, manifest):
            if os.path.lexists(folder):
                self._remove(folder)
            return
        if any(_is_right(self._blobs, folder, manifest, layout) for layout in layouts(manifest)):
            return
        aside = self._root / ASIDE / recording.hex()
        _delete(aside)
        aside.mkdir(parents=True)
        contents = folder_contents(manifest, self._blobs.path)
        for name, file in contents.stored.items():
            self._link(file.blob, aside / name)
        for name, data in contents.written.items():
            _write(aside / name, data)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(folder):
            self._remove(folder)
        failpoint("tree.before_rename")
        aside.rename(folder)
        sync_folder(folder.parent)
        self._remove_former(recording, folder, str(manifest.fields["name"]))

    def _link(self, blob: BlobId, path: Path) -> None:
        """Show a blob as `path`: as a hard link, or the next best thing that takes no space."""
        try:
            self._blobs.link(blob, path)
        except OSError:
            original = self._blobs.path(blob)
            if not _reflink(original, path):
                path.symlink_to(original.resolve())

    def _remove_former(self, recording: EventId, folder: Path, name: str) -> None:
        """Take away what a recording that has `folder` now had before: the plain name, which was its own until an older one of that name came."""
        former = folder.with_name(checked(name))
        if former != folder and _said_in(former, "recording") == recording:
            self._remove(former)

    def _remove(self, folder: Path) -> None:
        """Take a folder away at once: by a rename, then file by file."""
        if not os.path.lexists(folder):
            return
        trash = self._root / ASIDE / f"old-{folder.parent.name}-{folder.name}"
        _delete(trash)
        trash.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(trash)
        _delete(trash)

    def _sweep(self, group: GroupId, wanted: set[str]) -> None:
        """Remove what was built for this group and has no recording any more, and what a crash left aside. Strange folders are left alone."""
        _delete(self._root / ASIDE)
        home = self.group_folder(group)
        if not home.is_dir():
            return
        for folder in home.iterdir():
            if folder.name not in wanted and _said_in(folder, "group") == group:
                self._remove(folder)


def wrong_folders(blobs: BlobStore, home: Path, entries: Iterable[TreeEntry]) -> list[str]:
    """Folders in that of a group that are there, and are not what they should be by `entries`."""
    found = []
    for entry in entries:
        folder, manifest = home / checked(entry.folder), entry.manifest
        if manifest is None or not os.path.lexists(folder) or not _has_all(blobs, manifest):
            continue
        if not any(_is_right(blobs, folder, manifest, layout) for layout in layouts(manifest)):
            found.append(str(folder))
    return found


def find_group_folder(root: Path, group: GroupId) -> Path:
    """The folder of a group whose name is not known; one that does not exist where there is none."""
    return next(root.glob(f"*-{group.hex()[:SHORT_DIGITS]}"), root / group.hex())


def _has_all(blobs: BlobStore, manifest: Manifest) -> bool:
    return all(blobs.has(file.blob) for file in stored_files(manifest).values())


def _is_right(blobs: BlobStore, folder: Path, manifest: Manifest, layout: Layout) -> bool:
    try:
        if folder.is_symlink() or {path.name for path in folder.iterdir()} != layout.names:
            return False
        for name in layout.names - layout.stored.keys():
            if (folder / name).is_symlink() or not is_as_written(manifest, name, (folder / name).read_bytes()):
                return False
        return all(_is_same(folder / name, blobs.path(file.blob), file.size) for name, file in layout.stored.items())
    except OSError:
        return False


def _is_same(path: Path, blob: Path, size: int) -> bool:
    """True if `path` is a link to `blob`, or a copy as far as can be seen without reading it."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return path.resolve() == blob.resolve()
    original = blob.stat()
    if (status.st_dev, status.st_ino) == (original.st_dev, original.st_ino):
        return True
    return stat.S_ISREG(status.st_mode) and status.st_size == size and status.st_mtime_ns == original.st_mtime_ns


def _reflink(blob: Path, path: Path) -> bool:
    try:
        with blob.open("rb") as source, path.open("xb") as target:
            is_shared = clone(source.fileno(), target.fileno())
        if is_shared:
            status = blob.stat()
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
            path.chmod(FILE_MODE)
    except OSError:
        is_shared = False
    if not is_shared:
        path.unlink(missing_ok=True)
    return is_shared


def _write(path: Path, data: bytes) -> None:
    write_new(path, data)
    path.chmod(FILE_MODE)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _said_in(folder: Path, field: str) -> object:
    """What the manifest in `folder` says, None if there is none."""
    try:
        path = folder / MANIFEST_CBOR
        if folder.is_symlink() or path.stat().st_size > MANIFEST_BYTES_MAX:
            return None
        return decode_map(path.read_bytes()).get(field)
    except (OSError, NotCanonicalError):
        return None
