"""How many logs an author may have in a group, and which of its own a peer seals so that there are not too many."""

from collections.abc import Collection, Iterator, Sequence

from peer.core.control import POINTS_MAX, Point
from peer.core.identity import LogId
from peer.store.groups import LogRecord

OWN_UNSEALED_LOGS_MAX = 32
"""Before it opens one more a peer seals the oldest of its logs in the group."""

UNSEALED_LOGS_MAX = 64
"""Of one author in a group; what comes on top waits."""


def logs_to_seal(unsealed: Sequence[LogRecord], open_logs: Collection[LogId], opening: int) -> list[LogRecord]:
    """Those of our `unsealed` logs to be sealed before `opening` new ones: whose last event is the oldest, none that is written on here."""
    candidates = [record for record in unsealed if record.certificate.log not in open_logs and record.branches]
    candidates.sort(key=lambda record: (max(branch.hlc for branch in record.branches), record.number))
    return candidates[: max(0, len(unsealed) + opening - OWN_UNSEALED_LOGS_MAX)]


def frontier(record: LogRecord) -> Iterator[list[Point]]:
    """All that is held of a log as points, as many at a time as one seal takes."""
    points = [Point(record.certificate.log, tip.height, tip.event_id) for tip in record.tips]
    for start in range(0, len(points), POINTS_MAX):
        yield points[start : start + POINTS_MAX]
