import os
import sqlite3
import threading
from pathlib import Path

import pytest

from peer.errors import DataDirectoryVersionError, DiskFullError, StoreCorruptError, StoreError
from peer.store.database import Connection, open_database, open_read_only, remove_database

FIRST = "CREATE TABLE notes (number INTEGER PRIMARY KEY, text TEXT NOT NULL);"
SECOND = "ALTER TABLE notes ADD COLUMN author TEXT NOT NULL DEFAULT 'nobody'; CREATE INDEX by_author ON notes (author);"
INSERT = "INSERT INTO notes (number, text) VALUES (?, ?)"


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    folder = tmp_path / "schema"
    folder.mkdir()
    (folder / "0001_notes.sql").write_text(FIRST)
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


async def test_what_was_written_is_read_after_opening_again(path: Path, schema: Path) -> None:
    async with await open_database(path, schema) as database:
        await database.write([(INSERT, [(1, "one"), (2, "two")])])
        assert await database.fetch("SELECT text FROM notes ORDER BY number") == [("one",), ("two",)]

    async with await open_database(path, schema) as database:
        assert await database.fetch("SELECT count(*) FROM notes") == [(2,)]
        assert await database.read(lambda connection: connection.execute("PRAGMA journal_mode").fetchone()) == ("wal",)


@pytest.mark.parametrize(("synchronous", "number"), [("FULL", 2), ("NORMAL", 1)])
async def test_how_durable_a_commit_is_is_what_was_asked_for(path: Path, schema: Path, synchronous: str, number: int) -> None:
    async with await open_database(path, schema, synchronous=synchronous) as database:
        assert await database.transaction(lambda connection: connection.execute("PRAGMA synchronous").fetchone()) == (number,)


async def test_a_transaction_that_fails_leaves_nothing_and_the_next_one_works(path: Path, schema: Path) -> None:
    def fail(connection: Connection) -> None:
        connection.execute(INSERT, (1, "one"))
        raise ValueError("in the middle")

    async with await open_database(path, schema) as database:
        with pytest.raises(ValueError, match="in the middle"):
            await database.transaction(fail)
        await database.write([(INSERT, [(2, "two")])])

        assert await database.fetch("SELECT number FROM notes") == [(2,)]
        assert database.transactions == 1


async def test_the_reading_connection_cannot_write(path: Path, schema: Path) -> None:
    async with await open_database(path, schema) as database:
        with pytest.raises(StoreError):
            await database.read(lambda connection: connection.execute(INSERT, (1, "one")))


async def test_a_migration_keeps_the_rows_and_a_copy_of_what_was_before(path: Path, schema: Path, tmp_path: Path) -> None:
    async with await open_database(path, schema) as database:
        await database.write([(INSERT, [(1, "one")])])
    (schema / "0002_authors.sql").write_text(SECOND)
    backups = tmp_path / "backups"

    async with await open_database(path, schema, backups=backups) as database:
        assert await database.fetch("SELECT text, author FROM notes") == [("one", "nobody")]
        assert await database.fetch("PRAGMA user_version") == [(2,)]

    (copy,) = backups.iterdir()
    with sqlite3.connect(copy) as connection:
        assert connection.execute("SELECT * FROM notes").fetchall() == [(1, "one")]
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()


async def test_a_new_or_current_file_is_not_copied(path: Path, schema: Path, tmp_path: Path) -> None:
    for _ in range(2):
        async with await open_database(path, schema, backups=tmp_path / "backups"):
            pass

    assert not (tmp_path / "backups").exists()


async def test_a_migration_that_fails_changes_nothing(path: Path, schema: Path) -> None:
    async with await open_database(path, schema):
        pass
    (schema / "0002_broken.sql").write_text("CREATE TABLE more (number); INSERT INTO nowhere VALUES (1);")

    with pytest.raises(sqlite3.OperationalError):
        await open_database(path, schema)

    (schema / "0002_broken.sql").unlink()
    async with await open_database(path, schema) as database:
        assert await database.fetch("SELECT name FROM sqlite_schema WHERE type = 'table'") == [("notes",)]


