"""What the views say: for operations, the readable tree and whoever serves or fetches blobs. Reads only, a short transaction each."""

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, Protocol, TypeVar

from materializer.descriptions import IS_DELETED, is_deleted, read_annotations, read_description, read_machines, read_registers, read_settings
from materializer.digest import TABLES, export, state_digest
from materializer.holding import read_holders, read_released
from materializer.manifest import Manifest, file_names, folder_name, merge_topics, summed
from materializer.own import parts_of, recording_named
from materializer.recordings import COMPLETE, Attachment, Chunk, Parts, final_parts, judge
from materializer.strays import read_stray_receipts
from materializer.tables import Place, Row, find_recording, projected_rows, read_digests, read_finalize, read_parts, recompute_digests
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import WantedBlob
from peer.core.names import folded
from peer.core.views import AnnotationView, FileView, GroupState, MachineView, ProvenanceView, RecordingView, RegisterView

SHORT_DIGITS = range(8, 65, 8)
EMPTY_DIGEST = bytes(32)
FILES_OF_BLOB_MAX = 4
"""Files of which it is looked at what they claim of a blob: all of them say the same, unless somebody lies."""

T = TypeVar("T")
Connection = sqlite3.Connection


class ReadableViews(Protocol):
    """`views.db`, open for reading."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one state of the database."""
        ...


class Follower(Protocol):
    """What keeps the views up to date."""

    async def reached(self, position: int) -> None:
        """Return once the event at `position` can be read."""
        ...


class TreeEntry(NamedTuple):
    """What the readable tree has to show of a recording."""

    folder: str
    manifest: Manifest | None
    """None while it is open or deleted, or its finalize does not hold."""


class ViewsProblem(NamedTuple):
    """Something in the views that is not as it must be."""

    code: str
    what: str
    where: str


class ViewsCheck(NamedTuple):
    """What was looked at and what was found."""

    checked: dict[str, int]
    problems: list[ViewsProblem]


