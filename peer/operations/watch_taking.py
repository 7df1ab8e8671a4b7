"""Taking what a watched folder holds: a file as a recording, a sub-folder as one that stays open until its recorder is done.

What is about to be written stands in the store of the watch before the events are, and what was written after them: a crash in between is seen, and
the events tell on which side of them it was. What the group has already is recognised by its bytes, whoever brought them, deleted or not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from peer.core.identity import BlobId, EventId, GroupId
from peer.core.interfaces import WantedBlob
from peer.core.views import RecordingView
from peer.core.watches import Item, KnownFile, Outcome, WatchedFolder
from peer.errors import McapEmptyError, McapTruncatedError, MeshError, NameInvalidError, NameTakenError, NotMcapError, RequestError
from peer.failpoints import failpoint
from peer.operations.adding import Adding, AddRequest, Contents
from peer.operations.files import Selection, default_name
from peer.operations.naming import Naming
from peer.operations.opening import Opening
from peer.operations.watch_folder import Bag, Entry, Readiness, identity_of, move_to_quarantine, readiness
from peer.threads import in_thread

NAME_DEFAULT = "recording"
"""Of what has no name of which one could be made."""
NO_BLOB = BlobId(b"")
BROKEN = (McapTruncatedError, McapEmptyError, NotMcapError)


class WatchMemory(Protocol):
    """What is kept of the files of a folder."""

    async def remember(self, watched: WatchedFolder, files: Sequence[KnownFile], item: Item | None = None) -> None:
        """Keep what became of them, durably; nothing if the folder is watched no more."""
        ...


class GroupRecordings(Protocol):
    """What the views know of the recordings of a group."""

    async def files_with(self, group: GroupId, blob: BlobId) -> Sequence[WantedBlob]:
        """Files of recordings that have these bytes."""
        ...

    async def recording(self, group: GroupId, recording: EventId) -> RecordingView | None:
        """One recording, deleted or not."""
        ...


class Known:
    """What is remembered of one folder."""

    def __init__(self, files: Sequence[KnownFile], items: Sequence[Item]) -> None:
        self.files = {file.path: file for file in files}
        self.items = {item.item: item for item in items}
        self._blobs = {file.identity: file.blob for file in files if file.outcome in (Outcome.ADDED, Outcome.DUPLICATE)}

    def is_done(self, entry: Entry) -> bool:
        """True if nothing is left to be done about it."""
        file = self.files.get(entry.path)
        return file is not None and file.identity == entry.identity and file.outcome is not Outcome.ADDING

    def is_broken(self, entry: Entry) -> bool:
        """True if it cannot be read, and is still where it was."""
        return self.is_done(entry) and self.files[entry.path].outcome is Outcome.BROKEN

    def was_begun(self, entry: Entry) -> bool:
        """True if it was about to be added when this process ended: it comes before others with the same bytes."""
        file = self.files.get(entry.path)
        return file is not None and file.outcome is Outcome.ADDING

    def blob(self, entry: Entry) -> BlobId | None:
        """Its bytes, if they are known without being read: they were, here or under another name."""
        file = self.files.get(entry.path)
        if file is not None and file.identity == entry.identity and file.blob:
            return file.blob
        return self._blobs.get(entry.identity)

    def keep(self, file: KnownFile) -> None:
        """Know one more."""
        self.files[file.path] = file
        if file.outcome in (Outcome.ADDED, Outcome.DUPLICATE):
            self._blobs[file.identity] = file.blob


class Collaborators(NamedTuple):
    """What taking needs of the rest."""

    adding: Adding
    opening: Opening
    naming: Naming
    views: GroupRecordings
    memory: WatchMemory
    show: Callable[[GroupId, EventId], Awaitable[None]]


class Taking:
    """Takes what is in one folder."""

    def __init__(self, watched: WatchedFolder, known: Known, parts: Collaborators, *, is_settled: Callable[[Entry], bool]) -> None:
        """`is_settled` says whether a file has been left alone for long enough."""
        self._watched = watched
        self._folder = Path(watched.folder)
        self._known = known
        self._parts = parts
        self._is_settled = is_settled

    async def look(self, entry: Entry) -> Readiness:
        """How far a file is. One that is done with is closed; what can never be read is moved away. Raises `FileUnreadableError`."""
        if self._known.is_done(entry):
            return Readiness.ALIEN if self._known.is_broken(entry) else Readiness.CLOSED
        if not self._is_settled(entry):
            return Readiness.FRESH
        found = await asyncio.to_thread(readiness, self._folder / entry.path)
        if found is Readiness.ALIEN:
            await self._give_up(entry, NotMcapError(f"{entry.path} is not an MCAP file", fix="convert it first, or name it otherwise"))
        return found

    async def take_file(self, entry: Entry) -> None:
        """Make a file a recording, unless the group has its bytes. It is closed."""
        if self._known.is_done(entry):
            return
        item = self._known.items.get(entry.path)
        if item is not None and await self._was_written(item, [entry]):
            return
        blob, contents = self._known.blob(entry), None
        if blob is None or not await self._is_known(blob):
            contents = await self._contents([entry])
            if contents is None:
                return
            blob = contents.chunks[0].facts.blob
        if contents is None or await self._is_known(blob):
            before = self._known.files.get(entry.path)
            was_added = before is not None and before.blob == blob and before.outcome is Outcome.ADDED
            await self._remember([(entry, blob)], Outcome.ADDED if was_added else Outcome.DUPLICATE)
            return
        await self._add(entry.path, Path(entry.path).stem, [(entry, blob)], contents, is_open=False)

    async def take_bag(self, bag: Bag, ready: Sequence[Entry], *, is_whole: bool) -> bool:
        """Make a sub-folder a recording, or add to the one that it is, `ready` files; `is_whole` says that no more will come.

        True if anything was read or written for that.
        """
        item = self._known.items.get(bag.item)
        new = [entry for entry in ready if not self._known.is_done(entry)]
        if item is not None and item.is_closed and not new:
            return False
        if item is not None and item.recording is None and await self._was_written(item, ready):
            item = self._known.items[bag.item]
        view = await self._parts.views.recording(self._watched.group, item.recording) if item is not None and item.recording is not None else None
        if view is None:
            return await self._begin_bag(bag, ready, is_whole=is_whole)
        assert item is not None, "it has a recording"
        if view.finalized:
            for entry in new:  # Its recorder said that it was done: what comes later is no part of it.
                await self.take_file(entry)
            await self._keep([], item._replace(is_closed=True))
            return bool(new)
        if new:
            await self._append(view, new)
        if is_whole:
            await self._close_bag(bag, view)
            await self._keep([], item._replace(is_closed=True))
        return bool(new) or is_whole

    async def _begin_bag(self, bag: Bag, ready: Sequence[Entry], *, is_whole: bool) -> bool:
        if not ready or all(self._known.is_done(entry) for entry in ready):
            return False
        known = [blob for entry in ready if (blob := self._known.blob(entry)) is not None and await self._is_known(blob)]
        if len(known) == len(ready):
            await self._remember(list(zip(ready, known, strict=True)), Outcome.DUPLICATE)
            return True
        contents = await self._contents(ready)
        if contents is None:
            return True
        blobs = [(entry, chunk.facts.blob) for entry, chunk in zip(self._read, contents.chunks, strict=True)]
        if all([await self._is_known(blob) for _, blob in blobs]):
            await self._remember(blobs, Outcome.DUPLICATE)
            return True
        if is_whole and bag.metadata is not None:
            contents = contents._replace(attachments=(await self._metadata(bag.metadata)).attachments)
        await self._add(bag.item, bag.item, blobs, contents, is_open=not is_whole)
        return True

    async def _append(self, view: RecordingView, new: Sequence[Entry]) -> None:
        contents = await self._contents(new)
        if contents is None:
            return
        blobs = [(entry, chunk.facts.blob) for entry, chunk in zip(self._read, contents.chunks, strict=True)]
        await self._parts.opening.tell(view.group, view.recording, contents)
        failpoint("watch.after_events")
        await self._remember(blobs, Outcome.ADDED)

    async def _close_bag(self, bag: Bag, view: RecordingView) -> None:
        if bag.metadata is not None:
            await self._parts.opening.tell(view.group, view.recording, await self._metadata(bag.metadata))
        await self._parts.opening.close(view.group, view.recording)

    async def _metadata(self, entry: Entry) -> Contents:
        return await self._parts.adding.keep(Selection([], [self._folder / entry.path], ""), "copy")

    async def _add(self, path: str, name: str, blobs: Sequence[tuple[Entry, BlobId]], contents: Contents, *, is_open: bool) -> None:
        """Write the events of a new recording, and before and after them what they are for."""
        watched, parts = self._watched, self._parts
        request = AddRequest([self._folder / path], tags=watched.tags, machine=watched.machine, is_open=is_open)
        while True:
            item = Item(path, await parts.naming.free_name(watched.group, _name(name)))
            await self._remember(blobs, Outcome.ADDING, item)
            failpoint("watch.before_events")
            try:
                recording = await parts.adding.tell(watched.group, item.name, request, contents)
            except NameTakenError:
                continue  # Somebody used it between the look and the write.
            break
        failpoint("watch.after_events")
        await self._remember(blobs, Outcome.ADDED, item._replace(recording=recording, is_closed=not is_open))
        await parts.show(watched.group, recording)

    async def _was_written(self, item: Item, entries: Sequence[Entry]) -> bool:
        """Whether the events of an item are there that was about to be added when somebody pulled the plug; if so, that is remembered."""
        blobs = {file.blob: file for entry in entries if (file := self._known.files.get(entry.path)) is not None and file.outcome is Outcome.ADDING}
        recording = await self._parts.naming.recording(self._watched.group, item.name)
        view = await self._parts.views.recording(self._watched.group, recording) if recording is not None else None
        if view is None or not blobs:
            return False
        told = {chunk.blob for chunk in view.chunks}
        written = [file._replace(outcome=Outcome.ADDED) for blob, file in blobs.items() if blob in told]
        if not written:
            return False
        await self._keep(written, item._replace(recording=recording))
        return True

    async def _contents(self, entries: Sequence[Entry]) -> Contents | None:
        """Read and keep files; those that turn out to be broken are given up. None if nothing is left; else `_read` says of which files it is."""
        self._read: list[Entry] = []
        found: list[Contents] = []
        for entry in entries:
            path = self._folder / entry.path
            try:
                kept = await self._parts.adding.keep(Selection([path], [], ""), "copy", check=True)  # Nobody is there who would try it.
            except BROKEN as error:
                if await asyncio.to_thread(identity_of, path) != entry.identity:
                    raise _changed(entry) from error
                await self._give_up(entry, error)
                continue
            if await asyncio.to_thread(identity_of, path) != entry.identity:
                raise _changed(entry)
            self._read.append(entry)
            found.append(kept)
        if not found:
            return None
        return found[0]._replace(chunks=[chunk for each in found for chunk in each.chunks])

    async def _is_known(self, blob: BlobId) -> bool:
        return bool(await self._parts.views.files_with(self._watched.group, blob))

    async def _give_up(self, entry: Entry, why: MeshError) -> None:
        """Move a file away that cannot be read; where the folder may not be changed, remember that it cannot."""
        try:
            failpoint("watch.before_move")
            await in_thread(None, lambda _: move_to_quarantine(self._folder, entry.path, why))
        except OSError:
            await self._remember([(entry, NO_BLOB)], Outcome.BROKEN)

    async def _remember(self, blobs: Sequence[tuple[Entry, BlobId]], outcome: Outcome, item: Item | None = None) -> None:
        await self._keep([KnownFile(entry.path, entry.identity, blob, outcome) for entry, blob in blobs], item)

    async def _keep(self, files: Sequence[KnownFile], item: Item | None) -> None:
        await self._parts.memory.remember(self._watched, files, item)
        for file in files:
            self._known.keep(file)
        if item is not None:
            self._known.items[item.item] = item


def _changed(entry: Entry) -> RequestError:
    return RequestError(f"{entry.path} changed while it was read", fix="it is looked at again")


def _name(text: str) -> str:
    try:
        return default_name(text)
    except NameInvalidError:
        return NAME_DEFAULT
