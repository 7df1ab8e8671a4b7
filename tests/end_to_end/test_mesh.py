"""Two sites in a WireGuard mesh that is one: `wireguard-go` carries the packets, and each site's daemon tells of the other."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.cli.sample import write_sample
from peer.core.group import read_invitation
from tests.conftest import LONG
from tests.end_to_end.mesh_lab import MeshSite, mesh, set_up
from tests.end_to_end.processes import wait_until
from tests.tunnel import NEEDS

pytestmark = [pytest.mark.xdist_group("processes"), pytest.mark.needs(NEEDS), pytest.mark.long_story]
RECORDING_BYTES = (64 if LONG else 2) * 1024 * 1024
NOTICED_S = 120.0
"""How long it may take until a peer sees that nobody is at the other end: two pings without an answer, and some more."""


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[MeshSite, MeshSite]]:
    with mesh(tmp_path) as sites:
        yield sites


def join(alpha: MeshSite, beta: MeshSite) -> str:
    """Make a group of both, and give the endpoint that the invitation names."""
    alpha.host.recmesh("group", "create", "lab")
    invitation = alpha.host.recmesh("group", "invite", "lab").strip()
    beta.host.recmesh("group", "join", invitation)
    wait_until(lambda: alpha.is_linked() and beta.is_linked(), "they are linked through the tunnel")
    return read_invitation(invitation).endpoint


def sample(folder: Path, name: str) -> Path:
    """A recording."""
    path = folder / f"{name}.mcap"
    write_sample(path, RECORDING_BYTES, 1)
    return path


def test_plain_http_passes_the_tunnel_with_all_bytes_and_no_other_way(two: tuple[MeshSite, MeshSite], tmp_path: Path) -> None:
    """The addresses are those of the mesh; what makes them worth anything is the interface that they are on."""
    alpha, beta = two
    for site in two:
        set_up(site, f"{site.end.addresses[0]}:7850")
        site.host.start(wireguard=json.dumps([site.end.network]))
    assert join(alpha, beta) == "http://100.64.0.1:7850"

    before = alpha.end.carried()
    alpha.add(sample(tmp_path, "drive"))
    wait_until(lambda: beta.recordings() == {"drive": "local"}, "the recording and its bytes have come")
    assert alpha.end.carried() - before >= RECORDING_BYTES

    shown, peer_id = beta.host.json("network", "status"), alpha.host.recmesh("id").strip()
    assert [(each["host"], each["peer_id"], each["route"]) for each in shown["peers"]] == [("alpha", peer_id, "direct")]

    # Around the tunnel: the system takes it in, the peer does not.
    beta.host.run("ip", "route", "add", "100.64.0.1/32", "via", "192.168.77.1", "src", "192.168.77.2")
    refused = beta.host.asks_plainly("192.168.77.2", "100.64.0.1")
    assert refused.startswith("HTTP/1.1 403"), refused
    assert '"code": "channel_unprotected"' in refused
    beta.host.run("ip", "route", "del", "100.64.0.1/32", "via", "192.168.77.1")
    assert beta.host.asks_plainly("100.64.0.2", "100.64.0.1").startswith("HTTP/1.1 400")  # Let in; but that is no WebSocket.


@pytest.mark.parametrize("how", ["its daemon ends", "nothing passes"])
def test_what_is_added_while_the_tunnel_is_down_arrives_once_it_is_up(how: str, two: tuple[MeshSite, MeshSite], tmp_path: Path) -> None:
    """Of the first the system knows: the addresses are gone. Of the second nobody knows. Both sites go on writing."""
    alpha, beta = two
    for site in two:
        set_up(site, f"{site.end.addresses[0]}:7850")
        site.host.start()
    assert join(alpha, beta).startswith("https://100.64.0.1:7850")

    if how == "its daemon ends":
        beta.down()
    else:
        beta.host.run("ip", "link", "set", "lan0", "down")
    before = alpha.end.carried()
    for site in two:
        site.add(sample(tmp_path, f"of-{site.host.name}"))
    assert (alpha.recordings(), beta.recordings()) == ({"of-alpha": "local"}, {"of-beta": "local"})
    if LONG:
        wait_until(lambda: not alpha.is_linked() and not beta.is_linked(), "both see that the link is dead", NOTICED_S)
    if how == "its daemon ends":
        beta.up()
    else:
        beta.host.run("ip", "link", "set", "lan0", "up")

    both = {"of-alpha": "local", "of-beta": "local"}
    wait_until(lambda: alpha.recordings() == both and beta.recordings() == both, "both have both", NOTICED_S)
    assert alpha.end.carried() - before >= 2 * RECORDING_BYTES
