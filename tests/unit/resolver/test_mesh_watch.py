"""What is known of a mesh, kept up to date from a daemon on a real socket that checks what tailscaled checks."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from peer.core.mesh import Caller, Mesh, MeshState
from peer.errors import MeshUnreachableError
from resolver import mesh_watch, tailscale_local
from resolver.mesh_watch import MeshWatch
from resolver.tailscale_local import Daemon, LocalApi
from tests.fake_tailscaled import DIRECT, LOGGED_OUT, RUNNING, TOKEN, FakeDaemon, node

DEADLINE_S = 30.0
FOREVER_S = 1000.0
"""Between two looks that nothing asks for, in a test that is to show what wakes it."""


@asynccontextmanager
async def watching(path: Path, poll_s: float = 0.02) -> AsyncIterator[MeshWatch]:
    """A watch that runs."""
    watch = MeshWatch(LocalApi(Daemon(str(path))), poll_s=poll_s, woken_s=0.01)
    running = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        running.cancel()
        await asyncio.wait([running], timeout=DEADLINE_S)
        assert running.cancelled()


async def until(condition: Callable[[], bool]) -> None:
    """Return once that holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  (the watch tells only of what matters)
            await asyncio.sleep(0.005)


@pytest.mark.usefixtures("daemon")
async def test_the_mesh_is_known_by_addresses_and_names(path: Path) -> None:
    async with watching(path) as watch:
        await until(lambda: watch.current.mesh is Mesh.RUNNING)
        state = watch.current

    assert (state.addresses, state.name) == (("100.64.0.1", "fd7a:115c:a1e0::1"), "arm-lab.mesh.example")
    field = state.node_at("100.64.0.2")
    assert field is not None
    assert (field.node_id, field.tags, field.is_online, field.route) == ("n2", ("tag:recmesh",), True, "direct")
    assert state.node_at("::ffff:100.64.0.2") == state.node_at("fd7a:115c:a1e0:0::2") == field
    assert state.node_at("100.64.0.1") is state.node_at("192.0.2.1") is state.node_at("field") is None


async def test_nothing_is_known_where_there_is_no_daemon_until_there_is_one(path: Path) -> None:
    async with watching(path) as watch:
        assert (watch.current.mesh, await watch.who("100.64.0.2:1")) == (Mesh.ABSENT, None)
        async with FakeDaemon().on_socket(path):
            await until(lambda: watch.current.mesh is Mesh.RUNNING)
        path.unlink(missing_ok=True)
        await until(lambda: watch.current.mesh is Mesh.ABSENT)


async def test_a_mesh_that_stops_has_no_machines(daemon: FakeDaemon, path: Path) -> None:
    async with watching(path) as watch:
        await until(lambda: watch.current.mesh is Mesh.RUNNING)
        daemon.status = LOGGED_OUT
        await until(lambda: watch.current.mesh is Mesh.STOPPED)
        assert (watch.current.addresses, watch.current.nodes, watch.current.error) == ((), {}, None)
        daemon.refuses = True
        await until(lambda: watch.current.error is not None)
        assert (watch.current.mesh, watch.current.error and watch.current.error.code) == (Mesh.STOPPED, "mesh_refused")


@pytest.mark.parametrize(
    "change",
    [
        {"TailscaleIPs": ["100.64.0.9"]},
        {"Tags": ["tag:other"]},
        {"Online": False},
        {"DNSName": "moved.mesh.example."},
        {"ID": "n99"},
    ],
)
async def test_who_listens_is_told_of_what_matters(daemon: FakeDaemon, path: Path, change: dict[str, object]) -> None:
    told: list[MeshState] = []
    async with watching(path) as watch:
        await until(lambda: watch.current.mesh is Mesh.RUNNING)
        watch.subscribe(told.append)
        daemon.status["Peer"][DIRECT["PublicKey"]] |= change
        await until(lambda: bool(told))

    assert [told[-1]] == told
    assert told == [watch.current]


