"""A whole peer inside the test's own process: real files, real sockets, an admin client that checks every answer against the published models."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import BaseModel

from peer.config import Config
from peer.node import running
from peer.setup import initialise
from peer.store.directory import DataDirectory
from tests.patience import ended, shown

DEADLINE_S = 45.0
START_S = 60.0


@dataclass
class RunningPeer:
    """One peer with its admin API."""

    peer_id: str
    root: Path
    url: str
    token: str
    listen: str
    http: aiohttp.ClientSession

    async def call(self, method: str, path: str, *, status: int | None = None, model: type[BaseModel] | None = None, **options: Any) -> Any:
        """The document that a request gives; a problem document if `status` says so."""
        async with self.http.request(method, f"{self.url}{path}", **options) as answer:
            document = await answer.json(content_type=None)
            assert answer.status == (status or answer.status)
            if status is None or status < 400:
                assert answer.status < 300, document
            else:
                assert answer.content_type == "application/problem+json"
            if model is not None:
                for each in document if isinstance(document, list) else [document]:
                    model.model_validate(each)
            return document

    async def get(self, path: str, model: type[BaseModel] | None = None, **options: Any) -> Any:
        """GET."""
        return await self.call("GET", path, model=model, **options)

    async def post(self, path: str, body: object = None, model: type[BaseModel] | None = None, **options: Any) -> Any:
        """POST of JSON."""
        return await self.call("POST", path, model=model, json=body if body is not None else {}, **options)

    async def until(self, path: str, condition: Any) -> Any:
        """The document at `path` once it is there and `condition` holds for it."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                async with self.http.get(f"{self.url}{path}") as answer:
                    document = await answer.json(content_type=None)
                    assert answer.status in {200, 404}, document
                if answer.status != 404 and condition(document):
                    return document
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running_peer(root: Path, name: str, **settings: object) -> AsyncIterator[RunningPeer]:
    """A peer on `root`, which is set up if it is empty."""
    directory = DataDirectory(root)
    if not directory.exists:
        initialise(root, name=name, listen="127.0.0.1:0", admin="127.0.0.1:0")
    config = Config(**{"name": name, "listen": "127.0.0.1:0", "admin": "127.0.0.1:0", **settings})  # type: ignore[arg-type]
    ready: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def run() -> None:
        with directory.lock():
            async with running(directory, config) as site:
                ready.set_result(site)
                await stop.wait()

    task = asyncio.create_task(run())
    try:
        await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED, timeout=START_S)
        if task.done():
            await task
        assert ready.done(), f"{name} does not start:\n{shown(asyncio.all_tasks())}"
        site = ready.result()
        token = directory.token_file.read_text().strip()
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
            yield RunningPeer(site["peer_id"], root, f"http://{site['admin']}", token, site["listen"], http)
    finally:
        stop.set()
        await ended(task, name)
