"""Everything that changes at a site, as somebody hears it who may come back later."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import aiohttp
import pytest

from peer.core.interfaces import EventStore
from peer.operations import streaming
from peer.operations.streaming import Streaming, Told
from tests.integration.running_peer import RunningPeer
from tests.integration.test_transfers import GROUPS, Scene, limit, made_scene
from tests.patience import PATIENCE_S


class Heard(NamedTuple):
    """One server-sent event."""

    kind: str
    position: str | None
    data: Any


class Listener:
    """Reads the stream, by the rules of server-sent events."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self, kind: str) -> Heard:
        """The next of a kind; others are passed over."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = await self._any()
                if found.kind == kind:
                    return found

    async def _any(self) -> Heard:
        fields: dict[str, str] = {}
        while row := (await self._answer.content.readline()).decode().rstrip("\n"):
            name, _, value = row.partition(": ")
            fields[name] = value
        if "data" not in fields:
            return Heard("comment", None, None)
        return Heard(fields["event"], fields.get("id"), json.loads(fields["data"]))


@asynccontextmanager
async def listening(peer: RunningPeer, last: str | None = None, query: str = "") -> AsyncIterator[Listener]:
    headers = {} if last is None else {"Last-Event-ID": last}
    async with peer.http.get(f"{peer.url}/api/v1/stream{query}", headers=headers) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        yield Listener(answer)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with made_scene(tmp_path) as scene:
        yield scene


async def test_events_of_all_groups_are_heard_once_and_go_on_where_somebody_left(scene: Scene) -> None:
    peer = scene.recorder
    async with listening(peer) as stream:
        await stream.next("transfers")
        await scene.record("one")
        await peer.post(GROUPS, {"name": "other"})
        await peer.post(f"{GROUPS}/other/invitations", {"role": "writer", "expires_in_ms": 600_000})
        heard = [await stream.next("event") for _ in range(5)]
    assert [each.data["type"] for each in heard] == ["recording.create", "chunk.add", "recording.finalize", "member.set", "invite"]
    assert len({each.data["group_id"] for each in heard}) == 2
    assert [each.position for each in heard] == [str(each.data["position"]) for each in heard]
    async with listening(peer, last=heard[1].position) as stream:
        again = [await stream.next("event") for _ in range(3)]
    assert again == heard[2:]
    async with listening(peer, query=f"?after={heard[0].position}") as stream:
        assert await stream.next("event") == heard[1]


async def test_what_becomes_of_links_and_transfers_is_heard(scene: Scene) -> None:
    async with scene.fetcher() as peer, listening(peer) as stream:
        await limit(peer, "off:100k")
        await scene.record("one")
        while not (found := (await stream.next("transfers")).data):
            pass
        assert found[0]["id"] == scene.blobs["one"]
        await limit(peer, None)
        while (await stream.next("transfers")).data:
            pass
        assert (await stream.next("links")).data[0]["peer_id"] == scene.recorder.peer_id


async def test_who_hears_nothing_new_is_told_that_this_is_so(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "LOOK_S", 0.01)
    async with listening(scene.recorder) as stream:
        assert await stream.next("comment") == Heard("comment", None, None)


class Log:
    """Events of which each is there only after somebody waited for it."""

    def __init__(self) -> None:
        self._size = 0
        self._tell: Callable[[object], None] = lambda _: None

    def subscribe(self, listener: Callable[[object], None]) -> Callable[[], None]:
        self._tell = listener
        return lambda: None

    async def events_after(self, position: int, _: int) -> list[SimpleNamespace]:
        if position == self._size:
            asyncio.get_running_loop().call_soon(self._grow)
            return []
        return [SimpleNamespace(position=position + 1)]

    def _grow(self) -> None:
        self._size += 1
        self._tell(None)


async def test_what_is_looked_at_is_told_at_most_once_a_second_however_many_events_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "LOOK_S", 10 * PATIENCE_S)
    looks = count()
    stream = Streaming(cast("EventStore", Log()), lambda: 0, lambda event: {"position": event.position}, {"links": lambda: next(looks)}).follow(None)
    async with contextlib.aclosing(stream), asyncio.timeout(PATIENCE_S):
        told = [each.kind async for each in limited(stream, 20) if each is not None]

    assert sorted(told) == ["event"] * 19 + ["links"]


async def limited(stream: AsyncGenerator[Told | None, None], size: int) -> AsyncIterator[Told | None]:
    for _ in range(size):
        yield await anext(stream)


async def test_a_position_that_is_none_is_refused(scene: Scene) -> None:
    for wrong in ("-1", "soon", "1.5"):
        refused = await scene.recorder.call("GET", f"/api/v1/stream?after={wrong}", status=400)
        assert refused["code"] == "request_invalid"
