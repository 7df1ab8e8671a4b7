"""Wishes as they are kept while they wait: packed, since there may be one for each of a hundred thousand files."""

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import WantedBlob
from peer.core.wishes import Why, Wish

_HEAD = struct.Struct(">IQBBB")
"""What it shares with others, its size, and how long its recording, its piece list and its checksum are."""


class _Shared(NamedTuple):
    """What many wishes have in common."""

    group: GroupId
    site: PeerId
    piece_size: int
    why: Why
    priority: int
    reason: str


class PackedWishes(Mapping[BlobId, Wish]):
    """One wish for each blob."""

    def __init__(self) -> None:
        """None."""
        self._packed: dict[BlobId, bytes] = {}
        self._numbers: dict[_Shared, int] = {}
        self._shared: list[_Shared] = []

    def __getitem__(self, blob: BlobId) -> Wish:
        """The wish for it."""
        packed = self._packed[blob]
        number, size, *lengths = _HEAD.unpack_from(packed)
        shared, parts, start = self._shared[number], list[bytes](), _HEAD.size
        for length in lengths:
            parts.append(packed[start : start + length])
            start += length
        recording, pieces, sha256 = parts
        file = WantedBlob(shared.group, EventId(recording), blob, size, shared.piece_size, BlobId(pieces), sha256, shared.site)
        return Wish(file, shared.why, shared.priority, shared.reason)

    def __iter__(self) -> Iterator[BlobId]:
        """Over the blobs, in the order of their first wishes."""
        return iter(self._packed)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._packed)

    def __contains__(self, blob: object) -> bool:
        """Whether there is one for it."""
        return blob in self._packed

    def put(self, wish: Wish) -> bool:
        """Keep it, instead of another one for the same blob. False if it was kept already."""
        file = wish.file
        shared = _Shared(file.group, file.site, file.piece_size, wish.why, wish.priority, wish.reason)
        number = self._numbers.setdefault(shared, len(self._shared))
        if number == len(self._shared):
            self._shared.append(shared)
        sizes = len(file.recording), len(file.pieces), len(file.sha256)
        packed = b"".join((_HEAD.pack(number, file.size, *sizes), file.recording, file.pieces, file.sha256))
        if self._packed.get(file.blob) == packed:
            return False
        self._packed[file.blob] = packed
        return True

    def size_of(self, blob: BlobId) -> int:
        """How many bytes its file has."""
        _, size, *_ = _HEAD.unpack_from(self._packed[blob])
        return int(size)

    def remove(self, blob: BlobId) -> None:
        """Keep none for it."""
        del self._packed[blob]
        if not self._packed:
            self._numbers.clear()
            self._shared.clear()
