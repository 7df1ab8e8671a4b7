"""Peers that are somewhere else all at once, while bytes come from them."""

import asyncio
from pathlib import Path

from tests.blob_site import MIB, SERVER, FileSource, serving, write_file
from tests.integration.test_several_sources import Gate, held_up


async def test_who_was_somewhere_else_while_its_piece_list_was_asked_for_is_asked_for_pieces_where_it_is(tmp_path: Path) -> None:
    """In the order that is the best one now: where it was nobody answers, and nobody says so."""
    never = asyncio.Event()
    async with serving(tmp_path / "served") as site:
        facts = await site.add(write_file(tmp_path / "source", 12 * MIB))
        files = {blob: site.store.path(blob) for blob in (facts.blob, facts.pieces)}
        before, now = Gate(files, SERVER.peer_id, never), FileSource(files)
        before.least = 0
        async with held_up(tmp_path, facts, [before]) as (fetcher, store, fetch):
            fetcher.offer(facts.blob, [now])

            await fetch

            assert (before.waits, store.path(facts.blob).read_bytes()) == (1, (tmp_path / "source").read_bytes())


async def test_who_moved_is_asked_in_the_order_that_is_the_best_now(tmp_path: Path) -> None:
    """A way that was there before may have become the last."""
    never = asyncio.Event()
    async with serving(tmp_path / "served") as site:
        facts = await site.add(write_file(tmp_path / "source", 12 * MIB))
        files = {blob: site.store.path(blob) for blob in (facts.blob, facts.pieces)}
        gone, silent = Gate(files, SERVER.peer_id, never), Gate(files, SERVER.peer_id, never)
        async with held_up(tmp_path, facts, [gone, silent]) as (fetcher, store, fetch):
            fetcher.offer(facts.blob, [FileSource(files), silent])

            await fetch

            assert (gone.waits, silent.waits) == (1, 0)
            assert store.path(facts.blob).read_bytes() == (tmp_path / "source").read_bytes()
