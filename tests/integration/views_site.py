"""A store with its projections, bytes and readable tree, put together as a peer does it, without a network."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from materializer.apart import Apart
from materializer.files import RecordingTree
from materializer.queries import Projections
from materializer.side_by_side import SideBySide
from peer.blobs.store import FileBlobStore
from peer.core.run import sign_run
from peer.store.directory import DataDirectory
from peer.store.events import SqliteEventStore
from peer.store.views_files import ViewsFiles, open_views
from tests.histories import Story
from tests.integration.store_site import running_store
from tests.samples import SampleLog, genesis


class ViewsSite(NamedTuple):
    """The parts, and where they lie."""

    directory: DataDirectory
    store: SqliteEventStore
    database: ViewsFiles
    materializer: SideBySide
    views: Projections
    blobs: FileBlobStore
    tree: RecordingTree


@asynccontextmanager
async def running_views(root: Path, *, old_may_answer: bool = False, apart: Callable[[Path], Apart] | None = None) -> AsyncIterator[ViewsSite]:
    """The site in the data directory `root`, whose group is that of the samples. Everything that is stored is projected when it begins."""
    async with running_store(root) as store:
        await store.create_group(genesis())
        directory = DataDirectory(root)
        async with await open_views(directory.views_database, print) as database:
            materializer = SideBySide(database, store, store.replica, apart)
            await materializer.start(old_may_answer=old_may_answer)
            projecting = asyncio.create_task(materializer.run())
            blobs = FileBlobStore(directory.blobs)
            views = Projections(database, materializer)
            try:
                if materializer.follows:
                    await materializer.reached(store.position)
                yield ViewsSite(
                    directory, store, database, materializer, views, blobs, RecordingTree(directory.recordings, blobs, views, store.replica)
                )
            finally:
                blobs.close()
                projecting.cancel()
                await asyncio.gather(projecting, return_exceptions=True)


async def tell(site: ViewsSite, log: SampleLog, story: Story) -> None:
    """Let the rest of a story be stored and projected."""
    for stored in story.events:
        await site.store.append(log.certificate, sign_run(log.key, [stored.event]))
    story.events.clear()
    await site.materializer.reached(site.store.position)
