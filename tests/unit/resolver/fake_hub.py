"""A hub for tests, written from the description of the API of hubs, with faults to order. It counts what it is asked for."""

import asyncio
import itertools
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

KEYS = {"key-of-alpha": "agent_alpha", "key-of-beta": "agent_beta", "key-of-stranger": "agent_stranger"}
PREAUTH = "ohpak_" + "p" * 32
Fault = Callable[[web.Request], Any]
"""Answers instead of the hub: a response, or None to let the hub answer."""


def refused(status: int, code: str, **headers: str) -> web.Response:
    return web.json_response(
        {"error": code, "message": "no"}, status=status, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


class FakeHub:
    """Agents, hives, swarms, peers, announcements."""

    def __init__(self) -> None:
        self.keys = dict(KEYS)
        self.hives: dict[str, str] = {}
        self.swarms: dict[str, dict[str, Any]] = {}
        self.calls: Counter[str] = Counter()
        self.bodies: list[Any] = []
        self.heard: list[Any] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.tokens: list[str] = []
        self.fault: Fault | None = None
        self.may_make_hives = True
        self._numbers = itertools.count(1)

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._answer], client_max_size=2**20)
        routes = (
            ("POST", "/agents/register", self.register_agent),
            ("POST", "/hives", self.make_hive),
            ("GET", "/hives/{hive}", self.show_hive),
            ("POST", "/map/swarms", self.register),
            ("GET", "/map/swarms", self.list_swarms),
            ("GET", "/map/swarms/{id}", self.show),
            ("PUT", "/map/swarms/{id}", self.change),
            ("POST", "/map/swarms/{id}/heartbeat", self.beat),
            ("POST", "/map/swarms/{id}/hives", self.join),
            ("DELETE", "/map/swarms/{id}/hives/{hive}", self.leave),
            ("GET", "/map/peers/{id}", self.peers),
        )
        app.add_routes([web.route(method, f"/api/v1{path}", handler) for method, path, handler in routes])
        app.router.add_get("/ws", self.socket)
        return app

    @web.middleware
    async def _answer(self, request: web.Request, handler: Any) -> web.StreamResponse:
        place = request.match_info.route.resource
        self.calls[f"{request.method} {place.canonical.removeprefix('/api/v1') if place else request.path}"] += 1
        if self.fault is not None:
            found = self.fault(request)
            found = await found if asyncio.iscoroutine(found) else found
            if found is not None:
                return found  # type: ignore[no-any-return]
        return await handler(request)  # type: ignore[no-any-return]

    def agent(self, request: web.Request) -> str:
        agent = self.keys.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if agent is None:
            raise web.HTTPUnauthorized(text=json.dumps({"error": "Unauthorized", "message": "no"}), content_type="application/json")
        return agent

    def own(self, request: web.Request) -> dict[str, Any]:
        agent = self.agent(request)
        swarm = self.swarms.get(request.match_info["id"])
        if swarm is None or swarm["owner"] != agent:
            raise web.HTTPForbidden(text=json.dumps({"error": "NOT_SWARM_OWNER", "message": "no"}), content_type="application/json")
        return swarm

    def put(self, owner: str, hives: set[str], **fields: Any) -> str:
        """A swarm, whatever stands in it."""
        swarm = f"swarm_{next(self._numbers)}"
        given = {"name": "x", "map_endpoint": f"http://x/{swarm}", "map_transport": "http-sse", "metadata": None, "capabilities": None}
        self.swarms[swarm] = {**given, "status": "online", **fields, "id": swarm, "owner": owner, "hives": hives}
        for hive in hives:
            self.hives.setdefault(hive, f"hive_{len(self.hives)}")
        return swarm

    async def register_agent(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("preauth_key") != PREAUTH:
            return refused(401, "INVALID_PREAUTH_KEY")
        if body["name"] in self.keys.values():
            return refused(409, "NAME_TAKEN")
        key = f"key-of-{body['name']}"
        self.keys[key] = body["name"]
        return web.json_response({"agent": {"id": body["name"], "name": body["name"]}, "api_key": key}, status=201)

    async def make_hive(self, request: web.Request) -> web.Response:
        self.agent(request)
        name = (await request.json())["name"]
        if not self.may_make_hives:
            return refused(403, "FORBIDDEN")
        self.hives[name] = f"hive_{len(self.hives)}"
        return web.json_response({"id": self.hives[name], "name": name}, status=201)

    async def show_hive(self, request: web.Request) -> web.Response:
        name = request.match_info["hive"]
        return web.json_response({"id": self.hives[name], "name": name}) if name in self.hives else refused(404, "NOT_FOUND")

    async def register(self, request: web.Request) -> web.Response:
        agent, body = self.agent(request), await request.json()
        self.bodies.append(body)
        if "map_endpoint" not in body:
            return refused(422, "VALIDATION_ERROR")
        if any(each["map_endpoint"] == body["map_endpoint"] for each in self.swarms.values()):
            return refused(409, "DUPLICATE_ENDPOINT")
        swarm = self.put(agent, set(), **body)
        await self.announce("map:discovery", "swarm_registered")
        return web.json_response({"swarm": self.swarms[swarm] | {"hives": []}, "auto_joined_hive": None}, status=201)

    async def list_swarms(self, request: web.Request) -> web.Response:
        start, limit = int(request.query.get("offset", "0")), int(request.query.get("limit", "50"))
        page = list(self.swarms.values())[start : start + limit]
        return web.json_response({"data": [self.public(each) for each in page], "total": len(self.swarms)})

    async def show(self, request: web.Request) -> web.Response:
        swarm = self.swarms.get(request.match_info["id"])
        return web.json_response(self.public(swarm)) if swarm else web.json_response({"error": "Not Found"}, status=404)

    async def change(self, request: web.Request) -> web.Response:
        swarm, body = self.own(request), await request.json()
        self.bodies.append(body)
        swarm.update(body)
        return web.json_response(self.public(swarm))

    async def beat(self, request: web.Request) -> web.Response:
        self.own(request)["status"] = "online"
        return web.json_response({"status": "ok", "timestamp": "2026-11-20T18:42:24.211Z"})

    async def join(self, request: web.Request) -> web.Response:
        swarm, name = self.own(request), (await request.json())["hive_name"]
        if name not in self.hives:
            return refused(404, "HIVE_NOT_FOUND")
        swarm["hives"].add(name)
        await self.announce(f"map:hive:{self.hives[name]}", "swarm_joined_hive")
        return web.json_response({"message": "joined", "hives": sorted(swarm["hives"])})

    async def leave(self, request: web.Request) -> web.Response:
        swarm = self.own(request)
        swarm["hives"].discard(request.match_info["hive"])
        return web.json_response({"message": "left", "hives": sorted(swarm["hives"])})

    async def peers(self, request: web.Request) -> web.Response:
        mine = self.own(request)
        names = ("name", "map_endpoint", "map_transport", "status", "capabilities")
        found = [
            {"swarm_id": each["id"], **{name: each[name] for name in names}, "shared_hives": sorted(each["hives"] & mine["hives"])}
            for each in self.swarms.values()
            if each is not mine and each["hives"] & mine["hives"]
        ]
        return web.json_response({"swarm_id": mine["id"], "peers": found, "generated_at": "2026-11-20T18:42:23.789Z"})

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert not request.query
        self.tokens.append(request.headers.get("Authorization", ""))
        await socket.send_json({"type": "agent_online", "data": {"authenticated": True}, "timestamp": "t"})
        self.sockets.append(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self.heard.append(json.loads(message.data))
                    await socket.send_json({"type": "agent_online", "data": {"pong": True}, "timestamp": "t"})
        finally:
            self.sockets.remove(socket)
        return socket

    async def announce(self, channel: str, kind: str) -> None:
        """To everybody, subscribed or not."""
        for socket in list(self.sockets):
            await socket.send_json({"type": kind, "data": {}, "channel": channel, "timestamp": "t"})

    def public(self, swarm: dict[str, Any]) -> dict[str, Any]:
        return {**{name: value for name, value in swarm.items() if name != "owner"}, "hives": sorted(swarm["hives"])}


@asynccontextmanager
async def served(app: web.Application, *, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[str]:
    """`app` on a port of this machine; gives its URL."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
    await site.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
