"""Bytes on their way: paused, cancelled, overtaken, tried again; over restarts, too. What travels is counted at a proxy."""

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from peer.api.transfer_models import Transfer, TransferLimits, TransfersChanged
from peer.core.group import read_invitation
from tests.counting_proxy import CountingProxy, counting_proxy
from tests.integration.running_peer import RunningPeer, running_peer
from tests.mcap_samples import write_mcap
from tests.patience import PATIENCE_S

GROUPS = "/api/v1/sync/groups"
RECORDINGS = "/api/v1/recordings"
TRANSFERS = "/api/v1/transfers"
LIMIT = f"{TRANSFERS}/limit"
SIZE = 400_000
SLOW = "off:100k"


@dataclass
class Scene:
    """A site that records, one that fetches through a proxy, and what was recorded."""

    folder: Path
    recorder: RunningPeer
    proxy: CountingProxy
    blobs: dict[str, str] = field(default_factory=dict)
    """By name of their recordings."""

    async def record(self, name: str) -> str:
        """One more recording of about `SIZE` bytes; its id."""
        path = write_mcap(self.folder / f"{name}.mcap", messages=1, topics=1, payload=random.Random(name).randbytes(SIZE))
        added = await self.recorder.post(RECORDINGS, {"paths": [str(path)], "group": "lab", "name": name})
        self.blobs[name] = added["chunks"][0]["blob_id"]
        return str(added["id"])

    def here(self, fetcher: RunningPeer) -> set[str]:
        """Whose bytes are on the disk of a site, whatever it says."""
        found = {path.name for path in (fetcher.root / "blobs").glob("??/??/*")}
        return {name for name, blob in self.blobs.items() if blob in found}

    @asynccontextmanager
    async def fetcher(self, *, fetch: str = "all") -> AsyncIterator[RunningPeer]:
        """The site that fetches, a member; the same one each time."""
        root = self.folder / "fetcher"
        async with running_peer(root, "fetcher", fetch=fetch, gossip={"enabled": False}) as peer:
            if not await peer.get(GROUPS):
                made = await self.recorder.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": 600_000})
                invitation = read_invitation(made["invitation"])._replace(endpoint=self.proxy.url)
                await peer.post(f"{GROUPS}/join", {"invitation": invitation.to_text()})
            yield peer


@asynccontextmanager
async def made_scene(folder: Path) -> AsyncIterator[Scene]:
    """Nothing is recorded yet."""
    async with AsyncExitStack() as stack:
        recorder = await stack.enter_async_context(running_peer(folder / "recorder", "recorder", gossip={"enabled": False}))
        await recorder.post(GROUPS, {"name": "lab"})
        proxy = await stack.enter_async_context(counting_proxy(f"http://{recorder.listen}"))
        yield Scene(folder, recorder, proxy)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with made_scene(tmp_path) as scene:
        yield scene


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():  # noqa: ASYNC110  (a disk, or another process's answer)
            await asyncio.sleep(0.01)


async def decide(peer: RunningPeer, action: str, which: str | None = None) -> Any:
    return await peer.post(f"{TRANSFERS}/{action}", {"id": which}, TransfersChanged)


async def states(peer: RunningPeer) -> dict[str, str]:
    """Of all transfers that are shown, by blob."""
    return {each["id"]: each["state"] for each in await peer.get(TRANSFERS, Transfer)}


async def all_known(peer: RunningPeer, count: int) -> None:
    await until(lambda: _length(peer, count))


async def _length(peer: RunningPeer, count: int) -> bool:
    return len((await peer.get(RECORDINGS))["recordings"]) == count


async def limit(peer: RunningPeer, text: str | None, of: str | None = None) -> Any:
    return await peer.call("PATCH", LIMIT, json={"limit": text, "peer": of}, model=TransferLimits)


async def test_a_pause_holds_over_a_restart_and_what_goes_on_brings_the_rest_once(scene: Scene) -> None:
    async with scene.fetcher() as peer:
        await decide(peer, "pause")
        for name in ("one", "two"):
            await scene.record(name)
        await all_known(peer, 2)
        await until(lambda: _all_are(peer, 2, "paused"))
        assert (await peer.get("/api/v1/status"))["transfers"][0]["state"] == "paused"
    async with scene.fetcher() as peer:
        await until(lambda: _all_are(peer, 2, "paused"))
        assert not scene.proxy.blobs
        assert (await decide(peer, "resume"))["paused"] is False
        await until(lambda: _is(scene.here(peer), {"one", "two"}))
        await until(lambda: _all_are(peer, 0, ""))
    assert scene.proxy.carried["out"] < 2 * SIZE * 1.3


async def _all_are(peer: RunningPeer, count: int, state: str) -> bool:
    found = await states(peer)
    return len(found) == count and set(found.values()) <= {state}


async def _shows(peer: RunningPeer, expected: dict[str, str]) -> bool:
    return await states(peer) == expected


async def _is(one: object, other: object) -> bool:
    return one == other


async def test_a_pause_stops_what_is_under_way_and_it_goes_on_where_it_was(scene: Scene) -> None:
    async with scene.fetcher() as peer:
        await limit(peer, SLOW)
        await scene.record("one")
        blob = scene.blobs["one"]
        await until(lambda: _is_running(peer, blob))
        await decide(peer, "pause", blob[:8])
        await until(lambda: _is_state(peer, blob, "paused"))
        await limit(peer, None)
        carried = scene.proxy.carried["out"]
        await scene.record("two")
        await until(lambda: _is(scene.here(peer), {"two"}))
        await until(lambda: _shows(peer, {blob: "paused"}))
        assert scene.proxy.carried["out"] - carried < 1.5 * SIZE
        await decide(peer, "resume", "one")
        await until(lambda: _is(scene.here(peer), {"one", "two"}))


