"""Where a group wants more copies than there are, sites take some: as many as are needed, and others when one goes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import blake3
import pytest

from peer.operations import placing
from tests.integration.running_peer import RunningPeer, running_peer
from tests.mcap_samples import write_mcap
from tests.patience import PATIENCE_S

GROUPS = "/api/v1/sync/groups"
RECORDINGS = "/api/v1/recordings"
NAMES = ("alpha", "beta", "gamma", "delta")


@pytest.fixture
async def peers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, RunningPeer]]:
    """Four sites that keep nothing by themselves; epsilon takes no copies for others at all."""
    monkeypatch.setattr(placing, "LOOK_S", 0.1)
    async with AsyncExitStack() as stack:
        found: dict[str, RunningPeer] = {}
        for name in (*NAMES, "epsilon"):
            settings = {"fetch": "none", "copies_after": 1, "receipt_delay": 0.05, "take_copies": name != "epsilon"}
            found[name] = await stack.enter_async_context(running_peer(tmp_path / name, name, **settings))
        alpha = found["alpha"]
        await alpha.post(GROUPS, {"name": "lab"})
        for peer in list(found.values())[1:]:
            made = await alpha.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": 600_000})
            await peer.post(f"{GROUPS}/join", {"invitation": made["invitation"]})
        for peer in found.values():
            await peer.until("/api/v1/status", lambda status: len(status["sites"]) == len(found) - 1)
        yield found


async def record(peers: dict[str, RunningPeer], folder: Path, name: str, copies: int) -> str:
    """A recording of alpha, in a group that wants so many copies of it; the id."""
    await peers["alpha"].call("PATCH", f"{GROUPS}/lab/settings", json={"key": "min_copies", "value": copies})
    added = await peers["alpha"].post(RECORDINGS, {"paths": [str(write_mcap(folder / f"{name}.mcap", payload=name.encode()))]})
    return str(added["id"])


async def order(peers: dict[str, RunningPeer], recording: str) -> list[str]:
    """In which order sites take a copy of it, worked out here."""
    ids = {name: bytes.fromhex(recording) + bytes.fromhex(peers[name].peer_id) for name in NAMES[1:]}
    return sorted(ids, key=lambda name: blake3.blake3(ids[name]).digest())


async def counted(peers: dict[str, RunningPeer], recording: str, copies: int) -> None:
    """Wait until all sites count so many copies."""
    for peer in peers.values():
        await peer.until(f"{RECORDINGS}/{recording}", lambda found: found["copies"] == copies)


async def state(peer: RunningPeer, recording: str) -> str:
    shown = await peer.until(f"{RECORDINGS}/{recording}", lambda found: found["finalized"])
    return str(shown["state"])


async def is_at(peers: dict[str, RunningPeer], recording: str, names: set[str]) -> None:
    """Wait until these sites have it, and see that no others do."""
    async with asyncio.timeout(PATIENCE_S):
        while not all([await state(peers[name], recording) == "local" for name in names]):  # noqa: ASYNC110  (another peer)
            await asyncio.sleep(0.01)
    assert {name for name in peers if await state(peers[name], recording) != "remote"} == names


async def test_as_many_sites_take_a_copy_as_are_needed_and_others_take_over(peers: dict[str, RunningPeer], tmp_path: Path) -> None:
    first = await record(peers, tmp_path, "first", 2)
    one, two, three = await order(peers, first)
    await is_at(peers, first, {"alpha", one})
    await counted(peers, first, 2)

    await peers["alpha"].call("DELETE", f"{GROUPS}/lab/members/{peers[one].peer_id}", json={})
    left = {name: peer for name, peer in peers.items() if name != one}
    await is_at(left, first, {"alpha", two})
    await counted(left, first, 2)

    await peers["alpha"].call("PATCH", f"{GROUPS}/lab/settings", json={"key": "min_copies", "value": 3})
    await is_at(left, first, {"alpha", two, three})
    await counted(left, first, 3)
    groups = [group for peer in left.values() for group in (await peer.get("/api/v1/status"))["groups"]]
    assert {group["under_replicated"] for group in groups} == {0}


async def test_nobody_takes_a_copy_where_one_is_enough(peers: dict[str, RunningPeer], tmp_path: Path) -> None:
    plain = await record(peers, tmp_path, "plain", 1)
    wanted = await record(peers, tmp_path, "wanted", 4)
    await is_at(peers, wanted, set(NAMES))

    assert {name for name in peers if await state(peers[name], wanted) == "local"} == set(NAMES)
    assert await state(peers["epsilon"], wanted) == "remote"
    assert plain
