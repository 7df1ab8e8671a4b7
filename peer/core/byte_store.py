"""Bytes by their hash, wherever they are kept: the least that something must do to be a place for blobs. Files are one such place."""

from collections.abc import AsyncIterable
from typing import NamedTuple, Protocol

from peer.core.identity import BlobId


class BlobFacts(NamedTuple):
    """What one pass over a file tells."""

    blob: BlobId
    """BLAKE3 of the whole."""
    sha256: bytes
    size: int
    piece_size: int
    """A power of two, 1 to 4 MiB."""
    pieces: BlobId
    """The id of the list of piece hashes, 32 bytes a piece, itself a blob."""


class Usage(NamedTuple):
    """What is kept in a place."""

    blobs: int
    """How many, piece lists among them."""
    bytes: int
    """What they have in sum, whatever the place adds to that."""


class FileNote(NamedTuple):
    """What the file of a blob was when its bytes were hashed, and whether they were those of its name."""

    inode: int
    size: int
    modified_ns: int
    changed_ns: int
    is_sound: bool


class ByteStore(Protocol):
    """A place for blobs. What has its name there was verified before it got it, and is never given once it is known to be something else."""

    async def put_stream(self, parts: AsyncIterable[bytes], size: int) -> BlobFacts:
        """Keep what comes, `size` bytes in parts of any size, and its piece list. Durable when it returns.

        Raises `RequestError` if it is not as much, `DiskFullError` if there is no room; then nothing is kept.
        """
        ...

    async def read(self, blob: BlobId, start: int, size: int) -> bytes | None:
        """That part of a blob, shorter at its end and empty beyond; None if it is not here, or not sound any more."""
        ...

    def has(self, blob: BlobId) -> bool:
        """True if all bytes are here, and not known to be damaged."""
        ...

    async def remove(self, blob: BlobId) -> None:
        """Forget the bytes, if they are here."""
        ...

    async def usage(self) -> Usage:
        """How much is kept."""
        ...
