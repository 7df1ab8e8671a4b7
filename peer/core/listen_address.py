"""Where a peer listens, as its operator writes it. Pure."""

import re
from typing import NamedTuple

from peer.core import endpoint as endpoints
from peer.core.endpoint import LOOPBACK_NAME

PORT_MAX = 65535
PORT_DEFAULT = 7850
LISTEN_NONE = "none"
LISTEN_MESH = "tailnet"
"""At this machine's addresses in its mesh, whichever these are."""


class Address(NamedTuple):
    """Where to listen. Port 0 lets the system choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        """As it is written in the configuration."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can reach it."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """True for `localhost` and loopback addresses."""
    return host == LOOPBACK_NAME or endpoints.is_loopback(host)


def parse_address(text: str) -> Address:
    """`HOST:PORT`, IPv6 in brackets. Raises `ValueError` that says what is wrong."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > PORT_MAX:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return Address(host, int(port))


def read_listen(text: str) -> Address | None:
    """Where `text` says to listen: at an address, at those of the mesh (`tailnet`, `tailnet:PORT`), or nowhere (`none`). Raises `ValueError`."""
    if text == LISTEN_NONE:
        return None
    return Address(LISTEN_MESH, PORT_DEFAULT) if text == LISTEN_MESH else parse_address(text)
