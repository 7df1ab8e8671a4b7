"""Adding a recording: read the files, keep the bytes, then tell the group.

Bytes are durable before an event names them, and events are written only when every file was read and kept: what fails leaves nothing behind that
anybody sees. Files that are moved are given up last of all.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from materializer.bodies import (
    AttachmentAdd,
    ChunkAdd,
    RecordingCreate,
    attachment_add,
    chunk_add,
    chunk_topics,
    recording_create,
    recording_finalize,
)
from materializer.edits import recording_set, recording_tag
from materializer.fields import COUNT_MAX, is_tag
from materializer.manifest import RecordingFacts, make_manifest, merge_topics
from materializer.mcap_index import McapIndex, read_index
from peer.core.byte_store import BlobFacts
from peer.core.certificate import LogKind
from peer.core.control import Role
from peer.core.identity import EventId, GroupId
from peer.core.interfaces import BlobStore, EventStore, Replica
from peer.core.names import check_name
from peer.core.run import Draft
from peer.core.views import Views
from peer.errors import DiskFullError, NotAllowedError, RequestError
from peer.failpoints import failpoint
from peer.operations.files import Selection, default_name, select_files
from peer.operations.naming import Naming
from peer.operations.origin import check_operator, origin_of
from peer.operations.references import find_group
from peer.threads import in_thread

TAKE = ("copy", "link", "move")
READERS_MAX = 2
"""Files of one recording that are read at once."""
TAGS_MAX = 64


class AddRequest(NamedTuple):
    """What is to be added, and as what."""

    paths: Sequence[Path]
    group: str | None = None
    name: str | None = None
    tags: Sequence[str] = ()
    machine: str = ""
    take: str = "copy"
    operator: str = ""
    """Who asks for it, as they are known on this machine."""
    dropped: Sequence[int] = ()
    """Messages that the recorder dropped, for each MCAP file in its order; empty to take what the files say."""
    check: bool = False
    """True to unpack all that the files hold, and to look at its checksums."""
    is_open: bool = False
    """True if more files are to come: it is not finalized."""
    properties: Mapping[str, str] = MappingProxyType({})
    """What it has from the beginning."""


class NewChunk(NamedTuple):
    """A chunk that is kept here, and that no event tells of yet."""

    source_name: str
    index: McapIndex  # type: ignore[assignment]  # What stands in the file; nobody searches here with `tuple.index`.
    facts: BlobFacts


class Contents(NamedTuple):
    """Everything that is to be told, and is durable already."""

    chunks: Sequence[NewChunk]
    attachments: Sequence[tuple[str, BlobFacts]]
    created_ns: int


class Adding:
    """Adds recordings that were made at this site."""

    def __init__(
        self, naming: Naming, store: EventStore, replica: Replica, blobs: BlobStore, views: Views, show: Callable[[GroupId, EventId], Awaitable[None]]
    ) -> None:
        """For the site whose names `naming` looks after; `show` puts a recording into the readable tree."""
        self._peer = naming.peer
        self.naming = naming
        self._store = store
        self._replica = replica
        self._blobs = blobs
        self._views = views
        self._show = show
        self._reading = asyncio.Semaphore(READERS_MAX)
        self._telling: set[asyncio.Task[tuple[EventId, int]]] = set()
        self.make_room: Callable[[int], Awaitable[bool]] = _no_room
        """Lets bytes go until so many more fit; False if they do not."""

    async def add(self, request: AddRequest) -> EventId:
        """Add a recording and return its id once it can be read. Raises `RequestError`s that say which file is wrong, and how."""
        group = self.check(request)
        return await self.add_selection(group, request, await asyncio.to_thread(select_files, request.paths))

    async def add_selection(self, group: GroupId, request: AddRequest, selection: Selection) -> EventId:
        """As `add`, for what `check` found to be allowed, where it is known already which files these are."""
        name = check_name(request.name, "recording") if request.name is not None else default_name(selection.name)
        await self.naming.check_free(group, name)  # Before all is read: whether it still is, is looked at again when it is told.
        _check_dropped(request.dropped, selection.chunks)
        contents = _with_dropped(await self.keep(selection, request.take, check=request.check), request.dropped)
        recording = await self.tell(group, name, request, contents)
        if request.take == "move":
            await in_thread(None, lambda _: _give_up([*selection.chunks, *selection.attachments], self._blobs, contents))
        await self._show(group, recording)
        return recording

    def check(self, request: AddRequest) -> GroupId:
        """The group that a recording is to go into. Raises `NotAllowedError` or `RequestError` for what cannot be added there whatever its files."""
        group, view = find_group(self._replica, request.group)
        if view.roster.role(self._peer) < Role.WRITER:
            raise NotAllowedError(f"this site may read {view.genesis.name}, not write to it", fix="ask an admin of the group for the role writer")
        _check(request)
        return group

    async def tell(self, group: GroupId, name: str, request: AddRequest, contents: Contents) -> EventId:
        """Write the events of a new recording and return its id once it can be read. Raises `NameTakenError`."""
        failpoint("recording.before_events")
        telling = asyncio.create_task(self._tell_alone(group, name, request, contents))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)
        recording, position = await asyncio.shield(telling)  # Whoever asked may go away: what was begun to be told is told to its end.
        failpoint("recording.after_events")
        await self._views.reached(position)
        return recording

    async def _tell_alone(self, group: GroupId, name: str, request: AddRequest, contents: Contents) -> tuple[EventId, int]:
        async with self.naming.turn:
            await self.naming.check_free(group, name)
            return await self._tell(group, name, request, contents)

    async def keep(self, selection: Selection, take: str, *, check: bool = False) -> Contents:
        """Read all files, and only if none is wrong keep them. With `check` all that they hold is unpacked, and its checksums are looked at."""
        indexes = await asyncio.gather(*(self._index(path, check=check) for path in selection.chunks))
        paths = (*selection.chunks, *selection.attachments)
        kept = [await self._ingest(path, take) for path in paths]
        for path, facts in zip(paths, kept, strict=True):
            if not self._blobs.has(facts.blob):  # Of another recording, which went to make room for the rest of this one.
                await self._ingest(path, take)
        chunks = [NewChunk(path.name, index, facts) for path, index, facts in zip(selection.chunks, indexes, kept, strict=False)]
        attachments = [(path.name, facts) for path, facts in zip(selection.attachments, kept[len(chunks) :], strict=True)]
        return Contents(chunks, attachments, time.time_ns())

    async def _index(self, path: Path, *, check: bool) -> McapIndex:
        async with self._reading:
            return await asyncio.to_thread(read_index, path, check=check)

    async def _ingest(self, path: Path, take: str) -> BlobFacts:
        """Keep a file, if need be in the place of what may go. Raises `DiskFullError`."""
        try:
            return await self._take(path, take)
        except DiskFullError:
            if not await self.make_room(await asyncio.to_thread(lambda: path.stat().st_size)):
                raise
            return await self._take(path, take)

    async def _take(self, path: Path, take: str) -> BlobFacts:
        if take != "move":
            return await self._blobs.ingest(path, take=take)
        with contextlib.suppress(RequestError):  # Another file system, perhaps: then the bytes have to be copied.
            return await self._blobs.ingest(path, take="link")
        return await self._blobs.ingest(path, take="copy")

    async def _tell(self, group: GroupId, name: str, request: AddRequest, contents: Contents) -> tuple[EventId, int]:
        """Write all events in one go: nobody ever sees half of a recording that was added. Its id, and this peer's position of the last event."""
        origin = origin_of(request.paths, request.operator)
        create = RecordingCreate(name, request.machine, contents.created_ns, contents.chunks[0].index.profile, *origin)

        def parts(written: Sequence[EventId]) -> list[Draft]:
            drafts = [chunk_add(body) for body in chunk_bodies(written[0], contents.chunks)]
            return drafts + [attachment_add(written[0], source_name, facts) for source_name, facts in contents.attachments]

        def rest(written: Sequence[EventId]) -> list[Draft]:
            chunks = chunk_bodies(written[0], contents.chunks)
            return [draft for chunk, event_id in zip(chunks, written[1:], strict=False) for draft in chunk_topics(chunk, event_id)]

        def end(written: Sequence[EventId]) -> list[Draft]:
            recording, last = written[0], 1 + len(contents.chunks)
            chunks = chunk_bodies(recording, contents.chunks)
            tags = [recording_tag(recording, tag, present=True) for tag in dict.fromkeys(request.tags)]
            tags += [recording_set(recording, key, value) for key, value in request.properties.items()]
            if request.is_open:
                return tags
            manifest = make_manifest(
                RecordingFacts(group, recording, self._peer, create),
                [chunk._replace(topics=merge_topics([chunk.topics])) for chunk in chunks],
                [AttachmentAdd(recording, source_name, *facts) for source_name, facts in contents.attachments],
            )
            return [recording_finalize(recording, manifest.manifest_id, written[1:last], others=written[last:]), *tags]

        events = await self._store.write(group, LogKind.DATA, [recording_create(create)], [parts, rest, end])
        return events[0].event.id, events[-1].position


