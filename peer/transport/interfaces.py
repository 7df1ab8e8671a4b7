"""The addresses of this machine's network interfaces, as the system has them now."""

import ctypes
import ctypes.util
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_network

from peer.core.endpoint import IpAddress, IpNetwork, read_ip

_FAMILY_OFFSET = 1 if sys.platform == "darwin" else 0
"""BSD systems have the length of an address before its family."""
_IPV4_OFFSET, _IPV6_OFFSET = 4, 8
_IPV4_SIZE, _IPV6_SIZE = 4, 16


class _Interface(ctypes.Structure):
    """`struct ifaddrs`, as far as it is looked at."""


_Interface._fields_ = [
    ("next", ctypes.POINTER(_Interface)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
    ("mask", ctypes.c_void_p),
]

_system = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)


def addresses_of(interface: str) -> frozenset[IpAddress]:
    """All addresses of the interface with this name; none if it is not there. Raises `OSError`."""
    with _all_entries() as entries:
        return frozenset(found for name, found, _ in entries if name == interface)


def own_networks() -> frozenset[IpNetwork]:
    """The networks that this machine's interfaces are in. Raises `OSError`."""
    with _all_entries() as entries:
        found = [ip_network(f"{address}/{_prefix(mask, address.max_prefixlen)}", strict=False) for _, address, mask in entries if any(mask)]
    return frozenset(each for each in found if each.prefixlen)


@contextmanager
def _all_entries() -> Iterator[Iterator[tuple[str, IpAddress, bytes]]]:
    first = ctypes.POINTER(_Interface)()
    if _system.getifaddrs(ctypes.byref(first)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    try:
        yield _listed(first)
    finally:
        _system.freeifaddrs(first)


def _listed(entry: "ctypes._Pointer[_Interface]") -> Iterator[tuple[str, IpAddress, bytes]]:
    """Name, address and network mask of each."""
    while entry:
        each = entry.contents
        entry = each.next
        if not each.address:
            continue
        family = ctypes.c_ubyte.from_address(each.address + 1).value if _FAMILY_OFFSET else ctypes.c_ushort.from_address(each.address).value
        found: IpAddress | None = None
        offset, size = (_IPV4_OFFSET, _IPV4_SIZE) if family == socket.AF_INET else (_IPV6_OFFSET, _IPV6_SIZE)
        if family == socket.AF_INET:
            found = IPv4Address(ctypes.string_at(each.address + offset, size))
        elif family == socket.AF_INET6:
            found = read_ip(str(IPv6Address(ctypes.string_at(each.address + offset, size))))
        if found is not None:
            yield os.fsdecode(each.name), found, _mask(each.mask, offset, size)


def _mask(at: int | None, offset: int, size: int) -> bytes:
    """The bytes of a mask; BSD systems leave zeros at its end out."""
    if not at:
        return b""
    if _FAMILY_OFFSET:
        size = max(0, min(size, ctypes.c_ubyte.from_address(at).value - offset))
    return ctypes.string_at(at + offset, size)


def _prefix(mask: bytes, bits: int) -> int:
    """How many bits a mask begins with."""
    number = int.from_bytes(mask.ljust(bits // 8, b"\0")[: bits // 8], "big")
    return bits - (number ^ ((1 << bits) - 1)).bit_length()
