"""What a site alone knows of bytes, over restarts and damage."""

import contextlib
import random
import sqlite3
from contextlib import AsyncExitStack
from pathlib import Path

from peer.api.models import Group
from peer.cli.sample import write_sample
from peer.core.custody import Subject
from peer.core.dropping import ROUND_SIZE
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.transfers import Held, Hold
from peer.store.custody import CustodyStore
from peer.store.directory import DataDirectory
from peer.store.policies import PolicyStore
from peer.store.transfers import TransferStore
from peer.store.unread import UnreadRows
from peer.wiring.bytes_database import open_bytes_database
from tests.integration.running_peer import running_peer

GROUP = GroupId(b"g" * 32)
ONE, OTHER = EventId(b"1" * 32), EventId(b"2" * 32)


async def test_what_was_asked_for_outlasts_a_restart_until_it_is_forgotten(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    async with AsyncExitStack() as stack:
        opened = await open_bytes_database(stack, directory)
        store = TransferStore(opened.database, opened.unread)
        for recording in (ONE, OTHER, ONE):
            await store.ask(GROUP, recording)
        assert opened.is_new
    async with AsyncExitStack() as stack:
        opened = await open_bytes_database(stack, directory)
        store = TransferStore(opened.database, opened.unread)
        assert await store.asked() == {(GROUP, ONE), (GROUP, OTHER)}
        assert not opened.is_new
        await store.forget_asked(GROUP, [ONE])
        assert await store.asked() == {(GROUP, OTHER)}


async def test_a_damaged_one_is_moved_aside_and_begun_anew(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    async with AsyncExitStack() as stack:
        await TransferStore((await open_bytes_database(stack, directory)).database, UnreadRows()).ask(GROUP, ONE)
    directory.bytes_database.write_bytes(b"damaged" * 4000)
    async with AsyncExitStack() as stack:
        opened = await open_bytes_database(stack, directory)
        assert opened.is_new
        assert await TransferStore(opened.database, opened.unread).asked() == set()
    assert (tmp_path / "bytes.db.damaged").read_bytes().startswith(b"damaged")


async def test_damage_within_its_pages_is_found_when_it_is_opened(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    async with AsyncExitStack() as stack:
        store = TransferStore((await open_bytes_database(stack, directory)).database, UnreadRows())
        for number in range(500):
            await store.ask(GROUP, EventId(number.to_bytes(32, "big")))
    data = bytearray(directory.bytes_database.read_bytes())
    for position in range(len(data) - 8000, len(data), 64):
        data[position : position + 16] = b"\xff" * 16
    directory.bytes_database.write_bytes(data)
    async with AsyncExitStack() as stack:
        assert (await open_bytes_database(stack, directory)).is_new


TABLES = ("asked", "held", "transfer_settings", "policies", "promises", "releases", "held_back", "unproven")
GARBAGE: tuple[object, ...] = (b"", b"short", b"\xff" * 32, b"\xff" * 33, "later", 7, 2**62, None)


def spoil(database: Path, chance: random.Random, count: int = 40) -> int:
    """Put rows into all tables that nobody ever wrote there, as far as the tables take them. How many are there."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        found = 0
        for table in tables:
            columns = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
            for number in range(count):
                row = [chance.choice(GARBAGE) for _ in columns]
                row[0] = chance.choice((row[0], number.to_bytes(32, "big")))
                with contextlib.suppress(sqlite3.IntegrityError):
                    connection.execute(f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(columns))})", row)  # noqa: S608  (ours)
            if table in {"asked", "held"}:  # Text that is none: SQLite takes it, and gives it to nobody.
                columns[3:] = ["CAST(x'ff' AS TEXT)", "''", "''", "1"] if table == "held" else []
                values = ", ".join(["randomblob(32)"] * min(len(columns), 3) + columns[3:])
                connection.execute(f"INSERT INTO {table} VALUES ({values})")  # noqa: S608  (ours)
            found += connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608  (ours)
        return found


async def test_rows_that_cannot_be_read_spoil_no_others(tmp_path: Path) -> None:
    directory, subject, round_id = DataDirectory(tmp_path), Subject(GROUP, ONE), b"r" * ROUND_SIZE
    kept = Held(BlobId(b"b" * 32), GROUP, ONE, Hold.PAUSED, "", "", 5)
    for seed in range(5):
        async with AsyncExitStack() as stack:
            opened = await open_bytes_database(stack, directory)
            transfers, custody = TransferStore(opened.database, opened.unread), CustodyStore(opened.database, opened.unread)
            await transfers.ask(GROUP, ONE)
            await transfers.hold([kept])
            await transfers.set("paused", "1")
            await PolicyStore(opened.database, opened.unread).keep(GROUP, ["all"])
            await custody.promise(subject, PeerId(ONE), round_id)
            await custody.begin_release(subject)
        before = spoil(directory.bytes_database, random.Random(seed))
        async with AsyncExitStack() as stack:
            opened = await open_bytes_database(stack, directory)
            transfers, custody = TransferStore(opened.database, opened.unread), CustodyStore(opened.database, opened.unread)
            assert not opened.is_new
            assert (GROUP, ONE) in await transfers.asked()
            assert kept in await transfers.held()
            assert (await transfers.settings())["paused"] == "1"
            assert (await PolicyStore(opened.database, opened.unread).all())[GROUP] == ["all"]
            remembered = await custody.all()
            assert (subject, PeerId(ONE), round_id) in remembered.promises
            assert subject in remembered.releases
            told = "".join(problem.text for problem in opened.unread.problems())
            for table in ("asked", "held", "promises", "releases", "policies", "unproven"):
                assert f"in {table}" in told
            counts = [await opened.database.fetch(f"SELECT count(*) FROM {table}") for table in TABLES]  # noqa: S608  (ours)
            assert sum(count for ((count,),) in counts) == before, "nothing is thrown away"


async def test_a_peer_goes_on_without_rows_of_a_later_version_and_says_so(tmp_path: Path) -> None:
    """It drops nothing at first: perhaps one of them is a promise."""
    root, recordings = tmp_path / "data", "/api/v1/recordings"
    write_sample(tmp_path / "one.mcap", 4000, 0)
    async with running_peer(root, "alpha") as peer:
        await peer.post("/api/v1/sync/groups", {"name": "lab"}, Group, status=201)
        await peer.post(recordings, {"paths": [str(tmp_path / "one.mcap")]}, status=201)
        await peer.post("/api/v1/transfers/pause")
        await peer.call("PATCH", "/api/v1/transfers/limit", json={"limit": "5M"})
    spoil(root / "bytes.db", random.Random(1))
    with contextlib.closing(sqlite3.connect(root / "bytes.db", isolation_level=None)) as connection:
        connection.execute("INSERT INTO held VALUES (randomblob(32), randomblob(32), randomblob(32), 'asleep', '', '', 1)")
        for name, value in (("limit:zz", "5M"), ("limit:" + "ab" * 32, "by the moon"), ("limit:" + "cd" * 32, "1M")):
            connection.execute("INSERT INTO transfer_settings VALUES (?, ?)", (name, value))
    async with running_peer(root, "alpha") as peer:
        problems = [each["text"] for each in (await peer.get("/api/v1/status"))["problems"] if each["code"] == "rows_unread"]
        assert any("in held" in text for text in problems)
        assert any("'5M'" in text and "'by the moon'" in text for text in problems)
        async with peer.http.get(f"{peer.url}/metrics") as answer:
            assert "recmesh_paused 1.0" in await answer.text()
        limits = await peer.get("/api/v1/transfers/limit")
        assert (limits["limit"], ["cd" * 32, "1M"] in [[each["peer_id"], each["limit"]] for each in limits["peers"]]) == ("5M", True)
        assert (await peer.get(f"{recordings}/one"))["state"] == "local"
        assert (await peer.post(f"{recordings}/one/drop", status=503))["code"] == "promises_lost"