async def test_a_file_of_a_newer_version_is_refused_unchanged(path: Path, schema: Path) -> None:
    (schema / "0002_authors.sql").write_text(SECOND)
    async with await open_database(path, schema):
        pass
    (schema / "0002_authors.sql").unlink()
    before = path.read_bytes()

    with pytest.raises(DataDirectoryVersionError, match="version 2") as caught:
        await open_database(path, schema)

    assert "newer" in caught.value.fix
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"this is no database at all" * 1000, b"SQLite format 3\0" + os.urandom(16384)])
async def test_a_garbage_file_is_a_corrupt_store_with_a_way_out(path: Path, schema: Path, content: bytes) -> None:
    path.write_bytes(content)

    for attempt in (open_database, open_read_only):
        with pytest.raises(StoreCorruptError, match=r"log\.db is damaged") as caught:
            await attempt(path, schema)
        assert "recmesh serve" in caught.value.fix

    assert path.read_bytes() == content


async def test_what_cannot_be_opened_leaves_no_thread_behind(path: Path, schema: Path) -> None:
    """It would answer to an event loop that may be closed by then."""
    path.write_bytes(b"this is no database at all" * 1000)
    for _ in range(20):
        with pytest.raises(StoreCorruptError):
            await open_read_only(path, schema)
        assert not [thread.name for thread in threading.enumerate() if "_connection_worker_thread" in thread.name]


async def test_a_database_of_something_else_is_refused(path: Path, schema: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (number)")
    connection.close()

    with pytest.raises(StoreCorruptError, match="something else"):
        await open_database(path, schema)


async def test_views_that_are_damaged_may_be_deleted(tmp_path: Path, schema: Path) -> None:
    path = tmp_path / "views.db"
    path.write_bytes(b"garbage" * 1000)

    with pytest.raises(StoreCorruptError) as caught:
        await open_database(path, schema)

    assert "delete" in caught.value.fix
    remove_database(path)
    async with await open_database(path, schema, synchronous="NORMAL"):
        pass


async def test_a_full_disk_is_called_by_its_name(path: Path, schema: Path) -> None:
    def fill(connection: Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}")
        connection.execute(INSERT, (1, "x" * 1_000_000))

    async with await open_database(path, schema) as database:
        with pytest.raises(DiskFullError) as caught:
            await database.transaction(fill)

    assert "free" in caught.value.fix


async def test_reading_only_changes_no_byte_and_needs_no_writer(path: Path, schema: Path) -> None:
    async with await open_database(path, schema) as database:
        await database.write([(INSERT, [(1, "one")])])
    before = path.read_bytes()

    async with await open_read_only(path, schema) as database:
        assert await database.fetch("SELECT text FROM notes") == [("one",)]
        with pytest.raises(StoreError):
            await database.write([(INSERT, [(2, "two")])])

    assert path.read_bytes() == before


async def test_reading_only_sees_what_a_running_writer_committed(path: Path, schema: Path) -> None:
    async with await open_database(path, schema) as writer, await open_read_only(path, schema) as reader:
        await writer.write([(INSERT, [(1, "one")])])

        assert await reader.fetch("SELECT text FROM notes") == [("one",)]


async def test_reading_only_does_not_create_or_migrate(path: Path, schema: Path) -> None:
    with pytest.raises(StoreCorruptError, match="missing"):
        await open_read_only(path, schema)
    assert not path.exists()

    async with await open_database(path, schema):
        pass
    (schema / "0002_authors.sql").write_text(SECOND)
    with pytest.raises(DataDirectoryVersionError, match="version 1"):
        await open_read_only(path, schema)


async def test_a_reader_sees_one_state_throughout_its_work(path: Path, schema: Path) -> None:
    async with await open_database(path, schema) as database, await open_database(path, schema) as other:

        def count_twice(connection: Connection) -> tuple[int, int]:
            (first,) = connection.execute("SELECT count(*) FROM notes").fetchone()
            raw = sqlite3.connect(path, isolation_level=None)
            raw.execute(INSERT, (1, "between"))
            raw.close()
            (second,) = connection.execute("SELECT count(*) FROM notes").fetchone()
            return first, second

        assert await database.read(count_twice) == (0, 0)
        assert await other.fetch("SELECT count(*) FROM notes") == [(1,)]


async def test_a_database_is_closed_by_its_block(path: Path, schema: Path) -> None:
    async with await open_database(path, schema) as database:
        pass

    with pytest.raises(StoreError, match="closed"):
        await database.fetch("SELECT 1")
