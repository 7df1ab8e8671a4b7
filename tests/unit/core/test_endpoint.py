"""Addresses of peers, their pins, and between which addresses nothing needs to be encrypted."""

from collections.abc import Collection
from ipaddress import ip_address

import pytest

from peer.core.endpoint import (
    ENDPOINT_CHARACTERS_MAX,
    IpAddress,
    counted_as,
    is_loopback,
    may_be_dialled_plain,
    may_be_plain,
    read_channel_key,
    read_endpoint,
    read_wireguard,
)

PIN = "ab" * 32
TUNNEL = (read_wireguard("10.8.0.0/24@wg0"), read_wireguard("fd12::/64@wg0"), read_wireguard("10.9.0.0/24@wg1"))
INTERFACES = {"wg0": ["10.8.0.1", "fd12::1"], "wg1": ["10.9.0.1"], "eth0": ["192.0.2.7", "10.8.0.9"]}


def addresses_of(interface: str) -> Collection[IpAddress]:
    return [ip_address(each) for each in INTERFACES.get(interface, ())]


@pytest.mark.parametrize(
    ("own", "other", "plain"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.8.9.1", True),
        ("::1", "::1", True),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "192.168.1.2", False),
        ("10.0.0.1", "127.0.0.1", False),
        ("::ffff:10.0.0.1", "::1", False),
        ("fe80::1%eth0", "::1", False),
        ("", "127.0.0.1", False),
        ("127.0.0.1", "", False),
        ("localhost.example.com", "127.0.0.1", False),
        ("10.8.0.1", "10.8.0.2", True),
        ("::ffff:10.8.0.1", "::ffff:10.8.0.2", True),
        ("fd12::1", "fd12::2", True),
        ("fd12::1%wg0", "fd12::2%wg0", True),
        ("10.9.0.1", "10.9.0.2", True),
        ("10.8.0.1", "10.9.0.2", False),  # Two tunnels are not one.
        ("10.8.0.1", "192.0.2.8", False),  # From outside to our address in the tunnel.
        ("192.0.2.7", "10.8.0.2", False),  # Out by another interface.
        ("10.8.0.9", "10.8.0.2", False),  # In the network, but not on its interface.
        ("10.8.0.3", "10.8.0.2", False),  # The tunnel is down: nobody here has this address.
        ("10.8.1.1", "10.8.0.2", False),
        ("fd12::1", "10.8.0.2", False),
        ("127.0.0.1", "10.8.0.2", False),
        ("10.8.0.1", "127.0.0.1", False),
    ],
)
def test_plain_http_is_for_loopback_and_for_tunnels_at_both_ends(own: str, other: str, *, plain: bool) -> None:
    assert may_be_plain(own, other, TUNNEL, addresses_of) is plain


def test_without_networks_there_is_loopback_alone() -> None:
    assert not may_be_plain("10.8.0.1", "10.8.0.2", (), addresses_of)


@pytest.mark.parametrize(
    ("host", "plain"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("10.8.0.77", True),
        ("10.10.0.1", False),
        ("wg.example.org", False),
        ("0.0.0.0", False),  # noqa: S104
    ],
)
def test_plain_http_is_dialled_where_it_may_turn_out_to_be_protected(host: str, *, plain: bool) -> None:
    assert may_be_dialled_plain(host, TUNNEL) is plain


def test_names_are_no_loopback_addresses() -> None:
    assert not is_loopback("localhost")
    assert is_loopback("127.9.9.9")


@pytest.mark.parametrize(
    "text",
    ["https://a.example:1", "https://a.example", "http://127.0.0.1:7850", "https://[2001:db8::1]:7850", f"https://a.example:1#spki={PIN}"],
)
def test_an_endpoint_is_written_as_it_was_read(text: str) -> None:
    assert str(read_endpoint(text)) == text


def test_what_is_dialled_has_no_pin() -> None:
    endpoint = read_endpoint(f"https://[2001:db8::1]:7850#spki={PIN}")

    assert (endpoint.url, endpoint.pin) == ("https://[2001:db8::1]:7850", bytes.fromhex(PIN))


def test_the_longest_host_name_that_leaves_room_for_a_pin() -> None:
    text = f"https://{'a' * 172}:65535#spki={PIN}"

    assert len(text) == ENDPOINT_CHARACTERS_MAX
    assert read_endpoint(text).pin is not None


@pytest.mark.parametrize(
    "text",
    [
        *("", "https://", "a:1", "ftp://a:1", "https://a:0", "https://a:99999", "https://a:b", "https://a:1/path", "https://a:1?q", "https://u@a:1"),
        *("https://@a:1", "https://a b:1", "https://a\\b:1", "https://ä:1", "https://a:1\n", "https://[::1:1", "https://" + "a" * 300),
        *("https://a:1#x", "https://a:1#spki=", f"https://a:1#spki={PIN[:-1]}", f"https://a:1#spki={PIN}0", f"https://a:1#spki={PIN.upper()}"),
        *(f"https://a:1#spki={'xy' * 32}", f"http://127.0.0.1:1#spki={PIN}", f"https://a:1#pin={PIN}"),
    ],
)
def test_other_texts_are_no_endpoints(text: str) -> None:
    with pytest.raises(ValueError, match=r"https|endpoint|host|SHA-256|spki"):
        read_endpoint(text)


@pytest.mark.parametrize(
    "text", ["10.8.0.0/24", "10.8.0.0/24@", "10.8.0.1/24@wg0", "10.8.0.0/33@wg0", "0.0.0.0/0@wg0", "::/0@wg0", "a@wg0", "10.8.0.0/24@wg 0"]
)
def test_a_network_without_its_interface_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"NETWORK@INTERFACE|no network|every address"):
        read_wireguard(text)


def test_networks_are_written_as_they_were_read() -> None:
    assert [str(each) for each in TUNNEL] == ["10.8.0.0/24@wg0", "fd12::/64@wg0", "10.9.0.0/24@wg1"]


@pytest.mark.parametrize("text", ["", "ab", PIN[:-2], PIN + "ab", PIN.upper(), " " + PIN])
def test_a_channel_key_is_64_hex_digits(text: str) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        read_channel_key(text)


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1%eth0", "2001:db8::/64"),
        ("", ""),
        ("somewhere", "somewhere"),
    ],
)
def test_an_address_of_ipv6_is_counted_with_its_neighbours(host: str, counted: str) -> None:
    assert counted_as(host) == counted
