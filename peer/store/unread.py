"""Rows of `bytes.db` that cannot be read, of a later version or changed by a disk. They stay where they are, are told, and spoil no other."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from peer.core.identity import ID_SIZE
from peer.errors import RowsUnreadError

T = TypeVar("T")


class UnreadRows:
    """How many there are, of which tables."""

    def __init__(self) -> None:
        """None were seen yet."""
        self._counts: dict[str, int] = {}

    def read(self, table: str, rows: Iterable[tuple[object, ...]], make: Callable[..., T]) -> list[T]:
        """What `make` makes of each of all rows of a table, but for those where it raises `ValueError`."""
        found, unread = list[T](), 0
        for row in rows:
            try:
                found.append(make(*row))
            except ValueError:
                unread += 1
        self._counts[table] = unread
        return found

    def has(self, table: str) -> bool:
        """Whether some of that table could not be read when it was read last."""
        return self._counts.get(table, 0) > 0

    def problems(self) -> list[RowsUnreadError]:
        """What an operator should know of them."""
        shown = ", ".join(f"{count} in {table}" for table, count in sorted(self._counts.items()) if count)
        fix = "start the version of recmesh that wrote them; else set again what is missing in `recmesh transfers` and `recmesh policy show`"
        return [RowsUnreadError(f"rows of bytes.db are not understood here, and hold no more ({shown})", fix=fix)] if shown else []


def read_id(value: object) -> bytes:
    """The id that `value` is. Raises `ValueError` if it is none."""
    if not isinstance(value, bytes) or len(value) != ID_SIZE:
        raise ValueError("no id")
    return value


def read_text(value: object) -> str:
    """The text whose bytes `value` is: `CAST(... AS BLOB)` of a column, since SQLite gives no row with text that is none."""
    if not isinstance(value, bytes):
        raise ValueError("no text")  # noqa: TRY004  (as all that cannot be read)
    return value.decode()


def read_number(value: object) -> int:
    """The number that `value` is."""
    if not isinstance(value, int):
        raise ValueError("no number")  # noqa: TRY004  (as all that cannot be read)
    return value
