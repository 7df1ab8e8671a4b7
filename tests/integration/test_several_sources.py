"""Bytes from several peers at once, and again after the end of a process: all counted at proxies in between."""

import asyncio
import contextlib
import hashlib
import json
import os
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from peer.blobs import plan, progress
from peer.blobs.cache import PieceCache
from peer.blobs.partial import PartialFile
from peer.blobs.store import FileBlobStore
from peer.blobs.transfer import LIARS_MAX, REQUESTS_MAX, WAITING_BYTES_MAX, Fetcher
from peer.cli.sample import write_sample
from peer.core.byte_store import BlobFacts
from peer.core.hashing import hash_bytes
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import WantedBlob
from tests.blob_site import GROUP, MIB, OTHER_GROUP, SERVER, FileSource, serving, wanted, write_file
from tests.counting_proxy import CountingProxy, counting_proxy
from tests.end_to_end.processes import free_port
from tests.integration.running_peer import RunningPeer, running_peer
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
LONG = os.environ.get("RECMESH_TEST_LONG") == "1"
GROUPS = "/api/v1/sync/groups"
RECORDING = "/api/v1/recordings/run"
SIZE = 48 * MIB
SLOW_RATE = MIB
"""Bytes a second: the slow one would take most of a minute for its third."""

KILLS = 20
KILLED_SIZE = 40 * MIB
HEADS_MAX = 256 * 1024
"""Bytes of answers beside those of the blob."""


def blob_path(folder: Path, name: str) -> Path:
    """Where a peer keeps a blob."""
    return folder / "blobs" / name[:2] / name[2:4] / name


@contextlib.asynccontextmanager
async def behind_proxy(folder: Path, name: str, stack: AsyncExitStack) -> AsyncIterator[tuple[RunningPeer, CountingProxy]]:
    """A peer that tells others to dial it through a proxy."""
    port = free_port()
    proxy = await stack.enter_async_context(counting_proxy(f"http://127.0.0.1:{port}"))
    peer = await stack.enter_async_context(running_peer(folder / name, name, listen=f"127.0.0.1:{port}", advertise=[proxy.url]))
    yield peer, proxy


async def joined(first: RunningPeer, other: RunningPeer) -> None:
    made = await first.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": 600_000})
    await other.post(f"{GROUPS}/join", {"invitation": made["invitation"]})


@pytest.mark.long_story
async def test_of_three_peers_the_liar_is_named_and_the_slow_one_is_not_waited_for(tmp_path: Path) -> None:
    write_sample(tmp_path / "run.mcap", SIZE, 1)
    async with AsyncExitStack() as stack:
        alpha, good = await stack.enter_async_context(behind_proxy(tmp_path, "alpha", stack))
        beta, slow = await stack.enter_async_context(behind_proxy(tmp_path, "beta", stack))
        gamma, lying = await stack.enter_async_context(behind_proxy(tmp_path, "gamma", stack))
        delta = await stack.enter_async_context(running_peer(tmp_path / "delta", "delta", listen="none", fetch="none"))
        await alpha.post(GROUPS, {"name": "lab"})
        added = await alpha.post("/api/v1/recordings", {"paths": [str(tmp_path / "run.mcap")]})
        for peer in (beta, gamma):
            await joined(alpha, peer)
            await peer.until(RECORDING, lambda recording: recording["state"] == "local")
        await joined(alpha, delta)
        for name, peer, proxy in (("beta", beta, slow), ("gamma", gamma, lying)):
            there = {"name": name, "sync_endpoint": proxy.url, "peer_id": peer.peer_id, "shared_groups": ["lab"]}
            await delta.post("/api/v1/sync/peers", there)
        await delta.until("/api/v1/status", lambda status: sum(link["phase"] == "push" for link in status["links"]) == 3)
        slow.answers_per_s, lying.lies = SLOW_RATE, True
        before = {proxy: proxy.carried["out"] for proxy in (good, slow, lying)}

        begun = asyncio.get_running_loop().time()
        await delta.post(f"{RECORDING}/fetch")
        await delta.until(RECORDING, lambda recording: recording["state"] == "local")
        took = asyncio.get_running_loop().time() - begun

        carried = {name: proxy.carried["out"] - before[proxy] for name, proxy in (("good", good), ("slow", slow), ("lying", lying))}
        print(f"{took:.1f} s; carried {carried}; {slow.happened['slow']} blocks slowly, {lying.happened['lie']} wrong")  # noqa: T201
        assert slow.happened["slow"]
        assert lying.happened["lie"]
        assert carried["good"] >= SIZE / 3
        assert carried["slow"] >= 64 * 1024
        assert took < SIZE / 3 / SLOW_RATE, "less than the slow one alone needs for its third"
        assert sum(carried.values()) < 1.5 * SIZE
        problems = (await delta.get("/api/v1/status"))["problems"]
        assert [gamma.peer_id in problem["text"] for problem in problems if problem["code"] == "blob_mismatch"] == [True]
        (chunk,) = added["chunks"]
        came = blob_path(tmp_path / "delta", chunk["blob_id"]).read_bytes()
        assert hashlib.sha256(came).hexdigest() == chunk["sha256"]
        assert came == (tmp_path / "run.mcap").read_bytes()


