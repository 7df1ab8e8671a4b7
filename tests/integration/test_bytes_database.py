"""What a site alone knows of bytes, over restarts and damage."""

from contextlib import AsyncExitStack
from pathlib import Path

from peer.core.identity import EventId, GroupId
from peer.store.directory import DataDirectory
from peer.store.transfers import TransferStore
from peer.wiring.bytes_database import open_bytes_database

GROUP = GroupId(b"g" * 32)
ONE, OTHER = EventId(b"1" * 32), EventId(b"2" * 32)


async def test_what_was_asked_for_outlasts_a_restart_until_it_is_forgotten(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    async with AsyncExitStack() as stack:
        opened = await open_bytes_database(stack, directory)
        store = TransferStore(opened.database)
        for recording in (ONE, OTHER, ONE):
            await store.ask(GROUP, recording)
        assert opened.is_new
    async with AsyncExitStack() as stack:
        opened = await open_bytes_database(stack, directory)
        store = TransferStore(opened.database)
        assert await store.asked() == {(GROUP, ONE), (GROUP, OTHER)}
        assert not opened.is_new
        await store.forget_asked(GROUP, [ONE])
        assert await store.asked() == {(GROUP, OTHER)}


async def test_a_damaged_one_is_moved_aside_and_begun_anew(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    async with AsyncExitStack() as stack:
        await TransferStore((await open_bytes_database(stack, directory)).database).ask(GROUP, ONE)
    directory.bytes_database.write_bytes(b"damaged" * 4000)
    async with AsyncExitStack() as stack:
        opened = await open_bytes_database(stack, directory)
        assert opened.is_new
        assert await TransferStore(opened.database).asked() == set()
    assert (tmp_path / "bytes.db.damaged").read_bytes().startswith(b"damaged")


async def test_damage_within_its_pages_is_found_when_it_is_opened(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    async with AsyncExitStack() as stack:
        store = TransferStore((await open_bytes_database(stack, directory)).database)
        for number in range(500):
            await store.ask(GROUP, EventId(number.to_bytes(32, "big")))
    data = bytearray(directory.bytes_database.read_bytes())
    for position in range(len(data) - 8000, len(data), 64):
        data[position : position + 16] = b"\xff" * 16
    directory.bytes_database.write_bytes(data)
    async with AsyncExitStack() as stack:
        assert (await open_bytes_database(stack, directory)).is_new
