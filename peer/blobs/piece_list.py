"""Asking for the list of a blob's piece hashes. Who takes long has company, and is not waited for alone; who gives a wrong one is remembered.

Who turns up meanwhile is asked, too.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Any

from peer.blobs.offers import Offers
from peer.core.hashing import hash_bytes
from peer.core.identity import PeerId
from peer.core.interfaces import BlobSource, WantedBlob
from peer.errors import BlobMismatchError, MeshError, RemoteProtocolError, TransportError
from peer.threads import end_all

PATIENCE_S = 1.0
"""Who has not given the list after so long has company: the next one is asked for it, too."""


class PieceListAsking:
    """One search for one list."""

    def __init__(self, wanted: WantedBlob, size: int) -> None:
        self.liars: list[PeerId] = []
        """Who gave a wrong one."""
        self.sources: list[BlobSource] = []
        """Those that there are to be asked."""
        self._wanted = wanted
        self._size = size
        self._wrong: MeshError = nobody_has(wanted)

    async def ask(self, sources: Sequence[BlobSource], offers: Offers) -> bytes:
        """The list, from the first that gives the right one. Raises what the last of `sources` did wrong."""
        self.sources = list(sources)
        waiting = deque(sources)
        asked: dict[asyncio.Task[bytes], BlobSource] = {}
        try:
            while waiting or asked:
                if waiting:
                    source = waiting.popleft()
                    asked[asyncio.create_task(self._read(source))] = source
                changes: set[asyncio.Future[Any]] = {*asked, offers.told}
                await asyncio.wait(changes, timeout=PATIENCE_S if waiting else None, return_when=asyncio.FIRST_COMPLETED)
                for task in [each for each in asked if each.done()]:
                    data = self._result(task, asked.pop(task))
                    if data is not None:
                        return data
                waiting += self._new(offers.take())
        finally:
            await end_all(asked)
        raise self._wrong

    def _new(self, sources: Sequence[BlobSource]) -> list[BlobSource]:
        """Those that were not to be asked so far. Where somebody is now takes the place of where they were."""
        found = [source for source in sources if source not in self.sources and source.peer_id not in self.liars]
        present = {source.peer_id for source in sources}
        self.sources = [*sources, *(source for source in self.sources if source.peer_id not in present)]
        return found

    def _result(self, task: "asyncio.Task[bytes]", source: BlobSource) -> bytes | None:
        try:
            return task.result()
        except BlobMismatchError as error:
            self._wrong = error
            self.liars.append(source.peer_id)
        except (TransportError, RemoteProtocolError) as error:
            self._wrong = error
        return None

    async def _read(self, source: BlobSource) -> bytes:
        data = bytearray()
        async with contextlib.aclosing(source.read(self._wanted.group, self._wanted.pieces, 0, self._size)) as stream:
            async for part in stream:
                data += part
                if len(data) > self._size:
                    break
        kept = bytes(data)
        if len(kept) == self._size and hash_bytes(kept) == self._wanted.pieces:
            return kept
        raise BlobMismatchError(f"peer {source.peer_id.hex()} sent a wrong piece list of blob {self._wanted.blob.hex()}")


def nobody_has(wanted: WantedBlob) -> TransportError:
    """What is wrong where nobody is left who could be asked."""
    return TransportError(f"nobody who has blob {wanted.blob.hex()} can be reached", fix="wait until a site that has it is up")