class Projections:
    """The `Views` of a running peer."""

    def __init__(self, views: ReadableViews, follower: Follower) -> None:
        """Reads from `views`, which `follower` keeps up to date."""
        self._views = views
        self._follower = follower

    async def reached(self, position: int) -> None:
        """As `Views.reached`."""
        await self._follower.reached(position)

    async def group_state(self, group: GroupId) -> GroupState:
        """As `Views.group_state`."""
        return await self._views.read(lambda connection: _group_state(connection, group))

    async def export(self, group: GroupId) -> dict[str, Any]:
        """As `Views.export`; `encode` of it is the canonical export."""
        return await self._views.read(lambda connection: _export(connection, group))

    async def recordings(self, groups: Sequence[GroupId], *, deleted: bool = False) -> list[RecordingView]:
        """As `Views.recordings`."""
        return await self._views.read(lambda connection: _recordings(connection, groups, deleted=deleted))

    async def recording(self, group: GroupId, recording: EventId) -> RecordingView | None:
        """As `Views.recording`."""
        return await self._views.read(lambda connection: _recording(connection, group, recording))

    async def manifest(self, group: GroupId, recording: EventId) -> tuple[bytes, bytes] | None:
        """As `Views.manifest`."""
        entry = await self.tree_entry(group, recording)
        return (entry.manifest.cbor, entry.manifest.json) if entry and entry.manifest else None

    async def registers(self, group: GroupId, recording: EventId) -> dict[str, RegisterView]:
        """As `Views.registers`."""
        return await self._views.read(lambda connection: read_registers(connection, *found) if (found := _find(connection, group, recording)) else {})

    async def settings(self, group: GroupId) -> list[RegisterView]:
        """As `Views.settings`."""
        return await self._views.read(lambda connection: read_settings(connection, place) if (place := group_place(connection, group)) else [])

    async def annotations(self, group: GroupId, recording: EventId | None = None) -> list[AnnotationView]:
        """As `Views.annotations`."""
        return await self._views.read(lambda connection: _annotations(connection, group, recording))

    async def machines(self, group: GroupId) -> list[MachineView]:
        """As `Views.machines`."""
        return await self._views.read(lambda connection: read_machines(connection, place) if (place := group_place(connection, group)) else [])

    async def holders(self, group: GroupId, blobs: Collection[BlobId]) -> Mapping[BlobId, AbstractSet[PeerId]]:
        """As `Views.holders`."""
        return await self._views.read(lambda connection: read_holders(connection, place, blobs) if (place := group_place(connection, group)) else {})

    async def stray_receipts(self, group: GroupId) -> Mapping[BlobId, AbstractSet[PeerId]]:
        """Who says to hold blobs that no file of the group has; some of them where there are many."""
        return await self._views.read(lambda connection: read_stray_receipts(connection, group))

    async def released(self, group: GroupId, blobs: Collection[BlobId]) -> Mapping[BlobId, AbstractSet[PeerId]]:
        """As `Views.released`."""
        return await self._views.read(lambda connection: read_released(connection, group, blobs))

    async def has_blob(self, group: GroupId, blob: BlobId) -> bool:
        """True if a recording of the group has a file with these bytes, or with this piece list."""
        return await self._views.read(lambda connection: any(_files_with(connection, group, blob)))

    async def files_with(self, group: GroupId, blob: BlobId, most: int = FILES_OF_BLOB_MAX) -> list[WantedBlob]:
        """The files of recordings of the group that have these bytes, or this piece list; `most` of each kind where more claim to."""
        return await self._views.read(lambda connection: list(_files_with(connection, group, blob, most)))

    async def wanted_blobs(self, group: GroupId, recordings: Collection[EventId] | None = None) -> list[WantedBlob]:
        """The files of all recordings of a group, or of some, that are not deleted: chunks and attachments, listed or not."""

        def read(connection: Connection) -> list[WantedBlob]:
            place = group_place(connection, group)
            if place is None:
                return []
            if recordings is None:
                return _all_wanted(connection, place)
            return [file for recording in recordings for file in _wanted(connection, place, recording)]

        return await self._views.read(read)

    async def recording_named(self, group: GroupId, site: PeerId, name: str) -> EventId | None:
        """The recording of that site with that name, case-folded, deleted or not; None if there is none."""
        return await self._views.read(lambda connection: recording_named(connection, group, site, name))

    async def parts_of(self, group: GroupId, recording: EventId) -> Parts | None:
        """All of a recording that counts, finalized or not; None if it does not count."""
        return await self._views.read(lambda connection: parts_of(connection, group, recording))

    async def recording_ids(self, group: GroupId) -> list[EventId]:
        """All recordings of a group that count."""
        return await self._views.read(lambda connection: _ids(connection, group))

    async def tree_entry(self, group: GroupId, recording: EventId) -> TreeEntry | None:
        """What the tree shows of a recording, None if it is none that counts."""
        return next((entry for _, entry in await self.tree_entries(group, [recording])), None)

    async def tree_entries(self, group: GroupId, recordings: Collection[EventId]) -> list[tuple[EventId, TreeEntry]]:
        """What the tree shows of those of `recordings` that count."""

        def read(connection: Connection) -> list[tuple[EventId, TreeEntry]]:
            place = group_place(connection, group)
            entries = ((recording, _tree_entry(connection, place, recording)) for recording in recordings if place)
            return [(recording, entry) for recording, entry in entries if entry is not None]

        return await self._views.read(read)


def check_views(connection: Connection) -> ViewsCheck:
    """Compare the digests of all tables with their rows: unequal ones are a bug, or damage."""
    problems = []
    rows = 0
    groups = [Place(*row) for row in connection.execute("SELECT group_no, group_id FROM groups")]
    for place in groups:
        kept, computed = read_digests(connection, place.group_no), recompute_digests(connection, place)
        for name in TABLES:
            rows += sum(1 for _ in projected_rows(connection, name, place.group_no))
            if kept.get(name, EMPTY_DIGEST) != computed[name]:
                what = f"the digest of the table {name} is not that of its rows; `recmesh rebuild` computes them anew"
                problems.append(ViewsProblem("digest_mismatch", what, f"views.db, group {place.group.hex()}"))
    return ViewsCheck({"projected_rows": rows}, problems)


def group_place(connection: Connection, group: GroupId) -> Place | None:
    """The group, None if nothing of it is projected."""
    row = connection.execute("SELECT group_no FROM groups WHERE group_id = ?", (group,)).fetchone()
    return Place(row[0], group) if row else None


def _group_state(connection: Connection, group: GroupId) -> GroupState:
    place = group_place(connection, group)
    if place is None:
        return GroupState(0, state_digest(group, {}), 0)
    (events,) = connection.execute("SELECT events FROM groups WHERE group_no = ?", (place.group_no,)).fetchone()
    (poison,) = connection.execute("SELECT count(*) FROM poison WHERE group_no = ?", (place.group_no,)).fetchone()
    return GroupState(events, state_digest(group, read_digests(connection, place.group_no)), poison)


