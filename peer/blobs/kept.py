"""Pieces that are here already, since somebody read them or they passed through: a fetch takes them before it asks anybody."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

from peer.blobs.buffers import PieceBuffers
from peer.blobs.partial import PartialFile
from peer.blobs.plan import FetchPlan
from peer.core.identity import GroupId
from peer.threads import in_thread


class KeptPieces(Protocol):
    """Pieces that are here for another reason: somebody read them, or they passed through."""

    def has(self, group: GroupId, piece: bytes, /) -> bool:
        """True if there is one with this hash that came in `group`."""
        ...

    def get(self, group: GroupId, piece: bytes, /) -> bytes | None:
        """Its bytes. For threads."""
        ...


async def take_kept(kept: KeptPieces, group: GroupId, hashes: Sequence[bytes], into: tuple[PartialFile, FetchPlan], buffers: PieceBuffers) -> None:
    """Put what there is of the missing pieces of a file where it belongs. It is verified as if it came from elsewhere."""
    file, plan = into
    for piece in plan.missing():
        if not kept.has(group, hashes[piece]):
            continue
        buffer = buffers.take(plan.size_of(piece))
        try:
            taken = await in_thread(file.threads, lambda _, piece=piece, buffer=buffer: _take(kept, group, hashes[piece], (file, piece, buffer)))  # type: ignore[misc]
            if taken is not None:
                await asyncio.wrap_future(taken)
                plan.verified(piece)
        finally:
            buffers.give_back(buffer)


def _take(kept: KeptPieces, group: GroupId, wanted: bytes, where: tuple[PartialFile, int, memoryview]) -> "Future[None] | None":
    file, piece, buffer = where
    data = kept.get(group, wanted)
    if data is None or len(data) != len(buffer):
        return None
    buffer[:] = data
    return file.take(piece, buffer)
