"""Where addresses may lead that others told of. Pure.

Who tells of an address makes this machine connect to it, from inside its network. So such addresses are dialled only where a peer may be: at public
addresses, in the networks of this machine's own interfaces, and where the operator says so. What the operator entered is not bound to this.
"""

from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

from peer.core.endpoint import IpAddress, IpNetwork

NEVER = tuple(
    ip_network(each)
    for each in (
        "0.0.0.0/8",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "192.0.0.192/32",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/128",
        "100::/64",
        "fd00:42::42/128",
        "fd00:c1::a9fe:a9fe/128",
        "fd00:ec2::/64",
        "fd20:ce::254/128",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
"""Unspecified, link-local, multicast and reserved addresses, and those where machines in clouds ask for their own passwords."""

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
NOT_PUBLIC = tuple(
    ip_network(each)
    for each in (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "2001:2::/48",
        "2001:db8::/32",
        "3fff::/20",
    )
)
GLOBAL_IPV6 = ip_network("2000::/3")
TRANSLATED = (ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96"))
"""Addresses that end with the one of IPv4 to which what is sent there goes."""


class DialNetworks(NamedTuple):
    """What the operator of a site says of where hints may lead."""

    named: tuple[IpNetwork, ...] = ()
    """Allowed beside public networks and those of this machine."""
    loopback: bool = False
    """Whether our own listener is on loopback: then others are there, too."""

    def allow(self, address: IpAddress, own: Collection[IpNetwork]) -> bool:
        """Whether a hint may lead to `address`; `own` are the networks of this machine's interfaces."""
        if isinstance(address, IPv6Address) and _in(address, TRANSLATED):
            return self._allow(IPv4Address(int(address) & 0xFFFF_FFFF), own)
        return all(self._allow(each, own) for each in (address, *_embedded(address)))

    def _allow(self, address: IpAddress, own: Collection[IpNetwork]) -> bool:
        if _in(address, NEVER):
            return False
        if _in(address, self.named):
            return True
        if _in(address, LOOPBACK):
            return self.loopback
        return _is_public(address) or _in(address, own)


def read_address(text: str) -> IpAddress | None:
    """The address that a socket is to be connected to, without its zone; None for what is none."""
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _in(address: IpAddress, networks: Collection[IpNetwork]) -> bool:
    return any(address in network for network in networks)


def _is_public(address: IpAddress) -> bool:
    return not _in(address, NOT_PUBLIC) and (isinstance(address, IPv4Address) or address in GLOBAL_IPV6)


def _embedded(address: IpAddress) -> Iterator[IpAddress]:
    """The addresses of IPv4 that what is sent to `address` may be carried to on the way."""
    if isinstance(address, IPv6Address):
        if address.sixtofour is not None:
            yield address.sixtofour
        if address.teredo is not None:
            yield from address.teredo
