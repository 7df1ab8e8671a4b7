"""Receipts and releases in `views.db`: how they get there, and which sites hold a blob."""

from collections import defaultdict
from collections.abc import Collection, Mapping

from materializer.receipts import BlobReceipt, BlobRelease, Said, holders
from materializer.rights import Action, may
from materializer.tables import Connection, Ledger, Place, hlc_bytes, join_refs, split_refs
from peer.core.identity import BlobId, EventId, PeerId
from peer.core.interfaces import StoredEvent

ASKED_AT_ONCE = 500
"""Blobs that one query looks for."""

_INSERT = "INSERT INTO receipts VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SAID = (
    "SELECT b.blob, t.id, author, release, refs FROM receipt_blobs b JOIN receipts t USING (receipt_no) WHERE group_no = ? AND counts AND b.blob IN "
)


def write_receipt(connection: Connection, ledger: Ledger, place: Place, stored: StoredEvent, body: BlobReceipt | BlobRelease) -> None:
    """The row of an event in which a site says what it holds, or holds no more."""
    header, blobs = stored.event.header, b"".join(body.blobs)
    said = (stored.author, stored.event.id, hlc_bytes(header.hlc), int(isinstance(body, BlobRelease)), join_refs(header.refs), blobs)
    counts = may(Action.HOLD, stored.role, own=True)
    receipt_no = connection.execute(_INSERT, (place.group_no, *said, int(stored.role), int(counts))).lastrowid
    connection.executemany("INSERT INTO receipt_blobs VALUES (?, ?)", [(blob, receipt_no) for blob in body.blobs])
    if counts:
        author, event_id, *rest = said
        ledger.add("receipts", place, (event_id, author, *rest))


def read_holders(connection: Connection, place: Place, blobs: Collection[BlobId]) -> Mapping[BlobId, set[PeerId]]:
    """The sites whose receipts for each of these blobs stand; blobs without any are left out."""
    (any_said,) = connection.execute("SELECT EXISTS (SELECT 1 FROM receipts WHERE group_no = ?)", (place.group_no,)).fetchone()
    if not any_said:
        return {}
    said: dict[BlobId, list[Said]] = defaultdict(list)
    wanted = list(blobs)
    for start in range(0, len(wanted), ASKED_AT_ONCE):
        part = wanted[start : start + ASKED_AT_ONCE]
        for blob, event_id, author, release, refs in connection.execute(f"{_SAID} ({','.join('?' * len(part))})", (place.group_no, *part)):
            said[BlobId(blob)].append(Said(EventId(event_id), PeerId(author), bool(release), split_refs(refs)))
    found = {blob: holders(each) for blob, each in said.items()}
    return {blob: sites for blob, sites in found.items() if sites}
