"""Plain HTTP between two hosts in a network that the operator calls protected, and wherever else it is tried.

The hosts are network namespaces, joined by two cables: `wg0` stands for the tunnel (what is judged is addresses and the interface, not how it
encrypts), `lan0` for everything around it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.core.group import read_invitation
from tests.end_to_end.processes import wait_until
from tests.namespaces import NEEDS, Host, cable, hosts, needs_namespaces

pytestmark = [pytest.mark.xdist_group("processes"), pytest.mark.needs(NEEDS)]
TUNNEL = '["10.8.0.0/24@wg0"]'
MISTAKEN = '["10.8.0.0/24@lan0"]'


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    needs_namespaces()
    with hosts(tmp_path, "alpha", "beta") as (alpha, beta):
        cable(alpha, beta, "wg0", ("10.8.0.1/24", "10.8.0.2/24"))
        cable(alpha, beta, "lan0", ("192.168.77.1/24", "192.168.77.2/24"))
        for host, address in ((alpha, "10.8.0.1"), (beta, "10.8.0.2")):
            host.recmesh("init", "--name", host.name, "--listen", f"{address}:7850", "--admin", "127.0.0.1:7851")
        yield alpha, beta
        for host in (alpha, beta):
            host.stop()


def link(host: Host) -> dict[str, object]:
    """The one link of a host."""
    (only,) = host.json("status")["links"]
    return only  # type: ignore[no-any-return]


def refused_with(host: Host) -> str:
    """Waits until its link is refused, and gives the code."""
    wait_until(lambda: link(host)["state"] == "refused", f"the link of {host.name} is refused")
    error = link(host)["last_error"]
    assert isinstance(error, dict)
    return str(error["code"])


def test_plain_http_is_spoken_in_the_tunnel_and_nowhere_else(two: tuple[Host, Host]) -> None:
    """Both sides judge, each by its own two addresses and its own interface; what a header says of addresses means nothing."""
    alpha, beta = two
    alpha.start(wireguard=TUNNEL)
    beta.start(wireguard=TUNNEL)
    alpha.recmesh("group", "create", "lab")
    invitation = alpha.recmesh("group", "invite", "lab").strip()
    assert read_invitation(invitation).endpoint == "http://10.8.0.1:7850"
    beta.recmesh("group", "join", invitation)
    wait_until(lambda: link(beta)["state"] == "up_to_date", "they are linked through the tunnel")
    wait_until(lambda: len(alpha.json("group", "show", "lab")["members"]) == 2, "both are members")

    # From the local network to the address in the tunnel: the system takes it in, the peer does not.
    beta.run("ip", "route", "add", "10.8.0.1/32", "via", "192.168.77.1", "src", "192.168.77.2")
    for forwarded in ("", "X-Forwarded-For: 10.8.0.2\r\n", "Forwarded: for=10.8.0.2\r\n", "X-Real-IP: 127.0.0.1\r\n"):
        answer = beta.asks_plainly("192.168.77.2", "10.8.0.1", forwarded)
        assert answer.startswith("HTTP/1.1 403"), answer
        assert '"code": "channel_unprotected"' in answer
    beta.run("ip", "route", "del", "10.8.0.1/32", "via", "192.168.77.1")
    assert beta.asks_plainly("10.8.0.2", "10.8.0.1").startswith("HTTP/1.1 400")  # Let in; but that is no WebSocket.

    # The dialler judges: the network is right, but our address is not on the interface that it is to be on.
    beta.stop()
    beta.start(wireguard=MISTAKEN)
    assert refused_with(beta) == "channel_unprotected"

    # So does the listener.
    beta.stop()
    alpha.stop()
    alpha.start(wireguard=MISTAKEN)
    beta.start(wireguard=TUNNEL)
    assert refused_with(beta) == "channel_unprotected"

    # Without the setting the address is not even dialled, and the listener speaks TLS.
    beta.stop()
    beta.start(wireguard="[]")
    assert refused_with(beta) == "channel_unprotected"
    alpha.stop()
    alpha.start(wireguard="[]")
    assert read_invitation(alpha.recmesh("group", "invite", "lab").strip()).endpoint == "https://10.8.0.1:7850"

    # And when all is well again they find each other.
    alpha.stop()
    beta.stop()
    alpha.start(wireguard=TUNNEL)
    beta.start(wireguard=TUNNEL)
    wait_until(lambda: link(beta)["state"] == "up_to_date", "they are linked again")
