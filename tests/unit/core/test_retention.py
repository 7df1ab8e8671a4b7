"""Whether bytes may go: every class, every doubt."""

from typing import Any, cast

import pytest

from peer.core.identity import PeerId
from peer.core.retention import CLASS_DAYS, DAY_NS, GRACE_NS, OLDEST_NS, kept, may_collect
from peer.core.views import HoldView, RecordingView, RetentionView
from peer.operations.retention import SteadyClock

NOW_NS = 1_790_000_000 * 10**9
PEER = PeerId(b"p" * 32)
HOLD = HoldView(PEER, 1, "crash", "lab", "ann")


def hlc(time_ns: int) -> int:
    return time_ns // 1_000_000 << 16


def recording(**changes: Any) -> RecordingView:
    """Deleted long enough ago, and nobody wants it."""
    names = RecordingView._fields
    plain = dict.fromkeys(names) | {"created_ns": NOW_NS - 100 * DAY_NS, "deleted": True, "deleted_hlc": hlc(NOW_NS - GRACE_NS)}
    return cast("RecordingView", RecordingView(**cast("Any", plain | changes)))


def said(retention: str, until_ns: int | None = None, at_ns: int = NOW_NS - 50 * DAY_NS) -> RetentionView:
    return RetentionView(PEER, hlc(at_ns), retention, until_ns, "law", "lab", "ann")


@pytest.mark.parametrize(
    ("changes", "of_group", "may"),
    [
        ({}, None, True),
        ({"deleted_hlc": hlc(NOW_NS - GRACE_NS) + (1 << 16)}, None, False),
        ({"deleted_hlc": hlc(NOW_NS + DAY_NS)}, None, False),
        ({"deleted_hlc": hlc(OLDEST_NS) - 1}, None, False),
        ({"deleted": False}, None, False),
        ({"deleted_hlc": None}, None, False),
        ({"hold": HOLD}, None, False),
        ({"hold": HOLD, "deleted": False}, "transient", False),
        ({}, "transient", True),
        ({}, "raw", True),
        ({}, "summary", False),
        ({}, "permanent", False),
        ({}, "a class of a later version", True),
        ({"created_ns": 0}, "raw", False),
        ({"created_ns": 0}, "transient", True),
        ({"created_ns": NOW_NS - 89 * DAY_NS}, "raw", False),
        ({"retention": said("raw")}, "permanent", False),
        ({"retention": said("raw", NOW_NS)}, "permanent", True),
        ({"retention": said("raw", NOW_NS + 1)}, None, False),
        ({"retention": said("transient")}, "permanent", True),
        ({"retention": said("raw", at_ns=NOW_NS - 90 * DAY_NS)}, "permanent", True),
        ({"retention": said("permanent")}, "transient", False),
    ],
)
def test_bytes_of_a_deleted_recording_go_if_nothing_keeps_them(changes: dict[str, Any], of_group: str | None, *, may: bool) -> None:
    assert may_collect(recording(**changes), of_group, NOW_NS) is may


def test_no_class_lets_go_before_its_time_and_each_but_one_does_then() -> None:
    for retention, days in CLASS_DAYS.items():
        standing = kept(recording(created_ns=NOW_NS), retention)
        assert standing is not None
        assert standing.is_of_group
        if days is None:
            assert not standing.has_run_out(2**63)
            continue
        assert standing.has_run_out(NOW_NS + days * DAY_NS)
        assert not standing.has_run_out(NOW_NS + days * DAY_NS - 1)


def test_a_clock_that_is_put_forward_lets_nothing_run_out() -> None:
    wall, passed = [NOW_NS], [7]
    clock = SteadyClock(lambda: wall[0], lambda: passed[0])
    assert clock() == NOW_NS
    wall[0] += 365 * DAY_NS
    passed[0] += 10
    assert clock() == NOW_NS + 10
    wall[0] = NOW_NS - DAY_NS
    assert clock() == NOW_NS - DAY_NS
