"""Asking a site that says to have a file for one piece of it, chosen by chance: what it gives is what it has, as far as one piece tells.

The list of pieces comes from this site's own store, or else from the site that is asked, and counts once it has the hash that the event names.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Sequence

from peer.blobs.plan import check_layout, split_piece_list
from peer.blobs.store import FileBlobStore
from peer.core.hashing import hash_bytes
from peer.core.identity import BlobId, GroupId, PeerId
from peer.core.interfaces import BlobSource, WantedBlob
from peer.core.reconciling import Proof
from peer.errors import BlobAbsentError, BlobMismatchError, NotAMemberError, NotFoundError, RemoteProtocolError, TransportError

ANSWER_TIMEOUT_S = 30.0
"""A site that takes longer for one piece is as good as not reached."""

LIST_SIZE_MAX = 2 * 1024 * 1024
"""Bytes of a piece list that is asked for: that of a blob of 256 GiB."""


Doubt = Callable[[PeerId, GroupId, BlobId], Awaitable[None]]


class Prober:
    """Asks for pieces."""

    def __init__(self, store: FileBlobStore, sources: Callable[[GroupId, PeerId], Sequence[BlobSource]], doubt: Doubt) -> None:
        """`sources` gives the ways to linked members of a group, to be asked for what they have themselves.

        `doubt` tells one that it gave wrong bytes.
        """
        self._store = store
        self._sources = sources
        self._doubt = doubt

    async def probe(self, peer: PeerId, file: WantedBlob) -> Proof:
        """What `peer` gives for a piece of a file that it says to have. One that gave wrong bytes is told so."""
        ways = [source for source in self._sources(file.group, file.site) if source.peer_id == peer]
        for source in ways:
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    return await self._probe(source, file)
            except BlobAbsentError:
                return Proof.ABSENT
            except TransportError as error:
                if error.code == NotFoundError.code:
                    return Proof.ABSENT  # As a link says it.
            except (RemoteProtocolError, NotAMemberError, TimeoutError):
                continue  # The next way to the same site may work.
        return Proof.UNASKED

    async def _probe(self, source: BlobSource, file: WantedBlob) -> Proof:
        try:
            layout = check_layout(file.size, file.piece_size)
        except BlobMismatchError:
            return Proof.UNASKED  # No bytes are what such an event says.
        if not layout.piece_count:
            return Proof.RIGHT  # Whoever says to have no bytes has them.
        if layout.list_size > LIST_SIZE_MAX:
            return Proof.UNASKED
        hashes = await self._piece_list(source, file, layout.list_size)
        if hashes is None:
            return Proof.WRONG
        piece = secrets.randbelow(layout.piece_count)
        data = await _read(source, file.group, file.blob, layout.start(piece), layout.stop(piece))
        if hash_bytes(data) == split_piece_list(hashes)[piece]:
            return Proof.RIGHT
        await self._doubt(source.peer_id, file.group, file.blob)
        return Proof.WRONG

    async def _piece_list(self, source: BlobSource, file: WantedBlob, size: int) -> bytes | None:
        """None if `source` gives another list than the event names."""
        own = await self._store.read(file.pieces, 0, size + 1)
        if own is not None:
            return own if len(own) == size else None
        if size == len(file.blob):
            return file.blob if hash_bytes(file.blob) == file.pieces else None
        data = await _read(source, file.group, file.pieces, 0, size)
        return data if hash_bytes(data) == file.pieces else None


async def _read(source: BlobSource, group: GroupId, blob: BlobId, start: int, stop: int) -> bytes:
    data = bytearray()
    async with contextlib.aclosing(source.read(group, blob, start, stop)) as stream:
        async for part in stream:
            data += part
            if len(data) > stop - start:
                break
    return bytes(data)
