"""A long log goes to a new site completely, and memory does not grow with it, at either end."""

import os
from pathlib import Path

from bench.backfill import measure

LONG = os.environ.get("RECMESH_TEST_LONG") == "1"
EVENTS = 100_000 if LONG else 20_000
RESIDENT_MAX = 150 * 2**20
"""What a peer may take, whatever the size of its log."""


def test_a_long_log_backfills_completely_in_constant_memory(tmp_path: Path) -> None:
    """All events arrive and give the same state; resident size is watched at both ends from outside."""
    told = measure(tmp_path, EVENTS)

    print({key: round(value, 1) for key, value in told.items()})  # noqa: T201
    assert told["received_events"] == told["sent_events"] >= EVENTS
    assert told["sender_bytes"] < RESIDENT_MAX
    assert told["receiver_bytes"] < RESIDENT_MAX
