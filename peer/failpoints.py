"""Named places at which a test may kill this process, to see that nothing is lost. In production they do nothing.

`RECMESH_FAILPOINT=store.before_commit:3` kills the process (SIGKILL) at the third passage of that point, after adding a line with its name to the
file `RECMESH_FAILPOINT_FILE`, so that a test can count what was hit.
"""

import os
import signal
from pathlib import Path

FAILPOINTS = (
    "blob.after_hash",
    "blob.before_rename",
    "blob.after_rename",
    "store.before_commit",
    "store.after_commit",
    "recording.before_events",
    "recording.after_events",
    "open.before_chunks",
    "open.after_chunks",
    "open.before_finalize",
    "open.after_finalize",
    "watch.before_events",
    "watch.after_events",
    "watch.before_move",
    "watch.before_commit",
    "watch.after_commit",
    "sync.after_store",
    "sync.between_pages",
    "push.before_send",
    "push.after_send",
    "fetch.after_piece",
    "fetch.before_rename",
    "fetch.after_rename",
    "views.before_commit",
    "views.after_commit",
    "apart.before_commit",
    "apart.after_commit",
    "rebuild.before_commit",
    "rebuild.after_commit",
    "rebuild.before_swap",
    "rebuild.after_swap",
    "hub.before_commit",
    "hub.after_commit",
    "tree.before_rename",
    "cache.before_rename",
    "collect.before_remove",
    "drop.after_proofs",
    "drop.after_release",
    "drop.between_files",
    "drop.before_end",
    "backup.after_log",
    "backup.before_manifest",
    "salvage.before_commit",
    "salvage.after_commit",
    "salvage.before_swap",
    "salvage.after_move",
    "salvage.after_swap",
)

_name, _, _count = os.environ.get("RECMESH_FAILPOINT", "").partition(":")
_left = int(_count or "1")


def failpoint(name: str) -> None:
    """Die here if the environment says so."""
    if name == _name:
        _count_down()


def _count_down() -> None:
    global _left  # noqa: PLW0603  (a process dies once)
    _left -= 1
    if _left > 0:
        return
    record = os.environ.get("RECMESH_FAILPOINT_FILE")
    if record:
        with Path(record).open("a") as file:
            file.write(f"{_name}\n")
            file.flush()
            os.fsync(file.fileno())
    os.kill(os.getpid(), signal.SIGKILL)
