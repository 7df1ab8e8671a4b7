"""What a listener and a dialler make of a connection's two addresses, and of what it shows; headers never count."""

import socket
from ipaddress import ip_address, ip_network

import pytest

from peer.core.endpoint import WireGuardNetwork
from peer.errors import ChannelKeyMismatchError, ChannelUnprotectedError
from peer.sync.handshake import NO_CHANNEL_KEY
from peer.transport.channel import NO_RULES, ChannelRules, listener_channel_key, socket_name
from peer.transport.interfaces import addresses_of
from peer.transport.pinning import Dialled, pinned
from peer.transport.tls import certificate, peer_spki_sha256, spki_sha256
from tests.blob_site import MEMBER, SERVER

OWN = peer_spki_sha256(SERVER.peer_id)
FIRST, SECOND = b"\x01" * 32, b"\x02" * 32
PROXIED = ChannelRules(proxy_keys=(FIRST, SECOND))
REMOTE_PROXY = ChannelRules(proxies=frozenset({ip_address("192.0.2.5")}), proxy_keys=(FIRST,))


class Connected:
    """A transport, as far as its addresses and its certificate are asked for."""

    def __init__(self, own: object, other: object, shown: bytes | None = None) -> None:
        self._extra = {"sockname": own, "peername": other, "ssl_object": self if shown is not None else None}
        self._shown = shown

    def get_extra_info(self, name: str) -> object:
        return self._extra[name]

    def getpeercert(self, binary_form: bool = False) -> bytes | None:  # noqa: FBT001, FBT002
        assert binary_form
        return self._shown


def loopback() -> Connected:
    return Connected(("127.0.0.1", 1), ("127.0.0.1", 2))


@pytest.mark.parametrize(
    ("rules", "own", "other", "told", "key"),
    [
        (NO_RULES, "127.0.0.1", "127.0.0.1", "", NO_CHANNEL_KEY),
        (NO_RULES, "127.0.0.1", "127.0.0.1", FIRST.hex(), NO_CHANNEL_KEY),
        (PROXIED, "127.0.0.1", "127.0.0.1", "", FIRST),
        (PROXIED, "::1", "::1", SECOND.hex(), SECOND),
        (PROXIED, "127.0.0.1", "127.0.0.1", "ff" * 32, FIRST),
        (PROXIED, "127.0.0.1", "127.0.0.1", "00" * 32, FIRST),
        (PROXIED, "127.0.0.1", "127.0.0.1", "junk", FIRST),
        (REMOTE_PROXY, "192.0.2.1", "192.0.2.5", "", FIRST),
        (REMOTE_PROXY, "::ffff:192.0.2.1", "::ffff:192.0.2.5", "", FIRST),
        (REMOTE_PROXY, "127.0.0.1", "127.0.0.1", "", NO_CHANNEL_KEY),
        (REMOTE_PROXY, "192.0.2.1", "192.0.2.6", FIRST.hex(), None),
        (PROXIED, "192.0.2.1", "192.0.2.5", FIRST.hex(), None),
        (NO_RULES, "192.0.2.1", "192.0.2.1", "", None),
        (NO_RULES, "192.0.2.1", "127.0.0.1", "", None),
    ],
)
def test_what_a_listener_binds_for_a_plain_connection(rules: ChannelRules, own: str, other: str, told: str, key: bytes | None) -> None:
    connected = Connected((own, 1), (other, 2))
    if key is None:
        with pytest.raises(ChannelUnprotectedError):
            listener_channel_key(rules, connected, OWN, told)  # type: ignore[arg-type]
    else:
        assert listener_channel_key(rules, connected, OWN, told) == key  # type: ignore[arg-type]


def test_a_listener_binds_its_own_certificate_whatever_it_is_told() -> None:
    shown = Connected(("192.0.2.1", 1), ("192.0.2.2", 2), certificate(SERVER))

    assert listener_channel_key(PROXIED, shown, OWN, SECOND.hex()) == OWN  # type: ignore[arg-type]


