"""Which tests run on one worker of `pytest -n`, one after the other: those of files that name the same `xdist_group`.

pytest-xdist writes the group of a test behind its name, at a place where this version of pytest does not look, so that `--dist loadgroup` spreads
groups like anything else: each worker starts the sites that they share, and tests that load the machine run beside each other.
"""

import functools
import re
from pathlib import Path

from xdist.scheduler import LoadGroupScheduling

GROUP = re.compile(r'^pytestmark = .*\bxdist_group\("([^"]+)"\)', re.MULTILINE)


class Spreading(LoadGroupScheduling):
    """Deals tests out one by one, and groups of files whole."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid.partition("::")[0]) or super()._split_scope(nodeid)


@functools.cache
def group_of(path: str) -> str | None:
    """The group that all tests of a file are in."""
    found = GROUP.search(Path(path).read_text())
    return found[1] if found else None
