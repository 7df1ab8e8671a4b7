"""A provider that is told of wrong bytes: it hashes its own again, no more often than it wants to, and gives no more of what is wrong."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from peer.blobs.store import FileBlobStore
from peer.blobs.transfer import Fetcher
from peer.core.byte_store import BlobFacts
from peer.core.identity import BlobId
from peer.errors import BlobAbsentError, HandshakeFailedError, NotAMemberError
from peer.store.ledger import open_ledger
from peer.transport import blob_routes
from peer.transport.blob_client import BlobClient
from tests.blob_site import GROUP, MEMBER, MIB, SERVER, STRANGER, FileSource, Site, serving, wanted, write_file
from tests.patience import PATIENCE_S
from tests.small_damage import flip_byte

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with serving(tmp_path / "served") as served:
        yield served


async def rotten(site: Site, path: Path, size: int = 3 * MIB) -> BlobFacts:
    """A blob whose bits changed without a trace, as the site sees it."""
    facts = await site.add(write_file(path, size))
    flip_byte(site.store.path(facts.blob), 5)
    site.store.soundness.note(facts.blob, site.store.path(facts.blob).stat(), is_sound=True)
    return facts


def count_checks(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[BlobId]:
    checked: list[BlobId] = []
    check = site.store.check

    async def counted(blob: BlobId) -> bool:
        checked.append(blob)
        return await check(blob)

    monkeypatch.setattr(site.store, "check", counted)
    return checked


async def test_who_is_told_of_wrong_bytes_gives_no_more_of_them(site: Site, tmp_path: Path) -> None:
    facts = await rotten(site, tmp_path / "source")
    async with BlobClient(MEMBER, SERVER.peer_id, site.endpoint) as client:
        assert len(b"".join([part async for part in client.read(GROUP, facts.blob, 0, 10)])) == 10, "it cannot know"

        await client.doubt(GROUP, facts.blob)

        with pytest.raises(BlobAbsentError):
            _ = [part async for part in client.read(GROUP, facts.blob, 0, 10)]
    assert site.store.is_damaged(facts.blob)


async def test_a_blob_is_hashed_again_once_in_a_while_however_often_somebody_doubts_it(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = [await site.add(write_file(tmp_path / name, MIB, seed)) for seed, name in enumerate(("one", "other"))]
    checked = count_checks(site, monkeypatch)
    async with BlobClient(MEMBER, SERVER.peer_id, site.endpoint) as client:
        for _ in range(3):
            await client.doubt(GROUP, one.blob)
        await client.doubt(GROUP, other.blob)
        assert checked == [one.blob, other.blob]

        monkeypatch.setattr(blob_routes, "CHECK_AGAIN_S", 0.0)
        await client.doubt(GROUP, one.blob)
    assert checked == [one.blob, other.blob, one.blob]
    assert await site.store.is_sound(one.blob), "who doubts without a reason changes nothing"


async def test_few_doubts_are_remembered_and_one_blob_is_hashed_at_a_time(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = [await site.add(write_file(tmp_path / f"{seed}", 1000, seed)) for seed in range(3)]
    monkeypatch.setattr(blob_routes, "CHECKED_MAX", 2)
    begun, may_end = asyncio.Event(), asyncio.Event()
    checked: list[BlobId] = []

    async def slow(blob: BlobId) -> bool:
        checked.append(blob)
        begun.set()
        await may_end.wait()
        return True

    monkeypatch.setattr(site.store, "check", slow)
    async with BlobClient(MEMBER, SERVER.peer_id, site.endpoint) as client, BlobClient(MEMBER, SERVER.peer_id, site.endpoint) as second:
        first = asyncio.create_task(client.doubt(GROUP, facts[0].blob))
        async with asyncio.timeout(20):
            await begun.wait()
            await second.doubt(GROUP, facts[1].blob)
            assert checked == [facts[0].blob]
            may_end.set()
            await first
            for each in facts[1:]:
                await second.doubt(GROUP, each.blob)
    assert checked == [each.blob for each in facts]
    assert list(site.routes._checked) == [each.blob for each in facts[1:]]


async def test_strangers_doubt_nothing(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = await site.add(write_file(tmp_path / "source", MIB))
    checked = count_checks(site, monkeypatch)

    async with BlobClient(STRANGER, SERVER.peer_id, site.endpoint) as client:
        with contextlib.suppress(NotAMemberError, HandshakeFailedError):
            await client.doubt(GROUP, facts.blob)

    assert checked == []


async def test_of_a_damaged_file_only_the_wrong_pieces_travel(site: Site, tmp_path: Path) -> None:
    facts = await site.add(write_file(tmp_path / "source", 8 * MIB))
    store = FileBlobStore(tmp_path / "blobs")
    fetcher = Fetcher(store)
    await store.ingest(tmp_path / "source", take="copy")
    for piece in (2, 5):
        flip_byte(store.path(facts.blob), piece * MIB + 17)
    assert not await store.is_sound(facts.blob)
    source = FileSource({blob: site.store.path(blob) for blob in (facts.blob, facts.pieces)})

    await fetcher.fetch(wanted(facts), [source])

    assert {each.start for each in source.asked if each.blob == facts.blob} == {2 * MIB, 5 * MIB}
    assert sum(each.size for each in source.asked if each.blob == facts.blob) == 2 * MIB
    assert store.path(facts.blob).read_bytes() == (tmp_path / "source").read_bytes()
    assert await store.is_sound(facts.blob)
    fetcher.close()
    store.close()


async def test_a_damaged_piece_list_is_asked_for_again(site: Site, tmp_path: Path) -> None:
    facts = await site.add(write_file(tmp_path / "source", 3 * MIB))
    store = FileBlobStore(tmp_path / "blobs")
    fetcher = Fetcher(store)
    store.put(site.store.path(facts.pieces).read_bytes())
    flip_byte(store.path(facts.pieces))

    await fetcher.fetch(wanted(facts), [FileSource({blob: site.store.path(blob) for blob in (facts.blob, facts.pieces)})])

    assert store.path(facts.blob).read_bytes() == (tmp_path / "source").read_bytes()
    assert await store.is_sound(facts.pieces)
    fetcher.close()
    store.close()


@pytest.mark.parametrize("point", ["fetch.after_piece", "fetch.before_rename", "fetch.after_rename"])
async def test_a_kill_while_damage_is_mended_loses_nothing_and_gives_nothing_wrong(site: Site, tmp_path: Path, point: str) -> None:
    """Whatever has the name of the blob afterwards is looked at again; what came before the kill does not come twice."""
    facts = await site.add(write_file(tmp_path / "source", 4 * MIB))
    right = (tmp_path / "source").read_bytes()
    store = FileBlobStore(tmp_path / "blobs", open_ledger(tmp_path / "ledger.db"))
    await store.ingest(tmp_path / "source", take="copy")
    flip_byte(store.path(facts.blob), 2 * MIB + 17)
    damaged = store.path(facts.blob).read_bytes()
    assert not await store.is_sound(facts.blob)
    store.close()

    hits = tmp_path / "hits"
    order = {"folder": str(tmp_path / "blobs"), "ledger": str(tmp_path / "ledger.db"), "endpoint": site.endpoint}
    order |= {name: value.hex() if isinstance(value, bytes) else str(value) for name, value in facts._asdict().items()}
    (tmp_path / "order.json").write_text(json.dumps(order))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RECMESH_FAILPOINT": point, "RECMESH_FAILPOINT_FILE": str(hits)}
    process = await asyncio.create_subprocess_exec(sys.executable, ROOT / "tests/blob_site.py", tmp_path / "order.json", env=environment, cwd=ROOT)
    async with asyncio.timeout(PATIENCE_S):
        assert await process.wait() == -9
    assert hits.read_text().split() == [point]

    later = FileBlobStore(tmp_path / "blobs", open_ledger(tmp_path / "ledger.db"))
    assert await later.read(facts.blob, 0, 4 * MIB) in {None, right}
    asked = len(site.asked)
    fetcher = Fetcher(later)
    async with BlobClient(MEMBER, SERVER.peer_id, site.endpoint) as client:
        await fetcher.fetch(wanted(facts), [client])
    assert [each for each in site.asked[asked:] if each.blob == facts.blob] == []
    assert await later.read(facts.blob, 0, 4 * MIB) == right
    kept = [path.read_bytes() for path in (tmp_path / "blobs" / "damaged").iterdir()]
    assert kept
    assert set(kept) == {damaged}
    fetcher.close()
    later.close()
