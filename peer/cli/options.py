"""The options that every command takes, before or after its name. They are declared once, at the root, and moved there from wherever they stand."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from peer.errors import ConfigError, DataDirectoryMissingError

WITH_VALUE = ("--data", "--url", "--token-file", "--timeout")
WITHOUT_VALUE = ("--json", "--quiet", "--verbose", "--version")
TIMEOUT_DEFAULT_S = 30.0


@dataclass
class Options:
    """What the options say."""

    data: Path | None = None
    url: str | None = None
    token_file: Path | None = None
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    timeout_s: float | None = None
    """None unless it was given: work on large files may take longer than the default."""

    @property
    def directory(self) -> Path:
        """The data directory: the option, `RECMESH_DATA`, or the user's."""
        if self.data is not None:
            return self.data
        if named := os.environ.get("RECMESH_DATA"):
            return Path(named)
        return default_directory()

    @property
    def existing_directory(self) -> Path:
        """Like `directory`, which must have been initialised. Raises `DataDirectoryMissingError`."""
        if not (self.directory / "version").is_file():
            raise DataDirectoryMissingError(
                f"{self.directory}: no data directory of a peer", fix="run `recmesh init`, or name another with --data DIR"
            )
        return self.directory

    @property
    def remote_url(self) -> str | None:
        """The admin API to speak to, where it is not that of the data directory."""
        return self.url or os.environ.get("RECMESH_URL") or None


def default_directory() -> Path:
    """The user's data directory."""
    base = os.environ.get("XDG_DATA_HOME")
    if base:
        return Path(base) / "recmesh"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "recmesh"
    return Path.home() / ".local" / "share" / "recmesh"


current = Options()
"""The options of this process; `main` fills them in."""


def gather(arguments: Sequence[str]) -> list[str]:
    """`arguments` with the common options in front, so that they may stand anywhere before a `--`."""
    front: list[str] = []
    rest: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        if word == "--":
            return [*front, *rest, word, *words]
        name, equals, _ = word.partition("=")
        if (name in WITHOUT_VALUE and not equals) or (name in WITH_VALUE and equals):
            front.append(word)
        elif name in WITH_VALUE:
            if not words:
                raise ConfigError(f"option {name} needs a value", fix=f"write {name} VALUE")
            front.extend([word, words.pop(0)])
        else:
            rest.append(word)
    return [*front, *rest]
