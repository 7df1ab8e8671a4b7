"""What the views say: for the command line, the API, the readable tree and the fetching of blobs. Reads only, a short transaction each.

Values are as they are kept: ids and hashes in bytes, times in nanoseconds. `manifest.to_json` makes JSON of them.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from materializer.describe import describe, folder_of, summarize
from materializer.digest import TABLES, export, state_digest
from materializer.manifest import Manifest
from materializer.recordings import judge
from materializer.tables import Place, find_recording, projected_rows, read_digests, read_finalize, read_parts, recompute_digests
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import WantedBlob
from peer.core.names import folded
from peer.errors import AmbiguousError, NotFoundError

PREFIX_DIGITS_MIN = 6
ID_DIGITS = 64
PAGE_RECORDINGS_MAX = 1000
SHOWN_MATCHES_MAX = 5

T = TypeVar("T")
Connection = sqlite3.Connection


class ReadableViews(Protocol):
    """`views.db`, open for reading."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one state of the database."""
        ...


class Filter(NamedTuple):
    """Which recordings to list: those that fit all that is given."""

    site: PeerId | None = None
    machine: str | None = None
    tag: str | None = None
    text: str | None = None
    """Part of the name, in whatever case."""
    since_ns: int | None = None
    until_ns: int | None = None
    """By the time of creation."""


class RecordingPage(NamedTuple):
    """Some recordings, oldest first, and where to go on."""

    recordings: list[dict[str, Any]]
    next: bytes | None


class TreeEntry(NamedTuple):
    """What the readable tree has to show of a recording."""

    folder: str
    manifest: Manifest | None
    """None while it is open, or its finalize does not hold."""


class Queries:
    """Reads of the views."""

    def __init__(self, views: ReadableViews) -> None:
        """Reads from `views`."""
        self._views = views

    async def state_digest(self, group: GroupId) -> bytes:
        """The digest of all projected rows of a group."""
        return await self._views.read(lambda connection: _state_digest(connection, group))

    async def check_digests(self, group: GroupId) -> list[str]:
        """The tables whose digest is not that of their rows: none, unless there is a bug or damage."""
        return await self._views.read(lambda connection: _check_digests(connection, group))

    async def view_events(self, group: GroupId) -> int:
        """How many events of a group the views have seen."""
        return await self._views.read(lambda connection: _one(connection, "SELECT events FROM groups WHERE group_id = ?", (group,)))

    async def poison_count(self, group: GroupId) -> int:
        """How many events of a group have bodies that do not fit their type."""
        sql = "SELECT count(*) FROM poison WHERE group_no = (SELECT group_no FROM groups WHERE group_id = ?)"
        return await self._views.read(lambda connection: _one(connection, sql, (group,)))

    async def export(self, group: GroupId) -> dict[str, Any]:
        """Every projected row of a group, in canonical order; `encode` of it is the canonical export."""
        return await self._views.read(lambda connection: _export(connection, group))

    async def recordings(
        self, group: GroupId, *, where: Filter | None = None, after: bytes | None = None, limit: int = PAGE_RECORDINGS_MAX
    ) -> RecordingPage:
        """A page of recordings, oldest first; `after` is the `next` of the page before."""
        count = max(1, min(limit, PAGE_RECORDINGS_MAX))
        return await self._views.read(lambda connection: _list(connection, group, where or Filter(), after or b"", count))

    async def recording(self, text: str, group: GroupId | None = None) -> dict[str, Any]:
        """The recording with this id, prefix of an id (6 digits or more) or name. Raises `NotFoundError` or `AmbiguousError`."""
        return await self._views.read(lambda connection: _describe(connection, *_resolve(connection, text, group)))

    async def find(self, text: str, group: GroupId | None = None) -> tuple[GroupId, EventId]:
        """Like `recording`: its group and id only."""

        def work(connection: Connection) -> tuple[GroupId, EventId]:
            place, _, recording = _resolve(connection, text, group)
            return place.group, recording

        return await self._views.read(work)

    async def tree_entry(self, group: GroupId, recording: EventId) -> TreeEntry | None:
        """What the tree shows of a recording, None if it is none that counts."""
        return await self._views.read(lambda connection: _tree_entry(connection, group, recording))

    async def recording_ids(self, group: GroupId) -> list[EventId]:
        """All recordings of a group that count."""
        return await self._views.read(lambda connection: _ids(connection, group))

    async def live_writes(self, group: GroupId, recording: EventId, register: str) -> list[EventId]:
        """The writes that a new write of this register replaces: its `refs`."""
        return await self._views.read(lambda connection: _live_writes(connection, group, recording, register))

    async def wanted_blobs(self, group: GroupId, recording: EventId | None = None) -> list[WantedBlob]:
        """The files of all recordings of a group, or of one: chunks and attachments, listed or not."""
        return await self._views.read(lambda connection: _wanted(connection, group, recording))


def _one(connection: Connection, sql: str, parameters: Sequence[object]) -> int:
    row = connection.execute(sql, parameters).fetchone()
    return int(row[0]) if row else 0


def _place(connection: Connection, group: GroupId) -> Place | None:
    row = connection.execute("SELECT group_no FROM groups WHERE group_id = ?", (group,)).fetchone()
    return Place(row[0], group) if row else None


def _places(connection: Connection, group: GroupId | None) -> list[Place]:
    if group is not None:
        place = _place(connection, group)
        return [place] if place else []
    return [Place(*row) for row in connection.execute("SELECT group_no, group_id FROM groups ORDER BY group_id")]


def _state_digest(connection: Connection, group: GroupId) -> bytes:
    place = _place(connection, group)
    return state_digest(group, read_digests(connection, place.group_no) if place else {})


