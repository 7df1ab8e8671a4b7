"""Watched folders: looks into them now and then, and shares what recorders have finished there.

One folder is looked into at a time, a limited number of files of each before the next has its turn. What goes wrong with one file or folder is shown
and tried again; it holds up no other. Nothing in a folder is deleted, and only what cannot be read is moved.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from materializer.bodies import RecordingCreate, recording_create
from peer.core.interfaces import Replica
from peer.core.watches import Item, KnownFile, Totals, WatchedFolder
from peer.errors import DiskFullError, FileUnreadableError, MeshError, NotFoundError, RequestError, StoreError, WatchFolderError
from peer.operations.adding import AddRequest
from peer.operations.json_form import Json
from peer.operations.watch_folder import Bag, Entry, Listing, Readiness, count_quarantined, list_folder, shown
from peer.operations.watch_taking import Collaborators, Known, Taking, WatchMemory

FOLDERS_MAX = 64
FILES_PER_TURN_MAX = 128
"""Files that are looked into before another folder has its turn; a bag that is added as a whole counts once."""
REMEMBERED_MAX = 100_000
"""Files of a folder that are remembered. Beyond that, those that are there no more are only counted."""
SHOWN_MAX = 100
SCAN_TURNS_MAX = 10_000
_NS_PER_S = 1_000_000_000

Report = Callable[[str, Mapping[str, object]], None]


class WatchStore(WatchMemory, Protocol):
    """Where watched folders are kept."""

    async def folders(self) -> list[WatchedFolder]:
        """All of them, by path."""
        ...

    async def add(self, watched: WatchedFolder) -> None:
        """Remember a folder, durably."""
        ...

    async def remove(self, folder: str) -> None:
        """Forget a folder and its files."""
        ...

    async def files(self, folder: str) -> list[KnownFile]:
        """What is remembered of its files."""
        ...

    async def items(self, folder: str) -> list[Item]:
        """What has become a recording."""
        ...

    async def forget(self, folder: str, paths: Sequence[str]) -> None:
        """Keep of these files only that they were."""
        ...

    async def totals(self, folder: str) -> Totals:
        """How many files there were."""
        ...


class WatchTimes(NamedTuple):
    """How long is waited, in seconds."""

    interval_s: float
    """Between two looks."""
    settle_s: float
    """How long a file must have been left alone."""
    quiet_s: float
    """After which a bag without metadata counts as complete; 0 for never."""


class FolderState:
    """What was found in a folder the last time that it was looked into."""

    def __init__(self) -> None:
        self.waiting: dict[str, str] = {}
        self.unreadable: dict[str, MeshError] = {}
        self.quarantined = 0
        self.broken = 0
        """Files that belong there, where the folder may not be written."""
        self.error: MeshError | None = None
        self.looked_ms: int | None = None
        self.first_seen: dict[str, tuple[str, float]] = {}
        """Since when a file has been as it is, by this process's own clock: that of the file system may be wrong."""


