"""Verified pieces of what passes through this site: a folder of bounded size, of which the least recently used go first.

A piece is kept under the group in which it came and its hash, and that is looked at again whenever it is read. So nothing needs to be synced: what a
crash or the disk has spoilt is as good as not there. Nothing here is a copy that anybody counts on.
"""

import contextlib
import os
import re
import threading
from collections import OrderedDict
from pathlib import Path

from peer.blobs.disk import disk_errors
from peer.blobs.plan import PIECE_SIZE_MAX
from peer.core.hashing import HASH_SIZE, hash_bytes
from peer.core.identity import GroupId
from peer.errors import DiskFullError
from peer.failpoints import failpoint

ENTRIES_MAX = 32_768
"""Pieces that are remembered, however small they are."""

BLOCK_SIZE = 4096
"""Files take whole blocks, and one more is counted for each: its name, and what a file system notes of where it lies."""

PARTIAL_SUFFIX = ".partial"
_NAME = re.compile(r"([0-9a-f]{64})-([0-9a-f]{64})\Z")


def cost_of(size: int) -> int:
    """What a piece of so many bytes takes of the disk, at most."""
    return (-(-size // BLOCK_SIZE) + 1) * BLOCK_SIZE


class PieceCache:
    """The folder. For threads; `used` may be looked at by all."""

    def __init__(self, folder: Path, limit: int, *, free_floor: int = 0) -> None:
        """Take up what an earlier process left, as far as `limit` bytes go. `free_floor` bytes of the disk are never used. Raises `StoreError`."""
        self.limit = limit
        self.used = 0
        """Bytes of the disk, never more than `limit`, not even while a piece is written."""
        self._folder = folder
        self._free_floor = free_floor
        self._turn = threading.Lock()
        self._costs: OrderedDict[bytes, int] = OrderedDict()
        """By group and hash, the least recently used first; after a start, the oldest."""
        with disk_errors("the cache"):
            folder.mkdir(exist_ok=True)
            self._take_up()
            self._make_room(0)

    def get(self, group: GroupId, piece: bytes) -> bytes | None:
        """The bytes with this hash that came in `group`. What is not whole any more is thrown away."""
        with self._turn:
            return self._get(group + piece, piece)

    def _get(self, key: bytes, piece: bytes) -> bytes | None:
        if key not in self._costs:
            return None
        try:
            with self._path(key).open("rb") as file:
                data = file.read(PIECE_SIZE_MAX + 1)
        except OSError:
            data = b""
        if hash_bytes(data) != piece:
            with contextlib.suppress(OSError):
                self._drop(key)
            return None
        self._costs.move_to_end(key)
        return data

    def has(self, group: GroupId, piece: bytes) -> bool:
        """True if something is kept under that name; what it is worth shows when it is read."""
        return group + piece in self._costs

    def put(self, group: GroupId, piece: bytes, data: bytes) -> None:
        """Keep `data`, whose hash was found to be `piece`, if there is room for as much; others make way before it is written.

        Raises `DiskFullError` where the disk itself has no room, or `StoreError`.
        """
        with self._turn:
            self._put(group + piece, data)

    def _put(self, key: bytes, data: bytes) -> None:
        cost = cost_of(len(data))
        if key in self._costs or cost > self.limit:
            return
        with disk_errors("a piece that passes through"):
            self._folder.mkdir(exist_ok=True)
            self._make_room(cost)
            self._give_way(cost)
            self._costs[key] = cost
            self.used += cost
            try:
                self._write(self._path(key), data)
            except OSError:
                self._drop(key)
                raise

    def _take_up(self) -> None:
        found = []
        for path in self._folder.iterdir():
            match = _NAME.match(path.name)
            if match is not None:
                state = path.stat()
                found.append((state.st_mtime_ns, bytes.fromhex(match[1] + match[2]), max(cost_of(state.st_size), state.st_blocks * 512)))
            elif path.name.endswith(PARTIAL_SUFFIX):
                path.unlink()
        for _, key, cost in sorted(found):
            self._costs[key] = cost
            self.used += cost

    def _make_room(self, cost: int) -> None:
        """Let the least recently used go until `cost` more bytes are allowed."""
        while self._costs and (self.used + cost > self.limit or len(self._costs) >= ENTRIES_MAX):
            self._drop(next(iter(self._costs)))

    def _give_way(self, cost: int) -> None:
        """Let some go where the disk has too little room for `cost` more bytes; what is kept for good comes first."""
        while self._free() < cost + self._free_floor:
            if not self._costs:
                raise DiskFullError("the disk has no room for what passes through", fix="free some space, or set `cache_bytes` to 0")
            self._drop(next(iter(self._costs)))

    def _free(self) -> int:
        state = os.statvfs(self._folder)
        return state.f_bavail * state.f_frsize

    def _write(self, path: Path, data: bytes) -> None:
        aside = path.with_name(path.name + PARTIAL_SUFFIX)
        try:
            with aside.open("wb") as file:
                file.write(data)
            failpoint("cache.before_rename")
            aside.replace(path)
        except OSError:
            aside.unlink(missing_ok=True)
            raise

    def _drop(self, key: bytes) -> None:
        self._path(key).unlink(missing_ok=True)
        self.used -= self._costs.pop(key)

    def _path(self, key: bytes) -> Path:
        return self._folder / f"{key[:HASH_SIZE].hex()}-{key[HASH_SIZE:].hex()}"
