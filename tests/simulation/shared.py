"""Work that many simulated peers do in the same way is done once, where the answer depends on nothing but the bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import pytest

import gossip.table
import peer.core.run
import peer.sync.backfill
from peer.sync import messages

CACHED_MAX = 4096
FUNCTIONS = (
    (peer.core.run, "check_signature"),
    (peer.sync.backfill, "read_run"),
    (messages, "decode_message"),
    (gossip.table, "read_record"),
)


@contextmanager
def shared_work() -> Iterator[None]:
    """The same bytes are read and verified once, not by everybody who gets them. What is wrong is looked at each time."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in FUNCTIONS:
            patch.setattr(module, name, lru_cache(maxsize=CACHED_MAX)(getattr(module, name)))
        yield
