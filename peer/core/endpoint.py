"""Where a peer can be dialled, and between which addresses nobody listens in. Pure.

An endpoint is `https://HOST:PORT`, or `http://HOST:PORT` where the network itself protects what crosses it. `#spki=<64 hex digits>` behind it is the
SHA-256 of the key (SubjectPublicKeyInfo) of the certificate that is shown there, where that is not the peer's own key: an operator's certificate, or
that of a proxy that ends TLS. It travels with the address, so nothing else needs to be distributed.
"""

import re
from collections.abc import Callable, Collection, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import urlsplit

ENDPOINT_CHARACTERS_MAX = 256
SCHEMES = ("https", "http")
LOOPBACK_NAME = "localhost"
LOOPBACK_NETWORKS = ("127.0.0.0/8", "::1/128")
PIN_PREFIX = "spki="
CHANNEL_KEY_SIZE = 32

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network


class Endpoint(NamedTuple):
    """Where a peer can be dialled."""

    scheme: str
    host: str
    port: int | None
    """None for the port that the scheme stands for."""
    pin: bytes | None = None
    """SHA-256 of the SubjectPublicKeyInfo that is shown there, if it is not the peer's own."""

    @property
    def url(self) -> str:
        """What is dialled: without the pin."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" if self.port is None else f"{self.scheme}://{host}:{self.port}"

    def __str__(self) -> str:
        """As it is written."""
        return self.url if self.pin is None else f"{self.url}#{PIN_PREFIX}{self.pin.hex()}"


def read_endpoint(text: str) -> Endpoint:
    """The endpoint in `text`. Raises `ValueError` that says what is wrong."""
    if len(text) > ENDPOINT_CHARACTERS_MAX or not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise ValueError(f"{text[:ENDPOINT_CHARACTERS_MAX]!r} is no endpoint: at most {ENDPOINT_CHARACTERS_MAX} ASCII characters, no space")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{text!r} has no valid host or port") from error
    if parts.scheme not in SCHEMES or not parts.hostname or port == 0 or parts.path not in ("", "/") or parts.query or "@" in parts.netloc:
        raise ValueError(f"{text!r} is not https://HOST:PORT")
    pin = None
    if parts.fragment:
        if not parts.fragment.startswith(PIN_PREFIX) or parts.scheme != "https":
            raise ValueError(f"{text!r}: behind the address only #{PIN_PREFIX} may follow, and only behind https")
        pin = read_channel_key(parts.fragment.removeprefix(PIN_PREFIX))
    return Endpoint(parts.scheme, parts.hostname, port, pin)


def read_channel_key(text: str) -> bytes:
    """The SHA-256 of a SubjectPublicKeyInfo, from 64 hex digits. Raises `ValueError`."""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError(f"{text[:80]!r} is no SHA-256 of a public key in 64 lower-case hex digits")
    return bytes.fromhex(text)


class WireGuardNetwork(NamedTuple):
    """A network whose packets are protected on the way, as long as they come and go by its interface."""

    network: IpNetwork
    interface: str

    def __str__(self) -> str:
        """As it is written."""
        return f"{self.network}@{self.interface}"


def read_wireguard(text: str) -> WireGuardNetwork:
    """`NETWORK@INTERFACE`, such as `10.8.0.0/24@wg0`. Raises `ValueError`."""
    network, at, interface = text.partition("@")
    if not at or not re.fullmatch(r"[A-Za-z0-9_.:-]{1,15}", interface):
        raise ValueError(f"{text!r} is not NETWORK@INTERFACE, such as 10.8.0.0/24@wg0")
    found = read_ip_network(network)
    if not found.prefixlen:
        raise ValueError(f"{text!r} is every address there is: name the network of the tunnel")
    return WireGuardNetwork(found, interface)


def read_ip_network(text: str) -> IpNetwork:
    """`ADDRESS/BITS`, or one address. Raises `ValueError`."""
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no network: {error}") from error


def read_ip(text: str) -> IpAddress | None:
    """The address of a socket: without its zone, and IPv4 where it is IPv4 in IPv6. None for what is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def counted_as(host: str) -> str:
    """Whom an address is counted to where one has a share of something: itself, or for IPv6 its /64, which is what one customer gets."""
    address = read_ip(host)
    if not isinstance(address, IPv6Address):
        return host if address is None else str(address)
    return str(IPv6Network((int(address) >> 64 << 64, 64)))


def is_loopback(host: str) -> bool:
    """True for loopback addresses; names are none."""
    address = read_ip(host)
    return address is not None and address.is_loopback


def may_be_plain(own: str, other: str, wireguard: Sequence[WireGuardNetwork], addresses_of: Callable[[str], Collection[IpAddress]]) -> bool:
    """True if two socket addresses may talk without TLS: both on loopback, or both in a WireGuard network with ours on its interface.

    Both, because a packet from outside that network may be sent to our address in it; the interface, because while the tunnel is down its addresses
    lead elsewhere.
    """
    ours, theirs = read_ip(own), read_ip(other)
    if ours is None or theirs is None:
        return False
    if ours.is_loopback and theirs.is_loopback:
        return True
    return any(ours in each.network and theirs in each.network and ours in addresses_of(each.interface) for each in wireguard)


def may_be_dialled_plain(host: str, wireguard: Sequence[WireGuardNetwork]) -> bool:
    """Whether `http://` makes sense for `host`: it may turn out to be protected once it is connected. A name could lead anywhere."""
    address = read_ip(host)
    return host == LOOPBACK_NAME or is_loopback(host) or (address is not None and any(address in each.network for each in wireguard))