@contextlib.asynccontextmanager
async def fetching_process(folder: Path, url: str, facts: BlobFacts) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that fetches one blob into `folder`."""
    folder.mkdir(exist_ok=True)
    order = {name: value.hex() if isinstance(value, bytes) else value for name, value in facts._asdict().items()}
    (folder / "order.json").write_text(json.dumps({**order, "folder": str(folder / "blobs"), "endpoint": url}))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", ROOT / "tests" / "blob_site.py", folder / "order.json", env=environment, cwd=ROOT
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        async with asyncio.timeout(PATIENCE_S):
            await process.wait()


def right_pieces(partial: Path, source: Path) -> int:
    """Bytes of pieces that are right in a partial file, compared one by one with what they should be."""
    if not partial.exists():
        return 0
    right = 0
    with partial.open("rb") as here, source.open("rb") as there:
        while piece := there.read(MIB):
            right += len(piece) if here.read(MIB) == piece else 0
    return right


@pytest.mark.long_story
async def test_after_a_kill_at_60_percent_only_missing_pieces_travel(tmp_path: Path) -> None:
    """Kill -9 by a signal once the proxy has carried 60 % of the bytes: in the middle of whatever it is doing then."""
    kills, kept = 0, []
    async with serving(tmp_path / "served") as site:
        facts = await site.add(write_file(tmp_path / "source", KILLED_SIZE))
        for number in range(KILLS if LONG else KILLS // 4):
            folder = tmp_path / f"killed-{number}"
            partial = folder / "blobs" / "incoming" / f"{facts.blob.hex()}.partial"
            async with counting_proxy(site.endpoint) as proxy, fetching_process(folder, proxy.url, facts) as process:
                async with asyncio.timeout(PATIENCE_S):
                    while proxy.carried["out"] < 0.6 * KILLED_SIZE:  # noqa: ASYNC110  (what is waited for has no event of its own)
                        await asyncio.sleep(0)
                    process.kill()
                    kills += await process.wait() == -9
            right = right_pieces(partial, tmp_path / "source")
            kept.append(right)
            async with counting_proxy(site.endpoint) as proxy, fetching_process(folder, proxy.url, facts) as process:
                async with asyncio.timeout(PATIENCE_S):
                    assert await process.wait() == 0
                assert KILLED_SIZE - right <= proxy.carried["out"] <= KILLED_SIZE - right + HEADS_MAX
            assert blob_path(folder, facts.blob.hex()).read_bytes() == (tmp_path / "source").read_bytes()
    print(f"{kills} kills; kept {[round(each / MIB) for each in kept]} of {KILLED_SIZE // MIB} MiB")  # noqa: T201
    assert kills == len(kept)
    assert sum(kept) >= 0.4 * KILLED_SIZE * len(kept), "the kills were in the middle of transfers"
    assert max(kept) < KILLED_SIZE


class Gate(FileSource):
    """Counts what it gives at once with others, and may wait before it does."""

    now = 0
    most = 0

    def __init__(self, files: dict[BlobId, Path], peer: PeerId, gate: asyncio.Event | None = None) -> None:
        super().__init__(files, peer=peer)
        self.given = 0
        self.waits = 0
        self.least = MIB // 2
        """It waits before it gives as much."""
        self._gate = gate

    async def read(self, group: GroupId, blob: BlobId, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        Gate.now += 1
        Gate.most = max(Gate.most, Gate.now)
        try:
            if self._gate is not None and stop - start > self.least:
                self.waits += 1
                await self._gate.wait()
            async for data in super().read(group, blob, start, stop):
                self.given += len(data)
                yield data
        finally:
            Gate.now -= 1


@asynccontextmanager
async def held_up(folder: Path, facts: BlobFacts, sources: Sequence[Gate]) -> AsyncIterator[tuple[Fetcher, FileBlobStore, asyncio.Task[None]]]:
    """A fetch from these that waits for the first. It may take as long as anything."""
    store = FileBlobStore(folder / "blobs")
    fetcher = Fetcher(store)
    fetch = asyncio.create_task(fetcher.fetch(wanted(facts), sources))
    async with asyncio.timeout(PATIENCE_S):
        while not sources[0].waits:  # noqa: ASYNC110  (what is waited for has no event of its own)
            await asyncio.sleep(0)
        yield fetcher, store, fetch
    fetcher.close()
    store.close()


async def test_no_more_is_read_than_can_be_hashed_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk takes nothing only so many bytes lie in memory, however much somebody would give."""
    go_on = threading.Event()
    take = PartialFile.take

    def waits(file: PartialFile, piece: int, data: memoryview) -> "Future[None] | None":
        assert go_on.wait(PATIENCE_S)
        return take(file, piece, data)

    monkeypatch.setattr(PartialFile, "take", waits)
    async with serving(tmp_path / "served") as site:
        facts = await site.add(write_file(tmp_path / "source", 20 * MIB))
        source = Gate({blob: site.store.path(blob) for blob in (facts.blob, facts.pieces)}, SERVER.peer_id)
        store = FileBlobStore(tmp_path / "blobs")
        fetcher = Fetcher(store)
        fetch = asyncio.create_task(fetcher.fetch(wanted(facts), [source]))
        try:
            async with asyncio.timeout(PATIENCE_S):
                while source.given < WAITING_BYTES_MAX:  # noqa: ASYNC110  (what is waited for has no event of its own)
                    await asyncio.sleep(0)
                for _ in range(1000):
                    await asyncio.sleep(0)
            assert source.given <= WAITING_BYTES_MAX + 3 * MIB
        finally:
            go_on.set()
            await fetch
            fetcher.close()
            store.close()


