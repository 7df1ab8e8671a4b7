"""The sections of `config.toml`: how peers are found. `peer.config` reads them, together with all other settings."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from peer.core.endpoint import LOOPBACK_NAME, is_loopback, read_endpoint
from peer.core.mesh_rule import RULE_TAGS_MAX, MeshRule, read_capability, read_tag
from peer.core.names import check_name
from peer.errors import NameInvalidError

PEER_ID_DIGITS = 64
STATIC_PEERS_MAX = 1024


def _absolute(value: str) -> str:
    if value and not Path(value).is_absolute():
        raise ValueError(f"{value!r} is no absolute path")
    return value


AbsolutePath = Annotated[str, AfterValidator(_absolute)]
"""Of a file on this machine; empty for none."""


def _check_protected(url: str, why: str) -> None:
    """Raise `ValueError` for plain HTTP to another machine."""
    found = read_endpoint(url)
    if found.scheme == "http" and found.host != LOOPBACK_NAME and not is_loopback(found.host):
        raise ValueError(f"{url!r}: {why}")


def _tag_or_none(value: str) -> str:
    return read_tag(value) if value else value


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GossipSection(_Section):
    """How members tell one another where members can be dialled."""

    enabled: bool = Field(default=True, description="Whether to tell members of the addresses of others, and to dial those that they tell of.")
    default_ttl: int = Field(
        default=2, ge=0, le=16, description="How often the address of a peer that was entered by hand is passed on from peer to peer."
    )
    hub_peer_ttl: int = Field(default=1, ge=0, le=16, description="The same for a peer that a hub told of.")
    exchange_interval: float = Field(default=60, gt=0, le=86_400, description="Seconds between two exchanges with each linked peer.")
    max_gossip_peers: int = Field(default=50, ge=0, le=10_000, description="How many peers of a group are remembered that only gossip told of.")
    stale_timeout: float = Field(
        default=300, gt=0, le=86_400, description="Seconds after which such a peer is forgotten of whom nobody tells any more."
    )
    max_failures: int = Field(default=3, ge=1, le=100, description="After how many failures in a row to dial such a peer it is forgotten.")


class HubSection(_Section):
    """Whether this peer is a hub for others."""

    enabled: bool = Field(default=False, description="Whether other peers may find one another through this one, on its `listen` address.")
    stale_after: float = Field(default=180, gt=0, le=86_400, description="Seconds without a heartbeat after which a peer counts as offline.")


class HubSourceSection(_Section):
    """The hub through which this peer finds others."""

    url: str = Field(default="", description="The URL of a hub, https://HOST:PORT, with #spki=... behind it where its key is pinned; empty for none.")
    credential_file: AbsolutePath = Field(
        default="", description="A file with the hub's key for this peer, readable by this user alone. Or set RECMESH_HUB_KEY."
    )
    interval: float = Field(default=30, ge=1, le=3600, description="Seconds between two heartbeats, and between two looks at who is there.")

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        if not value:
            return value
        _check_protected(value, "the key for the hub would travel in the clear; plain http is for a hub on this machine, write https")
        return value


class TailscaleSection(_Section):
    """The daemon of a WireGuard mesh on this machine: Tailscale's, also with Headscale."""

    socket: AbsolutePath = Field(default="", description="The path of its socket; empty for where it is on this system.")
    port: int = Field(
        default=0, ge=0, le=65_535, description="A port of loopback on which it listens instead, as the app for macOS does; 0 for none."
    )
    token_file: AbsolutePath = Field(
        default="", description="A file with the token that it wants there, readable by this user alone. Or set RECMESH_TAILSCALE_TOKEN."
    )
    find_tag: Annotated[str, AfterValidator(_tag_or_none)] = Field(
        default="tag:recmesh", description="Members are sought at the machines of the mesh that have this tag; empty to seek nobody."
    )
    peer_port: int = Field(default=7850, ge=1, le=65_535, description="The port at which they are sought there.")
    prefer: bool = Field(default=True, description="Whether addresses in the mesh are dialled before others, while it runs.")
    publish: bool = Field(
        default=True, description="Whether to tell members of this machine's name and addresses in the mesh, where `listen` is there for them."
    )
    poll_s: float = Field(
        default=15, ge=0.01, le=3600, description="Seconds between two looks at the mesh. The daemon is asked at once where it tells of a change."
    )
    only_tags: list[Annotated[str, AfterValidator(read_tag)]] = Field(
        default=[],
        max_length=RULE_TAGS_MAX,
        description="Only machines of the mesh with one of these tags may be linked with this peer; empty for all.",
    )
    only_capability: Annotated[str, AfterValidator(read_capability)] = Field(
        default="",
        description="Only machines may be linked with this peer to which the policy of the mesh gives this app capability here; empty for all.",
    )

    @property
    def rule(self) -> MeshRule:
        """Which machines may call."""
        return MeshRule(frozenset(self.only_tags), self.only_capability)


class DiskSection(_Section):
    """How much of the disk bytes of recordings may take."""

    floor_bytes: int = Field(
        default=256 * 1024 * 1024, ge=0, description="How many bytes of the disk stay free: the history and its tables need room while blobs wait."
    )
    quota_bytes: int = Field(default=0, ge=0, description="How many bytes recordings may take, all that the disk has above the floor for 0.")


class NetworkSection(_Section):
    """The coordination server of the mesh, for `recmesh network plan` and `apply`. One site is enough that has one."""

    provider: Literal["", "tailscale", "headscale"] = Field(default="", description="`tailscale`, `headscale`, or empty for none.")
    url: str = Field(default="", description="The URL of a Headscale; of Tailscale's API where it is another than https://api.tailscale.com.")
    tailnet: str = Field(default="-", description="The tailnet; - for the one that the key is of.")
    client_id: str = Field(default="", description="Of the OAuth client whose secret is used instead of an API key.")
    credential_file: AbsolutePath = Field(
        default="", description="A file with the API key or that secret, readable by this user alone. Or set RECMESH_NETWORK_KEY."
    )

    @model_validator(mode="after")
    def _check_url(self) -> Self:
        if self.provider == "headscale" and not self.url:
            raise ValueError("a headscale needs its url")
        if self.url:
            _check_protected(self.url, "the key would travel in the clear; plain http is for a server on this machine, write https")
        return self


class WatchSection(_Section):
    """How watched folders are looked into."""

    interval: float = Field(default=30, gt=0, le=86_400, description="Seconds between two looks into watched folders.")
    settle: float = Field(default=2, ge=0, le=3600, description="Seconds for which a file must have been left alone before it is read.")
    quiet: float = Field(
        default=0,
        ge=0,
        description="Seconds without a change after which a bag without metadata.yaml, all of whose files are closed, is complete; 0 for never.",
    )


class StaticPeer(_Section):
    """A peer that was entered in the configuration file."""

    name: str = Field(description="What people call it.")
    peer_id: str = Field(description="Its id, as `recmesh id` prints it there.")
    endpoints: list[str] = Field(min_length=1, max_length=8, description="Where it is dialled, the best first.")
    groups: list[str] = Field(min_length=1, max_length=256, description="Names of the groups that it is expected to share.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            for name in (self.name, *self.groups):
                check_name(name, "site")
        except NameInvalidError as error:
            raise ValueError(f"{error.text}; {error.fix}") from error
        if len(self.peer_id) != PEER_ID_DIGITS or set(self.peer_id) - set("0123456789abcdef"):
            raise ValueError(f"{self.peer_id[:80]!r} is no peer id of {PEER_ID_DIGITS} hex digits")
        for url in self.endpoints:
            read_endpoint(url)
        return self