async def _no_room(_size: int) -> bool:
    return False


def _check(request: AddRequest) -> None:
    if request.take not in TAKE:
        raise RequestError(f"{request.take!r} is no way to take files", fix="write copy, link or move")
    check_operator(request.operator)
    if len(request.tags) > TAGS_MAX:
        raise RequestError(f"{len(request.tags)} tags; {TAGS_MAX} are allowed at once", fix="leave some out")
    for tag in request.tags:
        if not is_tag(tag):
            raise RequestError(f"{tag[:80]!r} cannot be a tag", fix="use one line without blanks at its ends")


def _check_dropped(dropped: Sequence[int], chunks: Sequence[Path]) -> None:
    if dropped and len(dropped) != len(chunks):
        raise RequestError(f"{len(dropped)} numbers of dropped messages for {len(chunks)} MCAP files", fix="give one for each file, in their order")
    if not all(0 <= number <= COUNT_MAX for number in dropped):
        raise RequestError("a number of dropped messages that no recorder counts to", fix=f"use 0 to {COUNT_MAX}")


def _with_dropped(contents: Contents, dropped: Sequence[int]) -> Contents:
    """`contents`, with what was said of dropped messages instead of what the files say."""
    if not dropped:
        return contents
    pairs = zip(contents.chunks, dropped, strict=True)
    return contents._replace(chunks=[chunk._replace(index=chunk.index._replace(dropped=number)) for chunk, number in pairs])


