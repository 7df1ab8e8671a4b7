"""Nothing is told to anybody before it is committed: at the moment of the telling another connection to the same file finds it."""

import asyncio
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from peer.core.certificate import LogKind
from peer.core.event import Event
from peer.core.interfaces import Commit
from tests.integration.store_site import running_store
from tests.samples import GROUP, SampleLog, genesis, note

APPENDS = 20


class Outsider:
    """Reads the database of a store as another process would."""

    def __init__(self, root: Path) -> None:
        """Knows only the file."""
        self._path = root / "log.db"
        self.told = 0
        self.too_early: list[str] = []

    def hear(self, how: str, events: Iterable[Event]) -> None:
        """Note those of `events`, which are told just now, that are not committed."""
        connection = sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True)
        try:
            committed = {event_id for (event_id,) in connection.execute("SELECT id FROM events")}
        finally:
            connection.close()
        for event in events:
            self.told += 1
            if event.id not in committed:
                self.too_early.append(f"{how}: event {event.header.seq}")


async def test_what_is_announced_or_acknowledged_is_committed(tmp_path: Path) -> None:
    root = tmp_path / "site"
    outsider = Outsider(root)

    async with running_store(root) as store:
        await store.create_group(genesis())

        def listen(commit: Commit) -> None:
            outsider.hear("announced", commit.run.events)

        async def append(label: str) -> None:
            log = SampleLog("alice", label=label)
            run = log.write_notes(3)
            await store.append(log.certificate, run)
            outsider.hear("acknowledged to another", run.events)

        async def write() -> None:
            written = await store.write(GROUP, LogKind.DATA, [note(1), note(2)])
            outsider.hear("acknowledged to us", [stored.event for stored in written])

        store.subscribe(listen)
        await append("alone")
        await write()
        await asyncio.gather(*(append(str(number)) for number in range(APPENDS)), *(write() for _ in range(APPENDS)))

    assert outsider.too_early == []
    assert outsider.told == 2 * (APPENDS + 1) * 5
