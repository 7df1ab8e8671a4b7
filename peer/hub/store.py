"""What a hub knows, on the disk: one row for each entry, as JSON, in a database of its own. A hub holds all of it in memory."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Protocol, TypeVar

from peer.errors import StoreCorruptError
from peer.hub.records import Agent, Hive, Key, State, Swarm

Connection = sqlite3.Connection
T = TypeVar("T")
Entry = Agent | Hive | Swarm | Key

KINDS: Mapping[str, type[Entry]] = {"agents": Agent, "hives": Hive, "swarms": Swarm, "keys": Key}
_PUT = "INSERT OR REPLACE INTO entries (kind, id, document) VALUES (?, ?, ?)"
_DELETE = "DELETE FROM entries WHERE kind = ? AND id = ?"


class Table(Protocol):
    """A database with the schema `hub`."""

    async def transaction(self, work: Callable[[Connection], T]) -> T:
        """Run `work` between BEGIN and COMMIT."""
        ...

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one state of the database."""
        ...


class HubStore:
    """Keeps one state."""

    def __init__(self, table: Table) -> None:
        """Does nothing yet."""
        self._table = table
        self._kept = State()

    async def load(self) -> State:
        """What was kept. Raises `StoreCorruptError` for anything but what `save` writes."""
        rows = await self._table.read(lambda connection: connection.execute("SELECT kind, id, document FROM entries ORDER BY rowid").fetchall())
        found: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
        try:
            for kind, identifier, document in rows:
                found[kind][identifier] = _read(KINDS[kind], json.loads(document))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreCorruptError("hub.db holds what no hub wrote", fix="restore it, or let peers register again") from error
        self._kept = State(**found)  # type: ignore[arg-type]
        return self._kept

    async def save(self, state: State) -> None:
        """Keep `state`, durably: what is different from what was kept before."""
        await self._table.transaction(partial(_write, self._kept, state))
        self._kept = state


def _write(before: State, after: State, connection: Connection) -> None:
    for kind in KINDS:
        old, new = getattr(before, kind), getattr(after, kind)
        connection.executemany(_PUT, [(kind, key, _document(each)) for key, each in new.items() if old.get(key) is not each])
        connection.executemany(_DELETE, [(kind, key) for key in old if key not in new])


def _document(entry: Entry) -> str:
    return json.dumps(asdict(entry), default=_plain, ensure_ascii=False, separators=(",", ":"))


def _plain(value: object) -> object:
    assert isinstance(value, bytes | frozenset)
    return value.hex() if isinstance(value, bytes) else sorted(value)


def _read(kind: type[Entry], document: dict[str, object]) -> Entry:
    """Raises `ValueError` and its like."""
    for key, value in document.items():
        if key == "digest":
            document[key] = bytes.fromhex(str(value))
        elif key in ("members", "hives"):
            document[key] = frozenset(value)  # type: ignore[call-overload]
    return kind(**document)  # type: ignore[arg-type]
