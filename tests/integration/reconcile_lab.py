"""Two whole peers with recordings, one of which loses or damages some of its bytes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from peer.api.reconcile_models import Reconciled
from peer.cli.sample import write_sample
from peer.core.identity import BlobId, GroupId, KeyPair, PeerId
from peer.errors import MeshError
from peer.store.directory import DataDirectory
from peer.store.keys import KeyFiles
from peer.transport.blob_client import BlobClient
from tests.blob_site import MIB
from tests.integration.running_peer import RunningPeer, running_peer

GROUPS = "/api/v1/sync/groups"
RECORDINGS = "/api/v1/recordings"
SIZE = 3 * MIB
DEADLINE_S = 60.0


async def until(peer: RunningPeer, path: str, condition: Callable[[Any], bool]) -> None:
    """Wait until `condition` holds for the document at `path`, if there is one."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            async with peer.http.get(f"{peer.url}{path}") as answer:
                if answer.status == 200 and condition(await answer.json()):
                    return
            await asyncio.sleep(0.02)


class Lab:
    """Alice records and brings nothing by herself; bob keeps everything."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._bobs = AsyncExitStack()
        self.sources: dict[str, Path] = {}

    async def start(self) -> None:
        self.alice = await self._stack.enter_async_context(running_peer(self.folder / "alice", "alice", fetch="none"))
        self._stack.push_async_callback(self._bobs.aclose)
        made = await self.alice.post(GROUPS, {"name": "lab"})
        self.group = GroupId(bytes.fromhex(made["group_id"]))

    async def start_bob(self, **settings: object) -> None:
        """Begin bob, or go on with him."""
        is_new = not (self.folder / "bob").exists()
        self.bob = await self._bobs.enter_async_context(running_peer(self.folder / "bob", "bob", **settings))
        if is_new:
            made = await self.alice.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": 60_000})
            await self.bob.post(f"{GROUPS}/join", {"invitation": made["invitation"]})
        await until(self.alice, "/api/v1/status", lambda status: [link["state"] for link in status["links"]] == ["up_to_date"])

    async def stop_bob(self) -> None:
        await self._bobs.aclose()
        self._bobs = AsyncExitStack()
        await until(self.alice, "/api/v1/status", lambda status: not [link for link in status["links"] if link["state"] == "up_to_date"])

    async def record(self, name: str = "run") -> BlobId:
        """A recording of alice, of one file of some pieces."""
        path = self.sources[name] = self.folder / f"{name}.mcap"
        write_sample(path, SIZE, len(self.sources))
        added = await self.alice.post(RECORDINGS, {"paths": [str(path)]})
        return BlobId(bytes.fromhex(added["chunks"][0]["blob_id"]))

    async def at_bob(self, name: str = "run") -> None:
        """Bob has it, shows it in his folders, which changes the file's own entry, and says so."""
        await until(self.bob, f"{RECORDINGS}/{name}", lambda recording: recording["state"] == "local")
        async with asyncio.timeout(DEADLINE_S):
            while not [*(self.folder / "bob/recordings").glob(f"lab-*/{name}/*.mcap")]:  # noqa: ASYNC110  (a folder has no event)
                await asyncio.sleep(0.02)
        await self.reconcile(name, at=self.bob)
        await until(self.alice, f"{RECORDINGS}/{name}", lambda recording: len(recording["replicas"]) == 2)

    async def reconcile(self, name: str | None = "run", *, restore: bool = False, at: RunningPeer | None = None) -> Any:
        path = "/api/v1/reconcile" if name is None else f"{RECORDINGS}/{name}/reconcile"
        return await (at or self.alice).post(path, {"restore": restore}, Reconciled)

    async def rows(self, name: str | None = "run", **options: Any) -> dict[str, int]:
        """The cases that occur, with their counts. Nothing is begun by looking."""
        found = await self.reconcile(name, **options)
        assert options.get("restore") or found["restoring"] == []
        return {row: count for row, count in found["counts"].items() if count}

    def path(self, blob: BlobId, site: str = "alice") -> Path:
        name = blob.hex()
        return self.folder / site / "blobs" / name[:2] / name[2:4] / name

    async def restored(self, name: str = "run") -> None:
        """Wait until all of it is at alice, and is what was recorded."""
        await until(self.alice, f"{RECORDINGS}/{name}", lambda recording: recording["state"] == "local")
        async with self.alice.http.get(f"{self.alice.url}{RECORDINGS}/{name}/chunks/0") as answer:
            assert await answer.read() == self.sources[name].read_bytes()

    async def problems(self, at: RunningPeer | None = None) -> list[str]:
        """What a deep verification complains of."""
        found = await (at or self.alice).post("/api/v1/verify", {"deep": True})
        return [each["code"] for each in found["problems"]]

    async def given(self, blob: BlobId) -> bytes | None:
        """What alice gives bob of a blob; None if nothing."""
        bob: KeyPair = KeyFiles(DataDirectory(self.folder / "bob").keys).peer_key()
        data = bytearray()
        alice = PeerId(bytes.fromhex(self.alice.peer_id))
        endpoint = self.alice.listen if "://" in self.alice.listen else f"http://{self.alice.listen}"
        with contextlib.suppress(MeshError):
            async with BlobClient(bob, alice, endpoint) as client:
                async for part in client.read(self.group, blob, 0, SIZE // 2, relay=False):
                    data += part
                return bytes(data)
        return None


@asynccontextmanager
async def a_lab(folder: Path) -> AsyncIterator[Lab]:
    """Alice alone."""
    async with AsyncExitStack() as stack:
        made = Lab(folder, stack)
        await made.start()
        yield made
