"""What an operator may set: `config.toml` in the data directory, each key also as `RECMESH_<KEY>` in the environment, which wins.

The only module that imports `pydantic_settings`. A key that is not known here is refused with its name: a setting that does nothing is worse than
an error. `docs/configuration.md` lists every key.
"""

import re
import socket
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from peer import sections
from peer.core.dial_networks import DialNetworks
from peer.core.endpoint import (
    IpAddress,
    IpNetwork,
    WireGuardNetwork,
    may_be_dialled_plain,
    read_channel_key,
    read_endpoint,
    read_ip,
    read_ip_network,
    read_wireguard,
)
from peer.core.listen_address import LISTEN_MESH, LISTEN_NONE, Address, parse_address, read_listen
from peer.core.names import check_name, is_name
from peer.errors import ConfigError, NameInvalidError
from peer.sections import STATIC_PEERS_MAX, StaticPeer

CONFIG_FILE = "config.toml"
LISTEN_DEFAULT = "0.0.0.0:7850"
ADMIN_DEFAULT = "127.0.0.1:7851"
ADVERTISE_MAX = 8
INGEST_FOLDERS_MAX = 64
NETWORKS_MAX = 32
"""Entries of each list of networks, addresses and keys."""

CONNECTIONS_PER_ADDRESS = 64
PEER_EVENTS_PER_SECOND = 200_000
PEER_BYTES_PER_SECOND = 256 * 1024 * 1024
PEER_EVENTS_PER_SECOND_MIN = 100
PEER_BYTES_PER_SECOND_MIN = 64 * 1024
"""Slower than that a single frame would take longer than the other side waits for a sign of life."""


