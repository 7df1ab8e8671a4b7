"""Checks and backups of a data directory, put together from the parts that know its files; the same whether or not a peer runs on it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from materializer.files import BATCH, find_group_folder, wrong_folders
from materializer.queries import Projections, ViewsCheck, ViewsProblem, check_views
from peer.blobs.store import FileBlobStore
from peer.core.identity import GroupId, PeerId
from peer.core.views import RecordingView
from peer.errors import StoreCorruptError
from peer.operations.backup import Backups
from peer.operations.json_form import Json
from peer.operations.verification import Checked, Verification
from peer.store.backup import create_backup
from peer.store.backup_verification import verify_backup
from peer.store.database import open_read_only
from peer.store.directory import DataDirectory
from peer.store.keys import KeyFiles
from peer.store.verification import verify_log

GROUPS = "SELECT group_id FROM groups"


def make_backups(directory: DataDirectory) -> Backups:
    """What makes and checks backups of a data directory."""

    def create(folder: Path, stop: threading.Event) -> Json:
        return create_backup(directory, folder, stop).to_json()

    async def verify(folder: Path) -> Json:
        return (await verify_backup(folder)).to_json()

    return Backups(create, verify)


def make_verification(directory: DataDirectory, peer: PeerId, blobs: FileBlobStore) -> Verification:
    """What checks a data directory, whether or not a peer runs on it."""

    async def check_projections() -> ViewsCheck:
        async with AsyncExitStack() as stack:
            try:
                views = await stack.enter_async_context(await open_read_only(directory.views_database, "views"))
                return await views.read(check_views)
            except StoreCorruptError as error:
                if directory.views_database.exists():
                    return ViewsCheck({}, [ViewsProblem(error.code, error.text, str(directory.views_database))])
                return ViewsCheck({}, [])  # It may be deleted at any time.

    async def recordings() -> list[RecordingView]:
        if not directory.views_database.exists():
            return []
        async with AsyncExitStack() as stack:
            views = await stack.enter_async_context(await open_read_only(directory.views_database, "views"))
            projections = Projections(views, _Standing())
            groups = [GroupId(row[0]) for row in await views.fetch(GROUPS)]  # type: ignore[arg-type]
            return list(await projections.recordings(groups))

    async def folders() -> list[str]:
        if not directory.views_database.exists():
            return []
        async with AsyncExitStack() as stack:
            views = await stack.enter_async_context(await open_read_only(directory.views_database, "views"))
            projections = Projections(views, _Standing())
            return await _wrong_folders(directory.recordings, projections, blobs, [GroupId(row[0]) for row in await views.fetch(GROUPS)])  # type: ignore[arg-type]

    checks: list[Callable[[], Awaitable[Checked]]] = [partial(verify_log, directory.log_database, KeyFiles(directory.keys)), check_projections]
    return Verification(peer, checks, recordings, folders, blobs)


async def _wrong_folders(root: Path, projections: Projections, blobs: FileBlobStore, groups: Sequence[GroupId]) -> list[str]:
    found: list[str] = []
    for group in groups:
        home = find_group_folder(root, group)
        recordings = await projections.recording_ids(group)
        for start in range(0, len(recordings), BATCH):
            entries = [entry for _, entry in await projections.tree_entries(group, recordings[start : start + BATCH])]
            found += await asyncio.to_thread(wrong_folders, blobs, home, entries)
    return found


class _Standing:
    """Projections that nobody writes."""

    async def reached(self, position: int) -> None:
        raise AssertionError(position)
