"""Backups, as a running peer makes and checks them: in a thread of their own, one at a time, broken off where nobody waits any more."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from peer.errors import RequestError
from peer.operations.json_form import Json
from peer.threads import in_thread

Create = Callable[[Path, threading.Event], Json]
Verify = Callable[[Path], Awaitable[Json]]


class Backups:
    """Of one data directory."""

    def __init__(self, create: Create, verify: Verify) -> None:
        """`create` blocks until the backup is made or its event is set."""
        self._create = create
        self._verify = verify
        self._turn = asyncio.Lock()

    async def create(self, folder: str) -> Json:
        """Make one in `folder`, a path of this machine. Raises `BackupTargetError`, `DiskFullError`, `StoreCorruptError`."""
        target = _absolute(folder)
        async with self._turn:
            return await in_thread(None, partial(self._create, target))

    async def verify(self, folder: str) -> Json:
        """Check one: `ok`, what was `checked`, and the `problems`."""
        return await self._verify(_absolute(folder))


def _absolute(folder: str) -> Path:
    path = Path(folder)
    if not path.is_absolute() or "\0" in folder:
        raise RequestError("the folder of a backup is a whole path of the peer's machine", fix="write it from the root on")
    return path
