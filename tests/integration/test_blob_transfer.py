"""Blobs on their way from one site to another: real files, real sockets, and processes that are killed in the middle."""

import asyncio
import contextlib
import hashlib
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from peer.blobs import partial as partial_module
from peer.blobs.progress import Transfer
from peer.blobs.store import FileBlobStore
from peer.blobs.transfer import Fetcher
from peer.core.byte_store import BlobFacts
from peer.core.identity import BlobId, PeerId
from peer.errors import BlobMismatchError, DiskFullError, TransportError
from peer.transport.blob_client import BlobClient
from peer.transport.tls import server_context
from tests.blob_site import GROUP, MEMBER, MIB, SERVER, STRANGER, FileSource, Site, serving, wanted, write_file
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
PIECES = 6
SIZE = (PIECES - 1) * MIB + 4321


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with serving(tmp_path / "served") as served:
        yield served


@pytest.fixture
async def facts(site: Site, tmp_path: Path) -> BlobFacts:
    return await site.add(write_file(tmp_path / "source", SIZE))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileBlobStore]:
    opened = FileBlobStore(tmp_path / "blobs")
    yield opened
    opened.close()


@pytest.fixture
def fetcher(store: FileBlobStore) -> Iterator[Fetcher]:
    opened = Fetcher(store)
    yield opened
    opened.close()


def source_of(site: Site, facts: BlobFacts, **lies: object) -> FileSource:
    return FileSource({blob: site.store.path(blob) for blob in (facts.blob, facts.pieces)}, **lies)  # type: ignore[arg-type]


def check_arrived(store: FileBlobStore, facts: BlobFacts, source: Path) -> None:
    """By the oracle of another hash than the store uses for names."""
    data = store.path(facts.blob).read_bytes()
    assert hashlib.sha256(data).digest() == facts.sha256 == hashlib.sha256(source.read_bytes()).digest()
    assert store.path(facts.blob).stat().st_mode & 0o777 == 0o444
    assert store.has(facts.pieces)
    assert list(store.incoming.iterdir()) == []


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 7 * MIB + 4097])
async def test_a_blob_arrives_whole(tmp_path: Path, store: FileBlobStore, fetcher: Fetcher, size: int, *, tls: bool) -> None:
    async with serving(tmp_path / "served", tls=server_context(SERVER) if tls else None) as site:
        facts = await site.add(write_file(tmp_path / "source", size))
        async with BlobClient(MEMBER, SERVER.peer_id, site.endpoint) as source:
            await fetcher.fetch(wanted(facts), [source])

        check_arrived(store, facts, tmp_path / "source")
        assert site.sizes_asked(facts.blob) == size
        await fetcher.fetch(wanted(facts), [])
        assert site.sizes_asked(facts.blob) == size


async def _run_fetcher(folder: Path, site: Site, facts: BlobFacts, failpoint: str = "") -> tuple[int, list[str]]:
    """Exit status of a process that fetches, and the failpoints that it hit."""
    order = {name: value.hex() if isinstance(value, bytes) else value for name, value in facts._asdict().items()}
    (folder / "order.json").write_text(json.dumps({**order, "folder": str(folder / "blobs"), "endpoint": site.endpoint}))
    hits = folder / "hits"
    hits.unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RECMESH_FAILPOINT": failpoint, "RECMESH_FAILPOINT_FILE": str(hits)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", ROOT / "tests" / "blob_site.py", folder / "order.json", env=environment, cwd=ROOT
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            status = await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    return status, hits.read_text().split() if hits.exists() else []


@pytest.mark.parametrize("passage", range(1, PIECES + 1))
async def test_after_a_kill_only_missing_pieces_travel(tmp_path: Path, site: Site, facts: BlobFacts, passage: int) -> None:
    """Killed after each number of pieces; counted at the side that sends."""
    assert await _run_fetcher(tmp_path, site, facts, f"fetch.after_piece:{passage}") == (-9, ["fetch.after_piece"])
    site.asked.clear()

    assert (await _run_fetcher(tmp_path, site, facts))[0] == 0

    check_arrived(FileBlobStore(tmp_path / "blobs"), facts, tmp_path / "source")
    assert site.sizes_asked(facts.blob) <= max(0, SIZE - passage * MIB)
    assert site.sizes_asked(facts.pieces) == 0