@pytest.mark.parametrize("connected", [None, Connected(None, None), Connected("", ""), Connected("/run/a.sock", "/run/a.sock")])
def test_a_connection_without_addresses_is_not_protected(connected: Connected | None) -> None:
    with pytest.raises(ChannelUnprotectedError):
        listener_channel_key(PROXIED, connected, OWN, "")  # type: ignore[arg-type]


def test_a_wireguard_network_needs_its_interface() -> None:
    """Loopback's own addresses stand for a tunnel here: they are on `lo`, and on no other interface."""
    network = ip_network("127.0.0.0/8")
    assert ip_address("127.0.0.1") in addresses_of("lo")
    assert not addresses_of("no such interface")
    assert not any(ip_address("127.0.0.1") in addresses_of(name) for _, name in socket.if_nameindex() if name != "lo")
    rules = ChannelRules((WireGuardNetwork(network, "lo"),))
    assert rules.is_plain_allowed("127.0.0.1", "127.0.0.2")


def test_a_dialler_takes_the_peers_own_key_or_the_pinned_one() -> None:
    mine = Connected(("192.0.2.1", 1), ("192.0.2.2", 2), certificate(SERVER))
    other = spki_sha256(certificate(MEMBER))
    plain, pinning = Dialled(SERVER.peer_id, "https://a:1", NO_RULES), Dialled(SERVER.peer_id, f"https://a:1#spki={other.hex()}", NO_RULES)
    for dialled in (plain, pinning):
        dialled.check(mine)  # type: ignore[arg-type]
        assert dialled.channel_key == OWN
    theirs = Connected(("192.0.2.1", 1), ("192.0.2.2", 2), certificate(MEMBER))
    pinning.check(theirs)  # type: ignore[arg-type]
    assert pinning.channel_key == other
    with pytest.raises(ChannelKeyMismatchError):
        plain.check(theirs)  # type: ignore[arg-type]
    with pytest.raises(ChannelKeyMismatchError):
        pinning.check(Connected(("127.0.0.1", 1), ("127.0.0.1", 2)))  # type: ignore[arg-type]


def test_a_dialler_judges_plain_http_by_where_it_arrived() -> None:
    """A name may lead anywhere; the connected socket says where it led."""
    dialled = Dialled(SERVER.peer_id, "http://localhost:1", NO_RULES)
    dialled.check(loopback())  # type: ignore[arg-type]
    assert dialled.channel_key == NO_CHANNEL_KEY
    with pytest.raises(ChannelUnprotectedError):
        dialled.check(Connected(("192.0.2.1", 1), ("192.0.2.2", 2)))  # type: ignore[arg-type]
    with pytest.raises(ChannelUnprotectedError):
        Dialled(SERVER.peer_id, "http://192.0.2.2:1", NO_RULES)


def test_an_address_gets_a_pin_only_where_it_needs_one() -> None:
    pin = f"#spki={FIRST.hex()}"
    assert pinned("https://a:1", SERVER.peer_id, FIRST) == f"https://a:1{pin}"
    assert pinned(f"https://a:1#spki={SECOND.hex()}", SERVER.peer_id, FIRST) == f"https://a:1#spki={SECOND.hex()}"
    assert pinned("https://a:1", SERVER.peer_id, OWN) == pinned("https://a:1", SERVER.peer_id, None) == "https://a:1"
    assert pinned("http://127.0.0.1:1", SERVER.peer_id, FIRST) == "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (("100.64.0.2", 51234), "100.64.0.2:51234"),
        (("::ffff:100.64.0.2", 51234, 0, 0), "100.64.0.2:51234"),
        (("fd7a:115c:a1e0::2", 7, 0, 0), "[fd7a:115c:a1e0::2]:7"),
        (("fe80::1%eth0", 7, 0, 2), "[fe80::1]:7"),
        ("/run/some.sock", ""),
        (None, ""),
        ((), ""),
    ],
)
def test_an_end_of_a_socket_is_written_as_the_daemon_of_a_mesh_wants_it(name: object, shown: str) -> None:
    assert socket_name(name) == shown
