"""What lets bytes go, put together: to make room, and because their recordings were deleted."""

from collections.abc import Mapping

from materializer.summaries import Summaries
from peer.logs import get_log
from peer.operations.collecting import Collecting, CollectingParts
from peer.operations.dropping import Dropping
from peer.operations.retention import Retention
from peer.operations.room import Room, RoomParts
from peer.wiring.core import Core

_log = get_log("node")


def make_collecting(core: Core, retention: Retention) -> Collecting:
    """Of deleted recordings."""
    replica = core.store.replica
    parts = CollectingParts(replica, lambda: list(replica.whole.groups), core.views, Summaries(core.database), core.views, core.blobs, retention)
    return Collecting(parts, _tell)


def make_room(core: Core, dropping: Dropping) -> Room:
    """Where the disk is full."""
    return Room(RoomParts(core.store.replica, core.views, Summaries(core.database), core.blobs, dropping), _tell)


def _tell(event: str, fields: Mapping[str, object]) -> None:
    _log.info(event, **fields)
