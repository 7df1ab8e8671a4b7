"""Bytes that pass through a peer between two others which cannot reach one another: what the parts of a peer ask of whoever brings them."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from peer.core.identity import BlobId, GroupId
from peer.core.interfaces import WantedBlob


class WantedPart(NamedTuple):
    """A part of a blob that is asked for within a group."""

    group: GroupId
    blob: BlobId
    start: int
    size: int
    relay: bool
    """True if others may be asked for what is not here."""


class GroupFiles(Protocol):
    """What a group knows about bytes, by its own events."""

    async def files_with(self, group: GroupId, blob: BlobId) -> Sequence[WantedBlob]:
        """The files of its recordings that have these bytes, or this piece list; few where many claim to."""
        ...


class BlobRelay(Protocol):
    """Gives members of a group bytes that this site does not keep. Access is for whoever calls."""

    async def size(self, group: GroupId, blob: BlobId) -> int | None:
        """Bytes of a blob of the group, None if it has no such blob."""
        ...

    async def read(self, part: WantedPart) -> bytes | None:
        """That part, verified, shorter at the end of the blob; None if it is not to be had now."""
        ...
