"""A peer whose disk fills at any of its writes, beside one whose disk does not: a real file system of 8 MiB, filled to the last few KiB.

Whatever could not be written was not acknowledged; whoever asked is told; and everything goes on by itself when there is room.
"""

import asyncio
import contextlib
import os
import random
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from peer import node
from peer.api.models import Group, InvitationMade
from peer.cli.sample import write_sample
from peer.core.byte_store import FileNote
from peer.core.identity import BlobId
from peer.errors import DiskFullError
from peer.one_error import one_error
from peer.store.ledger import open_ledger
from tests.conftest import LONG
from tests.integration.running_peer import RunningPeer, running_peer
from tests.patience import PATIENCE_S

GROUPS, RECORDINGS = "/api/v1/sync/groups", "/api/v1/recordings"
ROUNDS = 24 if LONG else 8
LEVELS = (0, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 512, 1024)
"""KiB that are left."""
TRIES = 20
SETTINGS: dict[str, Any] = {"disk": {"floor_bytes": 0}, "cache_bytes": 0, "receipt_delay": 3600}
"""Nothing is written that was not asked for."""


class Disk(NamedTuple):
    """A file system of a few MiB."""

    folder: Path

    @property
    def filler(self) -> Path:
        return self.folder / "filler"

    def fill(self, left: int) -> None:
        """Take all but so many bytes."""
        with self.filler.open("wb") as file:
            for _ in range(TRIES):  # A peer may write between the look and the deed.
                state = os.statvfs(self.folder)
                size = os.fstat(file.fileno()).st_size + state.f_bavail * state.f_frsize - left
                with contextlib.suppress(OSError):
                    return os.posix_fallocate(file.fileno(), 0, max(size, 1))
        raise AssertionError("this disk cannot be filled")

    def free(self) -> None:
        """Give it back."""
        self.filler.unlink(missing_ok=True)


class Pair(NamedTuple):
    """Both peers, in one group."""

    small: RunningPeer
    large: RunningPeer
    disk: Disk
    folder: Path
    """For the files of recordings, on a large disk."""

    def bag(self, name: str, size: int = 64 * 1024) -> str:
        path = self.folder / f"{name}.mcap"
        write_sample(path, size, time.time_ns())
        return str(path)


@asynccontextmanager
async def joined(small_disk: Path, folder: Path, **settings: Any) -> AsyncIterator[Pair]:
    async with (
        running_peer(folder / "large", "large", **SETTINGS) as large,
        running_peer(small_disk / "small", "small", **{**SETTINGS, **settings}) as small,
    ):
        await large.post(GROUPS, {"name": "lab"}, Group, status=201)
        made = await large.post(f"{GROUPS}/lab/invitations", {}, InvitationMade, status=201)
        await small.post(f"{GROUPS}/join", {"invitation": made["invitation"]})
        yield Pair(small, large, Disk(small_disk), folder)


