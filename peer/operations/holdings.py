"""Where the bytes of recordings are. Remembered until bytes come or go, or the recording changes: a list must not look for every file each time."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from peer.core.finding import Finder, Found, RecordingSummary, SummaryFile, summarize, summary_files
from peer.core.identity import EventId, GroupId, PeerId
from peer.core.interfaces import BlobStore
from peer.core.views import RecordingView

REMEMBERED_MAX = 100_000
"""Recordings of which it is remembered where their bytes are."""


class Held(NamedTuple):
    """How much of a recording is here."""

    state: str
    bytes_here: int


class _Note(NamedTuple):
    """What was found when the files of a recording were looked for."""

    content: bytes
    added: int | None
    removed: int | None
    """Of the blob store, None where it does not matter: nothing more can come, or go."""
    held: Held


class Holdings:
    """What is here of all recordings."""

    def __init__(self, peer: PeerId, blobs: BlobStore, finder: Finder) -> None:
        """Remembers nothing yet."""
        self._peer = peer
        self._blobs = blobs
        self._finder = finder
        self._notes: dict[EventId, _Note] = {}

    def of_view(self, view: RecordingView) -> Held:
        """What is here of one recording, looked up now."""
        return self._look(summarize(view), summary_files(view))[0]

    async def of(self, groups: Sequence[GroupId], found: Sequence[Found]) -> Mapping[EventId, Held]:
        """What is here of recordings of these groups; those that count no more are left out."""
        unknown = [each for each in found if not self._is_known(each)]
        if unknown:
            files = await self._finder.files(groups, [each.summary.recording for each in unknown])
            await asyncio.to_thread(self._look_for, unknown, files)
        return {each.summary.recording: note.held for each in found if (note := self._notes.get(each.summary.recording))}

    def _is_known(self, found: Found) -> bool:
        note = self._notes.get(found.summary.recording)
        return (
            note is not None
            and note.content == found.content
            and note.added in {None, self._blobs.added}
            and note.removed in {None, self._blobs.removed}
        )

    def _look_for(self, unknown: Iterable[Found], files: Mapping[EventId, Sequence[SummaryFile]]) -> None:
        """For a thread."""
        if len(self._notes) > REMEMBERED_MAX:
            self._notes = {}
        for each in unknown:
            recording = each.summary.recording
            self._notes.pop(recording, None)
            if recording in files:
                added, removed = self._blobs.added, self._blobs.removed  # Before looking: what comes meanwhile is looked for again.
                held, here = self._look(each.summary, files[recording])
                self._notes[recording] = _Note(
                    each.content, None if all(here) else added, removed if any(here) or held.state == "corrupt" else None, held
                )

    def _look(self, summary: RecordingSummary, files: Sequence[SummaryFile]) -> tuple[Held, list[bool]]:
        here = [self._blobs.has(file.blob) for file in files]
        damaged = any(self._blobs.is_damaged(file.blob) for file in files)
        size = sum(file.size for file, is_here in zip(files, here, strict=True) if is_here and file.is_chunk)
        if not summary.finalized:
            state = "open"
        elif damaged:
            state = "corrupt"
        elif all(here) and summary.manifest_id is not None:
            state = "local"
        elif any(here):
            state = "partial"
        else:
            state = "missing" if summary.site == self._peer else "remote"
        return Held(state, size), here
