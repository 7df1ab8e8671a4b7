"""Where addresses may lead that others told of."""

from ipaddress import ip_network

import pytest

from peer.core.dial_networks import DialNetworks, read_address

OWN = frozenset(ip_network(each) for each in ("127.0.0.0/8", "::1/128", "192.168.7.0/24", "fe80::/64", "fd12:3456::/64", "169.254.3.0/24"))
PLAIN = DialNetworks()


def allowed(address: str, networks: DialNetworks = PLAIN) -> bool:
    found = read_address(address)
    assert found is not None
    return networks.allow(found, OWN)


@pytest.mark.parametrize("address", ["8.8.8.8", "2a00:1450::1", "192.168.7.20", "fd12:3456::9", "100.128.0.1", "172.32.0.1"])
def test_public_addresses_and_those_in_networks_of_this_machine_are_dialled(address: str) -> None:
    assert allowed(address)


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.8.1", "100.64.0.1", "198.18.0.1", "fd99::1", "2001:db8::1", "4000::1", "::7"]
)
def test_other_private_addresses_are_dialled_where_the_operator_says_so(address: str) -> None:
    assert not allowed(address)
    assert allowed(address, DialNetworks((ip_network(address),)))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_for_those_whose_own_listener_is_there(address: str) -> None:
    """Though the machine has an interface in that network, as every machine has."""
    assert not allowed(address)
    assert allowed(address, DialNetworks(loopback=True))
    assert allowed(address, DialNetworks((ip_network("127.0.0.0/8"), ip_network("::1"))))


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104  (not bound to)
        "0.1.2.3",
        "169.254.169.254",
        "169.254.3.4",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "fd00:42::42",
        "fd00:c1::a9fe:a9fe",
        "fd00:ec2::254",
        "fd20:ce::254",
    ],
)
def test_some_addresses_are_dialled_on_no_account(address: str) -> None:
    """Not even where the operator names everything, or the machine has an interface there."""
    everything = DialNetworks((ip_network("0.0.0.0/0"), ip_network("::/0")), loopback=True)
    assert not allowed(address)
    assert not allowed(address, everything)


@pytest.mark.parametrize("ipv4", ["10.0.0.1", "169.254.169.254", "127.0.0.1", "0.1.2.3"])
def test_addresses_of_ipv4_in_those_of_ipv6_are_no_way_around(ipv4: str) -> None:
    """Mapped, translated (NAT64), tunnelled (6to4, Teredo: the client's address is written inverted)."""
    number = read_address(ipv4)
    assert number is not None
    digits = f"{int(number):08x}"
    high, low = digits[:4], digits[4:]
    inverted = f"{int(number) ^ 0xFFFF_FFFF:08x}"
    forms = [f"::ffff:{ipv4}", f"::{ipv4}", f"64:ff9b::{high}:{low}", f"64:ff9b:1::{high}:{low}", f"2002:{high}:{low}::1"]
    forms += [f"2001:0:{high}:{low}:0:0:f7f7:f7f7", f"2001:0:808:808:0:0:{inverted[:4]}:{inverted[4:]}"]
    assert [each for each in forms if allowed(each)] == []


def test_public_addresses_of_ipv4_stay_public_in_those_of_ipv6() -> None:
    assert all(allowed(each) for each in ("::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"))


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f000001", "2130706433", "1.2.3.4.5", "[::1]"])
def test_what_is_no_address_is_not_taken_for_one(text: str) -> None:
    assert read_address(text) is None
