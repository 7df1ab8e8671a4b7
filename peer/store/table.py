"""A database as those see it who keep rows of their own in it."""

import sqlite3
from collections.abc import Callable
from typing import Protocol, TypeVar

Connection = sqlite3.Connection
T = TypeVar("T")


class Table(Protocol):
    """A database with the schema that its user knows."""

    async def transaction(self, work: Callable[[Connection], T]) -> T:
        """Run `work` between BEGIN and COMMIT."""
        ...

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one state of the database."""
        ...