async def test_of_all_blobs_together_few_requests_are_under_way(tmp_path: Path) -> None:
    gate = asyncio.Event()
    Gate.now = Gate.most = 0
    async with serving(tmp_path / "served") as site:
        store = FileBlobStore(tmp_path / "blobs")
        fetcher = Fetcher(store)
        fetches = []
        for number in range(4):
            facts = await site.add(write_file(tmp_path / f"source-{number}", 12 * MIB, number))
            files = {blob: site.store.path(blob) for blob in (facts.blob, facts.pieces)}
            sources = [Gate(files, PeerId(bytes([peer]) * 32), gate) for peer in range(4)]
            fetches.append(asyncio.create_task(fetcher.fetch(wanted(facts), sources)))
        async with asyncio.timeout(PATIENCE_S):
            while Gate.now < REQUESTS_MAX:  # noqa: ASYNC110  (as above)
                await asyncio.sleep(0)
            gate.set()
            await asyncio.gather(*fetches)
        fetcher.close()
        store.close()
    assert REQUESTS_MAX <= Gate.most <= REQUESTS_MAX + 3, "beside the one that each blob may have"


async def test_pieces_that_somebody_read_here_do_not_travel_again(tmp_path: Path) -> None:
    """One of them is damaged by now: that one does."""
    async with serving(tmp_path / "served") as site:
        facts = await site.add(write_file(tmp_path / "source", 6 * MIB + 5))
        data, cache = (tmp_path / "source").read_bytes(), PieceCache(tmp_path / "cache", 64 * MIB)
        for piece in (0, 2, 3, 6):
            part = data[piece * MIB : (piece + 1) * MIB]
            cache.put(GROUP, hash_bytes(part), part)
        next((tmp_path / "cache").glob(f"*{hash_bytes(data[2 * MIB : 3 * MIB]).hex()}")).write_bytes(b"damaged")
        elsewhere = data[4 * MIB : 5 * MIB]
        cache.put(OTHER_GROUP, hash_bytes(elsewhere), elsewhere)
        source = FileSource({blob: site.store.path(blob) for blob in (facts.blob, facts.pieces)})
        store = FileBlobStore(tmp_path / "blobs")
        fetcher = Fetcher(store)
        fetcher.take_from(cache)

        await fetcher.fetch(wanted(facts), [source])

        assert store.path(facts.blob).read_bytes() == data
        assert [each[1:] for each in source.asked if each.blob == facts.blob] == [(MIB, 2 * MIB), (4 * MIB, 2 * MIB)]
        fetcher.close()
        store.close()


