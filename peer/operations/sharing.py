"""Files that several recordings have: what goes with one of them must not be missing from another."""

from collections.abc import Collection

from peer.core.custody import Subject
from peer.core.identity import BlobId
from peer.operations.custody import CustodyParts

CLAIMS_MAX = 4096
"""Recordings of a group that are looked at for one file. Where more claim to have it, one of them may be here."""


class Sharing:
    """The recordings of all groups of this site, by their files."""

    def __init__(self, parts: CustodyParts) -> None:
        """Remembers nothing."""
        self._parts = parts

    async def is_shared(self, subject: Subject, blob: BlobId, held_back: Collection[Subject]) -> bool:
        """Whether another recording may need this file: all do but those that were dropped here and are not whole, which are no copies."""
        for group in list(self._parts.replica.groups):
            files = await self._parts.files.files_with(group, blob, CLAIMS_MAX)
            others = {Subject(group, file.recording) for file in files} - {subject}
            if len(files) >= CLAIMS_MAX or others - set(held_back):
                return True
            for other in others:
                if await self.is_whole(other):
                    return True
        return False

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
