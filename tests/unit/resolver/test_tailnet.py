"""What a mesh says of where members may be, as a source of addresses."""

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from peer.core import mesh_addresses
from peer.core.identity import GroupId, PeerId
from peer.core.mesh import ABSENT, Caller, Mesh, MeshState, StateListener
from peer.errors import MeshUnreachableError
from resolver.base import KnownPeer, SourceState
from resolver.composite import CompositePeerResolver
from resolver.static import StaticPeerResolver
from resolver.tailnet import TailnetPeerResolver
from tests.unit.core.test_mesh_candidates import TAG, machine, mesh

ME, BOB, CAROL = (PeerId(bytes([number]) * 32) for number in (1, 2, 3))
GROUP = GroupId(b"g" * 32)
DEADLINE_S = 20.0


class View:
    """A mesh that changes when a test says so."""

    def __init__(self) -> None:
        self.current = ABSENT
        self.listeners: list[StateListener] = []

    def subscribe(self, listener: StateListener) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    async def ask(self, address: str) -> Caller | None:
        raise AssertionError(address)

    async def who(self, address: str) -> Caller | None:
        raise AssertionError(address)

    def becomes(self, state: MeshState) -> None:
        """It is another now."""
        self.current = state
        for each in self.listeners:
            each(state)


class Scene:
    """A source, with a group of which this peer, Bob and Carol are members."""

    def __init__(self, tag: str = TAG) -> None:
        self.mesh = View()
        members = {peer: SimpleNamespace(name=name) for peer, name in ((ME, "me"), (BOB, "bob"), (CAROL, "carol"))}
        view = SimpleNamespace(roster=SimpleNamespace(members=members))
        self.replica: Any = SimpleNamespace(groups={GROUP: view})
        self.found = TailnetPeerResolver(ME, self.replica, self.mesh, tag, lambda host: f"https://{host}:7850", lambda: 0)
        self.told = 0
        self.found.subscribe(self._tell)

    def _tell(self) -> None:
        self.told += 1

    def at(self) -> dict[PeerId, tuple[str, ...]]:
        """Where members may be."""
        return {each.peer: each.endpoints for each in self.found.peers()}


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    yield made
    made.found.close()
    assert not made.mesh.listeners


async def test_members_may_be_at_machines_with_the_tag_and_that_is_a_hint(scene: Scene) -> None:
    scene.mesh.becomes(mesh(machine(1, "carol"), machine(2, "printer", tags=())))

    assert scene.told == 1
    carol = next(each for each in scene.found.peers() if each.peer == CAROL)
    endpoints = ("https://100.64.1.1:7850",)
    assert carol == KnownPeer(CAROL, "carol", endpoints, frozenset({GROUP}), "tailnet", hints=frozenset(endpoints))
    assert ME not in scene.at()


async def test_a_machine_without_a_mesh_has_no_such_source(scene: Scene) -> None:
    assert (scene.found.peers(), scene.found.states()) == ((), ())
    off = Scene(tag="")
    off.mesh.becomes(mesh(machine(1)))
    assert (off.found.peers(), off.found.states()) == ((), ())


async def test_a_daemon_that_cannot_be_asked_is_a_source_that_fails_with_its_reason(scene: Scene) -> None:
    scene.mesh.becomes(MeshState(Mesh.STOPPED, error=MeshUnreachableError("nobody answers")))

    assert scene.found.states() == [SourceState("tailnet", "failing", "nobody answers [mesh_unreachable]")]
    assert not scene.found.peers()
    scene.mesh.becomes(MeshState(Mesh.STOPPED))
    assert scene.found.states() == [SourceState("tailnet", "ok")]


async def test_what_a_try_found_out_is_told_of_soon_and_once(scene: Scene) -> None:
    scene.mesh.becomes(mesh(machine(1, "bob")))
    assert set(scene.at()) == {BOB, CAROL}
    scene.found.tried(BOB, "https://100.64.1.1:7850", "channel_key_mismatch")
    scene.found.tried(BOB, "https://100.64.1.1:7850", "channel_key_mismatch")

    async with asyncio.timeout(DEADLINE_S):
        while scene.told < 2:  # noqa: ASYNC110  (what is waited for has no event of its own)
            await asyncio.sleep(0.01)

    assert (scene.told, set(scene.at())) == (2, {CAROL})