@pytest.mark.parametrize("point", ["fetch.before_rename", "fetch.after_rename", "blob.before_rename", "blob.after_rename"])
async def test_after_a_kill_at_a_rename_the_fetch_goes_on(tmp_path: Path, site: Site, facts: BlobFacts, point: str) -> None:
    """The points named `blob` are passed by the piece list, before the first piece."""
    assert await _run_fetcher(tmp_path, site, facts, point) == (-9, [point])
    pieces_travelled = site.sizes_asked(facts.blob)

    assert (await _run_fetcher(tmp_path, site, facts))[0] == 0

    store = FileBlobStore(tmp_path / "blobs")
    check_arrived(store, facts, tmp_path / "source")
    assert store.came(GROUP, facts.blob), "who does not know where it came from does not give it where other groups name it"
    assert store.came(GROUP, facts.pieces)
    assert site.sizes_asked(facts.blob) == SIZE
    assert pieces_travelled == (SIZE if point.startswith("fetch") else 0)


@pytest.mark.parametrize("piece", [0, 2, PIECES - 1])
async def test_pieces_torn_by_a_crash_are_fetched_again_and_no_others(
    tmp_path: Path, site: Site, facts: BlobFacts, store: FileBlobStore, fetcher: Fetcher, piece: int
) -> None:
    """What a power cut makes of a file: the right size, and a wrong byte in a piece that had been verified."""
    data = bytearray((tmp_path / "source").read_bytes())
    data[piece * MIB + 5] ^= 1
    store.partial(facts.blob).write_bytes(data)
    source = source_of(site, facts)

    await fetcher.fetch(wanted(facts), [source])

    check_arrived(store, facts, tmp_path / "source")
    size = SIZE - (PIECES - 1) * MIB if piece == PIECES - 1 else MIB
    assert [asked for asked in source.asked if asked.blob == facts.blob] == [(facts.blob, piece * MIB, size)]


@pytest.mark.parametrize("size", [3, SIZE - 1, SIZE + 1, 2 * SIZE])
async def test_a_partial_file_of_another_size_does_no_harm(
    tmp_path: Path, site: Site, facts: BlobFacts, store: FileBlobStore, fetcher: Fetcher, size: int
) -> None:
    store.partial(facts.blob).write_bytes(bytes(size))
    store.partial(facts.blob).chmod(0o444)

    await fetcher.fetch(wanted(facts), [source_of(site, facts)])

    check_arrived(store, facts, tmp_path / "source")


@pytest.mark.parametrize("flip", [0, 2 * MIB + 9, SIZE - 1])
async def test_a_corrupt_source_is_left_for_a_good_one(tmp_path: Path, site: Site, facts: BlobFacts, store: FileBlobStore, flip: int) -> None:
    """What was right is kept: the good source is asked for the rest, and the other one for nothing more."""
    corrupt, good = source_of(site, facts, flip=[flip], peer=MEMBER.peer_id), source_of(site, facts)
    liars: list[PeerId] = []
    fetcher = Fetcher(store, report=lambda _wanted, peer: liars.append(peer))

    await fetcher.fetch(wanted(facts), [corrupt, good])

    fetcher.close()
    check_arrived(store, facts, tmp_path / "source")
    asked = sum(each.size for each in good.asked if each.blob == facts.blob)
    assert asked >= SIZE - flip // MIB * MIB
    lied = len([each for each in corrupt.asked if each.start <= flip < each.start + each.size])
    assert lied == len(liars) <= 1
    assert liars in ([], [MEMBER.peer_id])
    if flip < 32 * PIECES:
        assert liars
        assert [each.blob for each in corrupt.asked] == [facts.pieces]
        assert any(each.blob == facts.pieces for each in good.asked)