async def test_members_that_are_silent_keep_nobody_from_being_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as are asked at once, and none of them ever fails."""
    monkeypatch.setattr(plan, "PATIENCE_MS", 200)
    never = asyncio.Event()
    async with serving(tmp_path / "served") as site:
        facts = await site.add(write_file(tmp_path / "source", 12 * MIB))
        files = {blob: site.store.path(blob) for blob in (facts.blob, facts.pieces)}
        silent = [Gate(files, PeerId(bytes([peer]) * 32), never) for peer in range(plan.PROVIDERS_MAX)]
        store = FileBlobStore(tmp_path / "blobs")
        fetcher = Fetcher(store)

        async with asyncio.timeout(PATIENCE_S):
            await fetcher.fetch(wanted(facts), [*silent, FileSource(files)])

        assert store.path(facts.blob).read_bytes() == (tmp_path / "source").read_bytes()
        assert all(len(each.asked) <= 1 for each in silent)
        assert fetcher.problems() == []
        fetcher.close()
        store.close()


@pytest.mark.parametrize("silent_about", ["pieces", "list"])
async def test_who_turns_up_while_a_blob_is_under_way_is_asked_at_once(tmp_path: Path, silent_about: str) -> None:
    """The only one that was there when it began says nothing."""
    never = asyncio.Event()
    async with serving(tmp_path / "served") as site:
        facts = await site.add(write_file(tmp_path / "source", 12 * MIB))
        files = {blob: site.store.path(blob) for blob in (facts.blob, facts.pieces)}
        silent = Gate(files, PeerId(b"s" * 32), never)
        silent.least = MIB // 2 if silent_about == "pieces" else 0
        async with held_up(tmp_path, facts, [silent]) as (fetcher, store, fetch):
            fetcher.offer(facts.blob, [silent])
            fetcher.offer(facts.blob, [silent, FileSource(files)])

            await fetch

            assert store.path(facts.blob).read_bytes() == (tmp_path / "source").read_bytes()
            assert len([each for each in silent.asked if each.blob == facts.blob]) == 0, "it never got so far"
            fetcher.offer(facts.blob, [silent])


async def test_who_is_at_another_address_now_is_not_waited_for_where_it_was(tmp_path: Path) -> None:
    never = asyncio.Event()
    async with serving(tmp_path / "served") as site:
        facts = await site.add(write_file(tmp_path / "source", 12 * MIB))
        files = {blob: site.store.path(blob) for blob in (facts.blob, facts.pieces)}
        before, now = Gate(files, SERVER.peer_id, never), FileSource(files)
        async with held_up(tmp_path, facts, [before]) as (fetcher, store, fetch):
            fetcher.offer(facts.blob, [FileSource(files, peer=PeerId(b"o" * 32), ends_at=0)])
            await asyncio.sleep(0)
            fetcher.offer(facts.blob, [now])

            await fetch

            assert store.path(facts.blob).read_bytes() == (tmp_path / "source").read_bytes()
            assert before.waits == 1


async def test_who_gives_next_to_nothing_is_told_of_but_not_while_it_is_this_site_that_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PATIENCE_S", 0.2)
    monkeypatch.setattr(progress, "SLOWEST_RATE", 1 << 40)
    never = asyncio.Event()
    async with serving(tmp_path / "served") as site:
        facts = await site.add(write_file(tmp_path / "source", 12 * MIB))
        silent = Gate({blob: site.store.path(blob) for blob in (facts.blob, facts.pieces)}, PeerId(b"s" * 32), never)
        store = FileBlobStore(tmp_path / "blobs")
        fetcher = Fetcher(store)
        fetch = asyncio.create_task(fetcher.fetch(wanted(facts), [silent]))
        async with asyncio.timeout(PATIENCE_S):
            while not fetcher.slow():  # noqa: ASYNC110  (it is asked, and tells nobody)
                await asyncio.sleep(0.01)
        assert fetcher.slow() == {facts.blob: {silent.peer_id.hex()}}
        fetcher.is_limited = lambda: True
        assert fetcher.slow() == {}
        fetch.cancel()
        await asyncio.wait([fetch], timeout=PATIENCE_S)
        fetcher.close()
        store.close()


def test_so_many_liars_are_remembered(tmp_path: Path) -> None:
    store = FileBlobStore(tmp_path / "blobs")
    fetcher = Fetcher(store)
    lied = WantedBlob(GROUP, EventId(bytes(32)), BlobId(bytes(32)), 1, MIB, BlobId(bytes(32)), bytes(32), SERVER.peer_id)
    for number in range(LIARS_MAX + 5):
        fetcher._is_liar(lied, PeerId(number.to_bytes(32, "big")))

    assert len(fetcher.problems()) == LIARS_MAX
    assert (LIARS_MAX + 4).to_bytes(32, "big").hex() in fetcher.problems()[-1].text
    fetcher.close()
    store.close()