async def test_who_listens_is_not_told_of_what_comes_and_goes(daemon: FakeDaemon, path: Path) -> None:
    told: list[MeshState] = []
    async with watching(path) as watch:
        await until(lambda: watch.current.mesh is Mesh.RUNNING)
        end = watch.subscribe(told.append)
        daemon.status["Peer"][DIRECT["PublicKey"]] |= {"CurAddr": "", "Relay": "fra", "Active": True}
        await until(lambda: watch.current.nodes["100.64.0.2"].route == "relayed")
        assert told == []
        end()
        daemon.status["Self"]["DNSName"] = "another.mesh.example."
        await until(lambda: watch.current.name == "another.mesh.example")

    assert told == []


async def test_an_address_that_no_machine_can_have_is_none(daemon: FakeDaemon, path: Path) -> None:
    nobodys = ["0.0.0.0", "::", "no", "ff02::1", ""]  # noqa: S104  (not bound to)
    daemon.status["Self"]["TailscaleIPs"] = [*nobodys, "100.64.0.1", "::ffff:100.64.0.7"]
    async with watching(path) as watch:
        await until(lambda: watch.current.mesh is Mesh.RUNNING)

        assert watch.current.addresses == ("100.64.0.1", "100.64.0.7")


@pytest.mark.parametrize("line", [b'{"PeersChanged": []}\n', b"\xff garbage", b"\n"])
async def test_what_the_daemon_tells_wakes_the_watch_whatever_it_is(daemon: FakeDaemon, path: Path, line: bytes) -> None:
    async with watching(path, FOREVER_S) as watch:
        await until(lambda: watch.current.mesh is Mesh.RUNNING and daemon.hears == 1)
        daemon.status = LOGGED_OUT
        daemon.tell(line)
        await until(lambda: watch.current.mesh is Mesh.STOPPED)


async def test_a_bus_that_breaks_off_is_looked_into_and_listened_to_again(daemon: FakeDaemon, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_watch, "BUS_AGAIN_S", 0.02)
    async with watching(path, FOREVER_S) as watch:
        await until(lambda: watch.current.mesh is Mesh.RUNNING and daemon.hears == 1)
        daemon.status = LOGGED_OUT
        daemon.tell(None)
        await until(lambda: watch.current.mesh is Mesh.STOPPED and daemon.listening >= 2 and daemon.hears == 1)
        daemon.status = RUNNING
        daemon.tell()
        await until(lambda: watch.current.mesh is Mesh.RUNNING)


async def test_who_has_no_bus_is_asked_seldom_for_it_and_polled_all_the_same(daemon: FakeDaemon, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_watch, "BUS_AGAIN_S", 0.01)
    monkeypatch.setattr(mesh_watch, "BUS_AGAIN_MAX_S", FOREVER_S)
    daemon.has_bus = False
    async with watching(path) as watch:
        await until(lambda: watch.current.mesh is Mesh.RUNNING)
        asked = daemon.asked
        await until(lambda: daemon.asked >= asked + 20)

    assert 1 <= daemon.listening <= 8  # Twice as long each time: 0.01, 0.02 ... 0.64 s.


async def test_who_floods_the_bus_makes_no_more_work_than_a_look_now_and_then(
    daemon: FakeDaemon, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesh_watch, "TOLD_BYTES_MAX", 100_000)
    monkeypatch.setattr(mesh_watch, "BUS_AGAIN_S", FOREVER_S)
    watch = MeshWatch(LocalApi(Daemon(str(path))), poll_s=FOREVER_S, woken_s=0.5)
    running = asyncio.create_task(watch.run())
    await until(lambda: daemon.hears == 1)
    for _ in range(200):
        daemon.tell(b"x" * 10_000)
    await until(lambda: daemon.asked >= 2)
    await until(lambda: daemon.hears == 0)  # It is not listened to any more.
    running.cancel()
    await asyncio.wait([running], timeout=DEADLINE_S)

    assert (daemon.listening, daemon.asked <= 4) == (1, True)


async def test_the_daemon_says_who_speaks_from_an_address_once_a_minute(daemon: FakeDaemon, path: Path) -> None:
    daemon.capabilities["n2"] = {"example.org/cap/recmesh": [{"role": "peer"}]}
    now = [0.0]
    watch = MeshWatch(LocalApi(Daemon(str(path))), poll_s=FOREVER_S, clock=lambda: now[0])

    field = await watch.who("100.64.0.2:51234")

    assert field == Caller("n2", "field.mesh.example", "tagged-devices", ("tag:recmesh",), frozenset({"example.org/cap/recmesh"}))
    assert await watch.who("[fd7a:115c:a1e0::5]:7") == Caller("n5", "laptop.mesh.example", "alice@example.org")
    now[0] = 59.9
    assert (await watch.who("100.64.0.2:51234"), daemon.whois_asked.count("100.64.0.2:51234")) == (field, 1)
    now[0] = 60.1
    assert (await watch.who("100.64.0.2:51234"), daemon.whois_asked.count("100.64.0.2:51234")) == (field, 2)
    assert await watch.who("192.0.2.1:7") is None


