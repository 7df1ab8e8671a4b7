"""Summaries of recordings in `views.db`: what lists are made of, in any order and by any filter, without a look at a single chunk.

A summary is computed from the full view of a recording and says nothing else. Triggers of the schema take it away with the first row that changes of
what it was computed from, in the same transaction, whoever changes it; whoever searches has those that are missing made first. Summaries are no
projection: they are in no digest and no export.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from materializer.descriptions import IS_DELETED
from materializer.queries import group_place, recording_view
from materializer.tables import Connection, Row
from materializer.traits import read_traits
from materializer.values import text_of
from peer.core.encoding import decode, encode
from peer.core.finding import (
    WILDCARD,
    Found,
    PlaceInOrder,
    RecordingQuery,
    RecordingSummary,
    SummaryFile,
    Traits,
    summarize,
    summary_files,
)
from peer.core.hashing import hash_bytes
from peer.core.identity import ID_SIZE, BlobId, EventId, GroupId, PeerId
from peer.core.names import folded
from peer.core.orders import DESCENDING, Order
from peer.core.views import RecordingView

SUMMARY_VERSION = 1
"""Summaries of other versions are made anew."""
MADE_AT_ONCE = 8
"""Summaries that one transaction makes: who projects events waits for it."""
TRIES_MAX = 3
"""How often events may come between making summaries and reading them, before both are done in one transaction."""
INTEGER_MAX = 2**63 - 1
CONTENT_SIZE = 16
BETWEEN_WORDS = "\ufdd0"
"""No character: in no text that is looked for."""
PREFIX_DIGITS = 16
"""As many hexadecimal digits of ids as are in their index."""

_HEX_DIGITS = frozenset("0123456789abcdef")
_KEYS: Mapping[Order, str] = {
    "created": "created_ns",
    "start": "ifnull(start_ns, -1)",
    "end": "ifnull(end_ns, -1)",
    "name": "folded",
    "size": "size",
    "messages": "message_count",
    "site": "ifnull(site_name, substr(lower(hex(s.site)), 1, 8))",
}
_MISSING = (
    "SELECT recording_no, group_id FROM recordings r JOIN groups USING (group_no) WHERE r.counts AND group_id IN ({}) "
    "AND NOT EXISTS (SELECT 1 FROM summaries s WHERE s.recording_no = r.recording_no AND version = ?) LIMIT ?"
)

T = TypeVar("T")


class WritableViews(Protocol):
    """`views.db`, open for writing."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one state of the database."""
        ...

    async def transaction(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one write transaction."""
        ...


class Summaries:
    """The `Finder` of a running peer."""

    def __init__(self, views: WritableViews) -> None:
        """Reads and writes `views`."""
        self._views = views

    async def find(self, query: RecordingQuery, after: PlaceInOrder | None, limit: int) -> list[Found]:
        """As `Finder.find`."""
        return await self._with_summaries(query.groups, lambda connection: find(connection, query, after, limit))

    async def sites(self, groups: Sequence[GroupId]) -> list[tuple[GroupId, PeerId]]:
        """As `Finder.sites`."""
        return await self._views.read(lambda connection: _sites(connection, groups))

    async def named(self, groups: Sequence[GroupId], reference: str, *, deleted: bool = False) -> list[tuple[GroupId, EventId, str]]:
        """As `Finder.named`."""
        return await self._views.read(lambda connection: _named(connection, groups, reference, deleted=deleted))

    async def groups_with_receipts(self, groups: Sequence[GroupId]) -> list[GroupId]:
        """As `Finder.groups_with_receipts`."""
        sql = (
            f"SELECT group_id FROM groups g WHERE group_id IN ({_marks(groups)}) AND EXISTS (SELECT 1 FROM receipts r WHERE r.group_no = g.group_no)"  # noqa: S608
        )
        return await self._views.read(lambda connection: [GroupId(group) for (group,) in connection.execute(sql, groups)])

    async def files(self, groups: Sequence[GroupId], recordings: Sequence[EventId]) -> dict[EventId, list[SummaryFile]]:
        """As `Finder.files`."""
        return await self._with_summaries(groups, lambda connection: _files(connection, recordings))

    async def traits(self, groups: Sequence[GroupId], recordings: Sequence[EventId]) -> dict[EventId, Traits]:
        """As `Finder.traits`."""
        return await self._with_summaries(groups, lambda connection: read_traits(connection, recordings))

    async def make_some(self, groups: Sequence[GroupId]) -> int:
        """Make some of the summaries that are missing, up to `MADE_AT_ONCE`. How many were made."""
        if not await self._views.read(lambda connection: _missing(connection, groups, 1)):
            return 0
        return await self._views.transaction(lambda connection: make_summaries(connection, groups, MADE_AT_ONCE))

    async def _with_summaries(self, groups: Sequence[GroupId], work: Callable[[Connection], T]) -> T:
        """What `work` reads, of a state of the database in which no summary of these groups is missing."""

        def read(connection: Connection) -> tuple[T] | None:
            return None if _missing(connection, groups, 1) else (work(connection),)

        for _ in range(TRIES_MAX):
            result = await self._views.read(read)
            if result is not None:
                return result[0]
            while await self.make_some(groups):
                pass

        def make_and_read(connection: Connection) -> T:
            make_summaries(connection, groups, INTEGER_MAX)
            return work(connection)

        return await self._views.transaction(make_and_read)


def make_summaries(connection: Connection, groups: Sequence[GroupId], count_max: int) -> int:
    """Make up to so many of the summaries that are missing. How many were made."""
    missing = _missing(connection, groups, count_max)
    for recording_no, group in missing:
        place = group_place(connection, group)
        assert place is not None, "its recordings were found by it"
        _make(connection, place.group_no, recording_no, recording_view(connection, place, recording_no))
    return len(missing)


def find(connection: Connection, query: RecordingQuery, after: PlaceInOrder | None, limit: int) -> list[Found]:
    """Recordings that fit, where no summary is missing."""
    if not query.groups or query.sites == []:
        return []
    with_names, names = _site_names(query)
    where, values = _conditions(query)
    key, descending = _KEYS[query.order], (query.order in DESCENDING) != query.reverse
    if after is not None:
        where.append(f"({key}, id) {'<' if descending else '>'} (?, ?)")
        values += [after.key, after.recording]
    direction = "DESC" if descending else "ASC"
    sql = (
        f"{with_names} SELECT {key}, id, summary, content FROM summaries s JOIN groups USING (group_no) "  # noqa: S608  (our own words)
        f"{'LEFT JOIN site_names n ON n.named_group = group_id AND n.named_site = s.site' if with_names else ''} "
        f"WHERE {' AND '.join(where)} ORDER BY {key} {direction}, id {direction} LIMIT ?"
    )
    rows = connection.execute(sql, [*names, *values, limit])
    return [Found(_decode_summary(summary), PlaceInOrder(its_key, EventId(recording)), content) for its_key, recording, summary, content in rows]


def search_words(view: RecordingView) -> list[str]:
    """What a text is looked for in."""
    return [view.name, view.machine, *view.tags, *(text_of(value) for value in view.properties.values()), *(topic[0] for topic in view.topics)]


def _conditions(query: RecordingQuery) -> tuple[list[str], list[object]]:
    """What must hold of a summary `s`, and the values in that."""
    found: list[tuple[str, Sequence[object]]] = [(f"group_id IN ({_marks(query.groups)})", query.groups)]
    if not query.deleted:
        found.append(("NOT deleted", ()))
    if query.sites is not None:
        pairs = ",".join("(?, ?)" for _ in query.sites)
        found.append((f"(group_id, site) IN (VALUES {pairs})", [part for pair in query.sites for part in pair]))
    if query.machine is not None:
        found.append(("machine = ?", [query.machine]))
    if query.since_ns is not None:
        found.append(("end_ns >= ?", [min(query.since_ns, INTEGER_MAX)]))
    if query.until_ns is not None:
        found.append(("start_ns <= ?", [min(query.until_ns, INTEGER_MAX)]))
    if query.text is not None:
        found.append(("instr(words, ?)", [query.text.casefold()]))
    if query.topic is not None and WILDCARD in query.topic:
        found.append((_term("term GLOB ?"), ["topic", _glob(query.topic)]))
    elif query.topic is not None:
        found.append((_term("term = ?"), ["topic", query.topic]))
    terms = [("tag", tag) for tag in query.tags] + [("property", _property(key, value)) for key, value in query.properties]
    terms += [("schema", query.schema)] if query.schema is not None else []
    found += [(_term("term = ?"), term) for term in terms]
    return [condition for condition, _ in found], [value for _, values in found for value in values]


def _term(condition: str) -> str:
    return f"s.recording_no IN (SELECT recording_no FROM summary_terms WHERE kind = ? AND {condition})"  # noqa: S608  (our own words)


def _glob(topic: str) -> str:
    """A topic in which nothing but `*` means something else than itself."""
    return "".join(f"[{character}]" if character in "?[" else character for character in topic)


def _site_names(query: RecordingQuery) -> tuple[str, Sequence[object]]:
    """A table of what sites are called, where the order needs it."""
    if query.order != "site":
        return "", []
    if not query.site_names:
        return "WITH site_names (named_group, named_site, site_name) AS (SELECT x'', x'', '' WHERE 0)", []
    rows = ",".join("(?, ?, ?)" for _ in query.site_names)
    values = [part for (group, site), name in query.site_names.items() for part in (group, site, folded(name))]
    return f"WITH site_names (named_group, named_site, site_name) AS (VALUES {rows})", values


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" for _ in values)


def _missing(connection: Connection, groups: Sequence[GroupId], count_max: int) -> list[tuple[int, GroupId]]:
    return connection.execute(_MISSING.format(_marks(groups)), [*groups, SUMMARY_VERSION, count_max]).fetchall()


def _make(connection: Connection, group_no: int, recording_no: int, view: RecordingView) -> None:
    summary = summarize(view)
    said, files = encode(list(summary)), _encode_files(summary_files(view))
    words = BETWEEN_WORDS.join(word.casefold() for word in search_words(view))
    connection.execute("DELETE FROM summaries WHERE recording_no = ?", (recording_no,))
    connection.execute(
        "INSERT INTO summaries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            recording_no,
            group_no,
            SUMMARY_VERSION,
            view.recording,
            view.site,
            int(view.deleted),
            folded(view.name),
            view.machine,
            view.created_ns,
            summary.start_ns,
            summary.end_ns,
            summary.size,
            summary.message_count,
            hash_bytes(said + files)[:CONTENT_SIZE],
            words,
            said,
            files,
        ),
    )
    connection.executemany("INSERT INTO summary_terms VALUES (?, ?, ?)", ((*term, recording_no) for term in sorted(_terms(view))))


def _terms(view: RecordingView) -> set[tuple[str, str]]:
    return {
        *(("tag", tag) for tag in view.tags),
        *(("topic", topic[0]) for topic in view.topics),
        *(("schema", topic[1]) for topic in view.topics),
        *(("property", _property(key, text_of(value))) for key, value in view.properties.items()),
    }


def _property(key: str, value: str) -> str:
    return f"{key}={value}"


def _decode_summary(data: bytes) -> RecordingSummary:
    fields = decode(data)
    assert isinstance(fields, list)
    return RecordingSummary._make(fields)


_FILE_SIZE = ID_SIZE + 9


def _encode_files(files: Iterable[SummaryFile]) -> bytes:
    return b"".join(file.blob + file.size.to_bytes(8, "big") + bytes([file.is_chunk]) for file in files)


def _decode_files(data: bytes) -> list[SummaryFile]:
    parts = (data[start : start + _FILE_SIZE] for start in range(0, len(data), _FILE_SIZE))
    return [SummaryFile(BlobId(part[:ID_SIZE]), int.from_bytes(part[ID_SIZE:-1], "big"), is_chunk=bool(part[-1])) for part in parts]


def _files(connection: Connection, recordings: Sequence[EventId]) -> dict[EventId, list[SummaryFile]]:
    rows = connection.execute(f"SELECT id, files FROM summaries WHERE id IN ({_marks(recordings)})", recordings)  # noqa: S608  (question marks)
    return {EventId(recording): _decode_files(files) for recording, files in rows}


def _sites(connection: Connection, groups: Sequence[GroupId]) -> list[tuple[GroupId, PeerId]]:
    sql = f"SELECT DISTINCT group_id, site FROM recordings JOIN groups USING (group_no) WHERE counts AND group_id IN ({_marks(groups)})"  # noqa: S608
    return [(GroupId(group), PeerId(site)) for group, site in connection.execute(sql, groups)]


def _named(connection: Connection, groups: Sequence[GroupId], reference: str, *, deleted: bool) -> list[tuple[GroupId, EventId, str]]:
    wheres: list[tuple[str, list[object]]] = [("folded = ?", [folded(reference)])]
    digits = reference[:PREFIX_DIGITS]
    if digits and _HEX_DIGITS.issuperset(digits):
        first, last = (bytes.fromhex(digits.ljust(PREFIX_DIGITS, fill)) for fill in "0f")
        wheres.append(("substr(id, 1, 8) BETWEEN ? AND ?", [first, last]))
    hidden = "" if deleted else f"AND NOT ({IS_DELETED})"
    found: dict[EventId, tuple[GroupId, EventId, str]] = {}
    for where, values in wheres:
        sql = (
            "SELECT group_id, id, name FROM recordings r JOIN groups USING (group_no) "  # noqa: S608  (our own words and question marks)
            f"WHERE counts AND group_id IN ({_marks(groups)}) AND {where} {hidden}"
        )
        rows: list[Row] = connection.execute(sql, [*groups, *values]).fetchall()
        found.update({EventId(row[1]): (GroupId(row[0]), EventId(row[1]), row[2]) for row in rows})
    return [found[recording] for recording in sorted(found)]
