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
    group = alpha.change("sync/groups", {"name": "lab"})["group_id"]
    invitation = alpha.change(f"sync/groups/{group}/invitations", {})["invitation"]
    beta.change("sync/groups/join", {"invitation": invitation})
    wait_until(lambda: alpha.is_linked() and beta.is_linked(), "they are linked through the tunnel")
    return read_invitation(invitation).endpoint


def sample(folder: Path, name: str) -> Path:
    """A recording."""
    path = folder / f"{name}.mcap"
    write_sample(path, RECORDING_BYTES, 1)
    return path


def begin(two: tuple[MeshSite, MeshSite]) -> None:
    """Two peers that listen in the mesh."""
    for site in two:
        set_up(site)
        site.host.start()


def test_plain_http_passes_the_tunnel_with_all_bytes_and_no_other_way(two: tuple[MeshSite, MeshSite], tmp_path: Path) -> None:
    """The addresses are those of the mesh; what makes them worth anything is the interface that they are on."""
    alpha, beta = two
    for site in two:
        set_up(site)
        site.host.start(wireguard=json.dumps([site.end.network]))
    assert join(alpha, beta) == "http://100.64.0.1:7850"

    before = alpha.end.carried()
    alpha.add(sample(tmp_path, "drive"))
    wait_until(lambda: beta.recordings() == {"drive": "local"}, "the recording and its bytes have come")
    assert alpha.end.carried() - before >= RECORDING_BYTES

    shown, peer_id = beta.ask("network"), alpha.ask("status")["peer_id"]
    assert [(each["host"], each["peer_id"], each["route"]) for each in shown["peers"]] == [("alpha", peer_id, "direct")]
    assert [(each["address"], each["node"]["name"]) for each in beta.links()] == [("http://100.64.0.1:7850", "alpha.mesh.example")]

    # Outside the mesh nobody listens. What comes from outside to an address in the mesh the system takes in, and the peer does not.
    assert "ConnectionRefusedError" in beta.host.asks_plainly("192.168.77.2", "192.168.77.1", check=False)
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
    begin(two)
    assert join(alpha, beta) == "https://100.64.0.1:7850"

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

    wait_until(lambda: have_both(two), "both have both", NOTICED_S)
    assert alpha.end.carried() - before >= 2 * RECORDING_BYTES


def test_links_follow_a_machine_to_its_new_addresses(two: tuple[MeshSite, MeshSite], tmp_path: Path) -> None:
    """While both run: the mesh gives one of them other addresses. Nothing is lost, and nobody is restarted."""
    alpha, beta = two
    begin(two)
    join(alpha, beta)

    alpha.add(sample(tmp_path, "of-alpha"))
    alpha.readdress(("100.64.0.77", "fd7a:115c:a1e0::77"))
    beta.add(sample(tmp_path, "of-beta"))

    wait_until(lambda: have_both(two) and alpha.is_linked() and beta.is_linked(), "they are linked over the new addresses and have both", NOTICED_S)
    status = alpha.ask("status")
    assert (status["endpoint"], status["problems"]) == ("https://100.64.0.77:7850", [])
    assert "https://100.64.0.77:7850" in beta.ask(f"sync/peers/{status['peer_id']}")["endpoints"]
    assert "ConnectionRefusedError" in alpha.host.asks_plainly("127.0.0.1", "127.0.0.1", check=False)


def test_two_sites_that_were_told_each_others_ids_and_nothing_else_find_each_other(two: tuple[MeshSite, MeshSite], tmp_path: Path) -> None:
    """No invitation and no address: the daemon of each tells of a machine with the tag, and who is there shows the key that is looked for."""
    alpha, beta = two
    begin(two)
    alpha.change("sync/groups", {"name": "lab"})
    for site, other in ((alpha, beta), (beta, alpha)):
        known = {
            "name": other.host.name,
            "peer_id": other.ask("status")["peer_id"],
            "sync_endpoint": None,
            "shared_groups": ["lab"],
            "role": "writer",
        }
        site.change("sync/peers", known)

    alpha.add(sample(tmp_path, "drive"))

    wait_until(
        lambda: beta.ask("status")["groups"] != [] and beta.recordings() == {"drive": "local"}, "the recording and its bytes have come", NOTICED_S
    )
    wait_until(lambda: alpha.is_linked() and beta.is_linked(), "both say so")


def test_sites_whose_addresses_all_changed_meanwhile_find_each_other_by_their_tag(two: tuple[MeshSite, MeshSite], tmp_path: Path) -> None:
    """No address that either knows of the other is good, and nobody else is there to ask. They begin while the mesh is still down."""
    alpha, beta = two
    begin(two)
    join(alpha, beta)
    for site in two:
        site.host.stop()
        site.down()
    for site, number in zip(two, (33, 44), strict=True):
        site.end.readdress((f"100.64.9.{number}", f"fd7a:115c:a1e0::{number}"))
    for site in two:
        site.host.start()
        assert [each["code"] for each in site.ask("status")["problems"]] == ["mesh_not_listening"]
        site.add(sample(tmp_path, f"of-{site.host.name}"))

    for site in two:
        site.up()
    for site in two:
        site.tell()

    wait_until(lambda: have_both(two) and alpha.is_linked() and beta.is_linked(), "they have found each other", NOTICED_S)
    assert all(site.ask("status")["problems"] == [] for site in two)


def have_both(two: tuple[MeshSite, MeshSite]) -> bool:
    """Whether each has the recording of each, with all bytes."""
    return all(site.recordings() == {"of-alpha": "local", "of-beta": "local"} for site in two)
