"""A peer that is a hub, and its clients: plain HTTP, as any program would speak with it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from tests.integration.running_peer import RunningPeer, running_peer

DEADLINE_S = 30.0
API = "/api/v1"
KEYS = f"{API}/hub/keys"


class Answer(NamedTuple):
    """What the hub said."""

    status: int
    document: Any
    headers: dict[str, str]


@dataclass
class Client:
    """Somebody who speaks with a hub."""

    url: str
    http: aiohttp.ClientSession
    key: str = ""
    id: str = ""
    swarms: int = field(default=0)

    async def ask(self, method: str, path: str, body: object = None, **options: Any) -> Answer:
        """One request."""
        headers = {**({"Authorization": f"Bearer {self.key}"} if self.key else {}), **options.pop("headers", {})}
        given = {"json": body} if body is not None else {}
        async with self.http.request(method, f"{self.url}{path}", headers=headers, **given, **options) as answer:
            text = await answer.text()
            document = json.loads(text) if answer.content_type == "application/json" else text or None
            return Answer(answer.status, document, {key.lower(): value for key, value in answer.headers.items()})

    async def good(self, method: str, path: str, body: object = None, **options: Any) -> Any:
        """The document that one request gives, which has to succeed."""
        answer = await self.ask(method, path, body, **options)
        assert answer.status < 300, answer
        return answer.document

    async def swarm(self, name: str = "peer", **fields: object) -> str:
        """The id of a new swarm."""
        self.swarms += 1
        order = {"name": name, "map_endpoint": f"http://{self.id or 'nobody'}-{self.swarms}.example:7850", "map_transport": "http-sse", **fields}
        made = await self.good("POST", f"{API}/map/swarms", order)
        return str(made["swarm"]["id"])

    async def join(self, swarm: str, hive: str) -> Answer:
        """What comes of joining a hive."""
        return await self.ask("POST", f"{API}/map/swarms/{swarm}/hives", {"hive_name": hive})

    async def peers(self, swarm: str) -> dict[str, str]:
        """The status of each peer of a swarm, by name."""
        document = await self.good("GET", f"{API}/map/peers/{swarm}")
        return {each["name"]: each["status"] for each in document["peers"]}


class Ear:
    """A WebSocket to a hub."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def hear(self, kind: str | None = None, **data: object) -> Any:
        """The next frame, or the next one of this type with these fields."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                frame = await self.socket.receive_json()
                assert frame.keys() in ({"type", "data", "timestamp"}, {"type", "data", "timestamp", "channel"})
                if (kind is None or frame["type"] == kind) and data.items() <= frame["data"].items():
                    return frame

    async def say(self, message: object) -> Any:
        """What is answered."""
        await (self.socket.send_str(message) if isinstance(message, str) else self.socket.send_json(message))
        return await self.hear()

    async def subscribe(self, *channels: str) -> Any:
        """What is answered to a subscription."""
        return (await self.say({"type": "subscribe", "channels": list(channels)}))["data"]


@dataclass
class HubLab:
    """A hub, and what its operator does."""

    peer: RunningPeer
    http: aiohttp.ClientSession

    @property
    def url(self) -> str:
        """Where clients ask."""
        return self.peer.listen

    async def key(self, hive: str | None = None, uses: int = 1, expires_in_ms: int = 3600_000) -> str:
        """A new pre-auth key."""
        made = await self.peer.post(KEYS, {"hive": hive, "uses": uses, "expires_in_ms": expires_in_ms})
        return str(made["key"])

    def stranger(self) -> Client:
        """Somebody without a key."""
        return Client(self.url, self.http)

    async def agent(self, name: str, hive: str | None = None) -> Client:
        """Somebody who came with a key."""
        answer = await self.stranger().ask("POST", f"{API}/agents/register", {"name": name, "preauth_key": await self.key(hive)})
        assert answer.status == 201, answer
        return Client(self.url, self.http, answer.document["api_key"], answer.document["agent"]["id"])

    @asynccontextmanager
    async def ear(self, client: Client) -> AsyncIterator[Ear]:
        """A WebSocket that has said who it is."""
        async with self.http.ws_connect(f"{self.url}/ws?token={client.key}") as socket:
            ear = Ear(socket)
            first = await ear.hear()
            assert first["type"] == "agent_online"
            assert first["data"]["authenticated"] is True
            yield ear


@asynccontextmanager
async def hub_lab(folder: Path, *, stale_after: float = 600.0, **settings: object) -> AsyncIterator[HubLab]:
    """A peer that is a hub."""
    async with (
        running_peer(folder / "hub", "hub", hub={"enabled": True, "stale_after": stale_after}, **settings) as peer,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(DEADLINE_S)) as http,
    ):
        yield HubLab(peer, http)
