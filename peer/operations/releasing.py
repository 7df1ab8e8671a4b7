"""The events by which this site takes back what it said of bytes."""

from collections.abc import Mapping, Sequence

from materializer.receipts import BLOBS_MAX, blob_release
from peer.core.event import REFS_MAX
from peer.core.identity import BlobId, EventId
from peer.core.run import Draft


def release_drafts(receipts: Mapping[BlobId, Sequence[EventId]]) -> list[Draft]:
    """Events that take back these receipts of blobs: up to so many receipts and so many blobs in each."""
    drafts: list[Draft] = []
    blobs: list[BlobId] = []
    refs: list[EventId] = []
    for blob in sorted(receipts):
        its = list(receipts[blob])
        for start in range(0, max(1, len(its)), REFS_MAX):
            part = its[start : start + REFS_MAX]
            if len(blobs) == BLOBS_MAX or len({*refs, *part}) > REFS_MAX or (blobs and blobs[-1] == blob):
                drafts.append(blob_release(blobs, refs))
                blobs, refs = [], []
            blobs.append(blob)
            refs += [each for each in part if each not in refs]
    if blobs:
        drafts.append(blob_release(blobs, refs))
    return drafts
