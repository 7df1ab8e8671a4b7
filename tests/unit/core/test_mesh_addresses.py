"""Which addresses of a mesh count for what."""

import pytest

from peer.core.mesh import ABSENT, Mesh, MeshNode, MeshState
from peer.core.mesh_addresses import OWN_ADDRESSES_MAX, MeshFirst, machine_networks, named_endpoint, own_hosts

HERE, AWAY = "https://100.64.0.2:7850", "https://100.64.0.3:7850"
BY_NAME = "https://field.mesh.example:7850"
ELSEWHERE = "https://field.example.org:7850"
UNKNOWN = "https://100.64.0.9:7850"


def machine(name: str, *addresses: str, is_online: bool = True) -> MeshNode:
    """One, as far as it matters here."""
    return MeshNode(f"n-{name}", name, name, "linux", "", addresses, (), is_online, False, "", "", False, "")  # noqa: FBT003  (as read from an answer)


def state(own: tuple[str, ...] = ("100.64.0.1",), *others: MeshNode, mesh: Mesh = Mesh.RUNNING) -> MeshState:
    """A mesh with this machine at `own`."""
    return MeshState(mesh, machine("own.mesh.example", *own), {address: each for each in others for address in each.addresses})


FIELD = machine("field.mesh.example", "100.64.0.2", "fd7a:115c:a1e0::2")
DEPOT = machine("depot.mesh.example", "100.64.0.3", is_online=False)


def test_a_daemon_brings_a_peer_to_listen_at_addresses_of_a_mesh_alone() -> None:
    said = ("100.64.0.1", "0.0.0.0", "192.168.1.7", "169.254.169.254", "8.8.8.8", "100.100.100.100", "::", "fd7a:115c:a1e0::1", "100.64.0.1")  # noqa: S104  (what is refused)

    assert own_hosts(state(said)) == ("100.64.0.1", "fd7a:115c:a1e0::1")


def test_a_daemon_that_names_very_many_addresses_gets_few_of_them_listened_at() -> None:
    assert len(own_hosts(state(tuple(f"100.64.1.{number}" for number in range(200))))) == OWN_ADDRESSES_MAX


@pytest.mark.parametrize("mesh", [Mesh.STOPPED, Mesh.ABSENT])
def test_a_mesh_that_does_not_run_has_no_address_to_listen_at(mesh: Mesh) -> None:
    assert own_hosts(state(mesh=mesh)) == ()


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [
        ("field.mesh.example", BY_NAME),
        ("Field.Mesh.Example", BY_NAME),
        ("", None),
        ("field", None),
        ("field.example:1/x", None),
        ("field.example#spki=" + "ab" * 32, None),
        ("user@field.example", None),
        ("field example.org", None),
        ("f\u00e9.example", None),
        ("a." * 300, None),
    ],
)
def test_a_name_is_told_of_if_it_is_one(name: str, endpoint: str | None) -> None:
    assert named_endpoint(name, 7850) == endpoint


@pytest.mark.parametrize(
    ("to", "may"),
    [
        ("100.64.0.2", True),
        ("::ffff:100.64.0.2", True),
        ("fd7a:115c:a1e0::2", True),
        ("100.64.0.9", False),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
    ],
)
def test_a_hint_may_lead_to_a_machine_of_the_mesh_at_an_address_of_a_mesh(to: str, *, may: bool) -> None:
    """A coordination server that says that machines are on loopback, or in the office's network, leads nobody there."""
    liar = machine("liar.mesh.example", "127.0.0.1", "10.0.0.1")

    assert bool(machine_networks(to, state(("100.64.0.1",), FIELD, liar))) is may


def test_in_a_mesh_of_loopback_addresses_hints_may_lead_to_loopback() -> None:
    assert machine_networks("127.0.0.3", state(("127.0.0.2",), machine("b", "127.0.0.3")))


def test_addresses_of_machines_that_are_there_are_dialled_first_and_those_that_are_away_last() -> None:
    order = MeshFirst(state(("100.64.0.1",), FIELD, DEPOT)).sorted((AWAY, ELSEWHERE, BY_NAME, UNKNOWN, HERE))

    assert order == (BY_NAME, HERE, ELSEWHERE, AWAY, UNKNOWN)


def test_a_mesh_that_carries_nothing_is_dialled_into_last_and_none_changes_nothing() -> None:
    endpoints = (HERE, ELSEWHERE, BY_NAME)

    assert MeshFirst(MeshState(Mesh.STOPPED)).sorted(endpoints) == (ELSEWHERE, BY_NAME, HERE)
    assert MeshFirst(ABSENT).sorted(endpoints) == endpoints
