"""The blob store, on real files."""

import asyncio
import hashlib
import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from peer.blobs.store import THREADS_MAX, BlobCheck, FileBlobStore
from peer.core.identity import BlobId
from peer.errors import DiskFullError, FileUnreadableError, RequestError
from tests.blob_site import MIB, write_file
from tests.patience import PATIENCE_S

TAKES = ["copy", "link", "move"]
SIZES = [0, 1, 4095, 4096, MIB - 1, MIB, MIB + 1, 3 * MIB, 9 * MIB + 4097]
ROOT = Path(__file__).parents[3]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileBlobStore]:
    opened = FileBlobStore(tmp_path / "blobs")
    yield opened
    opened.close()


def files_in(store: FileBlobStore) -> list[Path]:
    return [path for path in store.folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("take", TAKES)
@pytest.mark.parametrize("size", SIZES)
async def test_what_is_stored_is_named_by_the_hash_of_its_bytes(store: FileBlobStore, tmp_path: Path, take: str, size: int) -> None:
    source = write_file(tmp_path / "source", size)
    data = source.read_bytes()

    facts = await store.ingest(source, take=take)

    assert facts.blob == blake3(data).digest()
    assert facts.sha256 == hashlib.sha256(data).digest()
    assert (facts.size, facts.piece_size) == (size, MIB)
    assert store.path(facts.blob).read_bytes() == data
    assert stat.S_IMODE(store.path(facts.blob).stat().st_mode) == 0o444
    hashes = [blake3(data[start : start + MIB]).digest() for start in range(0, size, MIB)]
    assert store.path(facts.pieces).read_bytes() == b"".join(hashes)
    assert source.exists() == (take != "move")
    assert list(store.incoming.iterdir()) == []


async def test_a_linked_file_is_the_blob_and_a_copied_one_is_not(store: FileBlobStore, tmp_path: Path) -> None:
    linked, copied = write_file(tmp_path / "linked", 100, 1), write_file(tmp_path / "copied", 100, 2)

    assert store.path((await store.ingest(linked, take="link")).blob).samefile(linked)
    assert not store.path((await store.ingest(copied, take="copy")).blob).samefile(copied)
    assert stat.S_IMODE(copied.stat().st_mode) != 0o444


@pytest.mark.parametrize("take", TAKES)
async def test_storing_the_same_bytes_again_changes_nothing(store: FileBlobStore, tmp_path: Path, take: str) -> None:
    first = await store.ingest(write_file(tmp_path / "one", 2 * MIB + 1), take="copy")
    inode = store.path(first.blob).stat().st_ino

    assert await store.ingest(write_file(tmp_path / "two", 2 * MIB + 1), take=take) == first
    assert store.path(first.blob).stat().st_ino == inode
    assert len(files_in(store)) == 2
    assert (tmp_path / "two").exists() == (take != "move")


async def test_moving_the_blob_itself_does_not_lose_it(store: FileBlobStore, tmp_path: Path) -> None:
    facts = await store.ingest(write_file(tmp_path / "one", 10), take="link")

    await store.ingest(store.path(facts.blob), take="move")
    await store.ingest(tmp_path / "one", take="move")

    assert store.has(facts.blob)
    assert not (tmp_path / "one").exists()


async def test_small_bytes_are_stored_with_their_piece_list(store: FileBlobStore) -> None:
    facts = await store.ingest_bytes(b"rosbag2_bagfile_information:\n")

    assert store.path(facts.blob).read_bytes() == b"rosbag2_bagfile_information:\n"
    assert store.path(facts.pieces).read_bytes() == facts.blob


@pytest.mark.parametrize("take", TAKES)
async def test_a_path_that_cannot_be_read_is_refused_with_a_clear_line(store: FileBlobStore, tmp_path: Path, take: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "missing", tmp_path, tmp_path / "pipe"):
        with pytest.raises(FileUnreadableError, match=str(path)):
            await store.ingest(path, take=take)
    assert files_in(store) == []


async def test_a_symbolic_link_is_copied_but_neither_linked_nor_moved(store: FileBlobStore, tmp_path: Path) -> None:
    write_file(tmp_path / "file", 10)
    (tmp_path / "name").symlink_to("file")

    for take in ("link", "move"):
        with pytest.raises(RequestError, match="symbolic link"):
            await store.ingest(tmp_path / "name", take=take)
    assert (await store.ingest(tmp_path / "name", take="copy")).size == 10


@pytest.mark.parametrize("take", TAKES)
@pytest.mark.parametrize("change", ["append", "overwrite", "truncate", "overwrite and set the time back"])
async def test_a_file_that_changes_while_it_is_read_is_refused(store: FileBlobStore, tmp_path: Path, take: str, change: str) -> None:
    """It is changed for sure during the pass: through the first read of it."""
    source = write_file(tmp_path / "source", 5 * MIB)
    before = source.stat()
    changed = threading.Event()
    read = os.preadv

    def read_and_change(descriptor: int, buffers: list[memoryview], position: int) -> int:
        count = read(descriptor, buffers, position)
        if position == 2 * MIB and not changed.is_set():
            changed.set()
            with source.open("r+b") as file:
                file.truncate(4 * MIB) if change == "truncate" else None
                file.seek(0, os.SEEK_END if change == "append" else os.SEEK_SET)
                file.write(b"more")
            if "time back" in change:
                os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
        return count

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("peer.blobs.ingest.os.preadv", read_and_change)
        with pytest.raises(RequestError, match="changed while it was read"):
            await store.ingest(source, take=take)

    assert changed.is_set()
    assert source.exists()
    assert files_in(store) == []


async def test_cancelling_leaves_nothing_behind(store: FileBlobStore, tmp_path: Path) -> None:
    source = write_file(tmp_path / "source", 64 * MIB)
    reading = asyncio.Event()
    loop = asyncio.get_running_loop()
    read = os.preadv

    def tell(descriptor: int, buffers: list[memoryview], position: int) -> int:
        loop.call_soon_threadsafe(reading.set)
        return read(descriptor, buffers, position)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("peer.blobs.ingest.os.preadv", tell)
        task = asyncio.create_task(store.ingest(source, take="copy"))
        async with asyncio.timeout(PATIENCE_S):
            await reading.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert files_in(store) == []


async def test_sweeping_keeps_downloads_that_are_still_wanted(store: FileBlobStore) -> None:
    wanted, unwanted = BlobId(bytes(32)), BlobId(b"\x01" * 32)
    for path in (store.partial(wanted), store.partial(unwanted), store.incoming / "abc.ingest"):
        path.write_bytes(b"half")

    assert await store.sweep([wanted]) == 2
    assert [path.name for path in store.incoming.iterdir()] == [store.partial(wanted).name]


async def test_verifying_finds_what_is_corrupt_missing_and_misplaced(store: FileBlobStore, tmp_path: Path) -> None:
    good = (await store.ingest(write_file(tmp_path / "good", 3 * MIB, 1), take="copy")).blob
    bad = (await store.ingest(write_file(tmp_path / "bad", 3 * MIB, 2), take="copy")).blob
    missing = BlobId(b"\x07" * 32)
    store.path(bad).chmod(0o644)
    with store.path(bad).open("r+b") as file:
        file.seek(2 * MIB + 17)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    stray = store.folder / "ab" / "notes.txt"
    stray.parent.mkdir(exist_ok=True)
    stray.write_text("?")

    checks = [check async for check in store.verify([good, bad, missing])]

    assert {check for check in checks if check.code} == {
        BlobCheck(bad, store.path(bad), "blob_corrupt"),
        BlobCheck(missing, store.path(missing), "blob_missing"),
        BlobCheck(None, stray, "blob_misplaced"),
    }
    assert BlobCheck(good, store.path(good), "") in checks


async def test_a_removed_blob_is_gone_and_may_come_back(store: FileBlobStore, tmp_path: Path) -> None:
    source = write_file(tmp_path / "source", 10)
    facts = await store.ingest(source, take="copy")
    await store.remove(facts.blob)

    assert not store.has(facts.blob)
    assert (await store.ingest(source, take="copy")).blob == facts.blob
    assert store.has(facts.blob)


@pytest.mark.needs("a file system of its own")
@pytest.mark.parametrize("take", TAKES)
async def test_a_full_disk_leaves_nothing_half_done(small_disk: Path, tmp_path: Path, take: str) -> None:
    """Link and move end up as a copy here, or as a refusal: it is another file system."""
    store = FileBlobStore(small_disk / "blobs")
    source = write_file(tmp_path / "source", 12 * MIB)
    with pytest.raises(DiskFullError if take != "link" else RequestError):
        await store.ingest(source, take=take)

    assert source.stat().st_size == 12 * MIB
    assert files_in(store) == []
    assert (await store.ingest(write_file(tmp_path / "fits", MIB), take="copy")).size == MIB
    store.close()


@pytest.mark.needs("a file system of its own")
async def test_moving_from_another_file_system_copies_and_removes(small_disk: Path, store: FileBlobStore) -> None:
    source = write_file(small_disk / "source", 2 * MIB)

    facts = await store.ingest(source, take="move")

    assert store.has(facts.blob)
    assert not source.exists()


async def test_a_file_that_grows_beyond_a_limit_of_the_system_is_a_full_disk(store: FileBlobStore, tmp_path: Path) -> None:
    source = write_file(tmp_path / "source", 4 * MIB)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, limits[1]))
    try:
        with pytest.raises(DiskFullError):
            await store.ingest(source, take="copy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files_in(store) == []


async def test_the_floor_of_free_space_is_kept(tmp_path: Path) -> None:
    store = FileBlobStore(tmp_path / "blobs", free_floor=2**60)

    with pytest.raises(DiskFullError, match="floor"):
        await store.ingest(write_file(tmp_path / "source", 10), take="copy")

    assert files_in(store) == []
    store.close()


@pytest.mark.parametrize("take", TAKES)
@pytest.mark.parametrize(
    ("point", "passage"),
    [("blob.after_hash", 1), ("blob.before_rename", 1), ("blob.before_rename", 2), ("blob.after_rename", 1), ("blob.after_rename", 2)],
)
async def test_a_process_killed_while_it_stores_can_store_it_again(tmp_path: Path, take: str, point: str, passage: int) -> None:
    """Each failpoint of naming is passed twice: by the piece list and by the blob."""
    source = write_file(tmp_path / "source", 3 * MIB + 5)
    data = source.read_bytes()
    script = (
        "import asyncio, sys; from pathlib import Path; from peer.blobs.store import FileBlobStore\n"
        "asyncio.run(FileBlobStore(Path(sys.argv[1])).ingest(Path(sys.argv[2]), take=sys.argv[3]))"
    )
    hits = tmp_path / "hits"
    environment = {**os.environ, "RECMESH_FAILPOINT": f"{point}:{passage}", "RECMESH_FAILPOINT_FILE": str(hits)}
    command = [sys.executable, "-c", script, tmp_path / "blobs", source, take]
    died = await asyncio.to_thread(subprocess.run, command, env=environment, cwd=ROOT, check=False, timeout=PATIENCE_S)
    assert (died.returncode, hits.read_text()) == (-9, f"{point}\n")

    store = FileBlobStore(tmp_path / "blobs")
    await store.sweep()
    assert source.read_bytes() == data
    assert all([not check.code async for check in store.verify()])
    facts = await store.ingest(source, take=take)
    assert store.path(facts.blob).read_bytes() == data
    assert store.has(facts.pieces)
    store.close()


async def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Measured in a process of its own: 300 MB in, and only a few buffers more than for 1 MB."""
    script = (
        "import asyncio, resource, sys; from pathlib import Path; from peer.blobs.store import FileBlobStore\n"
        "store = FileBlobStore(Path(sys.argv[1]))\n"
        "asyncio.run(store.ingest(Path(sys.argv[2]), take=sys.argv[3]))\n"
        "async def check():\n    async for _ in store.verify(): pass\n"
        "asyncio.run(check())\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )

    async def peak_kib(size: int, take: str) -> int:
        source = write_file(tmp_path / f"source-{size}", size)
        command = [sys.executable, "-c", script, tmp_path / f"blobs-{take}", source, take]
        ran = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, check=True, capture_output=True, timeout=2 * PATIENCE_S)
        return int(ran.stdout)

    small = await peak_kib(MIB, "copy")
    for take in ("copy", "link"):
        large = await peak_kib(300 * MIB, take)
        assert large - small < 16 * 1024


async def test_a_part_is_read_while_every_thread_is_busy_with_whole_files(store: FileBlobStore, tmp_path: Path) -> None:
    """Recordings that are added take minutes; those who ask for bytes over a link give up sooner."""
    facts = await store.ingest(write_file(tmp_path / "source", 100), take="copy")
    may_end = threading.Event()
    busy = [store.threads.submit(may_end.wait, PATIENCE_S) for _ in range(THREADS_MAX)]
    try:
        async with asyncio.timeout(PATIENCE_S / 2):
            assert await store.read(facts.blob, 10, 20) == store.path(facts.blob).read_bytes()[10:30]
    finally:
        may_end.set()
    assert all(each.result(PATIENCE_S) for each in busy)
