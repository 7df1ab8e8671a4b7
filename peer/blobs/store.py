"""The bytes of recordings on the disk: `blobs/ab/cd/<blake3>`, mode 0444.

A file has its name only after all its bytes were hashed and are on the disk. So what has a name is whole, and what lies in `blobs/incoming` is
nobody's until it is finished or swept away.
"""

import os
import secrets
import threading
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from peer.blobs.digest import BUFFER_SIZE, Digests, StoppedError, digest_bytes, fill
from peer.blobs.disk import BLOB_MODE, disk_errors, make_folders
from peer.blobs.ingest import INGEST_SUFFIX, take_file
from peer.blobs.threads import in_thread
from peer.core.hashing import HASH_SIZE, hash_bytes, new_blake3
from peer.core.identity import BlobId, GroupId
from peer.core.interfaces import BlobFacts
from peer.durable import sync_folder
from peer.errors import RequestError
from peer.failpoints import failpoint

THREADS_MAX = 4
"""Files that are hashed, copied or received at once."""

READERS_MAX = 2
"""Parts that are read at once, beside these: who waits for one does not wait for whole files."""

INCOMING = "incoming"
CAME = "came"
"""Below it an empty file for each blob that members of a group gave, in a folder for each group."""

PARTIAL_SUFFIX = ".partial"
_HEX_DIGITS = frozenset("0123456789abcdef")


class BlobCheck(NamedTuple):
    """What verification says of one blob."""

    blob: BlobId | None
    """None for a file that has no business where it is."""
    path: Path
    code: str
    """Empty if all is well, else `blob_corrupt`, `blob_missing`, `blob_unreadable` or `blob_misplaced`."""


