"""What both ends of a polled connection have in common: frames that wait to leave, frames that arrived, and how it ends.

Little of either is kept: who does not read makes the other side wait, not grow.
"""

from collections import deque
from collections.abc import Iterable

from peer.errors import LinkBrokenError
from peer.transport.carrier import CarrierKind
from peer.transport.changes import Changes
from peer.transport.poll_batches import BATCH_BYTES_MAX, FRAMES_MAX


class PollEnd:
    """One end of a connection, as a carrier."""

    kind = CarrierKind.POLL

    def __init__(self, connection: bytes, address: str, other_end: str = "") -> None:
        self.connection = connection
        self.is_cut = False
        self.other_end = other_end
        """Where the latest request came from, or went to, as IP:PORT; empty if that is not known."""
        self._address = address
        self._changes = Changes()
        self._leaving: deque[bytes] = deque()
        self._leaving_bytes = 0
        self._arrived: deque[bytes] = deque()
        self._is_closing = False
        """We say nothing after what is leaving."""
        self._have_they_ended = False
        """They say nothing after what arrived."""
        self._have_they_heard = False
        """They know that we said everything."""
        self._error: Exception | None = None

    @property
    def address(self) -> str:
        """Where the other end spoke from at first."""
        return self._address

    @property
    def own_address(self) -> str:
        """Each request has its own."""
        return ""

    async def send(self, frame: bytes) -> None:
        """Let `frame` leave with one of the next requests or answers. Raises what broke."""
        await self._changes.until(lambda: self.is_cut or self._leaving_bytes < BATCH_BYTES_MAX)
        if self.is_cut:
            raise self._error or LinkBrokenError("the connection is over")
        self._leaving.append(frame)
        self._leaving_bytes += len(frame)
        self._changes.tell()

    async def receive(self) -> bytes | None:
        """The next frame; None after the last. Raises what broke."""
        await self._changes.until(lambda: bool(self._arrived) or self.is_cut or self._have_they_ended)
        if self._arrived:
            frame = self._arrived.popleft()
            self._changes.tell()
            return frame
        if self._error is not None:
            raise self._error
        return None

    async def close(self) -> None:
        """Say that nothing more comes, and wait until the other end knows."""
        self._is_closing = True
        self._changes.tell()
        try:
            await self._changes.until(lambda: self.is_cut or self._have_they_heard or self._have_they_ended)
        finally:
            self.cut()

    def cut(self) -> None:
        """End it now."""
        self.is_cut = True
        self._changes.tell()

    def break_off(self, error: Exception) -> None:
        """End it for a reason."""
        if not self.is_cut:
            self._error = error
        self.cut()

    def _arrive(self, frames: Iterable[bytes], *, last: bool) -> None:
        self._arrived.extend(frames)
        self._have_they_ended = self._have_they_ended or last
        self._changes.tell()

    def _take(self, bytes_max: int) -> tuple[tuple[bytes, ...], bool]:
        """What leaves next, at least one frame if there is one, and whether it is the last."""
        taken: list[bytes] = []
        size = 0
        while self._leaving and len(taken) < FRAMES_MAX and (not taken or size + len(self._leaving[0]) <= bytes_max):
            size += len(self._leaving[0])
            taken.append(self._leaving.popleft())
        self._leaving_bytes -= size
        self._changes.tell()
        return tuple(taken), self._is_closing and not self._leaving

    def _put_back(self, frames: tuple[bytes, ...]) -> None:
        """They did not leave."""
        self._leaving.extendleft(reversed(frames))
        self._leaving_bytes += sum(len(frame) for frame in frames)
