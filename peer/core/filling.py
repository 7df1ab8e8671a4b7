"""Bytes that come bit by bit are put where they are to lie: by whoever brings them, or by one who copies them there."""

from collections.abc import AsyncGenerator, Callable
from typing import Protocol, runtime_checkable

from peer.core.identity import BlobId, GroupId
from peer.core.interfaces import BlobSource

Place = Callable[[], memoryview]
"""Where the next bytes are to lie: as many as there is room for, at least one. It is asked again once some of them are there."""


@runtime_checkable
class FillingSource(BlobSource, Protocol):
    """A source that can put its bytes where they are to lie."""

    def read_into(self, group: GroupId, blob: BlobId, place: Place, start: int, stop: int) -> AsyncGenerator[memoryview, None]:
        """As `BlobSource.read`; the parts lie where `place` said each time."""
        ...


async def copied(stream: AsyncGenerator[bytes, None], place: Place) -> AsyncGenerator[memoryview, None]:
    """What `stream` gives, copied to where `place` says."""
    async for data in stream:
        rest = memoryview(data)
        while rest:
            room = place()
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            rest = rest[count:]
            yield room[:count]
