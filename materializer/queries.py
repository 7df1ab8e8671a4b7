"""What the projections say: recordings, digests, exports, manifests. Reads `views.db`, each question on one state of it."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from materializer.digest import TABLES, export, state_digest
from materializer.manifest import Manifest, file_names, merge_topics
from materializer.recordings import COMPLETE, Chunk, Parts, judge, listed_chunks
from materializer.registers import TAG_PREFIX
from materializer.runner import Views as Database
from materializer.tables import Connection, Place, find_recording, projected_rows, read_digests, read_finalize, read_parts, recompute_digests
from peer.core.encoding import decode_map
from peer.core.identity import BlobId, EventId, GroupId
from peer.core.interfaces import FileView, GroupState, RecordingView

_BLOB_IN_GROUP = """
SELECT 1 FROM recordings r JOIN chunks c USING (recording_no) WHERE r.group_no = :group AND c.counts AND (c.blob = :blob OR c.pieces = :blob)
UNION ALL
SELECT 1 FROM recordings r JOIN attachments a USING (recording_no) WHERE r.group_no = :group AND a.counts AND (a.blob = :blob OR a.pieces = :blob)
LIMIT 1
"""


class Progress(Protocol):
    """Who writes the projections."""

    async def reached(self, position: int) -> None:
        """Return once the event at `position` is projected."""
        ...


class Projections:
    """The `Views` of the other parts."""

    def __init__(self, database: Database, progress: Progress) -> None:
        """Reads `database`, which `progress` keeps up."""
        self._database = database
        self._progress = progress

    async def reached(self, position: int) -> None:
        """As `Views.reached`."""
        await self._progress.reached(position)

    async def group_state(self, group: GroupId) -> GroupState:
        """As `Views.group_state`."""
        return await self._database.read(partial(_group_state, group=group))

    async def export(self, group: GroupId) -> Mapping[str, object]:
        """As `Views.export`."""
        return await self._database.read(partial(_export, group=group))

    async def recordings(self, groups: Sequence[GroupId]) -> Sequence[RecordingView]:
        """As `Views.recordings`."""
        return await self._database.read(partial(_recordings, groups=groups))

    async def recording(self, group: GroupId, recording: EventId) -> RecordingView | None:
        """As `Views.recording`."""
        return await self._database.read(partial(_recording, group=group, recording=recording))

    async def manifest(self, group: GroupId, recording: EventId) -> tuple[bytes, bytes] | None:
        """As `Views.manifest`."""
        found = await self._database.read(partial(_manifest, group=group, recording=recording))
        return None if found is None else (found.cbor, found.json)

    async def has_blob(self, group: GroupId, blob: BlobId) -> bool:
        """True if a recording of `group` names `blob`, or has it as a list of pieces."""
        return await self._database.read(partial(_has_blob, group=group, blob=blob))


class ViewsProblem(NamedTuple):
    """Something that is not as it must be."""

    code: str
    what: str
    where: str


class ViewsCheck(NamedTuple):
    """What was looked at and what was found."""

    checked: dict[str, int]
    problems: list[ViewsProblem]


def check_views(connection: Connection) -> ViewsCheck:
    """Compute the digests of all tables anew from their rows and compare."""
    problems: list[ViewsProblem] = []
    rows = 0
    places = [Place(group_no, GroupId(group)) for group_no, group in connection.execute("SELECT group_no, group_id FROM groups")]
    for place in places:
        kept, computed = read_digests(connection, place.group_no), recompute_digests(connection, place)
        for name in TABLES:
            rows += sum(1 for _ in projected_rows(connection, name, place.group_no))
            if kept.get(name, bytes(32)) != computed[name]:
                what = f"the rows of {name} are not those that were projected; `recmesh rebuild` computes them again"
                problems.append(ViewsProblem("projection_mismatch", what, f"views.db, group {place.group.hex()}"))
    return ViewsCheck({"projected_groups": len(places), "projected_rows": rows}, problems)


def _place(connection: Connection, group: GroupId) -> Place | None:
    row = connection.execute("SELECT group_no FROM groups WHERE group_id = ?", (group,)).fetchone()
    return None if row is None else Place(row[0], group)


def _group_state(connection: Connection, group: GroupId) -> GroupState:
    place = _place(connection, group)
    if place is None:
        return GroupState(0, state_digest(group, {}), 0)
    (events,) = connection.execute("SELECT events FROM groups WHERE group_no = ?", (place.group_no,)).fetchone()
    (poison,) = connection.execute("SELECT count(*) FROM poison WHERE group_no = ?", (place.group_no,)).fetchone()
    return GroupState(events, state_digest(group, read_digests(connection, place.group_no)), poison)


def _export(connection: Connection, group: GroupId) -> Mapping[str, object]:
    place = _place(connection, group)
    return export(group, {name: list(projected_rows(connection, name, place.group_no)) if place else [] for name in TABLES})


def _recordings(connection: Connection, groups: Sequence[GroupId]) -> list[RecordingView]:
    found: list[RecordingView] = []
    for group in groups:
        place = _place(connection, group)
        if place is not None:
            numbers = connection.execute("SELECT recording_no FROM recordings WHERE counts AND group_no = ?", (place.group_no,)).fetchall()
            found += filter(None, (_view(connection, place, number) for (number,) in numbers))
    return sorted(found, key=lambda view: (-view.created_ns, view.recording))


def _recording(connection: Connection, group: GroupId, recording: EventId) -> RecordingView | None:
    place = _place(connection, group)
    row = find_recording(connection, place.group_no, recording) if place else None
    return _view(connection, place, row[0]) if place and row else None


def _manifest(connection: Connection, group: GroupId, recording: EventId) -> Manifest | None:
    place = _place(connection, group)
    row = find_recording(connection, place.group_no, recording) if place else None
    if place is None or row is None:
        return None
    parts, finalize = read_parts(connection, place, row[0]), read_finalize(connection, row[0])
    return judge(finalize, parts).manifest if parts and finalize else None


def _has_blob(connection: Connection, group: GroupId, blob: BlobId) -> bool:
    place = _place(connection, group)
    return place is not None and connection.execute(_BLOB_IN_GROUP, {"group": place.group_no, "blob": blob}).fetchone() is not None


def _view(connection: Connection, place: Place, recording_no: int) -> RecordingView | None:
    parts = read_parts(connection, place, recording_no)
    if parts is None:
        return None
    finalize = read_finalize(connection, recording_no)
    row = connection.execute("SELECT manifest_id, state FROM manifests WHERE recording_no = ?", (recording_no,)).fetchone()
    chunks = _shown_chunks(parts, listed_chunks(finalize, parts.chunks) if finalize else None)
    attachments = sorted(each.body for each in parts.attachments if finalize is None or each.hlc < finalize.hlc)
    names = file_names([chunk.body for chunk in chunks], attachments)
    tags, conflicts = _registers(connection, place, recording_no)
    shown = {chunk.event_id for chunk in chunks}
    topics = merge_topics([*(chunk.body.topics for chunk in chunks), *(more.topics for more in parts.topics if more.chunk in shown)])
    return RecordingView(
        place.group,
        parts.facts.recording,
        parts.facts.site,
        parts.facts.create.name,
        parts.facts.create.machine,
        parts.facts.create.created_ns,
        finalize is not None,
        row[0] if row and row[1] == COMPLETE else None,
        [_chunk_view(chunk, name) for chunk, name in zip(chunks, names, strict=False)],
        [
            FileView(number, name, each.source_name, each.blob, each.sha256, each.size, each.piece_size, each.pieces, 0, None, None)
            for number, (each, name) in enumerate(zip(attachments, names[len(chunks) :], strict=True))
        ],
        topics,
        tags,
        conflicts,
    )


def _shown_chunks(parts: Parts, listed: Sequence[Chunk] | None) -> list[Chunk]:
    return sorted(parts.chunks if listed is None else listed, key=lambda chunk: (chunk.body.index, chunk.event_id))


def _chunk_view(chunk: Chunk, name: str) -> FileView:
    body = chunk.body
    place = (body.index, name, body.source_name, body.blob, body.sha256, body.size, body.piece_size, body.pieces)
    return FileView(*place, body.message_count, body.start_ns, body.end_ns)


def _registers(connection: Connection, place: Place, recording_no: int) -> tuple[list[str], list[str]]:
    """Tags that are present, and registers with more than one live write."""
    tags: list[str] = []
    live: dict[str, int] = {}
    for _, _, register, _, _, _, value, wins in projected_rows(connection, "registers", place.group_no, recording_no):
        live[register] = live.get(register, 0) + 1
        if wins and register.startswith(TAG_PREFIX) and decode_map(value)["present"]:
            tags.append(register.removeprefix(TAG_PREFIX))
    return sorted(tags), sorted(register for register, count in live.items() if count > 1)
