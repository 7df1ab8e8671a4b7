"""Wishes for bytes that ought to be here and are not, or are not what they were: made by reconciling, until they are here."""

from collections.abc import AsyncGenerator, Collection, Sequence

from peer.core.identity import BlobId, EventId, GroupId
from peer.core.interfaces import BlobStore, WantedBlob
from peer.core.wishes import PRIORITIES, Why, Wish

WISHES_MAX = 100_000
"""Files that are wished for at once; of more the rest is wished for by whoever reconciles again."""


class Repairing:
    """A `Wishing`. Remembers nothing over a restart: who reconciles again finds the same."""

    def __init__(self, blobs: BlobStore) -> None:
        """Wishes for nothing yet."""
        self._blobs = blobs
        self._files: dict[BlobId, WantedBlob] = {}

    def want(self, files: Collection[WantedBlob]) -> None:
        """Wish for these, too."""
        for file in files:
            if len(self._files) < WISHES_MAX:
                self._files[file.blob] = file

    async def wishes(self, group: GroupId, recordings: Collection[EventId] | None) -> Sequence[Wish]:
        """What is still missing of them."""
        for blob in [blob for blob in self._files if self._blobs.has(blob)]:
            del self._files[blob]
        found = [file for file in self._files.values() if file.group == group and (recordings is None or file.recording in recordings)]
        return [Wish(file, Why.REPAIR, PRIORITIES[Why.REPAIR], "what was here is to be restored") for file in found]

    async def pages(self, group: GroupId) -> AsyncGenerator[Sequence[Wish], None]:
        """As `Wishing.pages`: those are few."""
        yield await self.wishes(group, None)
