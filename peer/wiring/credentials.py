"""Secrets that this peer shows to others: from the environment or from a file that nobody else can read, never from the configuration itself."""

import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

from peer.errors import ConfigError

SIZE_MAX = 4096
EXPOSED = stat.S_IRWXG | stat.S_IRWXO


class Credential(NamedTuple):
    """Which secret, and what to say where it is missing."""

    variable: str
    """Of the environment. It wins."""
    setting: str
    """The key of the configuration that names the file."""
    what: str
    """What should be there, such as `key for a hub`."""
    fix: str
    error: type[ConfigError]


def read_credential(credential: Credential, path: str) -> str:
    """The secret; empty where none is given. Raises the credential's error for one that is no secret, or that others can read."""
    secret, where = os.environ.get(credential.variable, ""), credential.variable
    if not secret and path:
        where, secret = path, _read_private(credential, Path(path))
    secret = secret.strip()
    if (path or secret) and not re.fullmatch(r"[!-~]{8,512}", secret):
        raise credential.error(f"{where} holds no {credential.what}", fix=credential.fix)
    return secret


def _read_private(credential: Credential, path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & EXPOSED:
                raise credential.error(f"{path} is open to others ({stat.filemode(mode)})", fix=f"chmod 600 {path}")
            return file.read(SIZE_MAX).decode("ascii", errors="replace")
    except OSError as error:
        raise credential.error(f"{path} cannot be read: {error.strerror}", fix=f"check {credential.setting} in config.toml") from error
