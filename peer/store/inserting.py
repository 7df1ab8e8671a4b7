"""Putting events into `log.db`, as fast as Python's `sqlite3` lets us: nearly all that is inserted comes in runs of hundreds.

Bytes are handed over as `bytearray`: `bytes` and None go through a look-up of adapters each, which takes longer than to copy them. A row at a
time: of one statement for many rows SQLite keeps copies of all pages that it changes, to be able to take it back alone.
"""

from peer.core.run import Run
from peer.store.database import Connection

INSERT = "INSERT INTO events (position, branch_no, height, id, header, body) VALUES (?, ?, ?, ?, ?, ?)"
SIGN = "UPDATE events SET signature = ? WHERE position = ?"


def insert_run(connection: Connection, run: Run, branch: int, position: int) -> int:
    """Insert the events of `run`, none of which is held, the first one at `position`; the position of the last."""
    height = run.first.height
    rows = [
        (position + index, branch, height + index, bytearray(event.id), bytearray(event.header_bytes), bytearray(event.body))
        for index, event in enumerate(run.events)
    ]
    connection.executemany(INSERT, rows)
    last = rows[-1][0]
    connection.execute(SIGN, (run.signature, last))
    return last
