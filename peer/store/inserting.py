"""Putting events into `log.db`: a whole run in one statement.

Nearly all that is inserted comes in runs of hundreds. A row at a time most of the time would go to handing values from Python to SQLite, with the
interpreter lock taken and given back for each; in one statement other threads go on meanwhile. Bytes are handed over as `bytearray`: for `bytes`
Python's `sqlite3` looks up an adapter first.
"""

from peer.core.event import BODY_SIZE_MAX, HEADER_SIZE_MAX
from peer.core.identity import ID_SIZE
from peer.core.run import RUN_BYTES_MAX, Run
from peer.store.database import Connection

BODY_BITS = BODY_SIZE_MAX.bit_length()
HEADER_BITS = HEADER_SIZE_MAX.bit_length()
assert BODY_BITS + HEADER_BITS + RUN_BYTES_MAX.bit_length() < 64, "SQLite's integers have 64 bits, with a sign"  # noqa: PLR2004

INSERT = f"""
INSERT INTO events (position, branch_no, height, id, header, body)
SELECT :position + number, :branch, :height + number, substr(:ids, 1 + {ID_SIZE} * number, {ID_SIZE}),
       substr(:bytes, 1 + start, header_size), substr(:bytes, 1 + start + header_size, body_size)
FROM (SELECT key AS number, value >> {BODY_BITS + HEADER_BITS} AS start,
             value >> {BODY_BITS} & {(1 << HEADER_BITS) - 1} AS header_size, value & {(1 << BODY_BITS) - 1} AS body_size
      FROM json_each(:places))"""  # noqa: S608  (numbers of our own)
SIGN = "UPDATE events SET signature = ? WHERE position = ?"


def insert_run(connection: Connection, run: Run, branch: int, position: int) -> int:
    """Insert the events of `run`, none of which is held, the first one at `position`; the position of the last."""
    pieces: list[bytes] = []
    places: list[int] = []
    start = 0
    for event in run.events:
        header_size, body_size = len(event.header_bytes), len(event.body)
        pieces += (event.header_bytes, event.body)
        places.append(start << BODY_BITS + HEADER_BITS | header_size << BODY_BITS | body_size)
        start += header_size + body_size
    values = {
        "position": position,
        "branch": branch,
        "height": run.first.height,
        "ids": bytearray().join(event.id for event in run.events),
        "bytes": bytearray().join(pieces),
        "places": str(places),
    }
    connection.execute(INSERT, values)
    last = position + len(run.events) - 1
    connection.execute(SIGN, (bytearray(run.signature), last))
    return last