def _export(connection: Connection, group: GroupId) -> dict[str, Any]:
    place = group_place(connection, group)
    return export(group, {name: projected_rows(connection, name, place.group_no) if place else () for name in TABLES})


def _find(connection: Connection, group: GroupId, recording: EventId) -> tuple[Place, int] | None:
    """Where a recording that counts has its row."""
    place = group_place(connection, group)
    row = find_recording(connection, place.group_no, recording) if place else None
    return (place, row[0]) if place and row and row[2] else None


def _annotations(connection: Connection, group: GroupId, recording: EventId | None) -> list[AnnotationView]:
    if recording is None:
        place = group_place(connection, group)
        return read_annotations(connection, place, None) if place else []
    found = _find(connection, group, recording)
    return read_annotations(connection, *found) if found else []


def _recordings(connection: Connection, groups: Sequence[GroupId], *, deleted: bool) -> list[RecordingView]:
    found = []
    for group in groups:
        place = group_place(connection, group)
        if place is not None:
            sql = "SELECT recording_no FROM recordings WHERE group_no = ? AND counts"
            numbers = [no for (no,) in connection.execute(sql, (place.group_no,)).fetchall()]
            found += [recording_view(connection, place, no) for no in numbers if deleted or not is_deleted(connection, no)]
    return sorted(found, key=lambda view: (view.created_ns, view.recording), reverse=True)


def _recording(connection: Connection, group: GroupId, recording: EventId) -> RecordingView | None:
    found = _find(connection, group, recording)
    return recording_view(connection, *found) if found else None


def recording_view(connection: Connection, place: Place, recording_no: int) -> RecordingView:
    """One recording, which must count."""
    parts = read_parts(connection, place, recording_no)
    assert parts is not None, "only recordings that count are looked for"
    create = parts.facts.create
    finalize = read_finalize(connection, recording_no)
    shown = (final_parts(finalize, parts) if finalize else None) or parts
    listed = {chunk.event_id for chunk in shown.chunks}
    chunks, attachments = _files(shown)
    late_chunks, late_attachments = _files(_late(parts, shown))
    manifest = next(projected_rows(connection, "manifests", place.group_no, recording_no), None)
    description = read_description(connection, place, recording_no)
    return RecordingView(
        place.group,
        parts.facts.recording,
        parts.facts.site,
        create.name,
        create.machine,
        create.created_ns,
        finalized=finalize is not None,
        manifest_id=manifest[2] if manifest and manifest[3] == COMPLETE else None,
        chunks=chunks,
        attachments=attachments,
        topics=merge_topics([*(chunk.body.topics for chunk in shown.chunks), *(more.topics for more in shown.topics if more.chunk in listed)]),
        **description._asdict(),
        profile=create.profile,
        provenance=ProvenanceView(create.tool, create.tool_version, create.host, create.source_path, create.operator),
        dropped=summed(chunk.body.dropped for chunk in shown.chunks),
        manifest_state=manifest[3] if manifest else None,
        late_chunks=late_chunks,
        late_attachments=late_attachments,
    )


def _late(parts: Parts, shown: Parts) -> Parts:
    """What a finalize leaves out."""
    chunks, attachments = (frozenset(each.event_id for each in files) for files in (shown.chunks, shown.attachments))
    return Parts(
        parts.facts,
        [chunk for chunk in parts.chunks if chunk.event_id not in chunks],
        (),
        [attachment for attachment in parts.attachments if attachment.event_id not in attachments],
    )


def _files(parts: Parts) -> tuple[list[FileView], list[FileView]]:
    """Chunks and attachments in their order, with the names that they have in the folder of the recording."""
    chunks = sorted(parts.chunks, key=lambda chunk: (chunk.body.index, chunk.event_id))
    attachments = sorted(parts.attachments, key=lambda attachment: attachment.body)
    names = file_names([chunk.body for chunk in chunks], [attachment.body for attachment in attachments])
    return (
        [_chunk(chunk, name) for chunk, name in zip(chunks, names, strict=False)],
        [_attachment(number, each, names[len(chunks) + number]) for number, each in enumerate(attachments)],
    )


def _chunk(chunk: Chunk, name: str) -> FileView:
    body = chunk.body
    file = (body.source_name, body.blob, body.sha256, body.size, body.piece_size, body.pieces)
    return FileView(body.index, name, *file, body.message_count, body.start_ns, body.end_ns, body.library, body.dropped, body.embedded)


def _attachment(number: int, attachment: Attachment, name: str) -> FileView:
    return FileView(number, name, *attachment.body[1:], message_count=0, start_ns=None, end_ns=None)


