"""The bytes of recordings on the disk: `blobs/ab/cd/<blake3>`, mode 0444.

A file has its name only after all its bytes were hashed and are on the disk. So what has a name was whole, and what lies in `blobs/incoming` is
nobody's until it is finished or swept away. What is found to be damaged later keeps its name and is not here for anybody until the right bytes take
its place; then it lies in `blobs/damaged`, for people to look at.
"""

import asyncio
import os
import secrets
import threading
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from peer.blobs.digest import Digests
from peer.blobs.disk import BLOB_MODE, Floor, disk_errors, make_folders
from peer.blobs.files import blob_of, copy_if_new, files_below, keep_aside, usage_of, write_file
from peer.blobs.ingest import INGEST_SUFFIX, take_file
from peer.blobs.pins import Pins
from peer.blobs.soundness import NOT_TO_BE_READ, Ledger, NoLedger, Soundness, hash_file
from peer.blobs.space import Space
from peer.blobs.streaming import StreamTaker
from peer.core.byte_store import BlobFacts, Usage
from peer.core.hashing import hash_bytes
from peer.core.identity import BlobId, GroupId
from peer.durable import sync_folder
from peer.errors import RequestError
from peer.failpoints import failpoint
from peer.threads import in_thread

THREADS_MAX = 4
"""Files that are hashed, copied or received at once."""

READERS_MAX = 2
"""Parts that are read at once, beside these: who waits for one does not wait for whole files."""

INCOMING = "incoming"
CAME = "came"
"""Below it an empty file for each blob that members of a group gave, in a folder for each group."""

DAMAGED = "damaged"
"""Below it the files of blobs whose place the right bytes took. Nobody reads them but people."""

BESIDE = (INCOMING, CAME, DAMAGED)
"""Folders that hold no blobs under their names."""

CHECK_WAIT_S = 10.0
"""How long who asks for a blob waits until it is hashed again. The check goes on: who asks later is told at once."""

PARTIAL_SUFFIX = ".partial"


class BlobCheck(NamedTuple):
    """What verification says of one blob."""

    blob: BlobId | None
    """None for a file that has no business where it is."""
    path: Path
    code: str
    """Empty if all is well, else `blob_corrupt`, `blob_missing`, `blob_unreadable`, `blob_misplaced` or `blob_unfinished`."""


