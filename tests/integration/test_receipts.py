"""What sites say of what they hold: written when things are quiet, many blobs in one event, and taken back when bytes are lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from peer.operations import receipting
from tests.integration.running_peer import RunningPeer, running_peer
from tests.integration.test_dropping import GROUPS, RECORDINGS, RUN, blobs, join
from tests.mcap_samples import write_mcap
from tests.patience import PATIENCE_S

FILES = 12
KEEPS = (("alpha", "all"), ("beta", "none"))


@pytest.fixture
async def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[RunningPeer, RunningPeer]]:
    monkeypatch.setattr(receipting, "LOOK_S", 0.1)
    async with AsyncExitStack() as stack:
        found = [await stack.enter_async_context(running_peer(tmp_path / name, name, receipt_delay=0.5, fetch=fetch)) for name, fetch in KEEPS]
        await join(*found)
        yield found[0], found[1]


async def said(peer: RunningPeer, kind: str, by: RunningPeer) -> list[list[str]]:
    """The blobs in each event of a kind that a site has written, as the peer has them."""
    page = await peer.get(f"{GROUPS}/lab/events?limit=1000")
    return [each["body"]["blobs"] for each in page["events"] if (each["type"], each["author"]) == (kind, by.peer_id)]


async def until_said(peer: RunningPeer, kind: str, by: RunningPeer, blobs_said: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while sum(map(len, await said(peer, kind, by))) < blobs_said:  # noqa: ASYNC110  (another peer)
            await asyncio.sleep(0.02)


async def add(peer: RunningPeer, folder: Path) -> Any:
    paths = [str(write_mcap(folder / f"run_{number}.mcap", payload=b"%d" % number)) for number in range(FILES)]
    return await peer.post(RECORDINGS, {"paths": paths, "name": "run"}, status=201)


async def test_each_site_says_once_what_it_holds_of_many_files_in_few_events(pair: tuple[RunningPeer, RunningPeer], tmp_path: Path) -> None:
    alpha, beta = pair
    await add(alpha, tmp_path)
    await beta.until(RUN, lambda shown: shown["state"] == "remote")
    await beta.post(f"{RUN}/fetch")
    for peer in pair:
        shown = await peer.until(RUN, lambda shown: shown["copies"] == 2)
        assert {each["name"] for each in shown["replicas"]} == {"alpha", "beta"}
    await beta.post(f"{RUN}/tags", {"add": ["said"]})  # What is said already is not said again.
    await alpha.until(RUN, lambda shown: shown["tags"] == ["said"])
    await alpha.call("PATCH", f"{GROUPS}/lab/settings", json={"key": "min_copies", "value": 2})

    for by in pair:
        await until_said(alpha, "blob.receipt", by, FILES)
        receipts = await said(alpha, "blob.receipt", by)
        assert len({blob for each in receipts for blob in each}) == sum(map(len, receipts)) == FILES
        assert len(receipts) <= FILES // 2
        assert not await said(alpha, "blob.release", by)


async def test_who_loses_bytes_says_so_and_says_when_they_are_back(pair: tuple[RunningPeer, RunningPeer], tmp_path: Path) -> None:
    alpha, beta = pair
    added = await add(alpha, tmp_path)
    await beta.until(RUN, lambda shown: shown["state"] == "remote")
    await beta.post(f"{RUN}/fetch")
    await until_said(alpha, "blob.receipt", beta, FILES)
    lost = added["chunks"][3]["blob_id"]
    (path,) = [path for path in blobs(beta) if path.name == lost]
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    await beta.post("/api/v1/verify", {"deep": True})

    await until_said(alpha, "blob.release", beta, 1)
    assert await said(alpha, "blob.release", beta) == [[lost]]
    await alpha.until(RUN, lambda shown: [each["name"] for each in shown["replicas"]] == ["alpha"])
    await beta.post(f"{RUN}/fetch")
    await until_said(alpha, "blob.receipt", beta, FILES + 1)
    assert (await said(alpha, "blob.receipt", beta))[-1] == [lost]
    for peer in pair:
        await peer.until(RUN, lambda shown: shown["copies"] == 2)
