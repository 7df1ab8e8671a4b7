"""A log on a disk that was full: whether it can be written again, and is as it was.

Where SQLite says that the disk is full it has written nothing that counts. Before anything is written again that is looked at.
"""

from contextlib import suppress

from peer.errors import DiskFullError, StoreError
from peer.store.database import Connection, Database, free_bytes
from peer.store.requests import Own, write_fact

ROOM_AGAIN_BYTES = 1024 * 1024
"""Free bytes of the disk with which it is tried again."""
LOOK_FOR_ROOM_S = 1.0
"""How often it is looked."""


async def can_be_written(database: Database, own: Own) -> bool:
    """Whether there is room again. Raises `StoreError` if the log does not end where it did."""

    def write_again(connection: Connection) -> int:
        write_fact(connection, "incarnation", own.incarnation)
        (last,) = connection.execute("SELECT ifnull(max(position), 0) FROM events").fetchone()
        return int(last)

    if free_bytes(database.path.parent) < ROOM_AGAIN_BYTES:
        with suppress(DiskFullError):
            await database.checkpoint()
        if free_bytes(database.path.parent) < ROOM_AGAIN_BYTES:
            return False
    try:
        last = await database.transaction(write_again)
    except DiskFullError:
        return False
    if last != own.position:
        raise StoreError("the log does not end where it did before the disk was full", fix="start the peer again: it verifies what is there")
    return True
