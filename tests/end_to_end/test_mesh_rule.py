"""Who may be linked in a WireGuard mesh that is one, by the tags that its daemon tells of whoever calls."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.mesh_lab import TAG, MeshSite, mesh, set_up
from tests.end_to_end.processes import wait_until
from tests.tunnel import NEEDS

pytestmark = [pytest.mark.xdist_group("processes"), pytest.mark.needs(NEEDS)]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[MeshSite, MeshSite]]:
    """`alpha` links with tagged machines alone."""
    with mesh(tmp_path) as sites:
        rule = {"tailscale__only_tags": json.dumps([TAG])}
        for site, settings in zip(sites, (rule, {}), strict=True):
            set_up(site)
            site.host.start(wireguard=json.dumps([site.end.network]), **settings)
        yield sites


def tag(site: MeshSite, *tags: str) -> None:
    """Let the daemon of `site` say that of the other machine."""
    assert site.other is not None
    site.daemon.status["Peer"][site.other.node["PublicKey"]]["Tags"] = list(tags)
    site.ask("network")  # Whoever asks that lets the peer look at once.


def audit(site: MeshSite) -> list[dict[str, Any]]:
    """What was written of links."""
    lines = (site.host.folder / "audit.log").read_text().splitlines()
    return [line for line in map(json.loads, lines) if "link" in line]


def test_a_machine_is_linked_for_as_long_as_it_has_the_tag(two: tuple[MeshSite, MeshSite]) -> None:
    """What decides is where its packets come from, through the tunnel, and what the daemon says of that."""
    alpha, beta = two
    tag(alpha, "tag:other")
    refused = beta.host.asks_plainly("100.64.0.2", "100.64.0.1")
    assert refused.startswith("HTTP/1.1 403"), refused
    assert '"code": "mesh_caller_refused"' in refused

    tag(alpha, TAG)
    assert beta.host.asks_plainly("100.64.0.2", "100.64.0.1").startswith("HTTP/1.1 400")  # Let in; but that is no WebSocket.
    group = alpha.change("sync/groups", {"name": "lab"})["group_id"]
    invitation = alpha.change(f"sync/groups/{group}/invitations", {})["invitation"]
    beta.change("sync/groups/join", {"invitation": invitation})
    wait_until(lambda: alpha.is_linked() and beta.is_linked(), "they are linked through the tunnel")
    line = next(line for line in audit(alpha) if line["link"] == "in")
    assert (line["name"], line["node"], line["tags"], line["remote"].rpartition(":")[0]) == ("beta", "beta.mesh.example", [TAG], "100.64.0.2")

    tag(alpha, "tag:other")
    wait_until(lambda: not alpha.is_linked(), "the link has ended")
    wait_until(lambda: [each["state"] for each in beta.links()] == ["refused"], "it is refused")
    line = next(line for line in audit(alpha) if line["link"] == "refused" and line["name"] == "beta")
    assert (line["code"], line["node"]) == ("mesh_caller_refused", "beta.mesh.example")
