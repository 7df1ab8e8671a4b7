"""Two peers that hold the same and show something else: both say which table, which row and with whom, until it is the same again."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from materializer.agreement import Agreement
from materializer.page import Page
from materializer.runner import Materializer
from materializer.tables import Ledger, Place, projected_rows
from peer.api.status_models import Status
from peer.core.identity import GroupId
from peer.sync.handshake import LocalSide
from peer.transport.links import PeerLinks
from tests.integration.running_peer import RunningPeer, running_peer
from tests.integration.test_members import add, enter

STATUS = "/api/v1/status"
DEADLINE_S = 40.0


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


async def test_a_bug_in_the_projections_of_one_peer_is_named_by_both(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows and their digests fit one another: only others can tell."""
    write = Page.write

    def write_wrongly(page: Page) -> None:
        (file,) = {row[2] for row in page._connection.execute("PRAGMA database_list") if row[1] == "main"}
        if Path(file).parent == pair.b.root:
            page._creates[:] = [(place, stored, body._replace(machine="wrong")) for place, stored, body in page._creates]
        write(page)

    monkeypatch.setattr(Page, "write", write_wrongly)
    recording = (await add(pair.a, tmp_path, "three"))["id"]
    for peer, other in ((pair.a, pair.b), (pair.b, pair.a)):
        status = await peer.until(STATUS, says)
        assert {each["peer_id"] for each in status["differences"]} == {other.peer_id}
        found = {each["table"]: each["rows"] for each in status["differences"]}
        assert found == {"recordings": [recording], "manifests": [recording]}, "its manifest is another one, too"


async def test_a_peer_of_an_older_version_is_told_nothing_and_keeps_its_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side = PeerLinks.local_side

    def older(links: PeerLinks, channel_key: bytes) -> LocalSide:
        local = side(links, channel_key)
        return local._replace(versions=(1,)) if local.name == "b" else local

    monkeypatch.setattr(PeerLinks, "local_side", older)
    told: list[object] = []
    monkeypatch.setattr(Agreement, "hear", lambda _agreement, _peer, message: told.append(message))
    async with running_peer(tmp_path / "a", "a") as a, running_peer(tmp_path / "b", "b") as b:
        group = await a.post("/api/v1/sync/groups", {"name": "lab"})
        await enter(a, b, "writer")
        recording = (await add(a, tmp_path, "one"))["id"]
        await b.until("/api/v1/recordings", lambda page: page["recordings"])
        (link,) = (await a.get(STATUS))["links"]
        plant(b, GroupId(bytes.fromhex(group["group_id"])), recording)
        rounds = count_rounds(monkeypatch)
        async with asyncio.timeout(DEADLINE_S):
            while len(rounds) < 4:  # noqa: ASYNC110  (nothing is to happen)
                await asyncio.sleep(0.05)
        for peer in (a, b):
            status = await peer.get(STATUS)
            assert not status["differences"]
            assert [each["state"] for each in status["links"]] == [link["state"]] == ["up_to_date"]
        await add(b, tmp_path, "two")
        await a.until("/api/v1/recordings", lambda page: len(page["recordings"]) == 2)
    assert not told


def count_rounds(patch: pytest.MonkeyPatch) -> list[object]:
    """Gets an entry each time that a peer has told everybody what there is to tell."""
    rounds: list[object] = []
    tell_all = Agreement._tell_all

    async def counted(agreement: Agreement) -> None:
        await tell_all(agreement)
        rounds.append(agreement)

    patch.setattr(Agreement, "_tell_all", counted)
    return rounds


async def test_a_peer_that_is_behind_or_computes_its_views_anew_alarms_nobody(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its views stand still while the other peer's go on; then they are computed anew while both are compared."""
    go_on = asyncio.Event()
    project = Materializer._project

    async def wait(materializer: Materializer, *arguments: Any) -> None:
        await go_on.wait()
        await project(materializer, *arguments)

    monkeypatch.setattr(Materializer, "_project", wait)
    adding = asyncio.create_task(add(pair.a, tmp_path, "three"))
    rounds = count_rounds(monkeypatch)
    async with asyncio.timeout(DEADLINE_S):
        while len(rounds) < 6:  # noqa: ASYNC110  (nothing is to happen)
            await asyncio.sleep(0.05)
    for peer in (pair.a, pair.b):
        assert not (await peer.get(STATUS))["differences"]
    rebuilding = asyncio.create_task(pair.b.post("/api/v1/rebuild", {}))
    await pair.b.until(STATUS, lambda status: status["rebuilding"] is not None)
    assert (await pair.b.get(STATUS, Status))["rebuilding"]["events_done"] == 0
    assert len((await pair.b.get("/api/v1/recordings"))["recordings"]) == 2, "the present views answer"
    go_on.set()
    await asyncio.gather(adding, rebuilding)
    await pair.b.until("/api/v1/recordings", lambda page: len(page["recordings"]) == 3)
    for peer in (pair.a, pair.b):
        status = await peer.get(STATUS)
        assert (status["differences"], status["rebuilding"]) == ([], None)


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
