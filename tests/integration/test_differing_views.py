"""Two peers that hold the same and show something else: both say which table, which row and with whom, until it is the same again."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from materializer.tables import Ledger, Place, projected_rows
from peer.api.status_models import Status
from peer.core.identity import GroupId
from tests.integration.running_peer import RunningPeer, running_peer
from tests.integration.test_members import add, enter

STATUS = "/api/v1/status"


class Pair(NamedTuple):
    """Two peers of one group, with a recording each."""

    a: RunningPeer
    b: RunningPeer
    group: GroupId
    recording: str


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with running_peer(tmp_path / "a", "a") as a, running_peer(tmp_path / "b", "b") as b:
        group = await a.post("/api/v1/sync/groups", {"name": "lab"})
        await enter(a, b, "writer")
        recording = (await add(a, tmp_path, "one"))["id"]
        await add(b, tmp_path, "two")
        for peer in (a, b):
            await peer.until("/api/v1/recordings", lambda page: len(page["recordings"]) == 2)
        yield Pair(a, b, GroupId(bytes.fromhex(group["group_id"])), recording)


def plant(peer: RunningPeer, group: GroupId, recording: str) -> None:
    """Change a row in the views of a running peer as a bug of its projections would: with the digest of its table."""
    with closing(sqlite3.connect(peer.root / "views.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        (group_no,) = connection.execute("SELECT group_no FROM groups WHERE group_id = ?", (group,)).fetchone()
        place, ledger = Place(group_no, group), Ledger()
        (number,) = connection.execute("SELECT recording_no FROM recordings WHERE id = ?", (bytes.fromhex(recording),)).fetchone()
        for row in projected_rows(connection, "recordings", group_no, number):
            ledger.remove("recordings", place, row)
        connection.execute("UPDATE recordings SET machine = 'another one' WHERE recording_no = ?", (number,))
        for row in projected_rows(connection, "recordings", group_no, number):
            ledger.add("recordings", place, row)
        ledger.write(connection)
        connection.execute("COMMIT")


def says(status: object) -> bool:
    """Whether a row is named."""
    return any(each["rows"] for each in status["differences"])  # type: ignore[index]


async def test_a_row_that_differs_is_named_by_both_until_it_is_computed_anew(pair: Pair) -> None:
    plant(pair.b, pair.group, pair.recording)
    for peer, other in ((pair.a, pair.b), (pair.b, pair.a)):
        await peer.until(STATUS, says)
        status = await peer.get(STATUS, Status)
        (found,) = status["differences"]
        assert (found["group"], found["peer_id"], found["table"], found["rows"]) == ("lab", other.peer_id, "recordings", [pair.recording])
        (problem,) = [each for each in status["problems"] if each["code"] == "views_differ"]
        assert pair.recording in problem["text"]
        assert "recmesh rebuild" in problem["fix"]
        checked = await peer.post("/api/v1/verify", {})
        assert (checked["ok"], [each["code"] for each in checked["problems"]]) == (False, ["views_differ"])
        assert pair.recording in checked["problems"][0]["what"]

    await pair.b.post("/api/v1/rebuild", {})
    for peer in (pair.a, pair.b):
        await peer.until(STATUS, lambda status: not status["differences"])
        assert (await peer.post("/api/v1/verify", {}))["ok"]


async def test_peers_that_agree_raise_no_alarm_while_they_write(pair: Pair, tmp_path: Path) -> None:
    stop = asyncio.Event()
    seen: list[object] = []

    async def watch(peer: RunningPeer) -> None:
        while not stop.is_set():
            seen.extend((await peer.get(STATUS))["differences"])
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        for peer in (pair.a, pair.b):
            tasks.create_task(watch(peer))
        for number in range(6):
            await add((pair.a, pair.b)[number % 2], tmp_path, f"more-{number}")
        await pair.a.post("/api/v1/rebuild", {})
        for peer in (pair.a, pair.b):
            await peer.until("/api/v1/recordings", lambda page: len(page["recordings"]) == 8)
        stop.set()

    assert not seen
