"""Finding recordings: what is asked for, and what is listed of each.

A summary says what a list shows of a recording, so that a list needs no chunk of any of them. It is made from the full view by one function, here,
and what it says is never anything else than what the view says.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from peer.core.encoding import Value
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.orders import Order
from peer.core.views import RecordingView

SUM_MAX = 2**53 - 1
"""The greatest whole number that every JSON reader keeps: what others claim may not break one."""
WILDCARD = "*"
WILDCARDS_MAX = 4
"""In one topic that is looked for: each may cost a look at every place of a topic."""


class RecordingSummary(NamedTuple):
    """What a list shows of a recording. Whoever adds a field raises `SUMMARY_VERSION` of the module that keeps them."""

    group: GroupId
    recording: EventId
    site: PeerId
    name: str
    machine: str
    created_ns: int
    finalized: bool
    manifest_id: bytes | None
    deleted: bool
    size: int
    """Of its chunks, in bytes."""
    chunk_count: int
    message_count: int
    start_ns: int | None
    end_ns: int | None
    tags: Sequence[str]
    properties: Mapping[str, Value]
    dropped: int | None
    """Messages that its recorder says it dropped, None if it does not say."""
    review_count: int
    review_average: str | None
    """With two decimal places; None if there are no reviews."""


class SummaryFile(NamedTuple):
    """A file of a recording, as far as it matters for where its bytes are."""

    blob: BlobId
    size: int
    is_chunk: bool


class Traits(NamedTuple):
    """What rules may look at of a recording."""

    summary: RecordingSummary
    topics: Sequence[str]
    schemas: Sequence[str]


class RecordingQuery(NamedTuple):
    """Which recordings are looked for, and in which order. All that is given must hold."""

    groups: Sequence[GroupId]
    deleted: bool = False
    """True to see deleted ones, too."""
    sites: Sequence[tuple[GroupId, PeerId]] | None = None
    """Made by one of these."""
    machine: str | None = None
    tags: Sequence[str] = ()
    topic: str | None = None
    """A topic that it has; a wildcard in it stands for any characters."""
    schema: str | None = None
    properties: Sequence[tuple[str, str]] = ()
    """Keys, and their values as text."""
    text: str | None = None
    """Somewhere in its name, machine, tags, properties or topics, in capitals or not."""
    since_ns: int | None = None
    """It ends then, or later."""
    until_ns: int | None = None
    """It starts then, or earlier."""
    order: Order = "created"
    reverse: bool = False
    site_names: Mapping[tuple[GroupId, PeerId], str] = {}
    """What the sites are called, for the order by them."""


class PlaceInOrder(NamedTuple):
    """Where a recording stands in an order: what it is sorted by, then its id."""

    key: int | str
    recording: EventId


class Found(NamedTuple):
    """A recording that was looked for."""

    summary: RecordingSummary
    place: PlaceInOrder
    content: bytes
    """A hash of what the summary and the list of files say."""


class Finder(Protocol):
    """The recordings, to be searched."""

    async def find(self, query: RecordingQuery, after: PlaceInOrder | None, limit: int) -> Sequence[Found]:
        """Up to `limit` recordings that fit, in their order, those that come after a place in it."""
        ...

    async def sites(self, groups: Sequence[GroupId]) -> Sequence[tuple[GroupId, PeerId]]:
        """Who made recordings in these groups."""
        ...

    async def named(self, groups: Sequence[GroupId], reference: str, *, deleted: bool = False) -> Sequence[tuple[GroupId, EventId, str]]:
        """The recordings, with their names, that a name or the first digits of an id may mean."""
        ...

    async def groups_with_receipts(self, groups: Sequence[GroupId]) -> Sequence[GroupId]:
        """Those of them in which a site ever said which bytes it holds."""
        ...

    async def traits(self, groups: Sequence[GroupId], recordings: Sequence[EventId]) -> Mapping[EventId, Traits]:
        """What rules look at of some recordings of these groups; recordings that do not count are left out."""
        ...

    async def files(self, groups: Sequence[GroupId], recordings: Sequence[EventId]) -> Mapping[EventId, Sequence[SummaryFile]]:
        """The files of recordings of these groups, chunks and attachments; recordings that do not count are left out."""
        ...


def summarize(view: RecordingView) -> RecordingSummary:
    """What a list shows of a recording."""
    starts = [chunk.start_ns for chunk in view.chunks if chunk.start_ns is not None]
    ends = [chunk.end_ns for chunk in view.chunks if chunk.end_ns is not None]
    return RecordingSummary(
        view.group,
        view.recording,
        view.site,
        view.name,
        view.machine,
        view.created_ns,
        view.finalized,
        view.manifest_id,
        view.deleted,
        min(sum(chunk.size for chunk in view.chunks), SUM_MAX),
        len(view.chunks),
        min(sum(chunk.message_count for chunk in view.chunks), SUM_MAX),
        min(starts, default=None),
        max(ends, default=None),
        list(view.tags),
        dict(view.properties),
        view.dropped,
        view.review_count,
        view.review_average,
    )


def summary_files(view: RecordingView) -> list[SummaryFile]:
    """The files of a recording."""
    return [
        *(SummaryFile(file.blob, file.size, is_chunk=True) for file in view.chunks),
        *(SummaryFile(file.blob, file.size, is_chunk=False) for file in view.attachments),
    ]