def _check_digests(connection: Connection, group: GroupId) -> list[str]:
    place = _place(connection, group)
    if place is None:
        return []
    kept, computed, empty = read_digests(connection, place.group_no), recompute_digests(connection, place), bytes(32)
    return [name for name in TABLES if kept.get(name, empty) != computed[name]]


def _export(connection: Connection, group: GroupId) -> dict[str, Any]:
    place = _place(connection, group)
    return export(group, {name: projected_rows(connection, name, place.group_no) if place else () for name in TABLES})


def _list(connection: Connection, group: GroupId, where: Filter, after: bytes, count: int) -> RecordingPage:
    place = _place(connection, group)
    if place is None:
        return RecordingPage([], None)
    sql, parameters = (
        ["SELECT recording_no, hlc, id FROM recordings r WHERE group_no = ? AND counts AND (hlc, id) > (?, ?)"],
        [
            place.group_no,
            after[:8],
            after[8:],
        ],
    )
    for condition, value in (
        ("site = ?", where.site),
        ("machine = ?", where.machine),
        ("instr(folded, ?)", folded(where.text) if where.text else None),
        ("created_ns >= ?", where.since_ns),
        ("created_ns <= ?", where.until_ns),
        (
            "EXISTS (SELECT 1 FROM registers w WHERE w.recording_no = r.recording_no AND register = ? AND wins AND preference)",
            f"tag:{where.tag}" if where.tag else None,
        ),
    ):
        if value is not None:
            sql.append(condition)
            parameters.append(value)
    rows = connection.execute(" AND ".join(sql) + " ORDER BY hlc, id LIMIT ?", [*parameters, count + 1]).fetchall()
    found = [summarize(connection, place, no) for no, _, _ in rows[:count]]
    return RecordingPage(found, rows[count - 1][1] + rows[count - 1][2] if len(rows) > count else None)


def _resolve(connection: Connection, text: str, group: GroupId | None) -> tuple[Place, int, EventId]:
    """The one recording that `text` names: an id or a name wins over a prefix."""
    places = _places(connection, group)
    exact = [match for place in places for match in _by_name(connection, place, text)]
    small = text.lower()
    is_hex = PREFIX_DIGITS_MIN <= len(small) <= ID_DIGITS and all(digit in "0123456789abcdef" for digit in small)
    found = exact or ([match for place in places for match in _by_prefix(connection, place, small)] if is_hex else [])
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFoundError(f"no recording {text!r}", fix="`recmesh recording list` shows those that are known here")
    ids = ", ".join(match[2].hex()[:12] for match in found[:SHOWN_MATCHES_MAX])
    raise AmbiguousError(f"{text!r} fits {len(found)} recordings: {ids}", fix="use the id, or more of it")


def _by_name(connection: Connection, place: Place, text: str) -> Iterator[tuple[Place, int, EventId]]:
    sql = "SELECT recording_no, id FROM recordings WHERE folded = ? AND group_no = ? AND counts ORDER BY hlc, id"
    for no, recording in connection.execute(sql, (folded(text), place.group_no)):
        yield place, no, EventId(recording)


def _by_prefix(connection: Connection, place: Place, prefix: str) -> Iterator[tuple[Place, int, EventId]]:
    low, high = (bytes.fromhex(prefix.ljust(ID_DIGITS, digit))[:8] for digit in "0f")
    sql = "SELECT recording_no, id FROM recordings WHERE substr(id, 1, 8) BETWEEN ? AND ? AND group_no = ? AND counts"
    for no, recording in connection.execute(sql, (low, high, place.group_no)):
        if recording.hex().startswith(prefix):
            yield place, no, EventId(recording)


def _describe(connection: Connection, place: Place, recording_no: int, _recording: EventId) -> dict[str, Any]:
    return describe(connection, place, recording_no)


def _find(connection: Connection, group: GroupId, recording: EventId) -> tuple[Place, int] | None:
    place = _place(connection, group)
    row = find_recording(connection, place.group_no, recording) if place else None
    return (place, row[0]) if place and row and row[2] else None


def _tree_entry(connection: Connection, group: GroupId, recording: EventId) -> TreeEntry | None:
    found = _find(connection, group, recording)
    parts = read_parts(connection, *found) if found else None
    if found is None or parts is None:
        return None
    finalize = read_finalize(connection, found[1])
    return TreeEntry(folder_of(connection, *found), judge(finalize, parts).manifest if finalize else None)


def _ids(connection: Connection, group: GroupId) -> list[EventId]:
    place = _place(connection, group)
    return [EventId(row[0]) for row in projected_rows(connection, "recordings", place.group_no)] if place else []


def _live_writes(connection: Connection, group: GroupId, recording: EventId, register: str) -> list[EventId]:
    found = _find(connection, group, recording)
    sql = "SELECT id FROM registers WHERE recording_no = ? AND register = ? AND live ORDER BY hlc, id"
    return [EventId(row[0]) for row in connection.execute(sql, (found[1], register))] if found else []


def _wanted(connection: Connection, group: GroupId, recording: EventId | None) -> list[WantedBlob]:
    place = _place(connection, group)
    if place is None:
        return []
    recording_no = None
    if recording is not None:
        found = _find(connection, group, recording)
        if found is None:
            return []
        recording_no = found[1]
    wanted = []
    for table in ("chunks", "attachments"):
        columns = TABLES[table]
        for row in projected_rows(connection, table, place.group_no, recording_no):
            fields = dict(zip(columns, row, strict=True))
            blob, pieces = BlobId(fields["blob"]), BlobId(fields["pieces"])
            wanted.append(WantedBlob(group, EventId(fields["recording"]), blob, fields["size"], fields["piece_size"], pieces, fields["sha256"]))
    return wanted
