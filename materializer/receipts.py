"""Who has which bytes: what sites say of themselves. A receipt says that its author holds blobs, durably; a release that it does not any more.

A receipt stands until a release by the same site that names it in its refs and lists the blob. Clocks decide nothing: who holds a blob again after a
release writes another receipt, which that release cannot have named.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from materializer.fields import Fields, PoisonError, Reader, hash_field, make_draft, need, need_fields
from peer.core.encoding import Value
from peer.core.identity import BlobId, EventId, PeerId
from peer.core.run import Draft

BLOB_RECEIPT = "blob.receipt"
BLOB_RELEASE = "blob.release"
BLOBS_MAX = 1000
"""Blobs in one event."""


class BlobReceipt(NamedTuple):
    """Its author holds these blobs."""

    blobs: Sequence[BlobId]


class BlobRelease(NamedTuple):
    """Its author holds these blobs no more, whatever the receipts said that it replaces."""

    blobs: Sequence[BlobId]


class Said(NamedTuple):
    """What a site said of one blob."""

    event_id: EventId
    author: PeerId
    is_release: bool
    refs: Sequence[EventId]


def blob_receipt(blobs: Sequence[BlobId]) -> Draft:
    """The event that says that its author holds `blobs`."""
    return make_draft(BLOB_RECEIPT, {"blobs": list(blobs)}, RECEIPT_READERS[BLOB_RECEIPT])


def blob_release(blobs: Sequence[BlobId], receipts: Sequence[EventId]) -> Draft:
    """The event that takes back what `receipts` said of `blobs`."""
    return make_draft(BLOB_RELEASE, {"blobs": list(blobs)}, RECEIPT_READERS[BLOB_RELEASE], receipts)


def holders(said: Iterable[Said]) -> set[PeerId]:
    """The sites that hold a blob, from all that was said of it."""
    known = list(said)
    released = {(each.author, ref) for each in known if each.is_release for ref in each.refs}
    return {each.author for each in known if not each.is_release and (each.author, each.event_id) not in released}


def _blobs(fields: Fields, what: str) -> list[BlobId]:
    need_fields(fields, ("blobs",), what)
    value: Value = fields["blobs"]
    if type(value) is not list or not 1 <= len(value) <= BLOBS_MAX:
        raise PoisonError(f"not 1 to {BLOBS_MAX} blobs")
    blobs = [BlobId(hash_field(each)) for each in value]
    need(len(set(blobs)) == len(blobs), "a blob that is listed twice")
    return blobs


def _read_receipt(fields: Fields) -> BlobReceipt:
    return BlobReceipt(_blobs(fields, "a receipt"))


def _read_release(fields: Fields) -> BlobRelease:
    return BlobRelease(_blobs(fields, "a release"))


RECEIPT_READERS: Mapping[str, Reader[BlobReceipt | BlobRelease]] = {BLOB_RECEIPT: _read_receipt, BLOB_RELEASE: _read_release}