class Watching:
    """All watched folders of this site."""

    def __init__(self, store: WatchStore, replica: Replica, parts: Collaborators, times: WatchTimes, data_directory: Path, report: Report) -> None:
        """`data_directory` is never looked into."""
        self._store = store
        self._replica = replica
        self._parts = parts
        self._times = times
        self._data_directory = data_directory.resolve()
        self._report = report
        self._turn = asyncio.Lock()
        """Of who looks into folders: that may take as long as large files take."""
        self._changing = asyncio.Lock()
        """Of who changes which folders there are."""
        self._folders: dict[str, WatchedFolder] = {}
        self._is_loaded = False
        self._states: dict[str, FolderState] = {}

    async def open(self) -> None:
        """Read which folders are watched. To be called before anything else."""
        self._folders = {each.folder: each for each in await self._store.folders()}

    async def add(self, folder: str, group: str | None, tags: Sequence[str], machine: str) -> Json:
        """Watch a folder from now on. Raises `WatchFolderError`, or what a recording with these tags and this machine would raise."""
        found = self._parts.adding.check(AddRequest([], group, tags=tags, machine=machine))
        recording_create(RecordingCreate("check", machine, 0, ""))
        path = await asyncio.to_thread(_real_folder, folder)
        async with self._changing:
            await self._load()
            self._check_place(path)
            watched = WatchedFolder(str(path), found, tuple(tags), machine)
            await self._store.add(watched)
            self._folders[watched.folder] = watched
        return await self._describe(watched)

    async def remove(self, folder: str) -> Json:
        """Watch a folder no more. What was added stays, and so do the files. A file that is being read at the moment is still added."""
        async with self._changing:
            await self._load()
            watched = self._folders.get(folder) or self._folders.get(str(await asyncio.to_thread(_resolved, folder)))
            if watched is None:
                raise NotFoundError(f"{shown(folder)[:200]} is not watched", fix="see `recmesh watch list`")
            description = await self._describe(watched)
            await self._store.remove(watched.folder)
            del self._folders[watched.folder]
            self._states.pop(watched.folder, None)
        return description

    async def all(self) -> list[Json]:
        """All folders, by path."""
        await self._load()
        return [await self._describe(each) for _, each in sorted(self._folders.items())]

    async def scan(self) -> list[Json]:
        """Look into all folders now, and once more for what has only just appeared; the folders as they are then."""
        await self._look_into_all()
        if any(Readiness.FRESH.value in state.waiting.values() for state in self._states.values()):
            await asyncio.sleep(self._times.settle_s)
            await self._look_into_all()
        return await self.all()

    def problems(self) -> list[Json]:
        """What an operator should do about folders."""
        found: list[Json] = []
        for folder, state in sorted(self._states.items()):
            name = shown(folder)
            if state.error is not None:
                found.append({"code": state.error.code, "text": f"watched folder {name}: {state.error.text}", "fix": state.error.fix})
            if state.quarantined:
                files = "1 file" if state.quarantined == 1 else f"{state.quarantined} files"
                fix = "the .why.txt beside each says what is wrong with it; move or delete them once you have looked"
                found.append({"code": "watch_quarantined", "text": f"{files} in {name}/_quarantine cannot be read as MCAP", "fix": fix})
            if state.broken:
                files = "1 file" if state.broken == 1 else f"{state.broken} files"
                fix = "move or delete them, or let the user of recmesh write to the folder"
                found.append({"code": "watch_unreadable", "text": f"{files} in {name} cannot be read as MCAP, nor moved away", "fix": fix})
            for error in list(state.unreadable.values())[:1]:
                text = f"watched folder {name}: {len(state.unreadable)} of its files cannot be added; {error.text}"
                found.append({"code": error.code, "text": text, "fix": error.fix})
        return found

    async def run(self) -> None:
        """Look again and again until cancelled. Raises `StoreError` when the disk fails, but not when it is full."""
        while True:
            await self._look_into_all()
            await asyncio.sleep(self._times.interval_s)

    async def _look_into_all(self) -> None:
        """Until nothing is left to be taken now."""
        await self._load()
        left = list(self._folders.values())
        for _ in range(SCAN_TURNS_MAX):
            if not left:
                return
            again = []
            for watched in left:
                async with self._turn:
                    if self._is_watched(watched) and await self._look_into(watched):
                        again.append(watched)
            left = again

    async def _look_into(self, watched: WatchedFolder) -> bool:
        """Take some of what is in a folder. True if there is more."""
        state = self._states.setdefault(watched.folder, FolderState())
        try:
            if watched.group not in self._replica.groups:
                raise WatchFolderError("this site has left its group", fix=f"join it again, or `recmesh watch remove {shown(watched.folder)}`")
            self._parts.adding.check(AddRequest([], watched.group.hex()))
            folder = Path(watched.folder)
            listing = await asyncio.to_thread(list_folder, folder, self._data_directory)
            more = await self._take(watched, state, listing)
            state.quarantined = await asyncio.to_thread(count_quarantined, folder)
            state.error = _too_many(folder) if listing.is_cut else None
        except (DiskFullError, RequestError) as error:
            self._failed(watched, state, error)
            return False
        finally:
            state.looked_ms = time.time_ns() // 1_000_000
        return more

    def _failed(self, watched: WatchedFolder, state: FolderState, error: MeshError) -> None:
        if state.error is None or state.error.code != error.code:
            self._report("a watched folder cannot be worked on", {"folder": shown(watched.folder), "code": error.code, "error": error.text})
        state.error = error

    async def _take(self, watched: WatchedFolder, state: FolderState, listing: Listing) -> bool:
        known = Known(await self._store.files(watched.folder), await self._store.items(watched.folder))
        entries = [*listing.files, *(entry for bag in listing.bags for entry in (*bag.files, *([bag.metadata] if bag.metadata else [])))]
        state.first_seen = _first_seen(state.first_seen, entries)
        taking = Taking(watched, known, self._parts, is_settled=lambda entry: self._is_settled(state, entry))
        state.waiting, state.unreadable = {}, {shown(path): _nameless(path) for path in listing.nameless[:SHOWN_MAX]}
        more = await self._take_some(watched, state, taking, known, listing)
        state.broken = sum(known.is_broken(entry) for entry in entries)
        if not more:
            await self._forget_some(watched, known, {entry.path for entry in entries})
        return more

    async def _take_some(self, watched: WatchedFolder, state: FolderState, taking: Taking, known: Known, listing: Listing) -> bool:
        room = FILES_PER_TURN_MAX
        for entry in sorted(listing.files, key=lambda entry: not known.was_begun(entry)):
            if not known.is_done(entry):
                room -= await self._guarded(state, entry.path, self._take_file(state, taking, entry))
            if room <= 0 or not self._is_watched(watched):
                return True
        for bag in listing.bags:
            room -= await self._guarded(state, bag.item, self._take_bag(state, taking, bag))
            if room <= 0 or not self._is_watched(watched):
                return True
        return False

    def _is_watched(self, watched: WatchedFolder) -> bool:
        """False once somebody has taken it away, or taken it away and named it again."""
        return self._folders.get(watched.folder) is watched

    async def _guarded(self, state: FolderState, path: str, work: Awaitable[bool]) -> int:
        """Run `work` on one file or bag: 1 if it did something. What is wrong with it alone is noted."""
        try:
            return int(await work)
        except (DiskFullError, StoreError):
            raise
        except FileUnreadableError as error:
            state.unreadable[path] = error
        except RequestError as error:
            if error.code != RequestError.code:
                raise  # It concerns the whole folder: no right to write, for one.
            state.waiting[path] = error.text
        return 0

    async def _take_file(self, state: FolderState, taking: Taking, entry: Entry) -> bool:
        found = await taking.look(entry)
        if found is Readiness.CLOSED:
            await taking.take_file(entry)
            return True
        if found in (Readiness.OPEN, Readiness.FRESH):
            state.waiting[entry.path] = found.value
        return found is Readiness.ALIEN

    async def _take_bag(self, state: FolderState, taking: Taking, bag: Bag) -> bool:
        ready: list[Entry] = []
        is_complete = True
        for entry in bag.files:
            found = await taking.look(entry)
            if found in (Readiness.OPEN, Readiness.FRESH):
                is_complete = False
                state.waiting[entry.path] = found.value
            elif found is Readiness.CLOSED and is_complete:
                ready.append(entry)
        if bag.metadata is not None and not self._is_settled(state, bag.metadata):
            is_complete = False
        ended = bag.metadata is not None or self._is_quiet(bag)
        return await taking.take_bag(bag, ready, is_whole=is_complete and ended and not bag.is_busy)

    def _is_settled(self, state: FolderState, entry: Entry) -> bool:
        """True if a file has been left alone: by its own time, or for as long as this process has seen it."""
        settle = self._times.settle_s
        age_s = (time.time_ns() - entry.modified_ns) / _NS_PER_S
        return age_s >= settle or time.monotonic() - state.first_seen[entry.path][1] >= settle

    def _is_quiet(self, bag: Bag) -> bool:
        newest = max(entry.modified_ns for entry in bag.files)
        return self._times.quiet_s > 0 and (time.time_ns() - newest) / _NS_PER_S >= self._times.quiet_s

    async def _forget_some(self, watched: WatchedFolder, known: Known, present: set[str]) -> None:
        if len(known.files) > REMEMBERED_MAX:
            gone = [path for path in known.files if path not in present]
            await self._store.forget(watched.folder, gone[: len(known.files) - REMEMBERED_MAX])

    async def _load(self) -> None:
        if not self._is_loaded:
            kept = {each.folder: each for each in await self._store.folders()}
            if not self._is_loaded:  # Somebody else may have read them meanwhile, and changed them since.
                self._folders, self._is_loaded = kept, True

    def _check_place(self, path: Path) -> None:
        if path.is_relative_to(self._data_directory):
            raise WatchFolderError("the data directory is no place for recorders", fix="name a folder outside of it")
        if len(self._folders) >= FOLDERS_MAX:
            raise WatchFolderError(f"{FOLDERS_MAX} folders are watched already", fix="watch a folder that has theirs as sub-folders, or remove some")
        for other in map(Path, self._folders):
            if path == other:
                raise WatchFolderError(
                    f"{shown(str(path))} is watched already", fix="see `recmesh watch list`; remove it first to change its group or tags"
                )
            if path.is_relative_to(other) or other.is_relative_to(path):
                raise WatchFolderError(f"{shown(str(other))} is watched already, and one lies in the other", fix="name folders that lie side by side")

    async def _describe(self, watched: WatchedFolder) -> Json:
        state = self._states.get(watched.folder, FolderState())
        totals = await self._store.totals(watched.folder)
        view = self._replica.groups.get(watched.group)
        error = state.error
        waiting: list[Json] = [{"path": shown(path), "why": why} for path, why in sorted(state.waiting.items())[:SHOWN_MAX]]
        return {
            "folder": shown(watched.folder),
            "group_id": watched.group.hex(),
            "group": view.genesis.name if view is not None else None,
            "tags": list(watched.tags),
            "machine": watched.machine,
            "added": totals.added,
            "duplicates": totals.duplicates,
            "waiting": len(state.waiting),
            "waiting_files": waiting,
            "quarantined": state.quarantined,
            "unreadable": len(state.unreadable) + state.broken,
            "last_scan_ms": state.looked_ms,
            "last_error": None if error is None else {"code": error.code, "text": error.text, "fix": error.fix},
        }


