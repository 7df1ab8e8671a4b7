"""`views.db`, and the file beside it in which it is computed anew while it still answers.

When the new one is as far as the log its content takes the place of the old one's in one transaction of SQLite: there is no moment at which the
process can be killed and leave anything else than either of the two. What is left of a new one is thrown away at the next start.

`views.db` may be deleted, or replaced by another file, at any time. What was read from goes on to answer until a new one is there.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypeVar

from peer.errors import DataDirectoryVersionError, StoreCorruptError
from peer.failpoints import failpoint
from peer.store.database import Connection, Database, Row, is_older, open_database, remove_database

SCHEMA = "views"
SUFFIX = ".new"

T = TypeVar("T")


class ViewsFiles:
    """The projections on disk."""

    def __init__(self, path: Path, current: Database, *, has_old_rows: bool) -> None:
        """Use `open_views`."""
        self.path = path
        self.has_old_rows = has_old_rows
        """True if what an earlier process wrote can be read as it is: its tables were not those of an older schema."""
        self._current = current
        self._next: Database | None = None
        self._file = _identity(path)
        self._readable = asyncio.Event()
        self._readable.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.drop_next()
        await self._current.close()

    @property
    def transactions(self) -> int:
        """Write transactions that were committed since the present file was opened."""
        return self._current.transactions

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one state of the projections."""
        await self._readable.wait()
        return await self._current.read(work)

    async def fetch(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """All rows that one SELECT gives."""
        await self._readable.wait()
        return await self._current.fetch(sql, parameters)

    async def transaction(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one write transaction."""
        await self._readable.wait()
        return await self._current.transaction(work)

    async def checkpoint(self) -> None:
        """Give back the space of what waits beside the file, as far as it can be taken into it. Raises `DiskFullError`."""
        await self._readable.wait()
        await self._current.checkpoint()

    @property
    def is_in_place(self) -> bool:
        """False if the file was deleted, or another one has its name."""
        return self._file is not None and self._file == _identity(self.path)

    async def begin_next(self) -> Database:
        """An empty file beside the present one, to be filled."""
        await self.drop_next()
        path = _next_path(self.path)
        await asyncio.to_thread(remove_database, path)
        self._next = await open_database(path, SCHEMA, synchronous="NORMAL", name="rebuild")
        return self._next

    async def swap(self) -> None:
        """Answer from what the next file holds from now on. It must be complete, and nobody may write to either."""
        assert self._next is not None, "it was begun"
        failpoint("rebuild.before_swap")
        if self.is_in_place:
            await self._current.take_over(self._next)
        else:
            await self._put_back(self._next)
        failpoint("rebuild.after_swap")
        await self.drop_next()

    async def drop_next(self) -> None:
        """Keep nothing of the next file."""
        if self._next is not None:
            database, self._next = self._next, None
            await database.close()
            await asyncio.to_thread(remove_database, _next_path(self.path))

    async def _put_back(self, source: Database) -> None:
        """A new file in the place of the one that is gone; whoever wants to read waits meanwhile."""
        self._readable.clear()
        try:
            await self._current.close()
            await asyncio.to_thread(remove_database, self.path)
            self._current = await open_database(self.path, SCHEMA, synchronous="NORMAL")
            self._file = _identity(self.path)
            await self._current.take_over(source)
        finally:
            self._readable.set()


async def open_views(path: Path, report: Callable[[str], None]) -> ViewsFiles:
    """The projections at `path`; what is damaged, or newer, is thrown away and computed again. `report` is told why."""
    await asyncio.to_thread(remove_database, _next_path(path))
    older = await asyncio.to_thread(is_older, path, SCHEMA)
    try:
        return ViewsFiles(path, await open_database(path, SCHEMA, synchronous="NORMAL"), has_old_rows=not older)
    except (StoreCorruptError, DataDirectoryVersionError) as error:
        report(error.text)
        await asyncio.to_thread(remove_database, path)
        return ViewsFiles(path, await open_database(path, SCHEMA, synchronous="NORMAL"), has_old_rows=False)


def _next_path(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