class FileBlobStore:
    """A `BlobStore` in a folder."""

    def __init__(self, folder: Path, ledger: Ledger | None = None, *, free_floor: int = 0, quota: int = 0) -> None:
        """`folder` is `blobs` of the data directory; `ledger` keeps how its files were when they were verified.

        `free_floor` bytes of its disk are never used for blobs, nor more than `quota` for them, if that is not 0.
        """
        self.folder = folder
        self.space = Space(free_floor, quota)
        self.incoming = folder / INCOMING
        self.added = 0
        self.removed = 0
        self.found_damaged: Callable[[BlobId], None] = lambda _blob: None
        """Called in the event loop, once for each blob that turns out to be damaged while somebody wants it."""
        self.soundness = Soundness(ledger or NoLedger(), self.path)
        self._pins = Pins()
        self._checks: dict[BlobId, asyncio.Task[bool]] = {}
        self.threads = ThreadPoolExecutor(THREADS_MAX, "blobs")
        self._readers = ThreadPoolExecutor(READERS_MAX, "parts of blobs")
        with disk_errors("blobs"):
            self.incoming.mkdir(parents=True, exist_ok=True)
            sync_folder(folder)

    def close(self) -> None:
        """Let the threads end. Nothing may be called afterwards."""
        self.threads.shutdown()
        self._readers.shutdown()

    @property
    def free_floor(self) -> Floor:
        """What of the disk may not be used now. For threads."""
        return self.space.floor_of(self.folder)

    def path(self, blob: BlobId) -> Path:
        """Where the bytes are, or would be."""
        name = blob.hex()
        return self.folder / name[:2] / name[2:4] / name

    def partial(self, blob: BlobId) -> Path:
        """Where the bytes are gathered while they arrive from elsewhere."""
        return self.incoming / f"{blob.hex()}{PARTIAL_SUFFIX}"

    def begin(self, blob: BlobId) -> Path:
        """Where its bytes are gathered from now on, beginning with those of a damaged one. `verify` misses what is lost of them. For threads."""
        self.soundness.ledger.begin(blob)
        if self.is_damaged(blob):
            copy_if_new(self.path(blob), self.partial(blob), self.free_floor)
        return self.partial(blob)

    def discard(self, blob: BlobId) -> None:
        """Forget what came so far of a blob. For threads."""
        with disk_errors(f"blob {blob.hex()}"):
            self.partial(blob).unlink(missing_ok=True)
            self.soundness.ledger.end(blob)

    def has(self, blob: BlobId) -> bool:
        """True if all bytes are here, and not known to be damaged."""
        return blob not in self.soundness.damaged and self.path(blob).exists()

    def is_damaged(self, blob: BlobId) -> bool:
        """True if there is a file with its name whose bytes were others when they were last looked at."""
        return blob in self.soundness.damaged and self.path(blob).exists()

    async def is_sound(self, blob: BlobId) -> bool:
        """True if its bytes may be given: a file that is not as it was when it was verified is hashed again before this says so.

        Where that takes long the answer is no, until it is done.
        """
        known = await in_thread(self._readers, lambda _: self._glance(blob))
        return known if known is not None else await self._check_within(blob)

    async def check(self, blob: BlobId) -> bool:
        """Hash it again, whatever is known of it. Nobody gets any of it meanwhile. True if it is sound."""
        if not self.path(blob).exists():
            return False
        self.soundness.doubt(blob)
        return await self._check_within(blob, None)

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
        """That part of a blob, shorter at its end; None if it is not here, or not sound any more."""
        data = await in_thread(self._readers, lambda _: self._read_part(blob, start, size))
        if data is None and self.has(blob) and await self._check_within(blob):
            data = await in_thread(self._readers, lambda _: self._read_part(blob, start, size))
        return data

    async def put_stream(self, parts: AsyncIterable[bytes], size: int) -> BlobFacts:
        """Keep what comes, `size` bytes in parts of any size, and its piece list. Durable when it returns.

        Raises `RequestError` if it is not as much, `DiskFullError` if there is no room; then nothing is kept.
        """
        aside = self.incoming / f"{secrets.token_hex(16)}{INGEST_SUFFIX}"
        taker = await in_thread(self.threads, lambda _: StreamTaker(aside, size, self.free_floor))
        try:
            async for part in parts:
                await in_thread(self.threads, lambda _, part=part: taker.take(part))  # type: ignore[misc]
            digests = await in_thread(self.threads, lambda _: taker.finish())
            return await in_thread(self.threads, lambda _: self._keep(digests, aside))
        finally:
            await in_thread(self.threads, lambda _: taker.close())

    async def ingest(self, path: Path, *, take: str) -> BlobFacts:
        """Hash and store a file; `take` is `copy` (a reflink where possible), `link` or `move`. Durable when it returns.

        Raises `FileUnreadableError`, `RequestError` for a file that changes meanwhile or cannot be linked, `DiskFullError`.
        """
        return await in_thread(self.threads, lambda stop: self._ingest(path, take, stop))

    async def ingest_bytes(self, data: bytes) -> BlobFacts:
        """Store a small blob. Durable when it returns."""
        return await self.put_stream(_in_one_part(data), len(data))

    async def remove(self, blob: BlobId) -> None:
        """Forget the bytes, if they are here."""
        await in_thread(self.threads, lambda _: self._remove(blob))

    async def collect(self, blob: BlobId) -> bool:
        """As `remove`, unless somebody added these bytes since the start: then they stay, and this says False."""
        return await in_thread(self.threads, lambda _: self._pins.unless_pinned(blob, self._remove))

    async def usage(self) -> Usage:
        """How much is kept."""
        return await in_thread(self.threads, lambda _: usage_of(path for path in self.folder.iterdir() if path.name not in BESIDE))

    def link(self, blob: BlobId, path: Path) -> None:
        """Give the file of a blob another name. For threads. Raises `OSError` where the file system cannot."""
        original = self.path(blob)
        known = self.soundness.glance(blob, original.stat())
        path.hardlink_to(original)
        if known:  # That changes the file only for those who ask when it was changed.
            self.soundness.note(blob, original.stat(), is_sound=True)

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
        """Hash everything again and tell of each blob how it is; of `expected` ones, and of those that were here, also if they are missing.

        Changes nothing but what is known of them.
        """
        for group in await in_thread(self.threads, lambda _: sorted(self.folder.iterdir())):
            if group.name in BESIDE:
                continue
            for path in await in_thread(self.threads, lambda _, group=group: list(files_below(group))):  # type: ignore[misc]
                yield await in_thread(self.threads, lambda stop, path=path: self._check(path, stop))  # type: ignore[misc]
        for blob in await in_thread(self.threads, lambda _: self.missing(expected)):
            yield BlobCheck(blob, self.path(blob), "blob_missing")
        for blob in await in_thread(self.threads, lambda _: self.unfinished()):
            yield BlobCheck(blob, self.partial(blob), "blob_unfinished")

    def was_removed(self, blob: BlobId) -> bool:
        """True if it was here and was removed on purpose."""
        return self.soundness.ledger.is_forgotten(blob)

    def missing(self, expected: Iterable[BlobId] = ()) -> list[BlobId]:
        """Which blobs were here, or are `expected`, and have no file though nobody removed them on purpose. For threads."""
        wanted = {*expected, *self.soundness.ledger.blobs()}
        return sorted(blob for blob in wanted if not self.path(blob).exists() and not self.was_removed(blob))

    def unfinished(self) -> list[BlobId]:
        """Which blobs were on their way, and what had come of them is gone. For threads."""
        begun = self.soundness.ledger.begun()
        return [blob for blob in begun if not self.partial(blob).exists() and not self.path(blob).exists()]

    def adopt(self, blob: BlobId, aside: Path, points: str) -> None:
        """Give a file of `incoming`, whose bytes are synced and proven to be those of `blob`, its name. For threads.

        `points` is the first half of the names of the failpoints that are passed.
        """
        final = self.path(blob)
        with disk_errors(f"blob {blob.hex()}"):
            make_folders(final.parent, self.folder)
            if self.is_damaged(blob):
                make_folders(self.folder / DAMAGED, self.folder)
                keep_aside(final, self.folder / DAMAGED)
            failpoint(f"{points}.before_rename")
            aside.replace(final)
            failpoint(f"{points}.after_rename")
            sync_folder(final.parent)
            # Renaming one name of a file to another name of the same file does nothing at all.
            aside.unlink(missing_ok=True)
            self.soundness.note(blob, final.stat(), is_sound=True)
            self.soundness.ledger.end(blob)
            self.added += 1

    def put(self, data: bytes) -> BlobId:
        """Store bytes that are in memory, without a piece list. For threads."""
        blob = BlobId(hash_bytes(data))
        self._pins.add(blob)
        if self.has(blob):
            return blob
        aside = self.incoming / f"{secrets.token_hex(16)}{INGEST_SUFFIX}"
        try:
            with disk_errors(f"blob {blob.hex()}"):
                write_file(aside, data)
            self.adopt(blob, aside, "blob")
        finally:
            aside.unlink(missing_ok=True)
        return blob

    def _ingest(self, path: Path, take: str, stop: threading.Event) -> BlobFacts:
        taken = take_file(path, take, self.incoming, self.free_floor, stop)
        facts = self._keep(taken.digests, taken.aside)
        if take == "move" and path.resolve() != self.path(facts.blob).resolve():
            self._forget_source(path)
        return facts

    def _keep(self, digests: Digests, aside: Path) -> BlobFacts:
        """Give a file of `incoming` that was hashed its name, unless there is such a blob already."""
        try:
            failpoint("blob.after_hash")
            facts = self._facts(digests)
            self._pins.add(facts.blob)
            if not self.has(facts.blob) or self._glance(facts.blob) is not True:
                with disk_errors(f"blob {facts.blob.hex()}"):
                    aside.chmod(BLOB_MODE)
                self.adopt(facts.blob, aside, "blob")
        finally:
            aside.unlink(missing_ok=True)
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
            self.soundness.forget(blob)
            if path.exists():
                path.unlink()
                self.removed += 1
                sync_folder(path.parent)

    def _glance(self, blob: BlobId) -> bool | None:
        """What a look at its file tells: whether it is here and sound; None if it has to be hashed."""
        try:
            return self.soundness.glance(blob, self.path(blob).stat())
        except FileNotFoundError:
            return False

    def _read_part(self, blob: BlobId, start: int, size: int) -> bytes | None:
        """None if it is not here, or has to be hashed."""
        try:
            with self.path(blob).open("rb") as file:
                state = os.fstat(file.fileno())
                if not self.soundness.glance(blob, state):
                    return None
                if start >= state.st_size:
                    return b""  # Others choose the number: it may be one that no file can be as long as.
                file.seek(start)
                return file.read(size)
        except OSError as error:
            if error.errno not in NOT_TO_BE_READ:
                raise
            return None

    async def _check_within(self, blob: BlobId, wait_s: float | None = CHECK_WAIT_S) -> bool:
        """Whether it is sound, if that is known in time: one check of a blob at a time, however many ask."""
        check = self._checks.get(blob)
        if check is None:
            check = self._checks[blob] = asyncio.create_task(self._check_alone(blob))
            check.add_done_callback(lambda _: self._checks.pop(blob))
        await asyncio.wait([check], timeout=wait_s)
        return check.result() if check.done() and not check.cancelled() else False

    async def _check_alone(self, blob: BlobId) -> bool:
        was_damaged = self.is_damaged(blob)
        found = await in_thread(self.threads, lambda stop: self._check(self.path(blob), stop))
        if self.is_damaged(blob) and not was_damaged:
            self.found_damaged(blob)
        return not found.code

    def _sweep(self, kept: set[str]) -> int:
        count = 0
        with disk_errors("blobs"):
            for path in self.incoming.iterdir():
                if path.name not in kept:
                    path.unlink()
                    count += 1
            for blob in self.soundness.ledger.begun():
                if self.partial(blob).name not in kept:
                    self.soundness.ledger.end(blob)
        return count

    def _check(self, path: Path, stop: threading.Event) -> BlobCheck:
        blob = blob_of(path.name)
        if blob is None or self.path(blob) != path:
            return BlobCheck(None, path, "blob_misplaced")
        was_damaged = self.is_damaged(blob)
        try:
            found, state = hash_file(path, stop)
        except OSError as error:
            return BlobCheck(blob, path, "blob_missing" if isinstance(error, FileNotFoundError) else "blob_unreadable")
        if state is not None:
            self.soundness.note(blob, state, is_sound=found == blob)
        if was_damaged != self.is_damaged(blob):
            self.removed += 1  # What is remembered of it holds no more.
        return BlobCheck(blob, path, "" if found == blob else "blob_corrupt" if found else "blob_unreadable")


async def _in_one_part(data: bytes) -> AsyncIterator[bytes]:
    yield data
