"""Receipts for bytes that nothing else tells of: of a recording whose events did not come, or never will."""

from collections import defaultdict
from collections.abc import Mapping

from materializer.receipts import Said, holders
from materializer.tables import Connection, split_refs
from peer.core.identity import BlobId, EventId, GroupId, PeerId

RECEIPTS_MAX = 4000
"""What was said of such blobs, as far as one answer looks."""

_NAMED = "EXISTS (SELECT 1 FROM {0} f JOIN recordings r USING (recording_no) WHERE r.group_no = t.group_no AND {1})"
_SAME = "substr(f.{0}, 1, 8) = substr(b.blob, 1, 8) AND f.{0} = b.blob"
_KNOWN = " OR ".join(_NAMED.format(table, _SAME.format(column)) for table in ("chunks", "attachments") for column in ("blob", "pieces"))
_STRAYS = (
    "SELECT b.blob, t.id, author, release, refs FROM receipts t JOIN receipt_blobs b USING (receipt_no) "  # noqa: S608  (our own names)
    f"WHERE group_no = (SELECT group_no FROM groups WHERE group_id = ?) AND t.counts AND NOT ({_KNOWN}) ORDER BY b.blob LIMIT ?"
)


def read_stray_receipts(connection: Connection, group: GroupId) -> Mapping[BlobId, set[PeerId]]:
    """The sites whose receipts stand for blobs that no file of the group has; some of them where there are many."""
    said: dict[BlobId, list[Said]] = defaultdict(list)
    for blob, event_id, author, release, refs in connection.execute(_STRAYS, (group, RECEIPTS_MAX)):
        said[BlobId(blob)].append(Said(EventId(event_id), PeerId(author), bool(release), split_refs(refs)))
    found = {blob: holders(each) for blob, each in said.items()}
    return {blob: sites for blob, sites in found.items() if sites}