def _tree_entry(connection: Connection, place: Place, recording: EventId) -> TreeEntry | None:
    row = find_recording(connection, place.group_no, recording)
    if row is None or not row[2]:
        return None
    recording_no = row[0]
    finalize = read_finalize(connection, recording_no)
    is_shown = finalize is not None and not is_deleted(connection, recording_no)
    parts = read_parts(connection, place, recording_no) if is_shown else None  # Most of what is touched while it is recorded has none.
    return TreeEntry(_folder(connection, place, recording_no), judge(finalize, parts).manifest if finalize and parts else None)


def _folder(connection: Connection, place: Place, recording_no: int) -> str:
    """The name of a recording's folder: with a short id if another recording of its name is older."""
    sql = "SELECT name, folded, hlc, id FROM recordings WHERE recording_no = ?"
    name, small, hlc, recording = connection.execute(sql, (recording_no,)).fetchone()
    sql = "SELECT EXISTS (SELECT 1 FROM recordings WHERE folded = ? AND group_no = ? AND counts AND (hlc, id) < (?, ?))"
    (later,) = connection.execute(sql, (small, place.group_no, hlc, recording)).fetchone()
    if not later:
        return str(name)
    candidates = [folded(f"{name}-{recording.hex()[:digits]}") for digits in SHORT_DIGITS]
    marks = ",".join("?" * len(candidates))
    sql = f"SELECT folded FROM recordings WHERE folded IN ({marks}) AND group_no = ? AND counts"  # noqa: S608  (question marks)
    rows: list[Row] = connection.execute(sql, [*candidates, place.group_no]).fetchall()
    return folder_name(name, recording, first=False, taken=frozenset(row[0] for row in rows))


def _ids(connection: Connection, group: GroupId) -> list[EventId]:
    place = group_place(connection, group)
    return [EventId(row[0]) for row in projected_rows(connection, "recordings", place.group_no)] if place else []


def _files_with(connection: Connection, group: GroupId, blob: BlobId, most: int = FILES_OF_BLOB_MAX) -> Iterator[WantedBlob]:
    """Those of which this peer heard first come first: who claims something else of a blob has to know of it."""
    for table in ("chunks", "attachments"):
        for column in ("blob", "pieces"):
            sql = (
                f"SELECT r.id, blob, size, piece_size, pieces, sha256, site "  # noqa: S608  (our own names)
                f"FROM {table} f JOIN recordings r USING (recording_no) JOIN groups USING (group_no) "
                f"WHERE substr(f.{column}, 1, 8) = ? AND f.{column} = ? AND f.counts AND group_id = ? ORDER BY f.rowid LIMIT ?"
            )
            for row in connection.execute(sql, (blob[:8], blob, group, most)):
                yield WantedBlob(group, *row)


def _wanted(connection: Connection, place: Place, recording: EventId) -> list[WantedBlob]:
    row = find_recording(connection, place.group_no, recording)
    if row is None or not row[2]:
        return []
    recording_no, site, _ = row
    files = _files_of(connection, place, recording_no, {recording: site})
    return [] if files and is_deleted(connection, recording_no) else files


def _all_wanted(connection: Connection, place: Place) -> list[WantedBlob]:
    hidden = _deleted(connection, place)
    sites = {row[0]: row[1] for row in projected_rows(connection, "recordings", place.group_no) if row[0] not in hidden}
    return _files_of(connection, place, None, sites)


def _files_of(connection: Connection, place: Place, recording_no: int | None, sites: Mapping[bytes, PeerId]) -> list[WantedBlob]:
    """The files of a recording, or of all of the group, as far as they are those of the recordings in `sites`, which says who created them."""
    files = []
    for table in ("chunks", "attachments"):
        for row in projected_rows(connection, table, place.group_no, recording_no):
            fields = dict(zip(TABLES[table], row, strict=True))
            site = sites.get(fields["recording"])
            if site is not None:
                facts = (fields["blob"], fields["size"], fields["piece_size"], fields["pieces"], fields["sha256"])
                files.append(WantedBlob(place.group, EventId(fields["recording"]), *facts, PeerId(site)))
    return files


def _deleted(connection: Connection, place: Place) -> set[bytes]:
    """The ids of the recordings that were deleted."""
    sql = f"SELECT id FROM recordings r WHERE group_no = ? AND counts AND {IS_DELETED}"  # noqa: S608  (our own words)
    return {row[0] for row in connection.execute(sql, (place.group_no,))}
