"""Blobs that somebody added since the start: until an event names them nothing but this says that they are wanted."""

import threading
from collections.abc import Callable

from peer.core.identity import BlobId

PINS_MAX = 100_000
"""Blobs that are remembered. Of more than that nothing is known, so all of them stay."""


class Pins:
    """For threads."""

    def __init__(self) -> None:
        """Nobody has added anything."""
        self._turn = threading.Lock()
        self._blobs = set[BlobId]()

    def add(self, blob: BlobId) -> None:
        """Somebody is about to rely on this blob. Whether it is here is to be looked at only afterwards."""
        with self._turn:
            if len(self._blobs) <= PINS_MAX:
                self._blobs.add(blob)

    def unless_pinned(self, blob: BlobId, remove: Callable[[BlobId], None]) -> bool:
        """Remove a blob that nobody relies on; False if somebody does."""
        with self._turn:
            if blob in self._blobs or len(self._blobs) > PINS_MAX:
                return False
            remove(blob)
            return True
