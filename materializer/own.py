"""What a site asks of the views before it writes on: names that it has used, and a recording with all its parts, so that it can be finalized."""

import sqlite3

from materializer.recordings import Parts
from materializer.tables import Place, find_recording, read_parts
from peer.core.identity import EventId, GroupId, PeerId
from peer.core.names import folded

Connection = sqlite3.Connection


def recording_named(connection: Connection, group: GroupId, site: PeerId, name: str) -> EventId | None:
    """The oldest recording of `site` that counts and is called `name`, case-folded, deleted or not."""
    sql = "SELECT id FROM recordings JOIN groups USING (group_no) WHERE folded = ? AND group_id = ? AND site = ? AND counts ORDER BY hlc, id LIMIT 1"
    row = connection.execute(sql, (folded(name), group, site)).fetchone()
    return EventId(row[0]) if row else None


def parts_of(connection: Connection, group: GroupId, recording: EventId) -> Parts | None:
    """All of a recording that counts, finalized or not; None if it does not count."""
    row = connection.execute("SELECT group_no FROM groups WHERE group_id = ?", (group,)).fetchone()
    if row is None:
        return None
    found = find_recording(connection, row[0], recording)
    return read_parts(connection, Place(row[0], group), found[0]) if found and found[2] else None
