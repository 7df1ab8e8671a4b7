"""What becomes of links while the daemon of the mesh is logged out, stopped, slow, restarted or out of its mind: nothing. It is told, and passes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from peer.api.network_models import NetworkStatus
from peer.core.endpoint import read_endpoint
from resolver import tailscale_local
from tests.fake_tailscaled import LOGGED_OUT, FakeDaemon
from tests.integration.running_peer import RunningPeer, running_peer
from tests.integration.test_mesh_addresses import answers, status_of
from tests.patience import PATIENCE_S

LOOK_S = 0.05
OWN, OTHER = "127.0.0.2", "127.0.0.3"


class Machine:
    """One in the mesh, with its peer and its daemon."""

    def __init__(self, folder: Path, name: str, own: str, other: str) -> None:
        self.socket = folder / f"{name}.sock"
        self.daemon = FakeDaemon()
        self.well = status_of([own], {"other": [other]})
        self.daemon.status = self.well
        self.folder, self.name = folder, name
        self.stack, self.listening = AsyncExitStack(), AsyncExitStack()
        self.peer: RunningPeer

    async def start(self) -> None:
        """Both, the daemon first."""
        await self.listening.enter_async_context(self.daemon.on_socket(self.socket))
        tailscale = {"socket": str(self.socket), "poll_s": LOOK_S}
        self.peer = await self.stack.enter_async_context(running_peer(self.folder / self.name, self.name, listen="tailnet:0", tailscale=tailscale))

    async def daemon_ends(self) -> None:
        """As `systemctl stop` has it."""
        await self.listening.aclose()
        self.socket.unlink(missing_ok=True)

    async def daemon_begins(self) -> None:
        """Another process, on the same path."""
        await self.listening.enter_async_context(self.daemon.on_socket(self.socket))

    async def stop(self) -> None:
        """Both."""
        await self.stack.aclose()
        await self.daemon_ends()


@asynccontextmanager
async def linked(folder: Path) -> AsyncIterator[tuple[Machine, Machine]]:
    """Two machines whose peers are linked over the mesh, in one group."""
    alpha, beta = Machine(folder, "alpha", OWN, OTHER), Machine(folder, "beta", OTHER, OWN)
    try:
        await alpha.start()
        await beta.start()
        group = (await alpha.peer.post("/api/v1/sync/groups", {"name": "lab"}))["group_id"]
        invited = await alpha.peer.post(f"/api/v1/sync/groups/{group}/invitations", {})
        await beta.peer.post("/api/v1/sync/groups/join", {"invitation": invited["invitation"]})
        for each in (alpha, beta):
            await each.peer.until("/api/v1/status", lambda found: [link["state"] for link in found["links"]] == ["up_to_date"])
        async with asyncio.timeout(PATIENCE_S):
            while not sum(came_in(each) for each in (alpha, beta)):  # noqa: ASYNC110  (a file tells nobody)
                await asyncio.sleep(0.01)
        yield alpha, beta
    finally:
        await beta.stop()
        await alpha.stop()


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[Machine, Machine]]:
    """Such two."""
    async with linked(tmp_path) as machines:
        yield machines


def says(**fields: Any) -> Callable[[Machine], None]:
    """The daemon says this of itself."""

    def change(machine: Machine) -> None:
        machine.daemon.status = {**machine.well, **fields}

    return change


def is_logged_out(machine: Machine) -> None:
    """Somebody ran `tailscale logout`."""
    machine.daemon.status = LOGGED_OUT


def has_an_expired_key(machine: Machine) -> None:
    """And wants a new login."""
    own = {**machine.well["Self"], "Expired": True, "KeyExpiry": "2026-01-01T00:00:00Z"}
    machine.daemon.status = {**machine.well, "BackendState": "NeedsLogin", "Self": own, "Peer": None, "TailscaleIPs": None}


def is_silent(machine: Machine) -> None:
    """It takes calls and answers none."""
    machine.daemon.silent = True


def refuses(machine: Machine) -> None:
    """Its operator was changed."""
    machine.daemon.refuses = True


def talks_nonsense(machine: Machine) -> None:
    """Another program took its place."""
    machine.daemon.raw = b"<html>hello</html>"


def talks_without_end(machine: Machine) -> None:
    """More than any mesh has machines."""
    machine.daemon.raw = b" " * 200_000


def is_well(machine: Machine) -> None:
    """As at the beginning."""
    machine.daemon.status, machine.daemon.raw = machine.well, None
    machine.daemon.silent = machine.daemon.refuses = False


TROUBLES: list[tuple[Callable[[Machine], None], str]] = [
    (is_logged_out, "mesh_stopped"),
    (says(BackendState="Stopped", Peer=None, TailscaleIPs=None), "mesh_stopped"),
    (says(BackendState="Starting", Self=None, Peer=None), "mesh_stopped"),
    (says(BackendState="NeedsMachineAuth"), "mesh_stopped"),
    (has_an_expired_key, "mesh_key_expires"),
    (is_silent, "mesh_unreachable"),
    (refuses, "mesh_refused"),
    (talks_nonsense, "mesh_answer_invalid"),
    (talks_without_end, "mesh_answer_invalid"),
]


async def check_link(two: tuple[Machine, Machine], before: list[Any]) -> None:
    """Raise unless the link of old carries what is written now, and others could come in."""
    alpha, beta = two
    (group,) = (await alpha.peer.get("/api/v1/status"))["groups"]
    await alpha.peer.post(f"/api/v1/sync/groups/{group['group_id']}/invitations", {})
    events = (await alpha.peer.get("/api/v1/status"))["groups"][0]["events"]
    await beta.peer.until("/api/v1/status", lambda found: found["groups"][0]["events"] == events)
    assert await standing(two) == before
    for machine in two:
        where = read_endpoint(machine.peer.listen)
        assert where.port is not None
        assert await answers(where.host, where.port)


async def standing(two: tuple[Machine, Machine]) -> list[Any]:
    """The links of both, and how often one has come in: a link that was made anew is another one."""
    found = [(await each.peer.get("/api/v1/status"))["links"] for each in two]
    return [[(link["address"], link["phase"]) for link in links] for links in found] + [came_in(each) for each in two]


def came_in(machine: Machine) -> int:
    """How many links have come in there so far."""
    return (machine.peer.root / "audit.log").read_text().count('"link":"in"')


async def test_links_stand_whatever_the_daemon_says_and_it_is_told(two: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    """At both ends at once, one trouble after the other, and well again after each."""
    monkeypatch.setattr(tailscale_local, "CALL_TIMEOUT_S", 0.5)
    monkeypatch.setattr(tailscale_local, "BODY_SIZE_MAX", 100_000)
    before = await standing(two)
    for trouble, code in TROUBLES:
        for machine in two:
            trouble(machine)
        for machine in two:
            found = await machine.peer.until("/api/v1/network", lambda found: found["mesh"] == "stopped")
            NetworkStatus.model_validate(found)
            assert code in [each["code"] for each in found["problems"]], (code, found["problems"])
            assert all(each["text"] and each["fix"] for each in found["problems"])
        await check_link(two, before)
        for machine in two:
            is_well(machine)
        for machine in two:
            await machine.peer.until("/api/v1/network", lambda found: found["mesh"] == "running")
        await check_link(two, before)


async def test_links_stand_while_the_daemon_is_restarted(two: tuple[Machine, Machine]) -> None:
    """Its socket goes and comes back, at one end after the other."""
    before = await standing(two)
    for machine in two:
        await machine.daemon_ends()
        found = await machine.peer.until("/api/v1/network", lambda found: found["mesh"] == "absent")
        assert found["problems"] == []
        await check_link(two, before)

        await machine.daemon_begins()
        await machine.peer.until("/api/v1/network", lambda found: found["mesh"] == "running")
        await check_link(two, before)


async def test_a_slow_daemon_holds_nobody_up(two: tuple[Machine, Machine]) -> None:
    """While it is waited for, a peer answers all else, and events pass."""
    before = await standing(two)
    for machine in two:
        is_silent(machine)
    await check_link(two, before)
    for machine in two:
        is_well(machine)
    await check_link(two, before)
