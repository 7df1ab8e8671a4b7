"""Files that several recordings have: what goes with one of them must not be missing from another."""

from collections.abc import Collection

from peer.core.custody import Subject
from peer.core.identity import BlobId
from peer.operations.custody import CustodyParts


class Sharing:
    """The recordings of all groups of this site, by their files."""

    def __init__(self, parts: CustodyParts) -> None:
        """Remembers nothing."""
        self._parts = parts

    async def others_with(self, subject: Subject, blob: BlobId, held_back: Collection[Subject]) -> list[Subject]:
        """Other recordings with this file, but for those that were dropped here and are not whole: they are no copies."""
        found = []
        for group in list(self._parts.replica.groups):
            for file in await self._parts.files.files_with(group, blob):
                other = Subject(group, file.recording)
                if other != subject and not (other in held_back and not await self.is_whole(other)):
                    found.append(other)
        return found

    async def is_whole(self, subject: Subject) -> bool:
        """Whether all files of a recording are here."""
        files = await self._parts.views.wanted_blobs(subject.group, [subject.recording])
        return bool(files) and all(self._parts.blobs.has(file.blob) for file in files)

    async def is_file_elsewhere(self, subject: Subject, pieces: BlobId) -> bool:
        """Whether a piece list goes with a file of another recording that is here, or is one itself, however unlikely."""
        for group in list(self._parts.replica.groups):
            for file in await self._parts.files.files_with(group, pieces):
                if Subject(group, file.recording) != subject and self._parts.blobs.has(file.blob):
                    return True
        return False
