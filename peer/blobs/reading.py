"""Parts of blobs for who reads them here, whether or not the whole is here: from the disk, else from members that have it, piece by piece.

Pieces are verified as those that pass through this site are, and kept where these are: in the cache, under the group in which they came, for as long
as there is room. They are no copy. The whole may arrive while somebody reads, or go: each part comes from where it is then.
"""

import asyncio
import contextlib

from peer.blobs.plan import check_layout
from peer.blobs.relay import LIST_SIZE_MAX, Pace, PieceRelay
from peer.blobs.store import FileBlobStore
from peer.core.interfaces import WantedBlob
from peer.core.relaying import WantedPart
from peer.errors import BytesDamagedError, BytesUnreachableError, FileUnreadableError

PIECES_AHEAD_MAX = 8
"""Pieces of what is read, and of what will be read next, that are asked for together."""

GIVE_UP_S = 15.0
"""Nobody who can be asked gave a part for so long: who reads is told so."""

RETRY_FIRST_S = 0.1
RETRY_MAX_S = 1.0

READING = Pace(answer_s=120.0, silence_s=20.0, ahead=0)
"""As a rule somebody waits: who is silent is left for somebody else. What is got ahead of time is what will be asked for, not what comes next."""


class BlobBytes:
    """A `RandomAccess` over one file of a recording."""

    def __init__(self, file: WantedBlob, store: FileBlobStore, relay: PieceRelay, *, give_up_s: float = GIVE_UP_S) -> None:
        """`relay` reads within the group of `file`, from all who may have something of it. Raises `BlobMismatchError`."""
        layout = check_layout(file.size, file.piece_size)
        self._file = file
        self._store = store
        self._relay = relay
        self._give_up_s = give_up_s
        self._is_too_large = layout.list_size > LIST_SIZE_MAX
        self._ahead: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        """As its event says; what is not so long does not have its hash either."""
        return self._file.size

    async def read(self, start: int, size: int) -> bytes:
        """As `RandomAccess.read`."""
        assert 0 <= start <= start + size <= self._file.size
        if not size:
            return b""
        try:
            data = await self._store.read(self._file.blob, start, size)
        except OSError as error:
            raise FileUnreadableError(f"blob {self._file.blob.hex()} cannot be read: {error.strerror}", fix="look at the disk") from error
        if data is None:
            data = await self._read_elsewhere(start, size)
        if len(data) != size:
            raise FileUnreadableError(f"blob {self._file.blob.hex()} is shorter than it was", fix="`recmesh verify --deep` says what is wrong")
        return data

    def expect(self, start: int, size: int) -> None:
        """As `RandomAccess.expect`."""
        if size and not self._store.has(self._file.blob) and not self._is_too_large:
            self._stop_expecting()
            self._ahead = asyncio.create_task(self._relay.get_ahead(self._file, start, size, PIECES_AHEAD_MAX))
            self._ahead.add_done_callback(_look_at)

    async def close(self) -> None:
        """As `RandomAccess.close`. A piece that is on its way already is kept: somebody else may want it."""
        ahead = self._ahead
        self._stop_expecting()
        if ahead is not None:
            await asyncio.wait([ahead])

    def _stop_expecting(self) -> None:
        if self._ahead is not None:
            self._ahead.cancel()
            self._ahead = None

    async def _read_elsewhere(self, start: int, size: int) -> bytes:
        if self._is_too_large:
            raise BytesUnreachableError(
                "a file of more than 256 GiB is read where it is, and nowhere else", fix="`recmesh recording fetch` brings it here"
            )
        part = WantedPart(self._file.group, self._file.blob, start, size, relay=True)
        loop = asyncio.get_running_loop()
        end, pause_s = loop.time() + self._give_up_s, RETRY_FIRST_S
        while True:
            await self._relay.get_ahead(self._file, start, size, PIECES_AHEAD_MAX)
            data = await self._relay.read_file(self._file, part)
            if data is not None:
                return data
            with contextlib.suppress(OSError):
                data = await self._store.read(self._file.blob, start, size)  # It may have arrived as a whole meanwhile.
            if data is not None:
                return data
            if loop.time() + pause_s > end and self._store.is_damaged(self._file.blob):
                raise BytesDamagedError(
                    f"blob {self._file.blob.hex()} is damaged here, and nobody else who has it can be reached",
                    fix="wait until a site that has it is up; what can be read of the damaged file is taken by `recmesh recording add --recover`",
                )
            if loop.time() + pause_s > end:
                raise BytesUnreachableError(
                    f"nobody who has bytes {start} to {start + size} of blob {self._file.blob.hex()} gives them",
                    fix="wait until a site that has them is up, or bring the recording here with `recmesh recording fetch`",
                )
            await asyncio.sleep(pause_s)
            pause_s = min(RETRY_MAX_S, 2 * pause_s)


def _look_at(task: "asyncio.Task[None]") -> None:
    """What goes wrong ahead of time goes wrong again when it is asked for."""
    if not task.cancelled():
        task.exception()