async def test_a_source_that_stops_in_the_middle_is_left_for_another(
    tmp_path: Path, site: Site, facts: BlobFacts, store: FileBlobStore, fetcher: Fetcher
) -> None:
    stops, good = source_of(site, facts, ends_at=3 * MIB + 100), source_of(site, facts)

    await fetcher.fetch(wanted(facts), [stops, good])

    check_arrived(store, facts, tmp_path / "source")
    assert [each.start for each in good.asked if each.blob == facts.blob] == [3 * MIB]


async def test_without_a_good_source_the_fetch_fails_and_keeps_what_was_right(
    site: Site, facts: BlobFacts, store: FileBlobStore, fetcher: Fetcher
) -> None:
    with pytest.raises(BlobMismatchError, match="wrong piece 2"):
        await fetcher.fetch(wanted(facts), [source_of(site, facts, flip=[2 * MIB])])
    with pytest.raises(TransportError, match="nobody"):
        await fetcher.fetch(wanted(facts), [])

    assert not store.has(facts.blob)
    good = source_of(site, facts)
    await fetcher.fetch(wanted(facts), [good])
    assert good.asked[0].start == 2 * MIB
    assert sum(each.size for each in good.asked) <= SIZE - 2 * MIB


async def test_who_refuses_us_is_passed_over(tmp_path: Path, site: Site, facts: BlobFacts, store: FileBlobStore, fetcher: Fetcher) -> None:
    async with BlobClient(STRANGER, SERVER.peer_id, site.endpoint) as refused, BlobClient(MEMBER, SERVER.peer_id, site.endpoint) as source:
        await fetcher.fetch(wanted(facts), [refused, source])

    check_arrived(store, facts, tmp_path / "source")


@pytest.mark.parametrize("field", ["sha256", "blob", "pieces", "size", "piece_size"])
async def test_an_event_that_contradicts_itself_brings_nothing(
    site: Site, facts: BlobFacts, store: FileBlobStore, fetcher: Fetcher, field: str
) -> None:
    """All pieces may be right and the name wrong: an author that lies, or a bug. Nothing gets the name."""
    wrong = {"sha256": bytes(32), "blob": BlobId(bytes(32)), "pieces": BlobId(bytes(32)), "size": SIZE + 1, "piece_size": 2 * MIB}[field]
    lie = wanted(facts)._replace(**{field: wrong})
    source = FileSource({lie.blob: site.store.path(facts.blob), lie.pieces: site.store.path(facts.pieces)})

    with pytest.raises((BlobMismatchError, TransportError)):
        await fetcher.fetch(lie, [source])

    assert not store.has(lie.blob)
    if field in ("sha256", "blob"):
        assert list(store.incoming.iterdir()) == []


async def test_cancelling_keeps_the_pieces_and_frees_the_slot(tmp_path: Path, site: Site, store: FileBlobStore) -> None:
    facts = await site.add(write_file(tmp_path / "source", 40 * MIB))
    fetcher = Fetcher(store, concurrency=1)
    reached, never = asyncio.Event(), asyncio.Event()

    class Hangs(FileSource):
        async def read(self, group, blob, start, stop):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            async for part in super().read(group, blob, start, stop):
                yield part
                if blob == facts.blob and start == 0 and fetcher.transfers[0].bytes_done >= 2 * MIB:
                    reached.set()
                    await never.wait()

    hangs = Hangs({blob: site.store.path(blob) for blob in (facts.blob, facts.pieces)})
    task = asyncio.create_task(fetcher.fetch(wanted(facts), [hangs]))
    async with asyncio.timeout(PATIENCE_S):
        await reached.wait()
    assert fetcher.transfers[0].state == "receiving"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert fetcher.transfers == []
    good = source_of(site, facts)
    await fetcher.fetch(wanted(facts), [good])
    check_arrived(store, facts, tmp_path / "source")
    assert next(each.start for each in good.asked if each.blob == facts.blob) >= 2 * MIB
    fetcher.close()


