"""What this peer asks of the coordination server of a WireGuard mesh, whichever: who is in it, who may talk to whom, and a key for a new site."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Device(NamedTuple):
    """A machine that the coordination server knows."""

    device_id: str
    name: str
    """Its name in the mesh's DNS without a dot at its end, or its first label where the server does not tell the rest."""
    addresses: tuple[str, ...]
    tags: tuple[str, ...]
    is_online: bool


class Policy(NamedTuple):
    """Who may talk to whom, as the admins of the mesh wrote it."""

    text: str
    """HuJSON."""
    version: str
    """Another one after each change, by whomever."""


class SiteKey(NamedTuple):
    """What lets one new machine into the mesh."""

    secret: str
    expires: str
    """RFC 3339."""

    def __repr__(self) -> str:
        """Without the secret: this may end in a log."""
        return f"SiteKey(expires={self.expires})"


class NetworkProvider(Protocol):
    """A coordination server. All methods raise a `NetworkProviderError` where it does not do what it is asked for."""

    @property
    def name(self) -> str:
        """`tailscale` or `headscale`."""
        ...

    async def devices(self) -> Sequence[Device]:
        """The machines in the mesh."""
        ...

    async def policy(self) -> Policy:
        """Who may talk to whom."""
        ...

    async def check(self, text: str) -> None:
        """Ask whether the server would take a policy, tests in it included."""
        ...

    async def write(self, text: str, before: Policy) -> None:
        """Put a policy in the place of `before`. Raises `PolicyChangedError` where that is not the one that holds any more."""
        ...

    async def site_key(self, tags: Sequence[str], expires_s: int) -> SiteKey:
        """A key that lets one machine in, once, with these tags."""
        ...

    async def close(self) -> None:
        """Keep no connection."""
        ...
