"""What travels over the admin API about open recordings and watched folders."""

from pydantic import Field

from peer.api.models import PATHS_MAX, TEXT_MAX, Answer, Count, Hex, Request
from peer.api.status_models import LastError

PATH_MAX = 4096


class ChunksAdd(Request):
    """Files of this machine for an open recording: MCAP files in their order, or one folder."""

    paths: list[str] = Field(min_length=1, max_length=PATHS_MAX)


class WatchAdd(Request):
    """A folder of this machine to watch."""

    folder: str = Field(max_length=PATH_MAX)
    group: str | None = Field(default=None, max_length=TEXT_MAX)
    tags: list[str] = Field(default_factory=list, max_length=64)
    machine: str | None = Field(default=None, max_length=256)


class WaitingFile(Answer):
    """A file that is not ready yet."""

    path: str
    why: str


class Watch(Answer):
    """A watched folder. Numbers are of files; a bag has several."""

    folder: str
    group_id: Hex
    group: str | None
    """Null if this site has left it."""
    tags: list[str]
    machine: str
    added: Count
    duplicates: Count
    """Of which the group had the bytes already."""
    waiting: Count
    waiting_files: list[WaitingFile]
    quarantined: Count
    unreadable: Count
    last_scan_ms: int | None
    last_error: LastError | None
