"""Two sites in one WireGuard mesh: hosts with a tunnel between them, and on each a daemon that tells of the mesh as tailscaled does."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.end_to_end.firewalled import ADMIN_PORT, Admin
from tests.fake_tailscaled import RUNNING, FakeDaemon, node
from tests.namespaces import Host, hosts
from tests.tunnel import End, needs_tunnels, tunnel

TAG = "tag:recmesh"
START_TIMEOUT_S = 20.0
LOOK_S = 0.5
"""How often peers ask their daemon."""


@dataclass
class MeshSite:
    """One of the two."""

    number: int
    """In the mesh: its machine's id is `n1` or `n2`."""
    end: End
    socket: Path
    """Where its daemon listens."""
    daemon: FakeDaemon = field(default_factory=FakeDaemon)
    other: "MeshSite | None" = None

    @property
    def host(self) -> Host:
        """The machine."""
        return self.end.host

    @property
    def node(self) -> dict[str, Any]:
        """What daemons say of it."""
        addresses = list(self.end.addresses)
        return node(self.number, self.host.name, TailscaleIPs=addresses, Tags=[TAG], CurAddr=f"{self.end.outside}:51820", Active=True)

    def tell(self, *, is_running: bool = True) -> None:
        """Have the daemon say what is the case."""
        assert self.other is not None
        there = self.other.node
        self.daemon.status = deepcopy(RUNNING) | {
            "BackendState": "Running" if is_running else "Stopped",
            "TailscaleIPs": list(self.end.addresses) if is_running else None,
            "Self": self.node,
            "Peer": {there["PublicKey"]: there},
        }

    def up(self) -> None:
        """Bring the tunnel of this machine up."""
        self.end.up()
        self.tell()

    def down(self) -> None:
        """Take it down: the machine has no address in the mesh any more."""
        self.tell(is_running=False)
        self.end.down()

    def ask(self, path: str) -> Any:
        """One document of its peer."""
        with Admin(self.host) as admin:
            return admin.ask("GET", path)

    def change(self, path: str, body: object) -> Any:
        """Have its peer do something."""
        with Admin(self.host) as admin:
            return admin.ask("POST", path, body)

    def add(self, file: Path) -> None:
        """Add a recording that is called like its file."""
        self.change("recordings", {"paths": [str(file)], "name": file.stem})

    def recordings(self) -> dict[str, str]:
        """The names of its recordings, and how much of each is there."""
        return {each["name"]: each["state"] for each in self.ask("recordings")["recordings"]}

    def links(self) -> list[dict[str, Any]]:
        """Its links."""
        return self.ask("status")["links"]  # type: ignore[no-any-return]

    def is_linked(self) -> bool:
        """Whether its one link carries, over an address that the other has now, and all has passed."""
        assert self.other is not None
        there = [f"{scheme}://{address}:7850" for scheme in ("http", "https") for address in _hosts(self.other.end.addresses)]
        return [(each["state"], each["route"]) for each in self.links()] == [("up_to_date", "tailnet")] and all(
            each["address"] in there for each in self.links() if each["dialled_by_us"]
        )

    def readdress(self, addresses: tuple[str, str]) -> None:
        """Its machine has other addresses in the mesh from now on, and both daemons say so."""
        assert self.other is not None
        self.end.readdress(addresses)
        self.tell()
        self.other.tell()


@contextlib.contextmanager
def mesh(folder: Path) -> Iterator[tuple[MeshSite, MeshSite]]:
    """`alpha` and `beta`, with the tunnel up and the daemons listening. Their peers are set up and do not run yet."""
    needs_tunnels()
    addresses = [("100.64.0.1", "fd7a:115c:a1e0::1"), ("100.64.0.2", "fd7a:115c:a1e0::2")]
    with contextlib.ExitStack() as stack:
        alpha, beta = stack.enter_context(hosts(folder, "alpha", "beta"))
        ends = stack.enter_context(tunnel(alpha, beta, addresses))
        sites = [MeshSite(number, end, folder / f"{end.host.name}.sock") for number, end in enumerate(ends, 1)]
        sites[0].other, sites[1].other = sites[1], sites[0]
        for site in sites:
            site.tell()
        stack.enter_context(_listening(sites))
        yield sites[0], sites[1]
        for site in sites:
            site.host.stop()


def set_up(site: MeshSite) -> None:
    """Make the data directory of its peer: it listens in the mesh, and is told where its daemon is."""
    site.host.recmesh("init", "--name", site.host.name, "--listen", "tailnet", "--admin", f"127.0.0.1:{ADMIN_PORT}")
    with (site.host.folder / "config.toml").open("a") as config:
        config.write(f'\n[tailscale]\nsocket = "{site.socket}"\npoll_s = {LOOK_S}\n')


def _hosts(addresses: tuple[str, ...]) -> list[str]:
    """As they are in a URL."""
    return [f"[{address}]" if ":" in address else address for address in addresses]


@contextlib.contextmanager
def _listening(sites: list[MeshSite]) -> Iterator[None]:
    """The daemons, in a thread of their own: a file is their address, which all network namespaces see."""
    ready, ending = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def listen() -> None:
        loops.append(asyncio.get_running_loop())
        async with contextlib.AsyncExitStack() as stack:
            for site in sites:
                await stack.enter_async_context(site.daemon.on_socket(site.socket))
            ready.set()
            await ending.wait()

    thread = threading.Thread(target=lambda: asyncio.run(listen()), daemon=True)
    thread.start()
    try:
        assert ready.wait(START_TIMEOUT_S), "the daemons do not listen"
        yield
    finally:
        loops[0].call_soon_threadsafe(ending.set)
        thread.join(START_TIMEOUT_S)
