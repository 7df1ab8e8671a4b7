"""Two sites that nobody can dial exchange recordings through a member that has no copy of them and keeps little of what passes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from peer.cli.sample import write_sample
from tests.integration.running_peer import RunningPeer, running_peer

GROUPS = "/api/v1/sync/groups"
RECORDINGS = "/api/v1/recordings"
MIB = 1024 * 1024
LIMIT = 3 * MIB


@dataclass
class Triangle:
    """Two sites that dial out, and the one that both dial."""

    folder: Path
    hub: RunningPeer
    left: RunningPeer
    right: RunningPeer

    def record(self, name: str, size: int, seed: int = 1) -> Path:
        path = self.folder / f"{name}.mcap"
        write_sample(path, size, seed)
        return path


@asynccontextmanager
async def triangle(folder: Path, **relay: object) -> AsyncIterator[Triangle]:
    async with AsyncExitStack() as stack:
        settings = {"fetch": "none", "cache_bytes": LIMIT, **relay}
        hub = await stack.enter_async_context(running_peer(folder / "hub", "hub", **settings))
        left = await stack.enter_async_context(running_peer(folder / "left", "left", listen="none"))
        right = await stack.enter_async_context(running_peer(folder / "right", "right", listen="none"))
        await hub.post(GROUPS, {"name": "lab"})
        for each in (left, right):
            invitation = (await hub.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": 60_000}))["invitation"]
            await each.post(f"{GROUPS}/join", {"invitation": invitation})
        yield Triangle(folder, hub, left, right)


def on_disk(folder: Path) -> int:
    """What the files below a folder take of the disk."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


async def bytes_of(site: RunningPeer, name: str) -> bytes:
    async with site.http.get(f"{site.url}{RECORDINGS}/{name}/chunks/0") as answer:
        return await answer.read()


async def test_a_recording_passes_both_ways_through_a_member_that_does_not_want_it(tmp_path: Path) -> None:
    async with triangle(tmp_path) as mesh:
        for site, other, name in ((mesh.left, mesh.right, "there"), (mesh.right, mesh.left, "back")):
            path = mesh.record(name, 8 * MIB)
            added = await site.post(RECORDINGS, {"paths": [str(path)]})
            arrived = await other.until(f"{RECORDINGS}/{name}", lambda recording: recording["state"] == "local")
            assert arrived["manifest_id"] == added["manifest_id"]
            assert await bytes_of(other, name) == path.read_bytes()
