"""What people decided about transfers, as it is kept over restarts."""

from enum import StrEnum
from typing import NamedTuple

from peer.core.identity import BlobId, EventId, GroupId


class Hold(StrEnum):
    """Why a blob that is wanted is not fetched."""

    PAUSED = "paused"
    """A person holds it back for now."""
    CANCELLED = "cancelled"
    """A person does not want it here; asking for its recording lifts that."""
    GIVEN_UP = "given_up"
    """It cannot arrive, or came wrong too often."""


class Held(NamedTuple):
    """A blob that is not fetched."""

    blob: BlobId
    group: GroupId
    recording: EventId
    hold: Hold
    code: str
    """Of the error for which it was given up, else empty."""
    text: str
    since_ms: int
    """Unix time, to be shown."""