async def ask(peer: RunningPeer, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
    """What comes of a request that may fail."""
    async with peer.http.request(method, f"{peer.url}{path}", json=body, timeout=aiohttp.ClientTimeout(PATIENCE_S)) as answer:
        return answer.status, await answer.json(content_type=None)


async def acknowledged(pair: Pair) -> int:
    """How many events of the large one the small one said that it holds, by the word of the large one's link."""
    status = await pair.large.get("/api/v1/status")
    link = next((each for each in status["links"] if each["peer_id"] == pair.small.peer_id and each["state"] == "up_to_date"), None)
    return int(status["groups"][0]["events"]) - int(link["unsent_events"]) if link else 0


def durable(peer: RunningPeer, *, own: bool = False) -> int:
    """How many events are in the log, or those that it wrote itself, by another program's eyes."""
    which = "JOIN branches USING (branch_no) JOIN logs USING (log_no) JOIN open_logs USING (log)" if own else ""
    with sqlite3.connect(f"file:{peer.root / 'log.db'}?mode=ro", uri=True) as connection:
        (count,) = connection.execute(f"SELECT count(*) FROM events {which}").fetchone()  # noqa: S608  (our own words)
    connection.close()
    return int(count)


async def recovered(pair: Pair) -> None:
    """Wait until both are well, and alike."""
    shown: list[Any] = []
    try:
        async with asyncio.timeout(2 * PATIENCE_S):
            while True:
                small, large = [await each.get("/api/v1/status") for each in (pair.small, pair.large)]
                ready, _ = await ask(pair.small, "GET", "/health/ready")
                groups = [each["groups"][0] for each in (small, large)]
                full = [each["text"] for each in small["problems"] if each["code"] == "disk_full"]
                events = {each[kind] for each in groups for kind in ("events", "view_events")}
                if ready == 200 and len({each["state_digest"] for each in groups}) == 1 and len(events) == 1 and not full:
                    return
                shown = [ready, groups, full, [[each[key] for key in ("state", "phase", "last_error")] for each in large["links"]]]
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise AssertionError(shown) from error


def place_of(detail: str) -> str:
    """Which of our files there was no room for."""
    for name in ("log.db", "views.db", "bytes.db", "ledger.db", ".key"):
        if name in detail:
            return name
    return "blobs"


async def one_round(pair: Pair, number: int, left: int, seen: Counter[str]) -> None:
    """Fill the disk, let everything be tried, look at what was told, and make room again."""
    here, there = pair.bag(f"small-{number}"), pair.bag(f"large-{number}")
    pair.disk.fill(left)
    try:
        orders = [
            (pair.small, "POST", RECORDINGS, {"paths": [here]}),
            (pair.small, "PATCH", f"{RECORDINGS}/first", {"properties": {"title": "x" * 4000}}),
            (pair.large, "POST", RECORDINGS, {"paths": [there]}),
            (pair.small, "POST", f"{RECORDINGS}/first/tags", {"add": [f"tag-{number}"]}),
        ]
        for peer, method, path, body in orders:
            before = durable(peer, own=True)
            status, document = await ask(peer, method, path, body)
            if status >= 300:
                assert peer is pair.small, document
                assert (status, document["code"]) == (503, "disk_full"), document
                assert document["fix"]
                seen[f"told of {place_of(document['detail'])}"] += 1
                if "views.db" not in document["detail"]:
                    assert durable(peer, own=True) == before, "what was refused was not written"
        promised = await acknowledged(pair)
        assert durable(pair.small) >= promised
        ready, _ = await ask(pair.small, "GET", "/health/ready")
        seen["not ready"] += ready == 503
    finally:
        pair.disk.free()
    await recovered(pair)
    status, document = await ask(pair.small, "POST", RECORDINGS, {"paths": [here]})
    assert status == 201 or document["code"] == "name_taken", document
    await recovered(pair)


@pytest.mark.parametrize("fetch", ["none", "all"])
async def test_whatever_the_disk_has_no_room_for_is_told_and_nothing_is_lost(small_disk: Path, tmp_path: Path, fetch: str) -> None:
    chance, seen = random.Random(7), Counter[str]()
    levels = [*LEVELS, *(chance.randrange(0, 1024) for _ in range(ROUNDS))]
    chance.shuffle(levels)
    async with joined(small_disk, tmp_path, fetch=fetch) as pair:
        await pair.small.post(RECORDINGS, {"paths": [pair.bag("first")]}, status=201)
        await recovered(pair)
        for number, kib in enumerate(sorted(levels[:ROUNDS])):
            await one_round(pair, number, kib * 1024, seen)
        if fetch == "all":
            await complete(pair.small)
        verified = await pair.small.post("/api/v1/verify", {"deep": True})
        assert verified["ok"], verified["problems"]
        events = [(await each.get(f"{GROUPS}/lab"))["events"] for each in (pair.small, pair.large)]
        assert events[0] == events[1]
    print(dict(seen))  # noqa: T201  (how often each was hit)
    for what in ("told of log.db", "told of views.db", "told of blobs", "not ready"):
        assert seen[what], f"{what}: never, of {dict(seen)}"


async def complete(peer: RunningPeer) -> None:
    """Wait until all bytes are here."""
    async with asyncio.timeout(2 * PATIENCE_S):
        while any(each["state"] != "local" for each in (await peer.get(RECORDINGS))["recordings"]):  # noqa: ASYNC110  (it tells nobody)
            await asyncio.sleep(0.1)


async def test_a_fetch_that_meets_a_full_disk_goes_on_by_itself(small_disk: Path, tmp_path: Path) -> None:
    """At each of its writes: that it was asked for, the space of the file, the piece list, the name."""
    seen = Counter[str]()
    async with joined(small_disk, tmp_path, fetch="none") as pair:
        for number, kib in enumerate(range(0, 160, 20 if not LONG else 8)):
            made = await pair.large.post(RECORDINGS, {"paths": [pair.bag(f"large-{number}")]}, status=201)
            by_id = f"{RECORDINGS}/{made['id']}"
            await pair.small.until(by_id, lambda found: found["finalized"])
            pair.disk.fill(kib * 1024)
            status, document = await ask(pair.small, "POST", f"{by_id}/fetch")
            assert status == 202 or (status, document["code"]) == (503, "disk_full"), document
            seen["refused" if status == 503 else "taken"] += 1
            if status == 202:
                seen[await waits_or_comes(pair.small, by_id)] += 1
            pair.disk.free()
            while status == 503:
                status, document = await ask(pair.small, "POST", f"{by_id}/fetch")
            await local(pair.small, by_id)
        verified = await pair.small.post("/api/v1/verify", {"deep": True})
        assert verified["ok"], verified["problems"]
    print(dict(seen))  # noqa: T201  (how often each was hit)
    for what in ("taken", "waits", "comes"):
        assert seen[what], f"{what}: never, of {dict(seen)}"


async def waits_or_comes(peer: RunningPeer, by_id: str) -> str:
    """What becomes of a fetch."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if (await peer.get(by_id))["state"] == "local":
                return "comes"
            if [each for each in (await peer.get("/api/v1/status"))["problems"] if each["code"] == "disk_full"]:
                return "waits"
            await asyncio.sleep(0.02)


async def local(peer: RunningPeer, by_id: str) -> None:
    """Wait until its bytes are here."""
    async with asyncio.timeout(2 * PATIENCE_S):
        while (await peer.get(by_id))["state"] != "local":  # noqa: ASYNC110  (it tells nobody)
            await asyncio.sleep(0.05)


async def test_bytes_that_do_not_fit_wait_while_events_flow_and_come_when_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    async with joined(small_disk, tmp_path) as pair:
        pair.disk.fill(2 * 1024 * 1024)
        made = await pair.large.post(RECORDINGS, {"paths": [pair.bag("large", 3 * 1024 * 1024)]}, status=201)
        by_id = f"{RECORDINGS}/{made['id']}"
        await pair.small.until(by_id, lambda found: found["finalized"])
        await pair.small.until("/api/v1/status", lambda found: "disk_full" in [each["code"] for each in found["problems"]])
        await pair.large.call("PATCH", by_id, json={"properties": {"title": "still here"}})
        await pair.small.until(by_id, lambda found: found["title"] == "still here")
        assert (await ask(pair.small, "GET", "/health/ready"))[0] == 200, "events do not need that room"
        assert not list((pair.small.root / "blobs" / "incoming").iterdir()), "nothing is reserved in vain"
        pair.disk.free()
        await local(pair.small, by_id)
        verified = await pair.small.post("/api/v1/verify", {"deep": True})
        assert verified["ok"], verified["problems"]


@pytest.mark.parametrize(("disk", "fits"), [({"floor_bytes": 2**50}, False), ({"floor_bytes": 0, "quota_bytes": 600 * 1024}, True)])
async def test_the_floor_and_the_quota_stop_bytes_and_nothing_else(tmp_path: Path, disk: dict[str, int], *, fits: bool) -> None:
    async with running_peer(tmp_path / "data", "alpha", disk=disk) as peer:
        await peer.post(GROUPS, {"name": "lab"}, Group, status=201)
        sizes = {"small": 256 * 1024, "large": 512 * 1024}
        for name, size in sizes.items():
            write_sample(tmp_path / f"{name}.mcap", size, time.time_ns())
        taken = await ask(peer, "POST", RECORDINGS, {"paths": [str(tmp_path / "small.mcap")]})
        assert taken[0] == (201 if fits else 503)
        status, document = await ask(peer, "POST", RECORDINGS, {"paths": [str(tmp_path / "large.mcap")]})
        assert (status, document["code"]) == (503, "disk_full")
        shown = (await peer.get("/api/v1/status"))["disk"]
        assert (shown["floor_bytes"], shown["quota_bytes"]) == (disk["floor_bytes"], disk.get("quota_bytes"))
        if fits:
            assert 256 * 1024 <= shown["used_bytes"] <= 600 * 1024
        await peer.call("PATCH", f"{GROUPS}/lab/settings", json={"key": "description", "value": "goes on"})


def test_what_the_ledger_of_bytes_could_not_write_it_writes_later(small_disk: Path) -> None:
    """Else what went while the disk was full would be missed."""
    disk, blobs = Disk(small_disk), [BlobId(number.to_bytes(32, "big")) for number in range(200)]
    ledger = open_ledger(small_disk / "ledger.db")
    for blob in blobs[::2]:
        ledger.note(blob, FileNote(1, 2, 3, 4, is_sound=True))
    disk.fill(0)
    for blob in blobs[1::2]:
        ledger.note(blob, FileNote(1, 2, 3, 4, is_sound=True))
    for blob in blobs[::2]:
        ledger.forget(blob)
    known = list(ledger.blobs())
    disk.free()
    assert list(ledger.blobs()) == blobs[1::2]
    assert known != blobs[1::2], "the disk was not full"
    ledger.close()
    later = open_ledger(small_disk / "ledger.db")
    assert list(later.blobs()) == blobs[1::2]
    later.close()


async def test_a_peer_that_cannot_even_open_its_files_says_why_and_starts_when_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    async with joined(small_disk, tmp_path, fetch="none") as pair:
        await pair.small.post(RECORDINGS, {"paths": [pair.bag("first")]}, status=201)
        await recovered(pair)
    disk = Disk(small_disk)
    disk.fill(0)
    with pytest.raises(DiskFullError) as told, one_error():
        async with running_peer(small_disk / "small", "small", **SETTINGS, fetch="none"):
            pass
    assert "no space left" in told.value.text
    assert told.value.fix
    disk.free()
    async with running_peer(small_disk / "small", "small", **SETTINGS, fetch="none") as small:
        assert (await small.get(f"{RECORDINGS}/first"))["state"] == "local"
        verified = await small.post("/api/v1/verify", {"deep": True})
        assert verified["ok"], verified["problems"]


async def test_a_peer_on_a_full_disk_waits_for_room_and_starts_by_itself(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few bytes are left, and whatever is the first that does not fit."""
    root, disk, waits = small_disk / "small", Disk(small_disk), Counter[str]()
    async with running_peer(root, "small", **SETTINGS) as small:
        await small.post(GROUPS, {"name": "lab"}, Group, status=201)
    loop = asyncio.get_running_loop()
    stops: list[Callable[[], None]] = []
    monkeypatch.setattr(loop, "add_signal_handler", lambda _, stop: stops.append(stop))
    monkeypatch.setattr(node, "set_up_logs", lambda *_: None)
    monkeypatch.setattr(node._log, "warning", lambda event, **_: waits.update([event]))
    for kib in (0, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384):
        disk.fill(kib * 1024)
        ready: asyncio.Future[dict[str, str]] = loop.create_future()
        serving = asyncio.create_task(node.serve(root, ready.set_result))
        before = waits.total()
        async with asyncio.timeout(PATIENCE_S):
            while waits.total() == before and not ready.done() and not serving.done():  # noqa: ASYNC110  (nobody tells)
                await asyncio.sleep(0.01)
        disk.free()
        changes: list[asyncio.Future[Any]] = [serving, ready]
        await asyncio.wait(changes, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            await serving
        assert ready.done()
        stops[-1]()
        await serving
    assert waits["the disk is too full to start: the peer waits until there is room"] > 1
    assert waits.total() < 12, f"where some was left it started: {waits}"
