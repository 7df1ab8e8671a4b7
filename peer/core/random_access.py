"""Bytes that can be read at any place, wherever they are: a file here, or a blob elsewhere of which only what is needed is brought here."""

from typing import Protocol


class RandomAccess(Protocol):
    """The bytes of one blob. To be closed by whoever opened it."""

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    async def read(self, start: int, size: int) -> bytes:
        """Exactly `size` bytes from `start` on, verified; all of them lie within the blob.

        Raises `BytesUnreachableError` if nobody gives them in time, `FileUnreadableError` if a file here does not.
        """
        ...

    def expect(self, start: int, size: int) -> None:
        """These will be read soon: a few of them may be brought here ahead of that. What was expected before is expected no more."""
        ...

    async def close(self) -> None:
        """Let go of it, and of what was still on its way."""
        ...