def default_name() -> str:
    """The host name, made a valid name."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname().partition(".")[0]).lstrip(".")
    return name if is_name(name) else "site"


class Config(BaseSettings):
    """All settings of a peer."""

    name: str = Field(default_factory=default_name, description="What this site is called, to people. Default: the host name.")
    listen: str = Field(
        LISTEN_DEFAULT,
        description="Where other peers reach this one: HOST:PORT, `tailnet` for its addresses in the mesh, `none` if it only dials out.",
    )
    admin: str = Field(ADMIN_DEFAULT, description="Where the admin API listens, HOST:PORT. Keep it on loopback.")
    advertise: list[str] = Field(
        default_factory=list, description="URLs under which others dial this peer, where they differ from `listen`; they go into invitations."
    )
    tls_cert: str = Field("", description="A PEM file with a certificate to show instead of one with the peer's own key, and those that issued it.")
    tls_key: str = Field("", description="The PEM file with its private key, readable by this user alone.")
    channel_keys: list[str] = Field(
        default_factory=list,
        description="SHA-256 of the public keys of proxies that end TLS in front of `listen`, which then speaks plain HTTP to them.",
    )
    proxies: list[str] = Field(default_factory=list, description="Addresses that those proxies speak from. Default: loopback.")
    wireguard: list[str] = Field(
        default_factory=list, description="Networks in which plain HTTP is protected, NETWORK@INTERFACE, such as 10.8.0.0/24@wg0."
    )
    connections_per_address: int = Field(
        CONNECTIONS_PER_ADDRESS, ge=1, description="How many connections one address, or one /64 of IPv6, may have to `listen`."
    )
    connections_exempt: list[str] = Field(
        default_factory=list, description="Networks that may have more than that, up to the limit for all, such as 127.0.0.0/8. Proxies always may."
    )
    peer_events_per_second: int = Field(
        PEER_EVENTS_PER_SECOND, ge=PEER_EVENTS_PER_SECOND_MIN, description="How many events one other peer may send; more of them wait."
    )
    peer_bytes_per_second: int = Field(
        PEER_BYTES_PER_SECOND, ge=PEER_BYTES_PER_SECOND_MIN, description="How many bytes one other peer may send over links; more of them wait."
    )
    admin_insecure: bool = Field(
        default=False, description="Allow `admin` off loopback, where tokens travel in the clear: only in a network that is itself encrypted."
    )
    ingest_folders: list[str] = Field(
        default_factory=list, description="Folders of this machine, whole paths, that requests with an admin's token may name files in."
    )
    fetch: Literal["all", "none"] = Field("all", description="Which bytes to bring here by themselves: `all`, or `none` (on demand).")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least serious log lines to write.")
    log_format: Literal["text", "json"] = Field("text", description="How log lines are written to standard error.")

    peer_timeout: float = Field(
        300, gt=0, description="Seconds after which a peer that is not heard of is shown as unreachable. It is tried again all the same."
    )
    dial_networks: list[str] = Field(
        default_factory=list,
        description="Networks where addresses may be dialled that gossip or a hub told of, beside public ones and those of this machine.",
    )
    cache_bytes: int = Field(
        2**30, ge=0, description="How many bytes of recordings to keep for sites that exchange them through this one, beside what is wanted here."
    )
    receipt_delay: float = Field(5, ge=0, description="Seconds without changes after which this site tells its groups which bytes came here or went.")
    take_copies: bool = Field(
        default=True, description="Whether this site takes copies of recordings of which a group has fewer than it wants, where there is room."
    )
    copies_after: float = Field(
        60, ge=0, description="Seconds for which a recording must have had too few copies before a site that is chosen for it takes one."
    )
    gossip: sections.GossipSection = Field(
        default_factory=sections.GossipSection, description="How members tell one another where members can be dialled."
    )
    hub: sections.HubSection = Field(default_factory=sections.HubSection, description="Whether this peer is a hub for others.")
    tailscale: sections.TailscaleSection = Field(
        default_factory=sections.TailscaleSection, description="The daemon of a WireGuard mesh on this machine."
    )
    disk: sections.DiskSection = Field(default_factory=sections.DiskSection, description="How much of the disk bytes of recordings may take.")
    network: sections.NetworkSection = Field(default_factory=sections.NetworkSection, description="The coordination server of the mesh.")
    watch: sections.WatchSection = Field(default_factory=sections.WatchSection, description="How watched folders are looked into.")
    hub_source: sections.HubSourceSection = Field(
        default_factory=sections.HubSourceSection, description="The hub through which this peer finds others."
    )
    peers: list[StaticPeer] = Field(
        default_factory=list, description="Peers that are always dialled, as [[peers]]: name, peer_id, endpoints, groups."
    )

    model_config = SettingsConfigDict(env_prefix="RECMESH_", env_nested_delimiter="__", extra="forbid", frozen=True)

    file: ClassVar[Path | None] = None
    """The file to read; `load_config` sets it in a subclass."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments before the environment before the file; nothing else."""
        del dotenv_settings, file_secret_settings
        if cls.file is None:
            return init_settings, env_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, cls.file)

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        try:
            return check_name(value, "site")
        except NameInvalidError as error:
            raise ValueError(f"{error.text}; {error.fix}") from error

    @field_validator("admin")
    @classmethod
    def _check_admin(cls, value: str) -> str:
        return str(parse_address(value))

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, value: str) -> str:
        found = read_listen(value)
        return LISTEN_NONE if found is None else str(found)

    @field_validator("advertise")
    @classmethod
    def _check_advertise(cls, value: list[str]) -> list[str]:
        if len(value) > ADVERTISE_MAX:
            raise ValueError(f"{len(value)} URLs; {ADVERTISE_MAX} are allowed")
        for url in value:
            read_endpoint(url)
        return value

    @field_validator("channel_keys", "proxies", "wireguard", "connections_exempt", "dial_networks")
    @classmethod
    def _check_entries(cls, value: list[str], info: ValidationInfo) -> list[str]:
        if len(value) > NETWORKS_MAX:
            raise ValueError(f"{len(value)} entries; {NETWORKS_MAX} are allowed")
        for each in value:
            _ENTRY_READERS[info.field_name or ""](each)
        return value

    @field_validator("peers")
    @classmethod
    def _check_peers(cls, value: list[StaticPeer]) -> list[StaticPeer]:
        if len(value) > STATIC_PEERS_MAX or len({each.peer_id for each in value}) < len(value):
            raise ValueError(f"at most {STATIC_PEERS_MAX} peers, each of them once")
        return value

    @field_validator("tls_cert", "tls_key")
    @classmethod
    def _check_file(cls, value: str) -> str:
        if value and not Path(value).is_absolute():
            raise ValueError(f"{value!r} is no absolute path")
        return value

    @field_validator("ingest_folders")
    @classmethod
    def _check_ingest_folders(cls, value: list[str]) -> list[str]:
        if len(value) > INGEST_FOLDERS_MAX:
            raise ValueError(f"{len(value)} folders; {INGEST_FOLDERS_MAX} are allowed")
        for text in value:
            path = Path(text)
            if not path.is_absolute() or ".." in path.parts or "\0" in text or path == Path(path.anchor):
                raise ValueError(f"{text!r} is not the whole path of a folder below /")
        return value

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if not self.admin_address.is_loopback and not self.admin_insecure:
            raise ValueError(
                f"admin: at {self.admin} tokens would travel in the clear; keep it on loopback and come through ssh or a proxy with TLS, "
                "or set admin_insecure = true in a network that is itself encrypted"
            )
        if self.listen == LISTEN_NONE and self.advertise:
            raise ValueError("advertise: a site with listen = 'none' cannot be dialled")
        if self.listen == LISTEN_NONE and self.hub.enabled:
            raise ValueError("hub.enabled: a site with listen = 'none' cannot be dialled, so it is no hub")
        for url in self.advertise:
            check_endpoint(url, self.wireguard_networks)
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("tls_cert: a certificate and its tls_key go together")
        if self.listen == self.admin and not self.listen.endswith(":0"):
            raise ValueError(f"admin: {self.admin} is the address of `listen` too")
        return self

    @model_validator(mode="after")
    def _check_proxies(self) -> Self:
        if self.tls_cert and self.channel_keys:
            raise ValueError("channel_keys: TLS is ended by a proxy or with tls_cert, not by both")
        if self.channel_keys and not self.advertise:
            raise ValueError("channel_keys: others dial the proxy: put its URL into advertise")
        if self.channel_keys and self.listens_in_mesh:
            raise ValueError("channel_keys: with listen = 'tailnet' others dial this site itself, and no proxy")
        if self.proxies and not self.channel_keys:
            raise ValueError("proxies: without channel_keys there are none; say what key they show")
        return self

    @property
    def listen_address(self) -> Address | None:
        """None for a site that nobody dials; the host is `tailnet` for the addresses of the mesh."""
        return read_listen(self.listen)

    @property
    def listens_in_mesh(self) -> bool:
        """Whether that is at the addresses of the mesh, whichever these are."""
        return self.listen_address is not None and self.listen_address.host == LISTEN_MESH

    @property
    def wireguard_networks(self) -> tuple[WireGuardNetwork, ...]:
        """Networks in which plain HTTP is protected."""
        return tuple(read_wireguard(each) for each in self.wireguard)

    @property
    def proxy_addresses(self) -> frozenset[IpAddress]:
        """Where proxies speak from; empty for loopback."""
        return frozenset(_read_address(each) for each in self.proxies)

    @property
    def proxy_keys(self) -> tuple[bytes, ...]:
        """SHA-256 of the SubjectPublicKeyInfo of proxies that end TLS."""
        return tuple(read_channel_key(each) for each in self.channel_keys)

    @property
    def exempt_networks(self) -> tuple[IpNetwork, ...]:
        """Networks whose addresses may have any number of connections."""
        return tuple(read_ip_network(each) for each in self.connections_exempt)

    @property
    def hint_networks(self) -> DialNetworks:
        """Where addresses may lead that others told of."""
        named = tuple(read_ip_network(each) for each in self.dial_networks)
        return DialNetworks(named, loopback=self.listen_address is not None and self.listen_address.is_loopback)

    @property
    def admin_address(self) -> Address:
        """Where the admin API listens."""
        return parse_address(self.admin)


