"""Grants let the members of each group reach each other's peers, and nothing else."""

from collections.abc import Mapping, Sequence

import pytest

from peer.core.identity import PeerId
from peer.core.mesh_provider import Device
from peer.operations.network_policy import Place, Placed, grants_for


def member(number: int, *addresses: str, port: int = 7850) -> Placed:
    """Somebody in the mesh."""
    place = Place(addresses[0] if addresses else "", port, is_proven=True)
    return Placed(PeerId(bytes([number] * 32)), f"site-{number}", Device(f"n{number}", f"site-{number}.mesh", addresses, (), is_online=True), place)


def reaches(grants: Sequence[Mapping[str, object]], source: str, target: str, port: int) -> bool:
    """What the mesh would say, by the meaning of grants."""
    return any(source in grant["src"] and target in grant["dst"] and grant["ip"] == [f"tcp:{port}"] for grant in grants)  # type: ignore[operator]


def test_everybody_reaches_everybody_at_their_port_and_at_no_other() -> None:
    grants = grants_for([member(1, "100.64.0.1"), member(2, "100.64.0.2"), member(3, "100.64.0.3", port=9000)])

    ports = {"100.64.0.1": 7850, "100.64.0.2": 7850, "100.64.0.3": 9000}
    for source in ports:
        for target, port in ports.items():
            assert reaches(grants, source, target, port)
            assert not reaches(grants, source, target, 22)
            assert not reaches(grants, source, target, 16850 - port)
    assert not reaches(grants, "100.64.0.9", "100.64.0.1", 7850)


def test_addresses_are_in_one_order_once_and_nothing_else_is_an_address() -> None:
    (grant,) = grants_for([member(2, "100.64.0.10", "fd7a::2"), member(1, "100.64.0.9", "fd7a::1", "no address", "100.64.0.9")])

    assert grant == {
        "src": ["100.64.0.9", "100.64.0.10", "fd7a::1", "fd7a::2"],
        "dst": ["100.64.0.9", "100.64.0.10", "fd7a::1", "fd7a::2"],
        "ip": ["tcp:7850"],
    }


@pytest.mark.parametrize("members", [[], [member(1, "100.64.0.1")]])
def test_who_has_nobody_to_talk_to_needs_no_grant(members: Sequence[Placed]) -> None:
    assert grants_for(members) == []
