"""Receipts and releases in `views.db`: how they get there, and which sites hold a blob."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeVar

from materializer.events import ProjectedEvent
from materializer.receipts import BlobReceipt, BlobRelease, Said, holders
from materializer.rights import Action, may
from materializer.tables import Connection, Ledger, Place, hlc_bytes, join_refs, split_refs
from peer.core.identity import BlobId, EventId, GroupId, PeerId

ASKED_AT_ONCE = 500
"""Blobs that one query looks for."""

_INSERT = "INSERT INTO receipts VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SAID = (
    "SELECT b.blob, t.id, author, release, refs FROM receipt_blobs b JOIN receipts t USING (receipt_no) "
    "WHERE group_no = (SELECT group_no FROM groups WHERE group_id = ?) AND counts AND b.blob IN "
)
_ALL_OF = (
    "SELECT DISTINCT b.blob FROM receipts t JOIN receipt_blobs b USING (receipt_no) "
    "WHERE author = ? AND group_no = (SELECT group_no FROM groups WHERE group_id = ?) AND counts AND NOT release"
)
T = TypeVar("T")


def write_receipt(connection: Connection, ledger: Ledger, place: Place, event: ProjectedEvent, body: BlobReceipt | BlobRelease) -> None:
    """The row of an event in which a site says what it holds, or holds no more."""
    blobs = b"".join(body.blobs)
    said = (event.author, event.id, hlc_bytes(event.hlc), int(isinstance(body, BlobRelease)), join_refs(event.refs), blobs)
    counts = may(Action.HOLD, event.role, own=True)
    receipt_no = connection.execute(_INSERT, (place.group_no, *said, int(event.role), int(counts))).lastrowid
    connection.executemany("INSERT INTO receipt_blobs VALUES (?, ?)", [(blob, receipt_no) for blob in body.blobs])
    if counts:
        author, event_id, *rest = said
        ledger.add("receipts", place, (event_id, author, *rest))


class ReadableViews(Protocol):
    """`views.db`, open for reading."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one state of the database."""
        ...


class Holding:
    """A `Said`."""

    def __init__(self, views: ReadableViews) -> None:
        """Reads `views`."""
        self._views = views

    async def receipts_of(self, group: GroupId, peer: PeerId, blobs: Collection[BlobId] | None = None) -> Mapping[BlobId, Sequence[EventId]]:
        """As `Said.receipts_of`."""
        return await self._views.read(lambda connection: _read_receipts_of(connection, group, peer, blobs))


def read_released(connection: Connection, group: GroupId, blobs: Collection[BlobId]) -> Mapping[BlobId, set[PeerId]]:
    """The sites that said of each of these blobs that they hold it no more, and nothing else since."""
    found: dict[BlobId, set[PeerId]] = {}
    for blob, said in _read_said(connection, group, blobs).items():
        gone = {each.author for each in said if each.is_release} - holders(said)
        if gone:
            found[blob] = gone
    return found


def _read_receipts_of(connection: Connection, group: GroupId, peer: PeerId, blobs: Collection[BlobId] | None) -> Mapping[BlobId, Sequence[EventId]]:
    if blobs is None:
        rows = connection.execute(_ALL_OF, (peer, group))
        blobs = {BlobId(row[0]) for row in rows}
    found: dict[BlobId, Sequence[EventId]] = {}
    for blob, said in _read_said(connection, group, blobs).items():
        own = [each for each in said if each.author == peer]
        replaced = {ref for each in own if each.is_release for ref in each.refs}
        standing = [each.event_id for each in own if not each.is_release and each.event_id not in replaced]
        if standing:
            found[blob] = standing
    return found


def read_holders(connection: Connection, place: Place, blobs: Collection[BlobId]) -> Mapping[BlobId, set[PeerId]]:
    """The sites whose receipts for each of these blobs stand; blobs without any are left out."""
    (any_said,) = connection.execute("SELECT EXISTS (SELECT 1 FROM receipts WHERE group_no = ?)", (place.group_no,)).fetchone()
    found = {blob: holders(each) for blob, each in _read_said(connection, place.group, blobs).items()} if any_said else {}
    return {blob: sites for blob, sites in found.items() if sites}


def _read_said(connection: Connection, group: GroupId, blobs: Collection[BlobId]) -> Mapping[BlobId, list[Said]]:
    """All that was said of each of these blobs and counts."""
    said: dict[BlobId, list[Said]] = defaultdict(list)
    wanted = list(blobs)
    for start in range(0, len(wanted), ASKED_AT_ONCE):
        part = wanted[start : start + ASKED_AT_ONCE]
        for blob, event_id, author, release, refs in connection.execute(f"{_SAID} ({','.join('?' * len(part))})", (group, *part)):
            said[BlobId(blob)].append(Said(EventId(event_id), PeerId(author), bool(release), split_refs(refs)))
    return said