def chunk_bodies(recording: EventId, chunks: Sequence[NewChunk], first: int = 0) -> list[ChunkAdd]:
    """What events say of `chunks`, which are counted from `first`."""
    return [_chunk_body(recording, number, chunk) for number, chunk in enumerate(chunks, first)]


def _chunk_body(recording: EventId, number: int, chunk: NewChunk) -> ChunkAdd:
    index = chunk.index
    return ChunkAdd(
        recording,
        number,
        chunk.source_name,
        *chunk.facts,
        message_count=index.message_count,
        start_ns=index.start_ns,
        end_ns=index.end_ns,
        library=index.library,
        profile=index.profile,
        topics=[(*topic,) for topic in index.topics],
        dropped=index.dropped,
        embedded=index.embedded,
    )


def _give_up(paths: Sequence[Path], blobs: BlobStore, contents: Contents) -> None:
    """Remove what was moved: its bytes are kept under another name and the group knows of them."""
    kept = [*(chunk.facts for chunk in contents.chunks), *(facts for _, facts in contents.attachments)]
    for path, facts in zip(paths, kept, strict=True):
        if blobs.has(facts.blob) and path.resolve() != blobs.path(facts.blob).resolve():
            with contextlib.suppress(OSError):  # What cannot be removed stays: no bytes are lost by that.
                path.unlink()