async def _is_running(peer: RunningPeer, blob: str) -> bool:
    return (await states(peer)).get(blob) == "receiving"


async def _is_state(peer: RunningPeer, blob: str, state: str) -> bool:
    return (await states(peer)).get(blob) == state


async def test_what_is_cancelled_comes_no_more_until_somebody_asks_and_leaves_nothing_behind(scene: Scene) -> None:
    async with scene.fetcher() as peer:
        await limit(peer, SLOW)
        recording = await scene.record("one")
        blob = scene.blobs["one"]
        await until(lambda: _is_running(peer, blob))
        assert (await decide(peer, "cancel", recording[:10]))["transfers"] == [blob]
        await until(lambda: _is_state(peer, blob, "cancelled"))
        await limit(peer, None)
        assert not [path for path in (peer.root / "blobs" / "incoming").iterdir() if blob in path.name]
    async with scene.fetcher() as peer:
        await until(lambda: _is_state(peer, blob, "cancelled"))
        await scene.record("two")
        await until(lambda: _is(scene.here(peer), {"two"}))
        await peer.post(f"{RECORDINGS}/one/fetch")
        await until(lambda: _is(scene.here(peer), {"one", "two"}))


async def test_what_was_asked_for_by_hand_comes_after_a_restart_too(scene: Scene) -> None:
    async with scene.fetcher(fetch="none") as peer:
        await scene.record("one")
        await scene.record("two")
        await all_known(peer, 2)
        await decide(peer, "pause")
        await peer.post(f"{RECORDINGS}/one/fetch")
        await until(lambda: _is_state(peer, scene.blobs["one"], "paused"))
    async with scene.fetcher(fetch="none") as peer:
        await decide(peer, "resume")
        await until(lambda: _is(scene.here(peer), {"one"}))
        await until(lambda: _shows(peer, {}))
        await until(lambda: _is(asked_for(peer), 0))
        await peer.post(f"{RECORDINGS}/one/fetch")
        await until(lambda: _is(asked_for(peer), 0))
    assert scene.blobs["two"] not in scene.proxy.blobs


def asked_for(peer: RunningPeer) -> int:
    """How many recordings somebody waits for, as it stands on the disk."""
    with contextlib.closing(sqlite3.connect(peer.root / "bytes.db")) as database:
        (count,) = database.execute("SELECT count(*) FROM asked").fetchone()
    return int(count)


async def test_what_somebody_asks_for_overtakes_what_comes_by_itself(scene: Scene) -> None:
    names = [f"backlog-{number}" for number in range(8)]
    async with scene.fetcher() as peer:
        await limit(peer, "off:10k")
        for name in names:
            await scene.record(name)
        await all_known(peer, len(names))
        await until(lambda: _is_any_running(peer))
        before = scene.here(peer)
        last = await scene.record("urgent")
        await until(lambda: _knows(peer, "urgent"))
        await peer.post(f"{RECORDINGS}/{last}/fetch")
        await until(lambda: _is_shown_as_asked_for(peer, scene.blobs["urgent"]))
        await limit(peer, "off:300k")
        await until(lambda: _has(scene, peer, "urgent"))
        assert len(scene.here(peer) - before - {"urgent"}) <= 1, "the backlog came before what somebody waits for"
        await limit(peer, None)
        await until(lambda: _is(scene.here(peer), {*names, "urgent"}))


async def _knows(peer: RunningPeer, name: str) -> bool:
    return name in {each["name"] for each in (await peer.get(RECORDINGS))["recordings"]}


async def _is_shown_as_asked_for(peer: RunningPeer, blob: str) -> bool:
    shown = [(each["why"], each["reason"], each["priority"]) for each in await peer.get(TRANSFERS, Transfer) if each["id"] == blob]
    return shown == [("asked", "asked for", 300)]


async def _is_any_running(peer: RunningPeer) -> bool:
    return "receiving" in (await states(peer)).values()


async def _has(scene: Scene, peer: RunningPeer, name: str) -> bool:
    return name in scene.here(peer)


async def test_limits_are_kept_shown_and_taken_away(scene: Scene) -> None:
    async with scene.fetcher() as peer:
        assert await peer.get(LIMIT, TransferLimits) == {"limit": None, "up": None, "down": None, "peers": []}
        await limit(peer, "1M:2M")
        shown = await limit(peer, "00:00,50k", "recorder")
        assert (shown["limit"], shown["up"], shown["down"]) == ("1M:2M", 1_000_000, 2_000_000)
        assert shown["peers"] == [{"peer_id": scene.recorder.peer_id, "name": "recorder", "limit": "00:00,50k"}]
    async with scene.fetcher() as peer:
        assert await peer.get(LIMIT, TransferLimits) == shown
        assert (await limit(peer, None, scene.recorder.peer_id))["peers"] == []
        assert (await limit(peer, None))["limit"] is None


async def test_what_cannot_be_meant_is_refused_and_changes_nothing(scene: Scene) -> None:
    async with scene.fetcher() as peer:
        for action in ("pause", "resume", "cancel", "retry"):
            refused = await peer.call("POST", f"{TRANSFERS}/{action}", json={"id": "nothing"}, status=404)
            assert refused["code"] == "not_found"
        for text in ("fast", "1", "25:00,1M", "5M 6M"):
            refused = await peer.call("PATCH", LIMIT, json={"limit": text}, status=400)
            assert refused["code"] == "request_invalid"
            assert "fix" in refused
        await peer.call("PATCH", LIMIT, json={"limit": "1M", "peer": "nobody"}, status=404)
        assert (await peer.get(LIMIT))["limit"] is None
