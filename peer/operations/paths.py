"""Which paths of this machine a caller of the admin API may name: those that really lie in a folder which the operator set free for that.

A path is resolved before it is compared, and what is used afterwards is the resolved one. Of a folder its entries are looked at, too: a link in it
may lead anywhere. The data directory's own token is exempt: who can read that file can read the disk.
"""

import asyncio
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from peer.core.access import Caller, Tier
from peer.errors import PathNotAllowedError, RequestError

ENTRIES_MAX = 10_000
REFUSED = "a path in the request does not lie in an ingest folder, or leads out of it"
"""The same words for what is there, what is not, and what cannot be followed."""

FIX = "use a path in a folder that `ingest_folders` lists, or the command line on that machine"


class ServerPaths:
    """The rule, for these folders."""

    def __init__(self, folders: Sequence[Path], data_directory: Path) -> None:
        """`folders` are set free, but for what lies in the data directory: keys are there."""
        self._folders = tuple(folders)
        self._data_directory = data_directory

    async def allowed(self, caller: Caller, paths: Sequence[str]) -> list[str]:
        """The paths, resolved unless `caller` has the own token. They need not exist: an export makes its folder.

        Raises `PathNotAllowedError`, which does not tell what is on the disk, and `RequestError` for what is no path at all.
        """
        if any("\0" in path for path in paths):
            raise RequestError("a path has no NUL character", fix="write the path as the file system has it")
        if caller.is_own:
            return list(paths)
        if caller.tier < Tier.ADMIN:
            raise PathNotAllowedError(
                f"paths of this machine are for the tier admin; the token {caller.name} has {caller.tier.label}", fix="use a token of the tier admin"
            )
        return await asyncio.to_thread(self._resolved, paths)

    def _resolved(self, paths: Sequence[str]) -> list[str]:
        folders = [_resolve(folder) for folder in self._folders]
        data_directory = _resolve(self._data_directory)

        def is_free(path: Path) -> bool:
            return any(path.is_relative_to(folder) for folder in folders) and not path.is_relative_to(data_directory)

        found = []
        for text in paths:
            path = Path(text)
            if not path.is_absolute() or ".." in path.parts:
                raise PathNotAllowedError("a path in a request is whole and has no `..`", fix=FIX)
            real = _resolve(path)
            if not is_free(real) or not all(is_free(each) for each in _entries(real)):
                raise PathNotAllowedError(REFUSED, fix=FIX)
            found.append(str(real))
        return found


def _resolve(path: Path) -> Path:
    """Without links. One that cannot be followed is nowhere."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise PathNotAllowedError(REFUSED, fix=FIX) from error


def _entries(folder: Path) -> list[Path]:
    """What lies directly in `folder`, resolved; nothing for a file, or for what cannot be read."""
    try:
        found = list(islice(folder.iterdir(), ENTRIES_MAX + 1)) if folder.is_dir() else []
    except OSError:
        return []
    if len(found) > ENTRIES_MAX:
        raise RequestError(f"a folder in the request has more than {ENTRIES_MAX} entries", fix="split it")
    return [_resolve(each) for each in found]
