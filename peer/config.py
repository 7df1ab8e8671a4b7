"""What an operator may set: `config.toml` in the data directory, each key also as `RECMESH_<KEY>` in the environment, which wins.

The only module that imports `pydantic_settings`. A key that is not known here is refused with its name: a setting that does nothing is worse than
an error. `docs/configuration.md` lists every key.
"""

import ipaddress
import os
import re
import socket
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from peer.core.names import check_name, is_name
from peer.errors import ConfigError, NameInvalidError

CONFIG_FILE = "config.toml"
LISTEN_DEFAULT = "0.0.0.0:7850"
ADMIN_DEFAULT = "127.0.0.1:7851"
LISTEN_NONE = "none"
PORT_MAX = 65535
ADVERTISE_MAX = 8


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
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_address(text: str) -> Address:
    """`HOST:PORT`, IPv6 in brackets. Raises `ValueError` that says what is wrong."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > PORT_MAX:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return Address(host, int(port))


def default_name() -> str:
    """The host name, made a valid name."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname().partition(".")[0]).lstrip(".")
    return name if is_name(name) else "site"


class Config(BaseSettings):
    """All settings of a peer."""

    name: str = Field(default_factory=default_name, description="What this site is called, to people. Default: the host name.")
    listen: str = Field(LISTEN_DEFAULT, description="Where other peers reach this one, HOST:PORT, or `none` for a site that only dials out.")
    admin: str = Field(ADMIN_DEFAULT, description="Where the admin API listens, HOST:PORT. Keep it on loopback.")
    advertise: list[str] = Field(
        default_factory=list, description="URLs under which others dial this peer, where they differ from `listen`; they go into invitations."
    )
    fetch: Literal["all", "none"] = Field("all", description="Which bytes to bring here by themselves: `all`, or `none` (on demand).")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least serious log lines to write.")
    log_format: Literal["text", "json"] = Field("text", description="How log lines are written to standard error.")

    model_config = SettingsConfigDict(env_prefix="RECMESH_", extra="forbid", frozen=True)

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
        return value if value == LISTEN_NONE else str(parse_address(value))

    @field_validator("advertise")
    @classmethod
    def _check_advertise(cls, value: list[str]) -> list[str]:
        if len(value) > ADVERTISE_MAX:
            raise ValueError(f"{len(value)} URLs; {ADVERTISE_MAX} are allowed")
        for url in value:
            check_endpoint(url)
        return value

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.listen == LISTEN_NONE and self.advertise:
            raise ValueError("advertise: a site with listen = 'none' cannot be dialled")
        if self.listen == self.admin and not self.listen.endswith(":0"):
            raise ValueError(f"admin: {self.admin} is the address of `listen` too")
        return self

    @property
    def listen_address(self) -> Address | None:
        """None for a site that nobody dials."""
        return None if self.listen == LISTEN_NONE else parse_address(self.listen)

    @property
    def admin_address(self) -> Address:
        """Where the admin API listens."""
        return parse_address(self.admin)


def check_endpoint(url: str) -> str:
    """`url`, if a peer can be dialled there: https, or http on loopback. Raises `ValueError`."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} has no valid port") from error
    if parts.scheme not in ("https", "http") or not parts.hostname or port == 0 or parts.path not in ("", "/") or parts.query or parts.username:
        raise ValueError(f"{url!r} is not https://HOST:PORT")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError(f"{url!r}: plain http is for loopback only; write https")
    return url


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


def default_directory() -> Path:
    """The user's data directory."""
    base = os.environ.get("XDG_DATA_HOME")
    if base:
        return Path(base) / "recmesh"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "recmesh"
    return Path.home() / ".local" / "share" / "recmesh"


def render_config(values: dict[str, object]) -> str:
    """A new `config.toml` with the given keys set and every other one shown as a comment with its default."""
    lines = ["# Settings of this recmesh peer. Every key can also be set as RECMESH_<KEY> in the environment.", ""]
    for key, field in Config.model_fields.items():
        lines.append(f"# {field.description}")
        if key in values:
            lines.append(f"{key} = {_toml(values[key])}")
        else:
            default = field.get_default(call_default_factory=True)
            lines.append(f"# {key} = {_toml(default)}")
        lines.append("")
    return "\n".join(lines)


def _toml(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    assert isinstance(value, str)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