async def test_only_so_many_blobs_arrive_at_once_and_all_are_shown(tmp_path: Path, site: Site, store: FileBlobStore) -> None:
    fetcher = Fetcher(store, concurrency=2)
    all_facts = [await site.add(write_file(tmp_path / f"source-{seed}", 3 * MIB, seed)) for seed in range(6)]
    seen: list[list[Transfer]] = []

    class Watching(FileSource):
        async def read(self, group, blob, start, stop):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            seen.append([each for each in fetcher.transfers if each.state != "waiting"])
            async for part in super().read(group, blob, start, stop):
                yield part

    source = Watching({blob: site.store.path(blob) for facts in all_facts for blob in (facts.blob, facts.pieces)})
    fetches = [asyncio.create_task(fetcher.fetch(wanted(facts), [source])) for facts in all_facts]
    await asyncio.sleep(0)
    assert len(fetcher.transfers) == 6
    await asyncio.gather(*fetches)

    assert max(len(each) for each in seen) == 2
    assert all(store.has(facts.blob) for facts in all_facts)
    shown = seen[-1][-1].to_json()
    assert set(shown) == {"id", "group", "recording", "bytes_done", "bytes_total", "rate", "from", "liars", "state"}
    assert shown["from"] == [SERVER.public.hex()]
    assert fetcher.transfers == []
    fetcher.close()


async def test_two_that_want_the_same_blob_fetch_it_once(site: Site, facts: BlobFacts, fetcher: Fetcher) -> None:
    source = source_of(site, facts)

    await asyncio.gather(*(fetcher.fetch(wanted(facts), [source]) for _ in range(5)))

    assert sum(each.size for each in source.asked if each.blob == facts.blob) == SIZE


async def test_who_stops_while_space_is_reserved_leaves_no_file_open(
    site: Site, facts: BlobFacts, store: FileBlobStore, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserving, reserved = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        reserving.set()
        assert reserved.wait(PATIENCE_S)

    with monkeypatch.context() as patch:
        patch.setattr(partial_module, "reserve", slow)
        fetching = asyncio.create_task(fetcher.fetch(wanted(facts), [source_of(site, facts)]))
        assert await asyncio.to_thread(reserving.wait, PATIENCE_S)
        fetching.cancel()
        await asyncio.sleep(0)
        reserved.set()
        with pytest.raises(asyncio.CancelledError):
            await fetching

    assert [path for path in Path("/proc/self/fd").iterdir() if str(store.incoming) in os.path.realpath(path)] == []


@pytest.mark.needs("a file system of its own")
async def test_a_full_disk_stops_a_fetch_before_its_first_byte(small_disk: Path, site: Site, tmp_path: Path) -> None:
    store = FileBlobStore(small_disk / "blobs")
    fetcher = Fetcher(store)
    large = await site.add(write_file(tmp_path / "large", 12 * MIB, 3))
    source = source_of(site, large)

    with pytest.raises(DiskFullError):
        await fetcher.fetch(wanted(large), [source])

    assert not source.asked, "the list of pieces of what somebody made up may be larger than memory"
    assert list(store.incoming.iterdir()) == []
    small = await site.add(write_file(tmp_path / "less", 2 * MIB, 4))
    await fetcher.fetch(wanted(small), [source_of(site, small)])
    assert store.has(small.blob)
    fetcher.close()
    store.close()


async def test_a_source_that_sends_byte_by_byte_is_only_slow(tmp_path: Path, site: Site, store: FileBlobStore, fetcher: Fetcher) -> None:
    facts = await site.add(write_file(tmp_path / "small", 5000, 5))

    class Drips(FileSource):
        async def read(self, group, blob, start, stop):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            async for part in super().read(group, blob, start, stop):
                for byte in part:
                    yield bytes([byte])

    await fetcher.fetch(wanted(facts), [Drips({blob: site.store.path(blob) for blob in (facts.blob, facts.pieces)})])

    check_arrived(store, facts, tmp_path / "small")