class FileBlobStore:
    """A `BlobStore` in a folder."""

    def __init__(self, folder: Path, *, free_floor: int = 0) -> None:
        """`folder` is `blobs` of the data directory; `free_floor` bytes of its disk are never used for blobs."""
        self.folder = folder
        self.free_floor = free_floor
        self.incoming = folder / INCOMING
        self.added = 0
        self.removed = 0
        self._damaged = set[BlobId]()
        self.threads = ThreadPoolExecutor(THREADS_MAX, "blobs")
        self._readers = ThreadPoolExecutor(READERS_MAX, "parts of blobs")
        with disk_errors("blobs"):
            self.incoming.mkdir(parents=True, exist_ok=True)
            sync_folder(folder)

    def close(self) -> None:
        """Let the threads end. Nothing may be called afterwards."""
        self.threads.shutdown()
        self._readers.shutdown()

    def path(self, blob: BlobId) -> Path:
        """Where the bytes are, or would be."""
        name = blob.hex()
        return self.folder / name[:2] / name[2:4] / name

    def partial(self, blob: BlobId) -> Path:
        """Where the bytes are gathered while they arrive from elsewhere."""
        return self.incoming / f"{blob.hex()}{PARTIAL_SUFFIX}"

    def has(self, blob: BlobId) -> bool:
        """True if all bytes are here."""
        return self.path(blob).exists()

    def is_damaged(self, blob: BlobId) -> bool:
        """True if its bytes were others when they were last verified, since this started."""
        return blob in self._damaged

    def came(self, group: GroupId, blob: BlobId) -> bool:
        """True if members of `group` gave these bytes to this site."""
        return self._mark(group, blob).exists()

    def note_came(self, group: GroupId, *blobs: BlobId) -> None:
        """Members of `group` gave these: remember it, durably. For threads."""
        with disk_errors("what came in a group"):
            marks = [self._mark(group, blob) for blob in blobs]
            make_folders(marks[0].parent, self.folder)
            for mark in marks:
                mark.touch()
            sync_folder(marks[0].parent)

    def _mark(self, group: GroupId, blob: BlobId) -> Path:
        return self.folder / CAME / group.hex() / blob.hex()

    async def read(self, blob: BlobId, start: int, size: int) -> bytes | None:
        """That part of a blob, shorter at its end; None if it is not here."""
        return await in_thread(self._readers, lambda _: _read_part(self.path(blob), start, size))

    async def ingest(self, path: Path, *, take: str) -> BlobFacts:
        """Hash and store a file; `take` is `copy` (a reflink where possible), `link` or `move`. Durable when it returns.

        Raises `FileUnreadableError`, `RequestError` for a file that changes meanwhile or cannot be linked, `DiskFullError`.
        """
        return await in_thread(self.threads, lambda stop: self._ingest(path, take, stop))

    async def ingest_bytes(self, data: bytes) -> BlobFacts:
        """Store a small blob. Durable when it returns."""
        return await in_thread(self.threads, lambda _: self._ingest_bytes(data))

    async def remove(self, blob: BlobId) -> None:
        """Forget the bytes, if they are here."""
        await in_thread(self.threads, lambda _: self._remove(blob))

    @property
    def has_leftovers(self) -> bool:
        """True if something in `incoming` was begun and not ended."""
        return any(self.incoming.iterdir())

    async def sweep(self, wanted: Collection[BlobId] = ()) -> int:
        """Delete what a crash left in `incoming`, except downloads of `wanted` blobs, which go on. Returns how many files went.

        To be called at the start, before anything else.
        """
        return await in_thread(self.threads, lambda _: self._sweep({self.partial(blob).name for blob in wanted}))

    async def verify(self, expected: Iterable[BlobId] = ()) -> AsyncGenerator[BlobCheck, None]:
        """Hash everything again and tell of each blob how it is; of `expected` ones also if they are missing. Changes nothing."""
        for group in await in_thread(self.threads, lambda _: sorted(self.folder.iterdir())):
            if group.name in (INCOMING, CAME):
                continue
            for path in await in_thread(self.threads, lambda _, group=group: list(_files_below(group))):  # type: ignore[misc]
                yield await in_thread(self.threads, lambda stop, path=path: self._check(path, stop))  # type: ignore[misc]
        for blob in expected:
            if not self.has(blob):
                yield BlobCheck(blob, self.path(blob), "blob_missing")

    def adopt(self, blob: BlobId, aside: Path, points: str) -> None:
        """Give a file of `incoming`, whose bytes are synced and proven to be those of `blob`, its name. For threads.

        `points` is the first half of the names of the failpoints that are passed.
        """
        final = self.path(blob)
        with disk_errors(f"blob {blob.hex()}"):
            make_folders(final.parent, self.folder)
            failpoint(f"{points}.before_rename")
            aside.replace(final)
            self.added += 1
            failpoint(f"{points}.after_rename")
            sync_folder(final.parent)
            # Renaming one name of a file to another name of the same file does nothing at all.
            aside.unlink(missing_ok=True)

    def put(self, data: bytes) -> BlobId:
        """Store bytes that are in memory, without a piece list. For threads."""
        blob = BlobId(hash_bytes(data))
        if self.has(blob):
            return blob
        aside = self.incoming / f"{secrets.token_hex(16)}{INGEST_SUFFIX}"
        try:
            with disk_errors(f"blob {blob.hex()}"):
                _write_file(aside, data)
            self.adopt(blob, aside, "blob")
        finally:
            aside.unlink(missing_ok=True)
        return blob

    def _ingest(self, path: Path, take: str, stop: threading.Event) -> BlobFacts:
        taken = take_file(path, take, self.incoming, self.free_floor, stop)
        try:
            failpoint("blob.after_hash")
            facts = self._facts(taken.digests)
            if not self.has(facts.blob):
                with disk_errors(path.name):
                    taken.aside.chmod(BLOB_MODE)
                self.adopt(facts.blob, taken.aside, "blob")
        finally:
            taken.aside.unlink(missing_ok=True)
        if take == "move" and path.resolve() != self.path(facts.blob).resolve():
            self._forget_source(path)
        return facts

    def _ingest_bytes(self, data: bytes) -> BlobFacts:
        digests = digest_bytes(data)
        failpoint("blob.after_hash")
        facts = self._facts(digests)
        self.put(data)
        return facts

    def _facts(self, digests: Digests) -> BlobFacts:
        """Stores the piece list first: who has the blob can serve both."""
        pieces = self.put(digests.piece_list)
        return BlobFacts(BlobId(digests.blake3), digests.sha256, digests.layout.size, digests.layout.piece_size, pieces)

    def _forget_source(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise RequestError(f"{path} is stored now but cannot be removed: {error.strerror}", fix="remove it by hand") from error

    def _remove(self, blob: BlobId) -> None:
        path = self.path(blob)
        with disk_errors(f"blob {blob.hex()}"):
            if path.exists():
                path.unlink()
                self._damaged.discard(blob)
                self.removed += 1
                sync_folder(path.parent)

    def _sweep(self, kept: set[str]) -> int:
        count = 0
        with disk_errors("blobs"):
            for path in self.incoming.iterdir():
                if path.name not in kept:
                    path.unlink()
                    count += 1
        return count

    def _check(self, path: Path, stop: threading.Event) -> BlobCheck:
        blob = _blob_of(path.name)
        if blob is None or self.path(blob) != path:
            return BlobCheck(None, path, "blob_misplaced")
        try:
            found = _hash_file(path, stop)
        except OSError:
            return BlobCheck(blob, path, "blob_unreadable")
        if (found != blob) != self.is_damaged(blob):
            (self._damaged.discard if found == blob else self._damaged.add)(blob)
            self.removed += 1  # What is remembered of it holds no more.
        return BlobCheck(blob, path, "" if found == blob else "blob_corrupt")


def _blob_of(name: str) -> BlobId | None:
    return BlobId(bytes.fromhex(name)) if len(name) == 2 * HASH_SIZE and _HEX_DIGITS.issuperset(name) else None


def _files_below(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        yield folder
        return
    for path in sorted(folder.iterdir()):
        yield from _files_below(path) if path.is_dir() else (path,)


def _hash_file(path: Path, stop: threading.Event) -> bytes:
    hasher, buffer = new_blake3(), memoryview(bytearray(BUFFER_SIZE))
    with path.open("rb", buffering=0) as file:
        while filled := fill(lambda view: file.readinto(view) or 0, buffer):
            if stop.is_set():
                raise StoppedError
            hasher.update(buffer[:filled])
    return hasher.digest()


def _write_file(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fchmod(file.fileno(), BLOB_MODE)
        os.fsync(file.fileno())


def _read_part(path: Path, start: int, size: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            if start >= os.fstat(file.fileno()).st_size:
                return b""  # Others choose the number: it may be one that no file can be as long as.
            file.seek(start)
            return file.read(size)
    except FileNotFoundError:
        return None
