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
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            yield runner
        finally:
            await runner.cleanup()

    async def _status(self, request: web.Request) -> web.Response:
        self.asked += 1
        if request.headers.get("Host", "") not in HOSTS or "Origin" in request.headers or "Referer" in request.headers:
            return web.Response(status=403, text="invalid localapi request\n")
        if self._wants_token and request.headers.get("Authorization") != "Basic " + base64.b64encode(f":{TOKEN}".encode()).decode():
            return web.Response(status=401, text="auth required\n")
        if self.refuses:
            return web.Response(status=403, text="status access denied\n")
        if self.silent:
            await asyncio.Event().wait()
        if self.raw is not None:
            return web.Response(body=self.raw)
        return web.json_response(self.status, headers={"Tailscale-Version": "1.102.3", "Tailscale-Cap": "140"})
