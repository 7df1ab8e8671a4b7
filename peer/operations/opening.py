"""Recordings that are still open: chunks are added as they are finished and travel at once, and the last word is said at the end.

Nothing is remembered between two calls: what was added stands in the events. Files whose bytes the recording has already are passed over, so whatever
was interrupted may be done again. Only the site that began a recording adds to it; where that site is gone for good, an admin finalizes it as it is.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from materializer.bodies import MANIFEST_VERSION, attachment_add, chunk_add, chunk_topics, names_all, recording_finalize
from materializer.recordings import Parts, manifest_of
from materializer.rights import Action, may
from peer.core.certificate import LogKind
from peer.core.clock import DRIFT_MAX_MS, hlc_ms
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import EventStore, Replica, StoredEvent
from peer.core.run import Draft
from peer.core.views import RecordingView
from peer.errors import ChangedMeanwhileError, NoChangeError, NotAllowedError, RecordingFinalizedError, RequestError
from peer.failpoints import failpoint
from peer.operations.adding import Adding, Contents, chunk_bodies
from peer.operations.files import select_files
from peer.operations.recordings import Recordings

TRIES_MAX = 2
"""How often a finalize is written: the first may have the very clock of what it is to cover, where that came from a site whose clock is ahead."""


class OpenViews(Protocol):
    """What the views know of a recording that is being written."""

    async def reached(self, position: int) -> None:
        """Return once the event at `position` can be read here."""
        ...

    async def recording(self, group: GroupId, recording: EventId) -> RecordingView | None:
        """One recording, deleted or not."""
        ...

    async def parts_of(self, group: GroupId, recording: EventId) -> Parts | None:
        """All of a recording that counts, finalized or not."""
        ...


class Log(NamedTuple):
    """Where events are written."""

    peer: PeerId
    store: EventStore
    replica: Replica
    position: Callable[[], int]
    """Of the newest event."""


class Opening:
    """Adds to open recordings, and closes them."""

    def __init__(
        self, log: Log, views: OpenViews, recordings: Recordings, adding: Adding, show: Callable[[GroupId, EventId], Awaitable[None]]
    ) -> None:
        """`show` puts a recording into the readable tree."""
        self._log = log
        self._views = views
        self._recordings = recordings
        self._adding = adding
        self._show = show
        self._turn = asyncio.Lock()
        self._telling: set[asyncio.Task[None]] = set()

    async def append(self, reference: str, paths: Sequence[Path]) -> EventId:
        """Add MCAP files, or those of one folder, to an open recording, and return once they can be read there."""
        view = await self._recordings.find(reference)
        self._check(view, Action.ADD, "add to")
        selection = await asyncio.to_thread(select_files, paths)
        contents = await self._adding.keep(selection, "copy")
        await self.tell(view.group, view.recording, contents)
        return view.recording

    async def finalize(self, reference: str) -> EventId:
        """Say that an open recording is complete as it is, and return once that can be read."""
        view = await self._recordings.find(reference)
        self._check(view, Action.FINALIZE, "finalize")
        await self.close(view.group, view.recording)
        return view.recording

    async def tell(self, group: GroupId, recording: EventId, contents: Contents) -> None:
        """Write what of `contents` the recording does not have."""
        await self._to_its_end(self._tell(group, recording, contents))

    async def close(self, group: GroupId, recording: EventId) -> None:
        """Finalize what there is of a recording."""
        await self._to_its_end(self._close(group, recording))
        await self._show(group, recording)

    async def _tell(self, group: GroupId, recording: EventId, contents: Contents) -> None:
        async with self._turn:
            parts = await self._parts(group, recording)
            held = {chunk.body.blob for chunk in parts.chunks}
            known = {attachment.body[1:] for attachment in parts.attachments}
            chunks = [chunk for chunk in contents.chunks if _is_new(chunk.facts.blob, held)]
            extra = [each for each in contents.attachments if (each[0], *each[1]) not in known]
            bodies = chunk_bodies(recording, chunks, max((chunk.body.index for chunk in parts.chunks), default=-1) + 1)
            drafts = [chunk_add(body) for body in bodies] + [attachment_add(recording, name, facts) for name, facts in extra]
            if not drafts:
                return

            def rest(written: Sequence[EventId]) -> list[Draft]:
                return [draft for body, event_id in zip(bodies, written, strict=False) for draft in chunk_topics(body, event_id)]

            failpoint("open.before_chunks")
            events = await self._log.store.write(group, LogKind.DATA, drafts, [rest])
            failpoint("open.after_chunks")
            await self._views.reached(events[-1].position)

    async def _close(self, group: GroupId, recording: EventId) -> None:
        async with self._turn:
            parts = await self._parts(group, recording)
            _check_parts(parts)
            replaces: list[EventId] = []
            for _ in range(TRIES_MAX):
                event = await self._write_finalize(group, parts, replaces)
                view = await self._views.recording(group, recording)
                if view is None or view.manifest_id is not None:
                    return
                replaces = [event.event.id]
            raise ChangedMeanwhileError(
                "what was finalized is not what others see of it: it changed meanwhile", fix="look at it with `recmesh recording show`"
            )

    async def _write_finalize(self, group: GroupId, parts: Parts, replaces: Sequence[EventId]) -> StoredEvent:
        chunks = sorted(parts.chunks, key=lambda chunk: (chunk.body.index, chunk.event_id))
        manifest = manifest_of(parts, MANIFEST_VERSION)
        others = [*(each.event_id for each in parts.topics), *(each.event_id for each in parts.attachments)]
        draft = recording_finalize(parts.facts.recording, manifest.manifest_id, [chunk.event_id for chunk in chunks], replaces, others=others)
        failpoint("open.before_finalize")
        (event,) = await self._log.store.write(group, LogKind.DATA, [draft])
        failpoint("open.after_finalize")
        await self._views.reached(event.position)
        return event

    async def _parts(self, group: GroupId, recording: EventId) -> Parts:
        """All of an open recording, as new as the log. Raises `RecordingFinalizedError` for one that is not open."""
        await self._views.reached(self._log.position())
        view, parts = await self._views.recording(group, recording), await self._views.parts_of(group, recording)
        if view is None or parts is None:
            raise RequestError("the recording does not count any more", fix="see `recmesh recording list`")
        _check_open(view)
        return parts

    def _check(self, view: RecordingView, action: Action, verb: str) -> None:
        if view.deleted:
            raise RequestError(f"{view.name} is deleted", fix=f"`recmesh recording restore {view.recording.hex()[:12]}` takes that back")
        own = view.site == self._log.peer
        if not may(action, self._log.replica.groups[view.group].roster.role(self._log.peer), own=own):
            who = "the site that began it" if action is Action.ADD else "the site that began it, or an admin,"
            raise NotAllowedError(f"this site may not {verb} {view.name}: {who} does that", fix="ask there")
        if action is Action.FINALIZE and view.finalized:
            raise NoChangeError(f"{view.name} is finalized already", fix="nothing is left to do")
        _check_open(view)

    async def _to_its_end(self, work: Coroutine[object, object, None]) -> None:
        """Whoever asked may go away: what was begun to be told is told to its end."""
        telling = asyncio.create_task(work)
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)
        await asyncio.shield(telling)


def _check_open(view: RecordingView) -> None:
    if view.finalized:
        raise RecordingFinalizedError(f"{view.name} is finalized: nothing is added to it any more", fix="make another recording")


def _check_parts(parts: Parts) -> None:
    """Raise `RequestError` for what cannot be finalized so that all see the same."""
    if not parts.chunks:
        raise RequestError("a recording without files cannot be finalized", fix="append a file, or remove the recording")
    if len({chunk.body.index for chunk in parts.chunks}) < len(parts.chunks):
        raise RequestError("two files of the recording have the same place in it", fix="remove it and add its files as a new recording")
    if names_all(len(parts.chunks), len(parts.topics) + len(parts.attachments)):
        return
    clocks = [*(each.hlc for each in parts.chunks), *(each.hlc for each in parts.topics), *(each.hlc for each in parts.attachments)]
    if hlc_ms(max(clocks)) > time.time_ns() // 1_000_000 + DRIFT_MAX_MS:
        raise RequestError("the recording has parts from a clock that is far ahead of the one here", fix="set this machine's clock right, or wait")


def _is_new(blob: BlobId, held: set[BlobId]) -> bool:
    """True for the first with these bytes."""
    if blob in held:
        return False
    held.add(blob)
    return True
