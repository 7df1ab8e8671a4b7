"""How much of the disk blobs may take: down to a floor of free bytes, which the log and the projections need, and up to a quota of their own.

Looked at when space is reserved, so files that begin at the same moment may together go a little beyond the quota, never below what the disk has.
"""

import os
from pathlib import Path
from typing import NamedTuple

from peer.blobs.disk import Floor

BLOCK_SIZE = 512


class Space(NamedTuple):
    """What the operator allows."""

    floor: int = 0
    """Bytes of the disk that stay free."""
    quota: int = 0
    """Bytes that blobs may take; 0 for all that the disk has."""

    def floor_of(self, folder: Path) -> Floor:
        """What of the disk may not be taken now by what is to be stored below `folder`."""
        return Floor(self.floor, max(0, self.quota - used_bytes(folder)) if self.quota else None)

    def missing(self, folder: Path, size: int) -> int:
        """How many bytes must go before `size` more fit below `folder`; 0 if they do."""
        state = os.statvfs(folder)
        below_floor = size + self.floor - state.f_bavail * state.f_frsize
        above_quota = used_bytes(folder) + size - self.quota if self.quota else 0
        return max(0, below_floor, above_quota)

    def has_place(self, folder: Path, size: int) -> bool:
        """False if `size` bytes would not even fit if nothing else were below `folder`."""
        return self.missing(folder, size) <= used_bytes(folder)


def used_bytes(folder: Path) -> int:
    """What all files below `folder` take of the disk."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(where) / name).stat().st_blocks * BLOCK_SIZE
            except FileNotFoundError:
                continue  # It was finished or given up meanwhile.
    return total