def check_endpoint(url: str, wireguard: Sequence[WireGuardNetwork] = ()) -> str:
    """`url`, if a peer can be dialled there: https, or http on loopback or in a WireGuard network. Raises `ValueError`."""
    found = read_endpoint(url)
    if found.scheme == "http" and not may_be_dialled_plain(found.host, wireguard):
        raise ValueError(f"advertise: {url!r}: plain http is for loopback and for addresses in a network of `wireguard`; write https")
    return url


def _read_address(text: str) -> IpAddress:
    address = read_ip(text)
    if address is None:
        raise ValueError(f"{text!r} is no IP address")
    return address


_ENTRY_READERS: Mapping[str, Callable[[str], object]] = {
    "channel_keys": read_channel_key,
    "proxies": _read_address,
    "wireguard": read_wireguard,
    "connections_exempt": read_ip_network,
    "dial_networks": read_ip_network,
}


def load_config(directory: Path) -> Config:
    """The settings of the data directory. Raises `ConfigError` that names the file and the key."""
    return read_config(directory / CONFIG_FILE)


def read_config(path: Path) -> Config:
    """The settings in the file `path`, which may be missing, and in the environment."""
    here = type("Config", (Config,), {"file": path, "__module__": __name__, "__annotations__": {}})
    try:
        return here()  # type: ignore[no-any-return]
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_problem(error)}", fix="see docs/configuration.md, then run `recmesh config check`") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}", fix="correct the line") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", fix="check its permissions") from error


def check_values(values: Mapping[str, object]) -> None:
    """Raise `ConfigError` for a value that no configuration may have."""
    try:
        Config(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigError(_first_problem(error), fix="correct it") from error


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_context=False)[0]
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}"
    text = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {text}" if key else text


def render_config(values: dict[str, object]) -> str:
    """A new `config.toml` with the given keys set and every other one shown as a comment with its default."""
    lines = ["# Settings of this recmesh peer. Every key can also be set as RECMESH_<KEY> in the environment.", ""]
    for key, field in Config.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel) or key == "peers":
            continue
        lines.append(f"# {field.description}")
        if key in values:
            lines.append(f"{key} = {_toml(values[key])}")
        else:
            lines.append(f"# {key} = {_toml(default)}")
        lines.append("")
    for key, field in Config.model_fields.items():  # Sections come last, and are comments: whatever is added below belongs to none of them.
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            lines += [f"# {field.description}", f"# [{key}]"]
            for name, inner in type(default).model_fields.items():
                lines += [f"# {inner.description}", f"# {name} = {_toml(inner.default)}"]
            lines.append("")
    lines += [f"# {Config.model_fields['peers'].description}", ""]
    return "\n".join(lines)


def _toml(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    assert isinstance(value, str)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
