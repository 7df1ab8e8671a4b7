"""The addresses of this machine's network interfaces, as the system has them now."""

import ctypes
import ctypes.util
import os
import socket
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from peer.core.endpoint import IpAddress, read_ip

_FAMILY_OFFSET = 1 if sys.platform == "darwin" else 0
"""BSD systems have the length of an address before its family."""
_IPV4_OFFSET, _IPV6_OFFSET = 4, 8
_IPV4_SIZE, _IPV6_SIZE = 4, 16


class _Interface(ctypes.Structure):
    """`struct ifaddrs`, as far as it is looked at."""


_Interface._fields_ = [("next", ctypes.POINTER(_Interface)), ("name", ctypes.c_char_p), ("flags", ctypes.c_uint), ("address", ctypes.c_void_p)]

_system = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)


def addresses_of(interface: str) -> frozenset[IpAddress]:
    """All addresses of the interface with this name; none if it is not there. Raises `OSError`."""
    first = ctypes.POINTER(_Interface)()
    if _system.getifaddrs(ctypes.byref(first)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    try:
        return frozenset(address for name, address in _listed(first) if name == interface)
    finally:
        _system.freeifaddrs(first)


def _listed(entry: "ctypes._Pointer[_Interface]") -> Iterator[tuple[str, IpAddress]]:
    while entry:
        each = entry.contents
        entry = each.next
        if not each.address:
            continue
        family = ctypes.c_ubyte.from_address(each.address + 1).value if _FAMILY_OFFSET else ctypes.c_ushort.from_address(each.address).value
        found: IpAddress | None = None
        if family == socket.AF_INET:
            found = IPv4Address(ctypes.string_at(each.address + _IPV4_OFFSET, _IPV4_SIZE))
        elif family == socket.AF_INET6:
            found = read_ip(str(IPv6Address(ctypes.string_at(each.address + _IPV6_OFFSET, _IPV6_SIZE))))
        if found is not None:
            yield os.fsdecode(each.name), found
