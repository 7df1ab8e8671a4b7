"""A daemon of a WireGuard mesh for tests: what tailscaled's LocalAPI checks and answers, over a real socket.

It refuses what that refuses: a `Host` of another name, any `Origin` or `Referer`, and, on a port instead of a socket, a caller without its token.
"""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from aiohttp import web

HOSTS = {"local-tailscaled.sock", ""}
TOKEN = "fake-token-of-the-app"  # noqa: S105  (opens nothing but this)


def node(number: int, name: str, **fields: Any) -> dict[str, Any]:
    """A machine, with the fields that the daemon sends of each."""
    addresses = [f"100.64.0.{number}", f"fd7a:115c:a1e0::{number:x}"]
    return {
        "ID": f"n{number}",
        "NodeID": number,
        "PublicKey": f"nodekey:{number:064x}",
        "HostName": name,
        "DNSName": f"{name}.mesh.example.",
        "OS": "linux",
        "UserID": 7,
        "TailscaleIPs": addresses,
        "AllowedIPs": [f"{addresses[0]}/32", f"{addresses[1]}/128"],
        "Addrs": None,
        "CurAddr": "",
        "Relay": "",
        "PeerRelay": "",
        "LastSeen": "0001-01-01T00:00:00Z",
        "Online": True,
        "Active": False,
        "InNetworkMap": True,
        **fields,
    }


OWN = node(1, "arm-lab", Tags=["tag:recmesh"])
DIRECT = node(2, "field", Tags=["tag:recmesh"], CurAddr="198.51.100.7:41641", Relay="nue", Active=True)
RELAYED = node(3, "depot", Relay="fra", Active=True)
IDLE = node(4, "quiet")
OFFLINE = node(5, "laptop", Online=False, UserID=8, KeyExpiry="2027-01-03T00:00:00Z")
RUNNING: dict[str, Any] = {
    "Version": "1.102.3-t0123456789",
    "TUN": True,
    "BackendState": "Running",
    "TailscaleIPs": OWN["TailscaleIPs"],
    "Self": OWN,
    "Health": [],
    "CurrentTailnet": {"Name": "robots.example", "MagicDNSSuffix": "mesh.example", "MagicDNSEnabled": True},
    "CertDomains": None,
    "Peer": {each["PublicKey"]: each for each in (DIRECT, RELAYED, IDLE, OFFLINE)},
    "User": {"7": {"ID": 7, "LoginName": "tagged-devices"}, "8": {"ID": 8, "LoginName": "alice@example.org"}},
}
LOGGED_OUT: dict[str, Any] = {
    "Version": "1.102.3-t0123456789",
    "BackendState": "NeedsLogin",
    "AuthURL": "https://login.example.org/a/0123456789abcdef",
    "TailscaleIPs": None,
    "Self": {"ID": "", "HostName": "arm-lab", "DNSName": "", "TailscaleIPs": None},
    "Health": ["You are logged out."],
    "CurrentTailnet": None,
    "Peer": None,
    "User": None,
}


class FakeDaemon:
    """What it says can be changed while it runs."""

    def __init__(self) -> None:
        self.status: Any = deepcopy(RUNNING)
        self.raw: bytes | None = None
        """Bytes to answer with instead."""
        self.silent = False
        """True to answer nothing, for ever."""
        self.refuses = False
        self.port = 0
        self.asked = 0
        self.capabilities: dict[str, Any] = {}
        """What callers may do here, by their stable id: a `CapMap` for each."""
        self.proxied: dict[str, str] = {}
        """Addresses of this machine, with port, from which the daemon itself speaks for others: stable ids."""
        self.whois_asked: list[str] = []
        self.listening = 0
        """How often somebody began to listen to the bus."""
        self.has_bus = True
        self._bus: set[asyncio.Queue[bytes | None]] = set()
        self._wants_token = False

    @asynccontextmanager
    async def on_socket(self, path: Path) -> AsyncIterator[None]:
        """Listen on a socket file."""
        async with self._running() as runner:
            await web.UnixSite(runner, str(path)).start()
            yield

    @asynccontextmanager
    async def on_port(self) -> AsyncIterator[None]:
        """Listen on a port of loopback, and want the token."""
        self._wants_token = True
        async with self._running() as runner:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.port = runner.addresses[0][1]
            yield

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[web.AppRunner]:
        app = web.Application()
        app.router.add_get("/localapi/v0/status", self._status)
        app.router.add_get("/localapi/v0/whois", self._whois)
        app.router.add_get("/localapi/v0/watch-ipn-bus", self._watch_bus)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            yield runner
        finally:
            await runner.cleanup()

    @property
    def hears(self) -> int:
        """How many listen to the bus now."""
        return len(self._bus)

    def tell(self, line: bytes | None = b'{"PeersChanged": []}\n') -> None:
        """Say something to all who listen to the bus; None breaks it off."""
        for each in list(self._bus):
            each.put_nowait(line)

    async def _status(self, request: web.Request) -> web.Response:
        self.asked += 1
        refusal = await self._refusal(request)
        if refusal is not None:
            return refusal
        if self.raw is not None:
            return web.Response(body=self.raw)
        return web.json_response(self.status, headers={"Tailscale-Version": "1.102.3", "Tailscale-Cap": "140"})

    async def _whois(self, request: web.Request) -> web.Response:
        address = request.query.get("addr", "")
        self.whois_asked.append(address)
        refusal = await self._refusal(request)
        if refusal is not None:
            return refusal
        if not address:
            return web.Response(status=400, text="missing 'addr' parameter\n")
        found = self._node_at(address, request.query.get("proto", ""))
        if found is None:
            return web.Response(status=404, text="no match for IP:port\n")
        user = self.status["User"].get(str(found["UserID"]), {"ID": 0, "LoginName": ""})
        known = {"ID": found["NodeID"], "StableID": found["ID"], "Name": f"{found['DNSName']}", "User": found["UserID"], "Cap": 140}
        tags = {"Tags": found["Tags"]} if "Tags" in found else {}
        return web.json_response({"Node": {**known, **tags}, "UserProfile": user, "CapMap": self.capabilities.get(found["ID"])})

    def _node_at(self, address: str, protocol: str) -> dict[str, Any] | None:
        nodes = [self.status["Self"], *(self.status["Peer"] or {}).values()]
        if address in self.proxied:
            return next(each for each in nodes if each["ID"] == self.proxied[address]) if protocol == "tcp" else None
        host = address.rpartition(":")[0].strip("[]")
        return next((each for each in nodes if host in (each["TailscaleIPs"] or ())), None)

    async def _watch_bus(self, request: web.Request) -> web.StreamResponse:
        self.listening += 1
        refusal = await self._refusal(request)
        if refusal is not None or not self.has_bus:
            return refusal or web.Response(status=404, text="not found\n")
        said: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._bus.add(said)
        response = web.StreamResponse()
        try:
            await response.prepare(request)
            while (line := await said.get()) is not None:
                await response.write(line)
        finally:
            self._bus.discard(said)
        return response

    async def _refusal(self, request: web.Request) -> web.Response | None:
        """As `localapi.ServeHTTP` has it; waits for ever where the daemon is silent."""
        if request.headers.get("Host", "") not in HOSTS or "Origin" in request.headers or "Referer" in request.headers:
            return web.Response(status=403, text="invalid localapi request\n")
        if self._wants_token and request.headers.get("Authorization") != "Basic " + base64.b64encode(f":{TOKEN}".encode()).decode():
            return web.Response(status=401, text="auth required\n")
        if self.refuses:
            return web.Response(status=403, text="status access denied\n")
        if self.silent:
            await asyncio.Event().wait()
        return None
