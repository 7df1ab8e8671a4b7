"""Asking the daemon of the mesh on this machine, tailscaled, over its LocalAPI. Imports `httpx`.

The daemon answers any local user on its socket, and nobody who sends a Host of another name, an Origin or a Referer: a browser cannot ask. As the app
for macOS it listens on a TCP port of loopback instead, and wants a token.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from peer.core.mesh import Caller, MeshStatus
from peer.errors import MeshAbsentError, MeshAnswerInvalidError, MeshRefusedError, MeshUnreachableError
from resolver.tailscale_answers import read_caller, read_status

if TYPE_CHECKING:
    import httpx

BASE = "http://local-tailscaled.sock/localapi/v0"
CALL_TIMEOUT_S = 5.0
BODY_SIZE_MAX = 64 * 1024 * 1024
"""A status has some kilobytes for each machine of the mesh."""

SOCKETS = {"linux": "/var/run/tailscale/tailscaled.sock", "darwin": "/var/run/tailscaled.socket"}
BUS_MASK = 53_248
"""Changes of machines, the status at first, and changes as patches: daemons before 2026 know none of these bits, and tell of everything."""

OK = 200
NOT_FOUND = 404
REFUSALS = (401, 403)
RUN_IT = "start it, for instance with `systemctl start tailscaled`"


class _NotFoundError(MeshAnswerInvalidError):
    """It has nothing of the kind."""


class Daemon(NamedTuple):
    """Where the daemon listens."""

    socket: str
    """The path of its socket; empty for that of this system."""
    port: int = 0
    """A port of loopback instead; 0 for none."""
    token: str = ""
    """What it wants to see there."""

    @property
    def path(self) -> str:
        """The path of the socket."""
        return self.socket or SOCKETS.get(sys.platform, SOCKETS["linux"])

    @property
    def place(self) -> str:
        """Where it listens, for people."""
        return f"127.0.0.1:{self.port}" if self.port else self.path


class LocalApi:
    """The daemon of this machine. A connection for each call: it is asked seldom, and may be another one the next time."""

    def __init__(self, daemon: Daemon) -> None:
        """Connects to nothing yet."""
        self._daemon = daemon

    async def status(self) -> MeshStatus:
        """How the mesh is. Raises `MeshAbsentError` where there is no daemon, and other errors of a mesh."""
        return read_status(await self._get("/status", {}))

    async def whois(self, address: str) -> Caller | None:
        """Who speaks from `IP:PORT`, None for nobody of the mesh. Raises as `status` does."""
        try:
            return read_caller(await self._get("/whois", {"addr": address, "proto": "tcp"}))
        except _NotFoundError:
            return None

    async def bus(self) -> AsyncGenerator[int, None]:
        """Tells of each change, by the size of what the daemon says of it, until it breaks off. Raises as `status` does."""
        with self._troubles():
            async with self._client() as client:
                request = client.build_request("GET", f"{BASE}/watch-ipn-bus", params={"mask": BUS_MASK})
                request.extensions["timeout"] = {**request.extensions["timeout"], "read": None}
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    answer = await client.send(request, stream=True)
                try:
                    self._check(answer)
                    async for part in answer.aiter_raw():
                        yield len(part)
                finally:
                    await answer.aclose()

    async def _get(self, path: str, parameters: Mapping[str, str]) -> bytes:
        daemon = self._daemon
        if not daemon.port and not await asyncio.to_thread(Path(daemon.path).exists):
            raise MeshAbsentError(
                f"no daemon of a mesh listens at {daemon.place}", fix="nothing, if this machine is in none; else see tailscale.socket"
            )
        with self._troubles():
            async with asyncio.timeout(CALL_TIMEOUT_S), self._client() as client, client.stream("GET", BASE + path, params=parameters) as answer:
                data = await _read(answer)
        self._check(answer)
        return data

    @contextlib.contextmanager
    def _troubles(self) -> Iterator[None]:
        """What can happen to a call, in words of a mesh."""
        import httpx  # noqa: PLC0415  (most machines are in no mesh, and it takes 5 MB)

        try:
            yield
        except (TimeoutError, httpx.TimeoutException) as error:
            raise MeshUnreachableError(f"the mesh's daemon does not answer within {CALL_TIMEOUT_S:g} s", fix="see what it logs") from error
        except (httpx.HTTPError, OSError) as error:
            raise MeshUnreachableError(f"nobody answers at {self._daemon.place}: the mesh's daemon does not run", fix=RUN_IT) from error

    @staticmethod
    def _check(answer: "httpx.Response") -> None:
        if answer.status_code in REFUSALS:
            raise MeshRefusedError("the mesh's daemon does not tell this user how it is", fix="see which users may ask it, or its token")
        if answer.status_code != OK:
            wrong = _NotFoundError if answer.status_code == NOT_FOUND else MeshAnswerInvalidError
            raise wrong(f"the mesh's daemon answers with HTTP {answer.status_code}", fix="check tailscale.socket in config.toml")

    def _client(self) -> "httpx.AsyncClient":
        import httpx  # noqa: PLC0415  (most peers ask nobody, and it takes 5 MB)

        # A transport of its own makes it ignore the proxies of the environment, too.
        daemon = self._daemon
        if daemon.port:
            transport = httpx.AsyncHTTPTransport(verify=False, local_address="127.0.0.1")
            hooks = {"request": [self._to_port]}
            return httpx.AsyncClient(transport=transport, event_hooks=hooks, auth=("", daemon.token), timeout=CALL_TIMEOUT_S, follow_redirects=False)
        return httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=daemon.path, verify=False),
            timeout=CALL_TIMEOUT_S,
            follow_redirects=False,
        )

    async def _to_port(self, request: "httpx.Request") -> None:
        """Connect to a port of loopback, and leave the name that the daemon wants in the request."""
        request.url = request.url.copy_with(host="127.0.0.1", port=self._daemon.port)


async def _read(answer: "httpx.Response") -> bytes:
    data = bytearray()
    async for part in answer.aiter_bytes():
        data += part
        if len(data) > BODY_SIZE_MAX:
            raise MeshAnswerInvalidError(
                f"the mesh's daemon answers with more than {BODY_SIZE_MAX} bytes", fix="check tailscale.socket in config.toml"
            )
    return bytes(data)
