"""Folders that are watched for recordings, and what is remembered of the files in them."""

from enum import StrEnum
from typing import NamedTuple

from peer.core.identity import BlobId, EventId, GroupId


class Outcome(StrEnum):
    """What became of a file that was looked into."""

    ADDING = "adding"
    """It is about to be added: after a crash the events tell whether it was."""
    ADDED = "added"
    DUPLICATE = "duplicate"
    """The group has its bytes already, by another name."""
    BROKEN = "broken"
    """It cannot be read and could not be moved away either."""


class WatchedFolder(NamedTuple):
    """A folder whose recordings are shared with a group as they appear."""

    folder: str
    """Its whole path without symbolic links."""
    group: GroupId
    tags: tuple[str, ...] = ()
    machine: str = ""


class KnownFile(NamedTuple):
    """A file of a watched folder."""

    path: str
    """From the folder on."""
    identity: str
    """What changes when its bytes may have changed."""
    blob: BlobId
    outcome: Outcome


class Item(NamedTuple):
    """A file or sub-folder that has become, or is to become, a recording."""

    item: str
    name: str
    """Of the recording. No other recording of this site in the group has it."""
    recording: EventId | None = None
    is_closed: bool = False
    """True once nothing more belongs to it."""


class Totals(NamedTuple):
    """How many files there were."""

    added: int = 0
    duplicates: int = 0
