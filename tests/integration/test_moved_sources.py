"""Peers that are somewhere else all at once, while bytes come from them."""

import asyncio
from pathlib import Path

from peer.blobs.store import FileBlobStore
from peer.blobs.transfer import Fetcher
from tests.blob_site import MIB, SERVER, FileSource, serving, wanted, write_file
from tests.integration.test_several_sources import Gate
from tests.patience import PATIENCE_S


async def test_who_was_somewhere_else_while_its_piece_list_was_asked_for_is_asked_for_pieces_where_it_is(tmp_path: Path) -> None:
    """In the order that is the best one now: where it was nobody answers, and nobody says so."""
    never = asyncio.Event()
    async with serving(tmp_path / "served") as site:
        facts = await site.add(write_file(tmp_path / "source", 12 * MIB))
        files = {blob: site.store.path(blob) for blob in (facts.blob, facts.pieces)}
        before, now = Gate(files, SERVER.peer_id, never), FileSource(files)
        before.least = 0
        store = FileBlobStore(tmp_path / "blobs")
        fetcher = Fetcher(store)
        fetch = asyncio.create_task(fetcher.fetch(wanted(facts), [before]))
        async with asyncio.timeout(PATIENCE_S):
            while not before.waits:  # noqa: ASYNC110  (what is waited for has no event of its own)
                await asyncio.sleep(0)
            fetcher.offer(facts.blob, [now])

            await fetch

        assert (before.waits, store.path(facts.blob).read_bytes()) == (1, (tmp_path / "source").read_bytes())
        fetcher.close()
        store.close()


async def test_who_moved_is_asked_in_the_order_that_is_the_best_now(tmp_path: Path) -> None:
    """A way that was there before may have become the last."""
    never = asyncio.Event()
    async with serving(tmp_path / "served") as site:
        facts = await site.add(write_file(tmp_path / "source", 12 * MIB))
        files = {blob: site.store.path(blob) for blob in (facts.blob, facts.pieces)}
        gone, silent = Gate(files, SERVER.peer_id, never), Gate(files, SERVER.peer_id, never)
        store = FileBlobStore(tmp_path / "blobs")
        fetcher = Fetcher(store)
        fetch = asyncio.create_task(fetcher.fetch(wanted(facts), [gone, silent]))
        async with asyncio.timeout(PATIENCE_S):
            while not gone.waits:  # noqa: ASYNC110  (what is waited for has no event of its own)
                await asyncio.sleep(0)
            fetcher.offer(facts.blob, [FileSource(files), silent])

            await fetch

        assert (gone.waits, silent.waits) == (1, 0)
        assert store.path(facts.blob).read_bytes() == (tmp_path / "source").read_bytes()
        fetcher.close()
        store.close()