async def test_what_happens_at_other_ports_and_elsewhere_says_nothing_of_a_machine(scene: Scene) -> None:
    """Two peers may run on one machine, each at a port of its own."""
    scene.mesh.becomes(mesh(machine(1, "bob")))
    for endpoint in ("https://100.64.1.1:9000", "https://100.64.1.9:7850", "https://bob.example.org:7850"):
        scene.found.tried(BOB, endpoint, "channel_key_mismatch")
        scene.found.tried(CAROL, endpoint, None)

    assert set(scene.at()) == {BOB, CAROL}


async def test_who_was_found_stays_there_whether_linked_or_not(scene: Scene) -> None:
    scene.mesh.becomes(mesh(machine(1), machine(2)))
    scene.found.tried(BOB, "https://100.64.1.2:7850", None)
    scene.found.linked(BOB, b"", dialled_by_us=True)
    assert scene.at() == {BOB: ("https://100.64.1.2:7850",), CAROL: ("https://100.64.1.1:7850",)}

    scene.found.linked(CAROL, b"", dialled_by_us=False)
    scene.found.unlinked(BOB)

    assert scene.at() == {BOB: ("https://100.64.1.2:7850",)}


async def test_whom_the_operator_named_is_sought_too(scene: Scene) -> None:
    dave = PeerId(b"d" * 32)
    named = KnownPeer(dave, "dave", ("https://dave.example.org:7850",), frozenset(), "manual")
    nobody: Any = SimpleNamespace(groups={})
    scene.found.operator = StaticPeerResolver([named], nobody)
    scene.mesh.becomes(mesh(machine(1, "dave")))

    assert scene.at()[dave] == ("https://100.64.1.1:7850",)


async def test_all_sources_together_are_dialled_through_the_mesh_first(scene: Scene) -> None:
    """Whoever said so; a mesh that does not run is the last way to go."""
    endpoints = ("https://bob.example.org:7850", "https://100.64.1.1:7850")
    nobody: Any = SimpleNamespace(groups={})
    static = StaticPeerResolver([KnownPeer(BOB, "bob", endpoints, frozenset(), "manual")], nobody)
    both = CompositePeerResolver([static, scene.found], scene.found.preferred)

    scene.mesh.becomes(mesh(machine(1, "bob")))
    assert next(each for each in both.peers() if each.peer == BOB).endpoints == endpoints[::-1]
    scene.mesh.becomes(MeshState(Mesh.STOPPED))
    assert next(each for each in both.peers() if each.peer == BOB).endpoints == endpoints


async def test_a_machine_that_has_another_address_is_followed_there(scene: Scene) -> None:
    """At the port and with the key that were known; whoever has its old address now is somebody else."""
    pin = "#spki=" + "ab" * 32
    at = [f"https://100.64.1.1:9000{pin}", "https://[fd7a:115c:a1e0::1]:9000", "https://bob.example.org:7850"]
    known = KnownPeer(BOB, "bob", tuple(at), frozenset(), "manual")
    scene.mesh.becomes(mesh(machine(1, "bob")))
    assert scene.found.followed(known) == known

    scene.mesh.becomes(mesh(machine(1, "bob", addresses=["100.64.1.77", "fd7a:115c:a1e0::77"])))
    new = (f"https://100.64.1.77:9000{pin}", "https://[fd7a:115c:a1e0::77]:9000")
    followed = scene.found.preferred(known)
    assert (followed.endpoints, followed.hints) == ((*new, at[2], *at[:2]), frozenset(new))

    scene.mesh.becomes(MeshState(Mesh.STOPPED))
    scene.mesh.becomes(mesh(machine(1, "bob", addresses=["100.64.1.78"]), machine(5, "stranger", addresses=["100.64.1.1"])))
    assert scene.found.followed(known._replace(endpoints=(at[0],))).endpoints == (at[0],)
    assert scene.found.followed(known._replace(endpoints=("https://100.64.1.77:9000",))).endpoints[1] == "https://100.64.1.78:9000"


async def test_few_former_addresses_are_remembered(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_addresses, "MOVED_MAX", 3)
    for number in range(1, 20):
        scene.mesh.becomes(mesh(machine(1, addresses=[f"100.64.2.{number}"])))

    assert len(scene.found._moved._former) == 3
