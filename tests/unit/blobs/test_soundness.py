"""Bytes that were changed behind the back of the store: never given, and found whenever anybody asks."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from peer.blobs import soundness
from peer.blobs import store as store_module
from peer.blobs.store import FileBlobStore
from peer.core.identity import BlobId
from peer.store.ledger import open_ledger, read_ledger
from tests.blob_site import MIB, write_file
from tests.patience import PATIENCE_S
from tests.small_damage import flip_byte


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileBlobStore]:
    with_ledger = opened(tmp_path)
    yield with_ledger
    with_ledger.close()


def opened(folder: Path) -> FileBlobStore:
    return FileBlobStore(folder / "blobs", open_ledger(folder / "ledger.db"))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    return count_hashed(monkeypatch)


def count_hashed(patch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are hashed whole from now on."""
    seen: list[Path] = []

    def counted(path: Path, stop: object) -> object:
        seen.append(path)
        return real(path, stop)  # type: ignore[arg-type]

    real = soundness.hash_file
    patch.setattr(store_module, "hash_file", counted)
    return seen


def replace_file(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(bytes(1000))
    other.replace(path)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "a flipped bit": flip_byte,
    "a flipped bit and the time set back": lambda path: flip_byte(path, 5, hidden=True),
    "cut short": lambda path: os.truncate(path, 100),
    "emptied": lambda path: os.truncate(path, 0),
    "longer": lambda path: os.truncate(path, 1001),
    "another file in its place": replace_file,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_file_that_was_changed_is_not_given(tmp_path: Path, store: FileBlobStore, damage: str, *, restarted: bool) -> None:
    told: list[BlobId] = []
    facts = await store.ingest(write_file(tmp_path / "source", 1000), take="copy")
    assert await store.read(facts.blob, 0, 10) is not None
    if restarted:
        store = opened(tmp_path)
    store.found_damaged = told.append

    DAMAGES[damage](store.path(facts.blob))

    assert store.has(facts.blob), "nobody has looked yet"
    assert await store.read(facts.blob, 500, 10) is None
    assert not await store.is_sound(facts.blob)
    assert not store.has(facts.blob)
    assert store.is_damaged(facts.blob)
    assert told == [facts.blob]
    assert {each.code async for each in store.verify()} >= {"blob_corrupt"}
    assert opened(tmp_path).is_damaged(facts.blob), "it is known after a restart, too"


async def test_what_was_verified_is_not_hashed_again_also_after_a_restart(tmp_path: Path, store: FileBlobStore, hashed: list[Path]) -> None:
    facts = await store.ingest(write_file(tmp_path / "source", 1000), take="copy")
    later = opened(tmp_path)

    for each in (store, later):
        assert await each.is_sound(facts.blob)
        assert len(await each.read(facts.blob, 0, 1000) or b"") == 1000

    assert hashed == []
    later.close()


async def test_another_name_given_by_the_store_is_no_reason_to_hash(tmp_path: Path, store: FileBlobStore, hashed: list[Path]) -> None:
    facts = await store.ingest(write_file(tmp_path / "source", 1000), take="copy")
    before = store.path(facts.blob).stat().st_ctime_ns

    while store.path(facts.blob).stat().st_ctime_ns == before:  # Time goes in steps here.
        (tmp_path / "shown").unlink(missing_ok=True)
        store.link(facts.blob, tmp_path / "shown")

    assert await store.is_sound(facts.blob)
    assert hashed == []


async def test_an_edit_through_another_name_is_noticed_once_and_hashed_once(tmp_path: Path, store: FileBlobStore, hashed: list[Path]) -> None:
    facts = await store.ingest(write_file(tmp_path / "source", 1000), take="copy")
    store.link(facts.blob, tmp_path / "shown")
    flip_byte(tmp_path / "shown", 7)

    for _ in range(3):
        assert await store.read(facts.blob, 0, 10) is None

    assert hashed == [store.path(facts.blob)]


async def test_a_file_without_a_note_is_hashed_before_it_is_given(tmp_path: Path, store: FileBlobStore, hashed: list[Path]) -> None:
    """From an older version, or where the ledger was lost."""
    facts = await store.ingest(write_file(tmp_path / "source", 1000), take="copy")
    later = FileBlobStore(tmp_path / "blobs", open_ledger(tmp_path / "other.db"))

    for _ in range(2):
        assert await later.is_sound(facts.blob)

    assert hashed == [store.path(facts.blob)]
    later.close()


async def test_bits_that_the_disk_lost_are_found_by_who_doubts_them(tmp_path: Path, store: FileBlobStore) -> None:
    """Nothing about the file has changed, as when the medium fails: no look shows it."""
    facts = await store.ingest(write_file(tmp_path / "source", 1000), take="copy")
    flip_byte(store.path(facts.blob))
    store.soundness.note(facts.blob, store.path(facts.blob).stat(), is_sound=True)
    assert await store.is_sound(facts.blob)

    assert not await store.check(facts.blob)

    assert await store.read(facts.blob, 0, 10) is None


async def test_a_file_that_the_disk_cannot_read_is_damaged(tmp_path: Path, store: FileBlobStore) -> None:
    """Memory at the address 0 is an input/output error, like a sector that is gone."""
    facts = await store.ingest(write_file(tmp_path / "source", 1000), take="copy")
    found: list[BlobId] = []
    store.found_damaged = found.append
    store.path(facts.blob).unlink()
    store.path(facts.blob).symlink_to("/proc/self/mem")

    assert not await store.check(facts.blob)

    assert found == [facts.blob]
    assert store.is_damaged(facts.blob)
    assert not store.has(facts.blob), "it would never be fetched again"
    assert [(each.blob, each.code) async for each in store.verify() if each.code] == [(facts.blob, "blob_unreadable")]


async def test_who_reads_what_the_disk_has_lost_finds_it(tmp_path: Path, store: FileBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_file(tmp_path / "source", 1000)
    facts = await store.ingest(source, take="copy")
    lost = store.path(facts.blob)
    real = Path.open

    def opened_lost(path: Path, *args: object, **kwargs: object) -> object:
        return real(Path("/proc/self/mem") if path == lost else path, *args, **kwargs)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened_lost)
        patch.setattr(os, "fstat", lambda _: lost.stat())
        assert await store.read(facts.blob, 0, 10) is None
        assert store.is_damaged(facts.blob)

    await store.ingest(source, take="copy")
    assert await store.read(facts.blob, 0, 1000) == source.read_bytes()


async def test_the_right_bytes_take_the_place_of_damaged_ones_which_are_kept(tmp_path: Path, store: FileBlobStore) -> None:
    source = write_file(tmp_path / "source", 1000)
    facts = await store.ingest(source, take="copy")
    flip_byte(store.path(facts.blob))
    damaged = store.path(facts.blob).read_bytes()
    assert not await store.is_sound(facts.blob)

    await store.ingest(source, take="copy")

    assert await store.is_sound(facts.blob)
    assert await store.read(facts.blob, 0, 1000) == source.read_bytes()
    assert [path.read_bytes() for path in (store.folder / "damaged").iterdir()] == [damaged]
    assert all([not each.code async for each in store.verify()]), "what lies aside is nobody's blob"


async def test_a_blob_that_was_here_and_is_gone_is_missed_until_it_is_removed_by_the_store(tmp_path: Path, store: FileBlobStore) -> None:
    facts = await store.ingest(write_file(tmp_path / "source", 1000), take="copy")
    store.path(facts.blob).unlink()
    store.path(facts.pieces).unlink()

    codes = {each.blob: each.code async for each in store.verify()}
    assert codes == {facts.blob: "blob_missing", facts.pieces: "blob_missing"}

    for blob in (facts.blob, facts.pieces):
        await store.remove(blob)
    assert [each async for each in store.verify([facts.blob])] == [], "whoever made it: it was removed on purpose"
    await store.ingest(tmp_path / "source", take="copy")
    store.path(facts.blob).unlink()
    assert [each.code async for each in store.verify() if each.code] == ["blob_missing"], "and came back"


async def test_what_had_come_of_a_download_and_is_gone_is_missed(store: FileBlobStore) -> None:
    blob = BlobId(b"\x05" * 32)
    store.begin(blob).write_bytes(b"half")
    assert [each async for each in store.verify()] == []

    store.partial(blob).unlink()

    assert [(each.blob, each.code) async for each in store.verify()] == [(blob, "blob_unfinished")]
    await store.sweep([])
    assert [each async for each in store.verify()] == [], "who wants it no more does not miss it"


async def test_a_ledger_that_cannot_be_read_is_begun_anew(tmp_path: Path, store: FileBlobStore) -> None:
    facts = await store.ingest(write_file(tmp_path / "source", MIB), take="copy")
    (tmp_path / "torn.db").write_bytes(b"no database " * 1000)

    later = FileBlobStore(tmp_path / "blobs", open_ledger(tmp_path / "torn.db"))

    assert await later.is_sound(facts.blob)
    assert read_ledger(tmp_path / "nowhere.db") is None
    later.close()


async def test_many_who_ask_wait_for_one_check(tmp_path: Path, hashed: list[Path]) -> None:
    store = FileBlobStore(tmp_path / "blobs")
    facts = await store.ingest(write_file(tmp_path / "source", 5 * MIB), take="copy")
    flip_byte(store.path(facts.blob))
    async with asyncio.timeout(PATIENCE_S):
        assert await asyncio.gather(*(store.read(facts.blob, 0, 1) for _ in range(20))) == [None] * 20
    assert len(hashed) == 1
    store.close()
