"""Whether bytes of a recording may go: what holds it, and how long it is to be kept. Pure.

Only a retention that ran out lets bytes go, and only where no hold stands. A recording has none if neither anybody nor its group says how long it is
to be kept. What is in doubt is kept: one that seems to be older than any has no age, so that nothing runs out before somebody names a time.
"""

from collections.abc import Mapping
from typing import NamedTuple

from peer.core.clock import hlc_ms
from peer.core.views import RecordingView

DAY_NS = 24 * 3600 * 10**9
MS_NS = 1_000_000
CLASS_DAYS: Mapping[str, int | None] = {"transient": 0, "raw": 90, "summary": 365, "reference": 5 * 365, "permanent": None}
"""How long each class keeps a recording, counted from when it was made, or put into the class if that was later. None is for ever."""
OLDEST_NS = 15_000 * DAY_NS
"""In 2011. Clocks that show less were never set."""
GRACE_NS = 30 * DAY_NS
"""How long the bytes of a deleted recording stay."""


class Kept(NamedTuple):
    """How long a recording is to be kept."""

    retention: str
    """The class."""
    until_ns: int | None
    """None for ever, or as long as nobody knows how old it is."""
    reason: str
    is_of_group: bool
    """True if nobody said anything of this recording, but of its group."""

    def has_run_out(self, now_ns: int) -> bool:
        """Whether it says nothing any more."""
        return self.until_ns is not None and now_ns >= self.until_ns


def kept(view: RecordingView, of_group: str | None) -> Kept | None:
    """How long a recording is to be kept, whose group has the setting `of_group`; None if nobody says."""
    own = view.retention
    if own is not None:
        until_ns = own.until_ns if own.until_ns is not None else _end(own.retention, max(view.created_ns, hlc_ms(own.hlc) * MS_NS))
        return Kept(own.retention, until_ns, own.reason, is_of_group=False)
    if of_group is None or of_group not in CLASS_DAYS:
        return None
    return Kept(of_group, _end(of_group, view.created_ns), "", is_of_group=True)


def may_collect(view: RecordingView, of_group: str | None, now_ns: int) -> bool:
    """Whether the bytes of a recording may go because it was deleted."""
    if not view.deleted or view.deleted_hlc is None or view.hold is not None:
        return False
    standing = kept(view, of_group)
    if standing is not None and not standing.has_run_out(now_ns):
        return False
    deleted_ns = hlc_ms(view.deleted_hlc) * MS_NS
    return deleted_ns >= OLDEST_NS and now_ns >= deleted_ns + GRACE_NS


def _end(retention: str, from_ns: int) -> int | None:
    days = CLASS_DAYS[retention]
    if days is None:
        return None
    if days and from_ns < OLDEST_NS:
        return None
    return from_ns + days * DAY_NS
