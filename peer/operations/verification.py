"""Doubting what is stored: the log from its first event, projections against their digests, bytes against their names. Changes nothing."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from peer.core.identity import BlobId, PeerId
from peer.core.interfaces import BlobStore
from peer.core.views import RecordingView
from peer.operations.json_form import Json

WHAT = {
    "blob_corrupt": "these bytes do not have the hash that they are named by",
    "blob_missing": "these bytes were here and are gone",
    "blob_unreadable": "these bytes cannot be read",
    "blob_misplaced": "this file has no business here",
    "folder_differs": "this folder of the readable tree is not what was recorded; nothing else is damaged by that",
    "blob_unfinished": "these bytes were on their way here, and what had come of them is gone",
}


class Problem(Protocol):
    """Something that is not as it must be."""

    @property
    def code(self) -> str:
        """Stable."""
        ...

    @property
    def what(self) -> str:
        """For people."""
        ...

    @property
    def where(self) -> str:
        """Place."""
        ...


class Checked(Protocol):
    """What one check looked at and found."""

    @property
    def problems(self) -> Sequence[Problem]:
        """Found."""
        ...

    @property
    def checked(self) -> dict[str, int]:
        """How many of what."""
        ...


class BlobCheck(Protocol):
    """How one blob is."""

    @property
    def path(self) -> Path:
        """Where."""
        ...

    @property
    def code(self) -> str:
        """Empty if all is well."""
        ...


class CheckableBlobs(BlobStore, Protocol):
    """Blobs that can be hashed again."""

    def verify(self, expected: Iterable[BlobId] = ()) -> AsyncGenerator[BlobCheck, None]:
        """All of them, and those that were here, or are `expected`, and are missing."""
        ...

    def was_removed(self, blob: BlobId) -> bool:
        """True if it was here and was removed on purpose."""
        ...


class Verification:
    """Checks one data directory."""

    def __init__(
        self,
        peer: PeerId,
        checks: Sequence[Callable[[], Awaitable[Checked]]],
        recordings: Callable[[], Awaitable[Sequence[RecordingView]]],
        folders: Callable[[], Awaitable[Sequence[str]]],
        blobs: CheckableBlobs,
    ) -> None:
        """`checks` look at the databases; `recordings` tells which bytes there ought to be, `folders` which of the readable tree are wrong."""
        self._peer = peer
        self._checks = checks
        self._recordings = recordings
        self._folders = folders
        self._blobs = blobs

    async def verify(self, *, deep: bool) -> Json:
        """Everything but the bytes, and with `deep` these too."""
        checked: dict[str, int] = {}
        problems: list[Json] = []
        for check in self._checks:
            result = await check()
            for name, count in result.checked.items():
                checked[name] = checked.get(name, 0) + count
            problems += [{"code": each.code, "what": each.what, "where": each.where} for each in result.problems]
        recordings = [] if problems else await self._recordings()
        checked["recordings"] = len(recordings)
        checked["blobs"] = 0
        own = [file for view in recordings if view.site == self._peer for file in (*view.chunks, *view.attachments)]
        if deep:
            async for each in self._blobs.verify({blob for file in own for blob in (file.blob, file.pieces)}):
                checked["blobs"] += 1
                if each.code:
                    problems.append(_problem(each.code, each.path))
            problems += [_problem("folder_differs", folder) for folder in (await self._folders() if recordings else [])]
        else:
            for view in recordings:
                for file in (*view.chunks, *view.attachments):
                    checked["blobs"] += 1
                    code = self._look(file.blob, file.size, is_own=view.site == self._peer)
                    if code:
                        problems.append(_problem(code, self._blobs.path(file.blob)))
        return {"ok": not problems, "checked": checked, "problems": problems}

    def _look(self, blob: BlobId, size: int, *, is_own: bool) -> str:
        """What a glance at the disk tells of a blob."""
        try:
            found = self._blobs.path(blob).stat().st_size
        except FileNotFoundError:
            return "blob_missing" if is_own and not self._blobs.was_removed(blob) else ""
        except OSError:
            return "blob_unreadable"
        return "" if found == size else "blob_corrupt"


def _problem(code: str, path: Path | str) -> Json:
    return {"code": code, "what": WHAT[code], "where": str(path)}
