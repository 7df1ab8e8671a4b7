"""What rules look at of recordings, read from their summaries."""

from collections.abc import Sequence

from materializer.tables import Connection
from peer.core.encoding import decode
from peer.core.finding import RecordingSummary, Traits
from peer.core.identity import EventId


def read_traits(connection: Connection, recordings: Sequence[EventId]) -> dict[EventId, Traits]:
    """Of those of `recordings` that have a summary."""
    marks = ",".join("?" * len(recordings))
    sql = f"SELECT recording_no, summary FROM summaries WHERE id IN ({marks})"  # noqa: S608  (question marks)
    found = {}
    for recording_no, data in connection.execute(sql, recordings).fetchall():
        fields = decode(data)
        assert isinstance(fields, list)
        summary = RecordingSummary._make(fields)
        terms = connection.execute("SELECT kind, term FROM summary_terms WHERE recording_no = ? ORDER BY kind, term", (recording_no,)).fetchall()
        topics, schemas = ([term for kind, term in terms if kind == wanted] for wanted in ("topic", "schema"))
        found[summary.recording] = Traits(summary, topics, schemas)
    return found
