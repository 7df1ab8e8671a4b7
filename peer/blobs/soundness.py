"""Whether files still hold what was verified. They are looked at, not read: one that is as it was when its bytes were hashed is taken for sound.

The time of change tells of whoever writes and sets the time of modification back. It tells of another name of the file as well, and then the bytes
are hashed once for nothing. File systems count time in steps of some milliseconds: what is changed in the very step in which it was verified does not
show. What no look can show either, bits that the disk itself lost, is found by hashing all: `verify --deep`, or somebody who
was given such bytes and says so.
"""

import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from peer.blobs.digest import BUFFER_SIZE, StoppedError, fill
from peer.core.byte_store import FileNote
from peer.core.hashing import new_blake3
from peer.core.identity import BlobId
from peer.errors import BytesDamagedError, MeshError

REMEMBERED_MAX = 4096
"""Blobs whose note is kept in memory."""

LOST = (errno.EIO, errno.EBADMSG, errno.EUCLEAN)
"""What a disk says of bytes that it cannot give back any more."""

NOT_TO_BE_READ = (errno.ENOENT, *LOST)


class Ledger(Protocol):
    """Keeps notes. What it loses is found out anew."""

    def get(self, blob: BlobId) -> FileNote | None:
        """What is noted of a blob."""
        ...

    def note(self, blob: BlobId, note: FileNote) -> None:
        """Its file is as `note` says."""
        ...

    def forget(self, blob: BlobId) -> None:
        """It is not meant to be here any more."""
        ...

    def is_forgotten(self, blob: BlobId) -> bool:
        """True if it was here, and is not meant to be any more."""
        ...

    def begin(self, blob: BlobId) -> None:
        """Something of it lies aside from now on."""
        ...

    def end(self, blob: BlobId) -> None:
        """Nothing lies aside any more, or is meant to."""
        ...

    def begun(self) -> Iterable[BlobId]:
        """Of which something ought to lie aside."""
        ...

    def damaged(self) -> Iterable[BlobId]:
        """Those whose bytes were others when they were hashed last."""
        ...

    def blobs(self) -> Iterator[BlobId]:
        """All that ought to be here."""
        ...


class NoLedger:
    """A `Ledger` that keeps nothing."""

    def get(self, _blob: BlobId) -> None:
        """Nothing is known."""

    def note(self, _blob: BlobId, _note: FileNote) -> None:
        """Nothing is kept."""

    def forget(self, _blob: BlobId) -> None:
        """Nothing was kept."""

    def is_forgotten(self, _blob: BlobId) -> bool:
        """Nothing is known."""
        return False

    def begin(self, _blob: BlobId) -> None:
        """Nothing is kept."""

    def end(self, _blob: BlobId) -> None:
        """Nothing was kept."""

    def begun(self) -> tuple[BlobId, ...]:
        """Nothing is known."""
        return ()

    def damaged(self) -> tuple[BlobId, ...]:
        """Nothing is known."""
        return ()

    def blobs(self) -> Iterator[BlobId]:
        """Nothing is known."""
        return iter(())


class Soundness:
    """What is known of the files of a store. For threads, and for the event loop where nothing else is said."""

    def __init__(self, ledger: Ledger, path_of: Callable[[BlobId], Path]) -> None:
        """Knows what `ledger` does, as far as the files are still those that it tells of."""
        self.ledger = ledger
        self._doubted = set[BlobId]()
        self._notes: OrderedDict[BlobId, FileNote] = OrderedDict()
        self._turn = threading.Lock()
        self.damaged = {blob for blob in ledger.damaged() if self._is_as_noted(blob, path_of(blob))}
        """May be looked at by all."""

    def _is_as_noted(self, blob: BlobId, path: Path) -> bool:
        try:
            return self.glance(blob, path.stat()) is False
        except OSError:
            return False

    @property
    def problem(self) -> MeshError | None:
        """What an operator is to be told."""
        if not self.damaged:
            return None
        fix = "`recmesh recording reconcile --restore` brings them from other sites; look at the disk"
        return BytesDamagedError(f"{len(self.damaged)} files of recordings are damaged here, and given to nobody", fix=fix)

    def glance(self, blob: BlobId, state: os.stat_result) -> bool | None:
        """What a look at its file tells: True if it is as it was, and was sound; False if it was not; None if it has to be hashed.

        Reads the ledger where nothing is in memory.
        """
        with self._turn:
            note = self._notes.get(blob)
        if blob in self._doubted:
            return None
        if note is None:
            note = self.ledger.get(blob)
            if note is not None:
                self._remember(blob, note)
        return note.is_sound if note is not None and _seen(state, is_sound=note.is_sound) == note else None

    def note(self, blob: BlobId, state: os.stat_result, *, is_sound: bool) -> None:
        """Its bytes were hashed while its file was in `state`."""
        note = _seen(state, is_sound=is_sound)
        self._remember(blob, note)
        self._doubted.discard(blob)
        self.ledger.note(blob, note)
        (self.damaged.discard if is_sound else self.damaged.add)(blob)

    def forget(self, blob: BlobId) -> None:
        """It is here no more, and nobody is to miss it."""
        with self._turn:
            self._notes.pop(blob, None)
        self.ledger.forget(blob)
        self.damaged.discard(blob)
        self._doubted.discard(blob)

    def doubt(self, blob: BlobId) -> None:
        """Whatever was noted, let it be hashed before anybody gets more of it."""
        self._doubted.add(blob)

    def _remember(self, blob: BlobId, note: FileNote) -> None:
        with self._turn:
            self._notes[blob] = note
            self._notes.move_to_end(blob)
            while len(self._notes) > REMEMBERED_MAX:
                self._notes.popitem(last=False)


def hash_file(path: Path, stop: threading.Event) -> tuple[bytes, os.stat_result | None]:
    """BLAKE3 of a file, and how it was meanwhile; None if it was changed while it was read. Raises `OSError` or `StoppedError`.

    An empty hash where the disk has lost some of it.
    """
    hasher, buffer = new_blake3(), memoryview(bytearray(BUFFER_SIZE))
    with path.open("rb", buffering=0) as file:
        before = os.fstat(file.fileno())
        try:
            while filled := fill(lambda view: file.readinto(view) or 0, buffer):
                if stop.is_set():
                    raise StoppedError
                hasher.update(buffer[:filled])
        except OSError as error:
            if error.errno not in LOST:
                raise
            return b"", before
        after = os.fstat(file.fileno())
    return hasher.digest(), after if _seen(before, is_sound=True) == _seen(after, is_sound=True) else None


def _seen(state: os.stat_result, *, is_sound: bool) -> FileNote:
    return FileNote(state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns, is_sound)