def _first_seen(before: Mapping[str, tuple[str, float]], entries: Sequence[Entry]) -> dict[str, tuple[str, float]]:
    now = time.monotonic()
    return {
        entry.path: seen if (seen := before.get(entry.path)) is not None and seen[0] == entry.identity else (entry.identity, now) for entry in entries
    }


def _nameless(path: str) -> MeshError:
    return FileUnreadableError(f"{shown(path)} has a name that no history can hold", fix="rename it")


def _too_many(folder: Path) -> MeshError:
    return WatchFolderError(f"there is more in {shown(str(folder))} than is looked at", fix="move what was added elsewhere, or split the folder")


def _resolved(folder: str) -> Path:
    try:
        return Path(folder).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise WatchFolderError(f"{shown(folder)[:200]} is no folder", fix="check the path") from error


def _real_folder(folder: str) -> Path:
    """The folder as it really is. Raises `WatchFolderError`."""
    path = _resolved(folder)
    if not Path(folder).is_absolute() or not path.is_dir() or path == Path(path.anchor):
        raise WatchFolderError(f"{shown(folder)[:200]} is no folder that can be watched", fix="name an existing folder with its whole path")
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise WatchFolderError(f"{shown(folder)[:200]} has a name that is no text", fix="rename the folder") from error
    return path