async def test_what_was_known_of_callers_is_forgotten_with_a_change(daemon: FakeDaemon, path: Path) -> None:
    watch = MeshWatch(LocalApi(Daemon(str(path))))
    assert await watch.who("100.64.0.9:1") is None
    daemon.status["Peer"]["new"] = node(9, "new")
    await watch.status()

    found = await watch.who("100.64.0.9:1")

    assert found is not None
    assert found.node_id == "n9"


async def test_a_port_of_this_machine_from_which_the_daemon_speaks_is_asked_about_each_time(daemon: FakeDaemon, path: Path) -> None:
    watch = MeshWatch(LocalApi(Daemon(str(path))))
    daemon.proxied["127.0.0.1:4000"] = "n2"
    found = await watch.who("127.0.0.1:4000")
    del daemon.proxied["127.0.0.1:4000"]

    assert found is not None
    assert (found.node_id, await watch.who("127.0.0.1:4000")) == ("n2", None)


async def test_where_the_daemon_cannot_be_asked_that_is_said_to_those_who_want_to_know(
    daemon: FakeDaemon, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tailscale_local, "CALL_TIMEOUT_S", 0.2)
    watch = MeshWatch(LocalApi(Daemon(str(path))))
    await watch.status()
    daemon.silent = True

    assert await watch.who("100.64.0.2:1") is None
    with pytest.raises(MeshUnreachableError):
        await watch.ask("100.64.0.2:1")


async def test_callers_that_are_remembered_are_bounded(daemon: FakeDaemon, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_watch, "CALLERS_MAX", 3)
    watch = MeshWatch(LocalApi(Daemon(str(path))))
    for port in (*range(1, 6), 5, 1):
        await watch.who(f"100.64.0.2:{port}")

    assert daemon.whois_asked == [f"100.64.0.2:{port}" for port in (*range(1, 6), 1)]


async def test_all_who_ask_before_the_first_look_wait_for_the_same(daemon: FakeDaemon, path: Path) -> None:
    watch = MeshWatch(LocalApi(Daemon(str(path))))

    found = await asyncio.gather(*(watch.who(f"100.64.0.2:{port}") for port in range(1, 40)))

    assert (daemon.asked, {each.node_id for each in found if each is not None}, None in found) == (1, {"n2"}, False)


async def test_a_daemon_on_a_port_tells_of_changes_to_whoever_shows_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    daemon = FakeDaemon()
    async with daemon.on_port():
        watch = MeshWatch(LocalApi(Daemon("", daemon.port, TOKEN)), poll_s=FOREVER_S, woken_s=0.01)
        running = asyncio.create_task(watch.run())
        await until(lambda: watch.current.mesh is Mesh.RUNNING and daemon.hears == 1)
        daemon.status = LOGGED_OUT
        daemon.tell()
        await until(lambda: watch.current.mesh is Mesh.STOPPED)
        running.cancel()
        await asyncio.wait([running], timeout=DEADLINE_S)


def test_where_there_is_no_daemon_looking_for_one_loads_nothing(path: Path) -> None:
    """Most machines are in no mesh, and a client takes 5 MB."""
    code = f"""
import asyncio, sys
from resolver.mesh_watch import MeshWatch
from resolver.tailscale_local import Daemon, LocalApi

async def look():
    watch = MeshWatch(LocalApi(Daemon({str(path)!r})), poll_s=0.01)
    running = asyncio.create_task(watch.run())
    for _ in range(20):
        await asyncio.sleep(0.01)
    print(watch.current.mesh.value, await watch.who("100.64.0.2:1"), "httpx" in sys.modules)
    running.cancel()

asyncio.run(look())
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=2 * DEADLINE_S, check=True)

    assert found.stdout.split() == ["absent", "None", "False"]
