"""Looking closely at what a store keeps, and what can be done for it with what is left here."""

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

from peer.blobs.digest import BUFFER_SIZE, StreamDigest
from peer.blobs.disk import disk_errors
from peer.blobs.files import blob_of, files_below
from peer.blobs.store import BESIDE, FileBlobStore
from peer.core.hashing import hash_bytes
from peer.core.identity import BlobId
from peer.threads import in_thread


class Mending:
    """Mends a store."""

    def __init__(self, store: FileBlobStore) -> None:
        """Does nothing yet."""
        self._store = store

    async def check(self, blob: BlobId) -> bool:
        """Hash it again, whatever is known of it. True if it is sound."""
        return await self._store.check(blob)

    async def was_here(self, blob: BlobId) -> bool:
        """True if it was here, or on its way, and was not removed by whoever may."""
        ledger = self._store.soundness.ledger
        return await in_thread(self._store.threads, lambda _: ledger.get(blob) is not None or blob in ledger.begun())

    async def kept(self) -> AsyncGenerator[BlobId, None]:
        """All that have a file here."""
        folders = await in_thread(self._store.threads, lambda _: sorted(self._store.folder.iterdir()))
        for folder in folders:
            if folder.name not in BESIDE:
                for blob in await in_thread(self._store.threads, lambda _, folder=folder: list(_blobs_below(folder))):  # type: ignore[misc]
                    yield blob

    async def make_piece_list(self, blob: BlobId, pieces: BlobId) -> bool:
        """Compute the piece list of a sound blob anew. False if it has another hash than `pieces`."""
        return await in_thread(self._store.threads, lambda _: self._make_piece_list(blob, pieces))

    def _make_piece_list(self, blob: BlobId, pieces: BlobId) -> bool:
        with disk_errors(f"blob {pieces.hex()}"), self._store.path(blob).open("rb", buffering=0) as file:
            digest = StreamDigest(file.seek(0, 2))
            file.seek(0)
            while part := file.read(BUFFER_SIZE):
                digest.update(memoryview(part))
        found = digest.finish().piece_list
        return hash_bytes(found) == pieces and self._store.put(found) == pieces


def _blobs_below(folder: Path) -> Iterator[BlobId]:
    for path in files_below(folder):
        blob = blob_of(path.name)
        if blob is not None:
            yield blob
