"""Adding a recording some files of which were cut off by a crash, or damaged: what can be read of them goes into new files, and these are added.

Files that are whole are added as they are. The others stay where they are, also where files are to be moved. What was lost is told to the caller, and
stays with the recording: as the tag and the property `recovered`, which every site sees, and in full in the new file itself.
"""

import asyncio
import secrets
import shutil
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from materializer.fields import VALUE_BYTES_MAX
from materializer.mcap_recovery import Recovery, examine, recover
from peer.core.identity import EventId
from peer.errors import TargetFullError
from peer.operations.adding import TAGS_MAX, Adding
from peer.operations.files import select_files
from peer.operations.json_form import Json, to_json
from peer.operations.recordings import add_request
from peer.threads import in_thread

RECOVERED = "recovered"
"""The tag of recordings with recovered files, and the property that says what was lost."""
WORKING_MAX = 1
"""Recordings that are recovered at once: each reads its files from end to end."""


class Recovered(NamedTuple):
    """A file that was recovered."""

    source: Path
    target: Path
    recovery: Recovery


class Recovering:
    """Adds recordings that were made at this site and did not end well."""

    def __init__(self, adding: Adding, folder: Path, program: str, free_floor: int) -> None:
        """Works in `folder`, which nobody else uses: what a crash left there goes. `free_floor` bytes of its disk are never used."""
        self._adding = adding
        self._folder = folder
        self._program = program
        self._free_floor = free_floor
        self._working = asyncio.Semaphore(WORKING_MAX)
        shutil.rmtree(folder, ignore_errors=True)

    async def add(self, order: Json) -> tuple[EventId, list[Json]]:
        """Add a recording as `Adding` does, whatever of its files can be read; and what was recovered of each that is not whole."""
        request = add_request(order)
        group = self._adding.check(request)
        selection = await asyncio.to_thread(select_files, request.paths)
        aside = self._folder / secrets.token_hex(16)
        try:
            async with self._working:
                found = [await in_thread(None, partial(self._recovered, path, aside)) for path in selection.chunks]
            recovered = [each for each in found if each is not None]
            chunks = [each.target if each else path for each, path in zip(found, selection.chunks, strict=True)]
            if recovered:
                tags = [*request.tags[: TAGS_MAX - 1], RECOVERED]
                request = request._replace(tags=tags, properties={RECOVERED: summary(recovered)})
            recording = await self._adding.add_selection(group, request, selection._replace(chunks=chunks))
        finally:
            await in_thread(None, lambda _: shutil.rmtree(aside, ignore_errors=True))
        return recording, [describe(each.source.name, each.recovery) for each in recovered]

    def _recovered(self, path: Path, aside: Path, _stop: threading.Event) -> Recovered | None:
        """What was recovered of a file, None if it is whole."""
        found = examine(path)
        if found.is_whole:
            return None
        aside.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(aside).free < found.source_size_bytes + self._free_floor:
            raise TargetFullError(f"no space to recover {path}", fix="free some space on the disk of the data directory")
        target = aside / path.name
        return Recovered(path, target, recover(path, target, self._program))


def describe(source_name: str, recovery: Recovery) -> Json:
    """What became of a file, for programs."""
    fields = recovery._asdict()
    document = to_json({"source_name": source_name, **fields, "places": [place._asdict() for place in recovery.places]})
    assert isinstance(document, dict)
    return document


def summary(recovered: Sequence[Recovered]) -> str:
    """What was recovered and lost, for people: as many files as fit a property."""
    text = ""
    for number, each in enumerate(recovered):
        part = f"{each.source.name}: {sentence(each.recovery)}"
        rest = f"; and {len(recovered) - number} more files"
        if len(f"{text}; {part}{rest}".encode()) > VALUE_BYTES_MAX:
            return text + rest
        text = f"{text}; {part}" if text else part
    return text


def sentence(recovery: Recovery) -> str:
    """What was recovered of one file, and what was not."""
    lost = "an unknown number" if recovery.lost_message_count is None else str(recovery.lost_message_count)
    parts = [f"{recovery.message_count} messages recovered, {lost} lost, {recovery.lost_bytes} of {recovery.source_size_bytes} bytes of no use"]
    for place in recovery.places[:3]:
        times = "" if place.start_time_ns is None else f", of the time from {place.start_time_ns} to {place.end_time_ns} ns"
        parts.append(f"at byte {place.offset} {place.what}{times}")
    if recovery.place_count > 3:  # noqa: PLR2004  (as many as were told)
        parts.append(f"{recovery.place_count - 3} more places")
    if recovery.ends_early:
        parts.append("it ends early: what came after is not known")
    return ", ".join(parts)
