"""Setting up a data directory, and reading from it what needs no running peer. Loads little, so that short commands stay short."""

import os
from collections.abc import Mapping
from pathlib import Path

from peer.config import ADMIN_DEFAULT, LISTEN_DEFAULT, check_values, default_name, load_config, render_config
from peer.errors import ConfigError
from peer.store.directory import FOLDER_MODE, DataDirectory, write_durably
from peer.store.keys import PEER_KEY_FILE, KeyFiles

TOKEN_BYTES = 32
CONFIG_MODE = 0o644


def initialise(root: Path, *, name: str | None = None, listen: str | None = None, admin: str | None = None) -> dict[str, str]:
    """Make keys, configuration and the admin token of a new peer. Raises `ConfigError` if there is one already, or a value is not valid.

    The databases are made at the first start. Nothing is left behind if a value is refused; a second try after a crash goes on where it was.
    """
    directory = DataDirectory(root)
    if directory.exists:
        raise ConfigError(f"{root} is set up already", fix="run `recmesh serve`, or choose another directory with --data")
    values = {"name": name or default_name(), "listen": listen or LISTEN_DEFAULT, "admin": admin or ADMIN_DEFAULT}
    check_values(values)
    return _make(directory, values)


def initialise_if_empty(root: Path) -> None:
    """Set up `root` with the defaults and the environment if nothing is there; leave it alone otherwise."""
    if DataDirectory(root).exists:
        return
    given = load_config(root)
    initialise(root, name=given.name, listen=given.listen, admin=given.admin)


def identify(root: Path) -> dict[str, str]:
    """The peer id and name of a data directory."""
    directory = DataDirectory(root)
    directory.open()
    return {"peer_id": KeyFiles(directory.keys).peer_key().peer_id.hex(), "name": load_config(root).name}


def _make(directory: DataDirectory, values: Mapping[str, str]) -> dict[str, str]:
    try:
        directory.root.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        directory.keys.mkdir(mode=FOLDER_MODE, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot set up {directory.root}: {error.strerror}", fix="choose another directory with --data") from error
    keys = KeyFiles(directory.keys)
    key = keys.peer_key() if (directory.keys / PEER_KEY_FILE).is_file() else keys.create_peer_key()
    write_durably(directory.config, render_config(dict(values)).encode(), mode=CONFIG_MODE)
    write_durably(directory.token_file, os.urandom(TOKEN_BYTES).hex().encode() + b"\n")
    directory.create()
    return {"peer_id": key.peer_id.hex(), **values, "data": str(directory.root)}
