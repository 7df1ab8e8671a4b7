"""A second `ByteStore`, in memory: what its contract asks for, written without a look at the one on disk."""

import hashlib
from collections.abc import AsyncIterable

from blake3 import blake3

from peer.core.byte_store import BlobFacts, Usage
from peer.core.identity import BlobId
from peer.errors import DiskFullError, RequestError

PIECE_SIZE = 1024 * 1024
"""Of everything below 2 GiB."""


class MemoryByteStore:
    """Keeps bytes as long as it lives. `room` is how many in sum."""

    def __init__(self, room: int = 2**30) -> None:
        self._room = room
        self._kept: dict[BlobId, bytes] = {}

    async def put_stream(self, parts: AsyncIterable[bytes], size: int) -> BlobFacts:
        if size + sum(map(len, self._kept.values())) > self._room:
            raise DiskFullError(f"{size} bytes do not fit")
        data = bytearray()
        async for part in parts:
            data += part
            if len(data) > size:
                break
        if len(data) != size:
            raise RequestError(f"not the {size} bytes that were announced")
        pieces = b"".join(blake3(data[start : start + PIECE_SIZE]).digest() for start in range(0, size, PIECE_SIZE))
        return BlobFacts(self._keep(bytes(data)), hashlib.sha256(data).digest(), size, PIECE_SIZE, self._keep(pieces))

    def _keep(self, data: bytes) -> BlobId:
        blob = BlobId(blake3(data).digest())
        self._kept[blob] = data
        return blob

    async def read(self, blob: BlobId, start: int, size: int) -> bytes | None:
        data = self._kept.get(blob)
        return None if data is None or blake3(data).digest() != blob else data[start : start + size]

    def has(self, blob: BlobId) -> bool:
        return blob in self._kept and blake3(self._kept[blob]).digest() == blob

    async def remove(self, blob: BlobId) -> None:
        self._kept.pop(blob, None)

    async def usage(self) -> Usage:
        return Usage(len(self._kept), sum(map(len, self._kept.values())))

    def spoil(self, blob: BlobId) -> None:
        """Let one of its bytes be another one."""
        self._kept[blob] = bytes([self._kept[blob][0] ^ 1]) + self._kept[blob][1:]
